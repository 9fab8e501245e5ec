/**
 * `connect({ controlPath })` with whatever may be at the path.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { Agent } from "../../lib/keys/types.ts";
import { connect } from "../../lib/api/client.ts";
import { ControlLender } from "../../lib/api/control_lender.ts";
import { SshError } from "../../lib/errors.ts";
import { scratchDir } from "../_support/keys.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Master, RawMaster } from "../_support/raw_master.ts";
import { inTime, until } from "../_support/until.ts";

function existsSync(path: string): boolean {
  try {
    Deno.lstatSync(path.slice(0, path.lastIndexOf("/")));
    return true;
  } catch {
    return false;
  }
}

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

/** A master that lets in, and answers each request for a forward with what it is given; `forwards` are those it has, by their targets. */
async function lending(answer: (master: RawMaster, id: number) => Promise<void>) {
  const path = `${scratchDir()}/master`, forwards: string[] = [], closed: string[] = [];
  const listening = listen(path, async (master) => {
    await master.say([Master.HELLO, 4]);
    await master.receive();
    const request = await master.receive();
    if (request === null) return;
    const reader = new Reader(request), type = reader.u32(), id = reader.u32();
    if (type === 0x1000_000f) return await master.say([Master.PROXIED, id]);
    assertEquals(reader.u32(), 2);
    const host = reader.text(), port = reader.u32(), to = reader.text();
    assertEquals(reader.u32(), 0xffff_fffe);
    const forward = `${host} ${port} ${to}`;
    if (type === 0x1000_0007) {
      closed.push(forward);
      return await master.say([Master.OK, id]);
    }
    forwards.push(forward);
    await answer(master, id);
  });
  return { client: await connect({ controlPath: path }), forwards, closed, listening };
}

Deno.test("listen() through a master gives the port that it says, connections from there, and takes it back", async () => {
  const { client, forwards, closed, listening } = await lending((master, id) => master.say([Master.PORT, id, 4022]));
  await using _listening = listening;
  await using _client = client;
  const listener = await client.listen({ hostname: "", port: 0 });
  assertEquals(listener.addr, { transport: "tcp", hostname: "", port: 4022 });
  const [host, port, path] = forwards[0]!.split(" ") as [string, string, string];
  // What an empty address is to a server.
  assertEquals([host, port], ["*", "0"]);
  assertEquals(Deno.statSync(path.slice(0, path.lastIndexOf("/"))).mode! & 0o077, 0);
  const socket = await Deno.connect({ transport: "unix", path });
  const conn = await listener.accept();
  assertEquals(conn.remoteAddr, { transport: "tcp", hostname: "", port: 0 });
  for (const wrong of [5, "x", null] as unknown as Uint8Array[]) {
    await assertRejects(() => conn.read(wrong), TypeError);
    await assertRejects(() => conn.write(wrong), TypeError);
  }
  // Each way of reading and writing, and the end of one direction.
  await socket.write(new TextEncoder().encode("ab"));
  assertEquals(await conn.read(new Uint8Array(1)), 1);
  const reader = conn.readable.getReader({ mode: "byob" });
  assertEquals((await reader.read(new Uint8Array(5))).value!.length, 1);
  await socket.closeWrite();
  assertEquals((await reader.read(new Uint8Array(5))).done, true);
  reader.releaseLock();
  assertEquals(await conn.read(new Uint8Array(5)), null);
  const writer = conn.writable.getWriter();
  await writer.write(new TextEncoder().encode("c"));
  writer.releaseLock();
  await conn.write(new TextEncoder().encode("d"));
  await conn.closeWrite();
  await conn.closeWrite();
  await conn.closed;
  assertEquals(await new Response(socket.readable).text(), "cd");
  await listener.close();
  await listener.close();
  assertEquals(closed, [forwards[0]]);
  assert(!existsSync(path));
});

