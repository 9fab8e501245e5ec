/**
 * What connections hold once they rest, whatever went through them before: counted by the room of the reads that wait, and by the buffers of
 * the whole process.
 *
 * @module
 */
import { assert } from "@std/assert";
import { type RemoteProcess, type SftpClient, sftpSubsystem, type SshServer } from "../../mod.ts";
import { client, startServer } from "../_support/load.ts";
import { holdings, soaking } from "../_support/resources.ts";
import { inTime, until } from "../_support/until.ts";

const CONNECTIONS = 100;
/** Bytes that each of them carries each way by each means: enough for the largest read and the largest chunk. */
const BYTES = 2 ** 20;
const PIECE = 65_536;
/** Room of a read that waits for small messages. */
const SMALL = 8_192;

/** Echoes its input, or for a number writes so many bytes. */
function served(root: string): Promise<SshServer> {
  return startServer({
    subsystems: { sftp: sftpSubsystem({ root }) },
    async handler({ command, stdin, stdout }) {
      if (command === "cat") {
        await stdin.pipeTo(stdout);
        return 0;
      }
      const writer = stdout.getWriter();
      for (let left = Number(command); left > 0; left -= PIECE) await writer.write(new Uint8Array(PIECE));
      await writer.close();
      return 0;
    },
  });
}

/** A socket that says how much room the read has that waits now. */
async function watched(port: number) {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  let room = 0, largest = 0;
  const readable = new ReadableStream({
    type: "bytes",
    async pull(controller) {
      const view = controller.byobRequest!.view! as Uint8Array<ArrayBuffer>;
      room = view.buffer.byteLength;
      largest = Math.max(largest, room);
      const read = await conn.read(view).catch(() => null);
      if (read === null) controller.close();
      controller.byobRequest!.respond(read ?? 0);
    },
    cancel: () => conn.close(),
  });
  return { transport: { readable, writable: conn.writable }, room: () => room, largest: () => largest };
}

async function drain(process: RemoteProcess): Promise<void> {
  for await (const _ of process.stdout);
  await process.status;
}

Deno.test("A client that has carried much waits with room for little: once its channels have gone, or something small has come", async () => {
  await using server = await served(".");
  const watch = await watched(server.addr.port);
  await using ssh = await client(server, { transport: watch.transport });
  for (const isOpen of [false, true]) {
    const open = isOpen ? await ssh.spawn("cat") : null, reader = open?.stdout.getReader();
    await drain(await ssh.spawn(`${BYTES}`));
    assert(watch.largest() >= 262_144, `It read ${watch.largest()} bytes at once at most`);
    if (open !== null) {
      const writer = open.stdin.getWriter();
      await writer.write(new Uint8Array(1));
      await inTime(reader!.read(), "the echo");
      await until(() => watch.room() <= 2 * SMALL, "a read with little room");
      await writer.close();
      await inTime(reader!.read(), "the echo");
      await open.status;
    }
    await until(() => watch.room() <= 2 * SMALL, "a read with little room");
  }
});

// What the process keeps for all is more than a few connections held before: it takes many to tell.
const carried =
  "Connections at rest hold nothing of what they carried, with sessions of SFTP and commands open at either end";
if (soaking) {
  Deno.test(carried, async () => {
    const root = await Deno.makeTempDir();
    try {
      await using server = await served(root);
      await using held = new AsyncDisposableStack();
      /** One connection that has carried much, and rests. */
      const rest = async (): Promise<void> => {
        const ssh = held.use(await client(server));
        await drain(await ssh.spawn(`${BYTES}`));
        const cat: RemoteProcess = await ssh.spawn("cat"),
          reader = cat.stdout.getReader(),
          writer = cat.stdin.getWriter();
        held.defer(() => writer.close());
        const writing = (async () => {
          for (let left = BYTES; left > 0; left -= PIECE) await writer.write(new Uint8Array(PIECE));
        })();
        for (let left = BYTES; left > 0;) left -= (await reader.read()).value!.length;
        await writing;
        const sftp: SftpClient = held.use(await ssh.sftp());
        await sftp.writeFile("/file", new Uint8Array(BYTES));
        await sftp.readFile("/file");
      };
      // The first ones fill what the process keeps for all.
      for (let i = 0; i < 3; i++) await rest();
      const before = await holdings();
      for (let i = 0; i < CONNECTIONS; i++) await rest();
      const each = ((await holdings()).memory - before.memory) / CONNECTIONS;
      assert(each < 524_288, `Both ends of a connection hold ${Math.round(each / 1024)} KiB`);
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  });
}

Deno.test("A connection at rest has one timer at either end, for its next keys", async () => {
  const { setTimeout, clearTimeout } = globalThis, running = new Set<unknown>();
  globalThis.setTimeout = ((call: () => void, milliseconds?: number) => {
    const id = setTimeout(() => {
      running.delete(id);
      call();
    }, milliseconds);
    running.add(id);
    return id;
  }) as unknown as typeof setTimeout;
  globalThis.clearTimeout = ((id: number) => {
    running.delete(id);
    clearTimeout(id);
  }) as typeof clearTimeout;
  try {
    await using server = await served(".");
    await using held = new AsyncDisposableStack();
    for (let count = 1; count <= 8; count++) {
      const ssh = held.use(await client(server));
      if (count % 2 === 0) await ssh.exec("1");
      await until(() => running.size === 2 * count, "timers of a login have gone");
    }
  } finally {
    globalThis.setTimeout = setTimeout;
    globalThis.clearTimeout = clearTimeout;
  }
});
