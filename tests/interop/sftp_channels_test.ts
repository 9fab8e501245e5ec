/** Uploads over several channels of a connection to OpenSSH: how many, and what becomes of them when the program wants a session. */
import { assert, assertEquals } from "@std/assert";
import { connect, insecureAcceptAnyHostKey, publicKey } from "../../mod.ts";
import { SendWindow } from "../../lib/connection/send_window.ts";
import { peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { delayRelay } from "../_support/relay.ts";
import { pattern, sha256, tempDir } from "../_support/sftp_peers.ts";
import { inTime, until } from "../_support/until.ts";

/** Has every channel say that its window holds it up, as it would behind a longer way than a test has time for. */
function heldByWindow(): Disposable {
  const names = ["most", "held"] as const, { prototype } = SendWindow;
  const real = names.map((name) => Object.getOwnPropertyDescriptor(prototype, name)!);
  Object.defineProperty(prototype, "most", { get: () => 1, configurable: true });
  Object.defineProperty(prototype, "held", { get: () => 10 * performance.now(), configurable: true });
  return {
    [Symbol.dispose]: () => names.forEach((name, at) => Object.defineProperty(prototype, name, real[at]!)),
  };
}

function sessions(server: ServerPeer): number {
  return server.log().split("Starting session: subsystem 'sftp'").length - 1;
}

for (
  const { id, version, most, channels, ...rest } of [
    { id: "openssh", version: "9.2", most: 10, channels: 4 },
    { id: "openssh", version: "9.2", most: 2, channels: 2 },
    { id: "openssh", version: "9.2", most: 1, channels: 1 },
    { id: "openssh", version: "9.2", most: 4, channels: 4, beside: "scp" },
    { id: "openssh10", version: "10", most: 4, channels: 4, beside: "exec" },
  ] as const satisfies readonly {
    readonly id: string;
    readonly version: string;
    readonly most: number;
    readonly channels: number;
    readonly beside?: "exec" | "scp";
  }[]
) {
  const beside = "beside" in rest ? rest.beside : undefined, left = beside ?? "exec";
  peerTest(
    id,
    `upload() held up by the window of OpenSSH ${version} takes ${channels} of ${most} sessions, and leaves one for ${left}()`,
    async () => {
      await using server = await startOpenSshd({ version, config: [`MaxSessions=${most}`] });
      await using relay = delayRelay({ to: server, delay: 8 });
      await using dir = await tempDir();
      const file = `${dir.path}/f`, block = pattern(1_048_576);
      {
        using out = await Deno.open(file, { write: true, create: true });
        for (let at = 0; at < 16; at++) await out.write(block);
      }
      using _ = heldByWindow();
      await using client = await connect({
        hostname: relay.hostname,
        port: relay.port,
        username: server.username,
        auth: [publicKey(server.clientKey.text)],
        verifyHostKey: insecureAcceptAnyHostKey(),
      });
      await using sftp = await client.sftp();
      let isOver = false;
      const copying = sftp.upload(file, `${dir.path}/g`).finally(() => isOver = true);
      copying.catch(() => {});
      if (beside !== undefined) await until(() => sessions(server) === channels || isOver, "The sessions");
      if (beside === "exec") {
        const { stdout } = await inTime(client.exec("echo here"), "The command");
        assertEquals(new TextDecoder().decode(stdout), "here\n");
      } else if (beside === "scp") {
        await Deno.writeTextFile(`${dir.path}/small`, "here\n");
        await inTime(client.scp.upload(`${dir.path}/small`, `${dir.path}/copied`), "The copy by scp");
        assertEquals(await Deno.readTextFile(`${dir.path}/copied`), "here\n");
      }
      await copying;
      assertEquals(sessions(server), channels);
      assertEquals(await sha256(`${dir.path}/g`), await sha256(file));
      // Those that were opened are gone, or go.
      if (most > 1) assert((await client.exec("true")).success);
    },
  );
}