Deno.test("a connection from a master's forward ends with the client, and with its own peer", async () => {
  const { client, forwards, listening } = await lending((master, id) => master.say([Master.OK, id]));
  await using _listening = listening;
  const listener = await client.listen({ port: 4022 });
  const path = forwards[0]!.split(" ")[2]!;
  assertEquals(forwards[0], `localhost 4022 ${path}`);
  await using first = await Deno.connect({ transport: "unix", path });
  const one = await listener.accept();
  const second = await Deno.connect({ transport: "unix", path });
  const two = await listener.accept();
  second.close();
  assertEquals(await new Response(two.readable).text(), "");
  const waiting = one.readable.getReader().read();
  await client.close();
  await assertRejects(() => inTime(waiting, "the end"), SshError);
  await one.closed;
  await assertRejects(() => one.write(new Uint8Array(1)), SshError);
  await two.close();
  await listener.close();
  // Nothing more is asked of the master for a client that has ended.
  for (const ask of [() => client.listen({ port: 1 }), () => client.forwardRemote({ port: 1 }, { port: 1 })]) {
    await assertRejects(ask, SshError, "Connection is closed");
  }
  assertEquals(forwards.length, 1);
  void first;
});

Deno.test("a client through a master lends no agent and no display: the server's channels go to the master", async () => {
  const { client, listening } = await lending(() => Promise.resolve());
  await using _listening = listening;
  await using _client = client;
  await assertRejects(
    () => client.exec("x", { x11: { display: ":99", cookie: "00".repeat(16) } }),
    SshError,
    'Cannot take "x11" channels of the server',
  );
  const agent = { signers: () => Promise.resolve([]), [Symbol.asyncDispose]: () => Promise.resolve() } as Agent;
  await assertRejects(() => client.exec("x", { agent }), TypeError, "Cannot lend an agent through `controlPath`");
});

Deno.test("listen() through a master tells what it refuses, and believes no port that it makes up", async () => {
  for (
    const [numbers, more, code, text] of [
      [[Master.DENIED, 0], "Permission denied", "REQUEST_DENIED", '"Permission denied"'],
      [[Master.FAILURE, 0], "Port forwarding failed", "REQUEST_DENIED", '"Port forwarding failed"'],
      [[Master.PORT, 0, 0, 0], undefined, "PROTOCOL_ERROR", "no master of ssh"],
      [[Master.PORT, 0, 0x1_0000], undefined, "PROTOCOL_ERROR", "says that it is port 65536"],
      [[Master.PORT, 0], undefined, "PROTOCOL_ERROR", "no master of ssh"],
      [[Master.OK, 1], undefined, "PROTOCOL_ERROR", "to request 1"],
      [[Master.OK, 0], undefined, "PROTOCOL_ERROR", "does not say which port"],
    ] as const
  ) {
    const { client, forwards, listening } = await lending((master) => master.say(numbers, more));
    await using _listening = listening;
    await using _client = client;
    for (const ask of [() => client.listen({ port: 0 }), () => client.forwardRemote({ port: 0 }, { port: 1 })]) {
      const error = await assertRejects(ask, SshError);
      assertStringIncludes(error.message, text);
      assertEquals(error.code, code);
    }
    for (const forward of forwards) assert(!existsSync(forward.split(" ")[2]!));
  }
});

Deno.test("listen() through a master that is aborted takes back what the master grants too late", async () => {
  const granted = Promise.withResolvers<void>();
  const { client, forwards, closed, listening } = await lending(async (master, id) => {
    await granted.promise;
    await master.say([Master.OK, id]);
  });
  await using _listening = listening;
  await using _client = client;
  const controller = new AbortController(), reason = new Error("enough");
  const asking = client.listen({ port: 4022, signal: controller.signal });
  await until(() => forwards.length === 1, "it is asked for");
  controller.abort(reason);
  assertEquals(await asking.catch((error) => error), reason);
  granted.resolve();
  await until(() => closed.length === 1, "it is taken back");
  assertEquals(closed, forwards);
});

Deno.test("listen() through a master tells a runtime that is not Deno what it takes", async () => {
  const lender = new ControlLender("/nowhere"), deno = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
  let listening: Promise<unknown>;
  try {
    Object.defineProperty(globalThis, "Deno", { ...deno, value: undefined });
    listening = lender.listen({ hostname: "localhost", port: 0 }, undefined);
  } finally {
    Object.defineProperty(globalThis, "Deno", deno);
  }
  await assertRejects(
    () => listening,
    TypeError,
    "that takes Deno, and this runtime is another; a connection of its own",
  );
});
