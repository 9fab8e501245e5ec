/** `session.window`: the size of a client's terminal, as it is at any moment. */
import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { serveConn, type ServerSession, Transport, type WindowSize } from "../../mod.ts";
import { Exec, PtyReq, WindowChange } from "../../lib/session/messages.ts";
import { memoryPair } from "../_support/duplex.ts";
import { join, serverOptions } from "../_support/joined.ts";
import { until } from "../_support/until.ts";

Deno.test("session.window is the terminal's size, follows resizes whether or not they are read, and stays after the end", async () => {
  const seen = Promise.withResolvers<ServerSession>();
  await using joined = await join({
    handler: async (session) => {
      seen.resolve(session);
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    },
  });
  const shell = await joined.client.shell({ pty: { columns: 100, rows: 30, width: 640, height: 480 } });
  const session = await seen.promise, first = session.window;
  assertEquals(first, { columns: 100, rows: 30, width: 640, height: 480 });
  assertStrictEquals(session.window, first);
  assert(Object.isFrozen(first));
  for (
    const size of [
      { columns: 0, rows: 0, width: 0, height: 0 },
      { columns: 0xffff_ffff, rows: 1, width: 0xffff_ffff, height: 7 },
      { columns: 81, rows: 25, width: 0, height: 0 },
    ]
  ) {
    shell.resize(size);
    // Its answer comes behind the resize.
    assertEquals(await shell.sendBreak(), false);
    assertEquals(session.window, size);
    assert(Object.isFrozen(session.window));
  }
  assertNotStrictEquals(session.window, first);
  // Nobody has read sizes meanwhile: the latest one waits there as before.
  const reader = session.resizes[Symbol.asyncIterator]();
  assertEquals((await reader.next()).value, { columns: 81, rows: 25, width: 0, height: 0 });
  await shell[Symbol.asyncDispose]();
  await until(() => session.signal.aborted, "the session did not end");
  assertEquals([session.window?.columns, (await reader.next()).done], [81, true]);
});

Deno.test("session.window is null without a terminal, and the latest size where it changed before the command", async () => {
  const windows: (Readonly<WindowSize> | null)[] = [], ptys: (number | undefined)[] = [];
  const pair = memoryPair();
  const served = serveConn(
    pair.server,
    await serverOptions({
      handler: (session) => {
        windows.push(session.window);
        ptys.push(session.pty?.columns);
      },
    }),
  ).catch((error) => error);
  await using transport = new Transport(pair.client);
  await transport.startClient();
  await transport.authPassword("alice", "wonderland");
  const change = (columns: number) => WindowChange.encode({ columns, rows: 9, width: 1, height: 2 });
  for (const asksForOne of [false, true]) {
    await using channel = await transport.openSession();
    if (!asksForOne) assertEquals(await channel.request("window-change", change(1)), false);
    else {
      const pty = PtyReq.encode({ term: "vt100", columns: 80, rows: 24, width: 0, height: 0, modes: new Uint8Array() });
      assertEquals(await channel.request("pty-req", pty), true);
      assertEquals(await channel.request("window-change", change(0)), true);
      assertEquals(await channel.request("window-change", change(0xffff_ffff)), true);
    }
    assertEquals(await channel.request("exec", Exec.encode({ command: "x" })), true);
    await channel.closed;
  }
  assertEquals(windows, [null, { columns: 0xffff_ffff, rows: 9, width: 1, height: 2 }]);
  assertEquals(ptys, [undefined, 0xffff_ffff]);
  await transport.close();
  await served;
});
