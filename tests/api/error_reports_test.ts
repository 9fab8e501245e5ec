// deno-lint-ignore-file no-console -- it is what these tests are about
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  password,
  serve,
  serveConn,
  type ServeConnOptions,
  type ServerSession,
  sftpSubsystem,
  type SshClient,
  SshError,
} from "../../mod.ts";
import { errorReports } from "../../lib/api/error_reports.ts";
import { memoryPair } from "../_support/duplex.ts";
import { turns, until } from "../_support/until.ts";
import { hostKey, login, serverOptions, text } from "../_support/joined.ts";

/** What is written to the console meanwhile. */
async function printed(act: (lines: unknown[][]) => Promise<void>): Promise<unknown[][]> {
  const lines: unknown[][] = [], real = console.error;
  console.error = (...args: unknown[]) => void lines.push(args);
  try {
    await act(lines);
    await turns();
  } finally {
    console.error = real;
  }
  return lines;
}

/** Both facades: `serve()` on loopback, and `serveConn()` in memory. */
const facades: [name: string, join: (options: Partial<ServeConnOptions>) => Promise<Joined>][] = [
  ["serve()", async (options) => {
    const server = serve({ ...await serverOptions(options), hostname: "127.0.0.1", port: 0 });
    return {
      connect: (extra = {}) => connect({ hostname: "127.0.0.1", port: server.addr.port, ...login, ...extra }),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  }],
  ["serveConn()", async (options) => {
    const all = await serverOptions(options), serving: Promise<unknown>[] = [];
    return {
      connect: (extra = {}) => {
        const pair = memoryPair();
        serving.push(serveConn(pair.server, all).catch(() => {}));
        return connect({ hostname: "test.invalid", transport: pair.client, ...login, ...extra });
      },
      [Symbol.asyncDispose]: async () => void await Promise.all(serving),
    };
  }],
];

interface Joined extends AsyncDisposable {
  connect(extra?: { auth?: ReturnType<typeof password>[] }): Promise<SshClient>;
}

const bug = new Error("my bug");
const fail = () => {
  throw bug;
};

for (const [name, join] of facades) {
  // D2.
  Deno.test(`${name} without onError writes what handlers and logins throw to the console, as Deno.serve does`, async () => {
    const lines = await printed(async (lines) => {
      {
        await using server = await join({ handler: fail, subsystems: { mine: fail } });
        await using client = await server.connect();
        assertEquals((await client.exec("x")).code, 1);
        assertEquals(lines, [[bug]]);
        await using channel = await client.subsystem("mine");
        await new Response(channel.readable).bytes().catch(() => {});
        await until(() => lines.length === 2, "The error of the subsystem");
      }
      for (const auth of [{ password: fail }, { none: fail, password: () => true }]) {
        await using server = await join({ auth });
        await server.connect().then((client) => client.close(), () => {});
      }
    });
    assertEquals(lines, [[bug], [bug], [bug], [bug]]);
  });

  Deno.test(`${name} with onError writes nothing`, async () => {
    const errors: unknown[] = [];
    const lines = await printed(async () => {
      await using server = await join({ handler: fail, onError: (error) => errors.push(error) });
      await using client = await server.connect();
      await client.exec("x");
    });
    assertEquals([lines, errors], [[], [bug]]);
  });

  Deno.test(`${name} without onError writes nothing of what a client does wrong, or of its leaving`, async () => {
    const lines = await printed(async () => {
      const sftp = sftpSubsystem({ root: "." });
      await using server = await join({
        handler: async (session) => void await session.stdin.pipeTo(session.stdout),
        subsystems: { sftp },
      });
      await assertRejects(() => server.connect({ auth: [password("wrong")] }), SshError);
      const client = await server.connect();
      await using channel = await client.subsystem("sftp");
      const writer = channel.writable.getWriter();
      await writer.write(new Uint8Array([0, 0, 0, 1, 200])).catch(() => {});
      await new Response(channel.readable).bytes().catch(() => {});
      await client.spawn("x");
      await client.close();
    });
    assertEquals(lines, []);
  });

  Deno.test(`${name} neutralizes what could steer a terminal in the errors that it writes`, async () => {
    const lines = await printed(async () => {
      await using server = await join({
        handler: ({ command }: ServerSession) => {
          throw new Error(`No command ${command}`);
        },
      });
      await using client = await server.connect();
      await client.exec("\x1b]0;owned\x07\x9b2J\u202e");
    });
    assertEquals(lines.length, 1);
    const [line] = lines[0]!;
    assert(typeof line === "string" && line.includes("No command \ufffd]0;owned\ufffd"), String(line));
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/.test(line), line);
  });
}

