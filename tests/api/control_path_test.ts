/**
 * `connect({ controlPath })` with whatever may be at the path.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { SshError } from "../../lib/errors.ts";
import { scratchDir } from "../_support/keys.ts";
import { RawMaster } from "../_support/raw_master.ts";
import { inTime } from "../_support/until.ts";

/** What listens at a path, and what it does with whoever comes. */
function listen(path: string, serve: (master: RawMaster, conn: Deno.Conn) => Promise<void>): AsyncDisposable {
  const listener = Deno.listen({ transport: "unix", path }), serving: Promise<void>[] = [];
  const loop = (async () => {
    for await (const conn of listener) {
      const master = new RawMaster(conn);
      serving.push((async () => {
        await serve(master, conn);
        while (await master.receive() !== null);
        await master.hangUp();
      })());
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await loop;
      await Promise.all(serving);
    },
  };
}

Deno.test("connect({ controlPath }) tells what is wrong with what is there", async () => {
  const dir = scratchDir();
  const refused = async (path: string, code: string, text: string): Promise<void> => {
    const error = await assertRejects(() => inTime(connect({ controlPath: path }), path), SshError);
    assertStringIncludes(error.message, text);
    assertStringIncludes(error.message, `"${path}"`);
    assertEquals(error.code, code, text);
  };
  await refused(`${dir}/none`, "CONNECTION_LOST", "`ssh -M -S path host` starts a master");
  Deno.writeTextFileSync(`${dir}/file`, "x");
  await refused(`${dir}/file`, "CONNECTION_LOST", "it is no socket");
  await refused(dir, "CONNECTION_LOST", "it is no socket");
  {
    await using _server = listen(`${dir}/garbage`, (master) => master.raw(new TextEncoder().encode("SSH-2.0-x\r\n")));
    await refused(`${dir}/garbage`, "PROTOCOL_ERROR", "no master of ssh");
  }
  {
    await using _server = listen(`${dir}/closes`, (master) => master.hangUp());
    await refused(`${dir}/closes`, "CONNECTION_LOST", "the master hung up");
  }
  // A crash leaves the file behind.
  const stale = Deno.listen({ transport: "unix", path: `${dir}/stale` });
  Deno.linkSync(`${dir}/stale`, `${dir}/left`);
  stale.close();
  await refused(`${dir}/left`, "CONNECTION_LOST", "its master is gone");
});

Deno.test({
  name: "connect({ controlPath }) does not speak to another user's socket",
  // Only root can make one.
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const path = `${scratchDir()}/foreign`;
    let came = false;
    await using _server = listen(path, async (master) => {
      came = true;
      await master.greetAndProxy();
    });
    await Deno.chown(path, 65_534, 65_534);
    const error = await assertRejects(
      () => connect({ controlPath: path }),
      SshError,
      "belongs to another user (65534)",
    );
    assertEquals(error.code, "REQUEST_DENIED");
    assert(!came);
  },
});

Deno.test("connect({ controlPath }) gives up a master that is silent, at its time limit and when it is aborted", async () => {
  const path = `${scratchDir()}/silent`;
  await using _server = listen(path, () => Promise.resolve());
  const error = await assertRejects(
    () => connect({ controlPath: path, handshakeTimeout: 20 }),
    SshError,
    "within 20 ms",
  );
  assertEquals(error.code, "CONNECTION_LOST");
  const controller = new AbortController(), reason = new Error("enough");
  const connecting = connect({ controlPath: path, signal: controller.signal, handshakeTimeout: Infinity });
  setTimeout(() => controller.abort(reason), 5);
  assertEquals(await connecting.catch((error) => error), reason);
  assertEquals(await connect({ controlPath: path, signal: controller.signal }).catch((error) => error), reason);
});

Deno.test("connect({ controlPath }) gives a client whose signal ends it, and the master's end too", async () => {
  const path = `${scratchDir()}/master`, conns: Deno.Conn[] = [];
  await using _server = listen(path, async (master, conn) => {
    conns.push(conn);
    await master.greetAndProxy();
  });
  const controller = new AbortController();
  const client = await connect({ controlPath: path, signal: controller.signal });
  client.unref();
  client.ref();
  controller.abort(new Error("enough"));
  await inTime(client.closed, "the end");
  await assertRejects(() => client.exec("x"), SshError);
  const other = await connect({ controlPath: path });
  conns[1]!.close();
  const error = await assertRejects(() => inTime(other.closed, "the end"), SshError);
  assertEquals(error.code, "CONNECTION_LOST");
});
