/** Transfers to and from servers that lack something, and what they leave alone. */
import { assert, assertEquals } from "@std/assert";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { ours, scripted, statusReply, tempDir } from "../_support/sftp_peers.ts";

Deno.test("upload() and download() leave the permission bits of the file they replace alone without preserve", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeTextFile(`${dir.path}/there/up`, "old");
  await Deno.chmod(`${dir.path}/there/up`, 0o600);
  await Deno.writeTextFile(`${dir.path}/down`, "old");
  await Deno.chmod(`${dir.path}/down`, 0o600);
  await Deno.writeTextFile(`${dir.path}/f`, "new");
  await Deno.chmod(`${dir.path}/f`, 0o644);
  await using peer = await ours({ root: `${dir.path}/there` });
  await peer.sftp.upload(`${dir.path}/f`, "/up");
  await peer.sftp.upload(`${dir.path}/f`, "/f");
  await peer.sftp.download("/f", `${dir.path}/down`);
  const mode = (path: string): string => (Deno.statSync(`${dir.path}/${path}`).mode! & 0o777).toString(8);
  assertEquals([mode("there/up"), mode("down")], ["600", "600"]);
});

Deno.test("download() gives a new file no bits that the umask takes away, however small it is", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  // One is read by one request, and one by many.
  for (const [name, size] of [["empty", 0], ["small", 10], ["large", 600_000]] as const) {
    await Deno.writeFile(`${dir.path}/there/${name}`, new Uint8Array(size));
    await Deno.chmod(`${dir.path}/there/${name}`, 0o777);
  }
  (await Deno.open(`${dir.path}/allowed`, { write: true, createNew: true, mode: 0o777 })).close();
  await using peer = await ours({ root: `${dir.path}/there` });
  await peer.sftp.download("/", `${dir.path}/here`, { recursive: true });
  const mode = (path: string): string => (Deno.statSync(`${dir.path}/${path}`).mode! & 0o777).toString(8);
  const allowed = mode("allowed");
  assertEquals(["empty", "small", "large"].map((name) => mode(`here/${name}`)), [allowed, allowed, allowed]);
});

Deno.test("upload() keeps times and mode by path where the server cannot by handle", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const requests: number[] = [];
  await using peer = await scripted((payload, id) => {
    requests.push(payload[0]!);
    switch (payload[0]) {
      case Fxp.OPEN:
        return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      case Fxp.STAT:
      case Fxp.LSTAT:
        return statusReply(id, Status.NO_SUCH_FILE);
      case Fxp.FSETSTAT:
        return statusReply(id, Status.OP_UNSUPPORTED);
    }
    return undefined;
  });
  const summary = await peer.sftp.upload(`${dir.path}/f`, "/f", { preserve: true });
  assertEquals(summary.files, 1);
  assert(requests.includes(Fxp.SETSTAT));
});