Deno.test("serve() without onError writes nothing of those who scan its port, and what onListen and host keys throw", async () => {
  const key = await hostKey();
  let broken = false;
  const lines = await printed(async (lines) => {
    await using server = serve({
      ...await serverOptions(),
      hostname: "127.0.0.1",
      port: 0,
      onListen: fail,
      hostKeys: [{
        publicKey: key.publicKey,
        algorithms: key.algorithms,
        sign: (data, algorithm) => broken ? Promise.reject(bug) : key.sign(data, algorithm),
      }],
    });
    await until(() => lines.length === 1, "What onListen threw");
    for (const greeting of ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", ""]) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
      await conn.write(new TextEncoder().encode(greeting));
      if (greeting !== "") await conn.read(new Uint8Array(100));
      conn.close();
    }
    const dial = () => connect({ hostname: "127.0.0.1", port: server.addr.port, ...login });
    await using client = await dial();
    assertEquals(text((await client.exec("echo x")).stdout), "x\n");
    assertEquals(lines, [[bug]]);
    broken = true;
    await assertRejects(dial, SshError);
    await until(() => lines.length === 2, "What the host key's signer threw");
  });
  const [error] = lines[1]!;
  assert(
    error instanceof SshError && error.message.includes("its signer failed") && error.cause === bug,
    String(error),
  );
});

Deno.test("serve() without onError lives through errors that cannot be shown", async () => {
  const lines = await printed(async () => {
    await using server = serve({
      ...await serverOptions(),
      hostname: "127.0.0.1",
      port: 0,
      handler: () => {
        throw new Proxy({}, { get: fail, getPrototypeOf: fail, ownKeys: fail });
      },
    });
    await using client = await connect({ hostname: "127.0.0.1", port: server.addr.port, ...login });
    assertEquals((await client.exec("x")).code, 1);
    assertEquals((await client.exec("x")).code, 1);
  });
  assertEquals(lines.length, 2);
});

Deno.test("errors are printed where Deno is not there, and nothing in them steers a terminal", async () => {
  const deno = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
  // Deno's own makes itself at first use, which takes Deno.
  const { process } = globalThis as unknown as { process: { getBuiltinModule(name: string): unknown } };
  process.getBuiltinModule("node:util");
  const node = Object.getOwnPropertyDescriptor(globalThis, "process")!;
  const evil = new Error("\x1b[2J gone", { cause: "\x1b]0;title\x07" });
  for (const isNode of [true, false]) {
    const lines = await printed(() => {
      Object.defineProperty(globalThis, "Deno", { configurable: true, value: undefined });
      if (!isNode) Object.defineProperty(globalThis, "process", { configurable: true, value: undefined });
      try {
        const { program } = errorReports(undefined);
        program(bug);
        program("a text");
        program(evil);
      } finally {
        Object.defineProperty(globalThis, "Deno", deno);
        Object.defineProperty(globalThis, "process", node);
      }
      return Promise.resolve();
    });
    assertEquals(lines.length, 3);
    assertEquals(lines[0], [bug]);
    const [line] = lines[2]!;
    // deno-lint-ignore no-control-regex
    assert(typeof line === "string" && line.includes("gone") && !/[\x1b\x07]/.test(line), String(line));
  }
});
