import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { memoryPair, seededBytes } from "../_support/duplex.ts";
import { until } from "../_support/until.ts";
import { join, say, text } from "../_support/joined.ts";

Deno.test("exec() collects output and exit code", async () => {
  await using joined = await join();
  const { client, errors } = joined;
  const { stdout, stderr, success, code, signal } = await client.exec("echo hello");
  assertEquals([text(stdout), text(stderr)], ["hello\n", ""]);
  assertEquals([success, code, signal], [true, 0, null]);
  for (const code of [1, 255, 256, 0xffff_ffff]) {
    const { success, code: got } = await client.exec(`exit ${code}`);
    assertEquals([success, got], [false, code]);
  }
  assertEquals(errors, []);
});

Deno.test("exec() gets what was written behind the end of the other output", async () => {
  await using joined = await join();
  const { stdout, stderr, code } = await joined.client.exec("stderr");
  assertEquals([text(stdout), text(stderr), code], ["out", "err", 3]);
});

Deno.test("exec() refuses a stdin that nobody could write to", async () => {
  await using joined = await join();
  await assertRejects(() => joined.client.exec("cat", { stdin: "piped" }), TypeError, "spawn()");
  assertEquals((await joined.client.exec("cat")).code, 0);
});

Deno.test("exec() runs many commands at a time on one connection, each with its own output", async () => {
  await using joined = await join();
  const outputs = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => text((await joined.client.exec(`echo ${i}`)).stdout)),
  );
  assertEquals(outputs, Array.from({ length: 10 }, (_, i) => `${i}\n`));
});

Deno.test("exec() rejects with REQUEST_DENIED where there is no handler, without the command in the message", async () => {
  await using joined = await join({ handler: undefined as never });
  const error = await assertRejects(() => joined.client.exec("login secret"), SshError);
  assertEquals([error.code, error.message], ["REQUEST_DENIED", "Cannot start command: the server refused it"]);
  await assertRejects(() => joined.client.shell(), SshError, "shell");
});

Deno.test("a handler that throws ends in exit code 1, and `onError` is told", async () => {
  await using joined = await join();
  assertEquals((await joined.client.exec("throw")).code, 1);
  assertEquals(joined.errors.map(String), ["Error: the handler failed"]);
});

Deno.test("a handler's impossible exit code ends in 1, and `onError` is told", async () => {
  await using joined = await join();
  for (const code of ["-1", "1.5", "NaN", "4294967296"]) {
    assertEquals((await joined.client.exec(`exit ${code}`)).code, 1);
  }
  assertEquals(joined.errors.length, 4);
  for (const error of joined.errors) assertInstanceOf(error, RangeError);
});

Deno.test("session.exit() ends with a code or a signal, and the handler's own result counts for nothing", async () => {
  const wrong: unknown[] = [];
  const joined = await join({
    handler: async (session) => {
      const writer = session.stdout.getWriter();
      writer.write(new Uint8Array(100_000));
      assertThrows(() => session.exit(-1), RangeError);
      assertThrows(() => session.exit({ signal: "../" }), TypeError);
      await session.exit(session.command === "code" ? 9 : { signal: "SIGKILL", message: "out of memory" });
      await session.exit(10);
      wrong.push(session.signal.aborted);
      return 11;
    },
  });
  const code = await joined.client.exec("code");
  assertEquals([code.code, code.signal, code.stdout.length], [9, null, 100_000]);
  const signal = await joined.client.exec("signal");
  assertEquals([signal.success, signal.code, signal.signal, signal.stdout.length], [false, null, "KILL", 100_000]);
  await joined[Symbol.asyncDispose]();
  assertEquals(wrong, [true, true]);
});

for (const window of [1000, 2 ** 21]) {
  Deno.test(`a handler's unawaited writes all arrive before the exit code with a window of ${window} bytes`, async () => {
    const out = seededBytes(400_000, 1), err = seededBytes(200_000, 2);
    await using joined = await join({
      handler: (session) => {
        const writers = [session.stdout.getWriter(), session.stderr.getWriter()] as const;
        for (let i = 0; i < 400_000; i += 40_000) writers[0].write(out.subarray(i, i + 40_000)).catch(() => {});
        for (let i = 0; i < 200_000; i += 10_000) writers[1].write(err.subarray(i, i + 10_000)).catch(() => {});
        return 5;
      },
    }, { window });
    const { stdout, stderr, code } = await joined.client.exec("write");
    assertEquals([stdout.length, stderr.length, code], [out.length, err.length, 5]);
    assert(stdout.every((byte, i) => byte === out[i]) && stderr.every((byte, i) => byte === err[i]));
  });
}

Deno.test("the server sends data, EOF, exit-status, CLOSE in this order", async () => {
  const types: number[] = [];
  await using joined = await join({}, {
    trace: ({ event, detail }) => event === "received" && types.push(Number(detail.type)),
  });
  await joined.client.exec("echo hello");
  // The status is enough for exec(): CLOSE may come later.
  await until(() => types.includes(97), "No CLOSE came");
  const [open, reply, data, eof, status, close] = [91, 99, 94, 96, 98, 97];
  assertEquals(types.filter((type) => type >= 91 && type !== 93), [open, reply, data, eof, status, close]);
});

Deno.test("the server sends EOF, the status, CLOSE in this order where nothing was written", async () => {
  const handlers: Record<string, (session: ServerSession) => number | void | Promise<number | void>> = {
    "returns nothing": () => {},
    "returns a code": () => 3,
    "returns a code later": () => new Promise((resolve) => setTimeout(resolve, 1, 3)),
    "throws": () => {
      throw new Error("the handler failed");
    },
    "ends early": (session) => void session.exit(3),
    "ends by a signal": (session) => void session.exit({ signal: "TERM" }),
    "looks at its outputs": (session) => void [session.stdout, session.stderr],
    "closes its outputs": async (session) => {
      await session.stderr.close();
      await session.stdout.close();
    },
    "writes no bytes": async (session) => {
      await session.stdout.getWriter().write(new Uint8Array(0));
    },
  };
  for (const [name, handler] of Object.entries(handlers)) {
    const types: number[] = [], closed = Promise.withResolvers<void>();
    await using joined = await join({ handler }, {
      trace: ({ event, detail }) => {
        if (event !== "received") return;
        types.push(Number(detail.type));
        if (detail.type === 97) closed.resolve();
      },
    });
    await joined.client.exec("x");
    await closed.promise;
    const [open, reply, eof, status, close] = [91, 99, 96, 98, 97];
    assertEquals(types.filter((type) => type >= 91 && type !== 93), [open, reply, eof, status, close], name);
  }
});

Deno.test("spawn() gives streams both ways, and a pair for pipeThrough()", async () => {
  await using joined = await join();
  const data = seededBytes(3_000_000);
  await using process = await joined.client.spawn("cat");
  const [back] = await Promise.all([
    new Response(process.stdout).bytes(),
    new Blob([data]).stream().pipeTo(process.stdin),
  ]);
  assertEquals(back.length, data.length);
  assert(back.every((byte, i) => byte === data[i]));
  assertEquals(await process.status, { success: true, code: 0, signal: null });
  const piped = new Blob(["piped"]).stream().pipeThrough(await joined.client.spawn("cat"));
  assertEquals(await new Response(piped).text(), "piped");
});

Deno.test("spawn() with null outputs throws them away and does not stall", async () => {
  await using joined = await join({}, { window: 32_768 });
  await using process = await joined.client.spawn("bytes 2000000", { stdout: "null", stderr: "null" });
  const { code, stdout, stderr } = await process.output();
  assertEquals([code, stdout.length, stderr.length], [0, 0, 0]);
});

Deno.test("env reaches the handler, bounded in number and size, and without a prototype", async () => {
  await using joined = await join({
    handler: async ({ env, stdout }) => void await say(stdout.getWriter(), JSON.stringify(env)),
  });
  // What a shell is not given by the server, it is not given at all.
  const env = async (env: Record<string, string>): Promise<Record<string, string>> =>
    JSON.parse((await (await joined.client.shell({ env, stdin: "null" })).output()).text());
  assertEquals(await env({ LANG: "C", EMPTY: "", "ü": "ö" }), { LANG: "C", EMPTY: "", "ü": "ö" });
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`V${i}`, "x"]));
  assertEquals(Object.keys(await env(many)).length, 128);
  assertEquals(await env({ BIG: "x".repeat(33_000), "a=b": "c", OK: "1" }), { OK: "1" });
  const odd = await env(JSON.parse('{"__proto__": "p", "constructor": "c"}'));
  assertEquals(Object.entries(odd), [["__proto__", "p"], ["constructor", "c"]]);
  await assertRejects(() => joined.client.exec("env", { env: { A: "b\0c" } }), TypeError, "NUL");
});

Deno.test("subsystem() starts what the server has under that name, and nothing of a prototype", async () => {
  const seen: (string | null)[] = [];
  await using joined = await join({
    subsystems: {
      upper: async (session: ServerSession) => {
        seen.push(session.subsystem, session.command);
        await say(session.stdout.getWriter(), (await new Response(session.stdin).text()).toUpperCase());
      },
    },
  });
  await using upper = await joined.client.subsystem("upper");
  const writer = upper.stdin.getWriter();
  await say(writer, "hello");
  await writer.close();
  assertEquals(text((await upper.output()).stdout), "HELLO");
  assertEquals(seen, ["upper", null]);
  for (const name of ["nope", "constructor", "__proto__", "toString"]) {
    const error = await assertRejects(() => joined.client.subsystem(name), SshError, `"${name}"`);
    assertEquals(error.code, "REQUEST_DENIED");
  }
});

Deno.test("shell() with a terminal tells its type, size and modes, and only the latest unread size", async () => {
  const go = Promise.withResolvers<void>();
  await using joined = await join({
    handler: async (session) => {
      const writer = session.stdout.getWriter();
      await say(writer, JSON.stringify(session.pty));
      await go.promise;
      for await (const size of session.resizes) {
        await say(writer, JSON.stringify(size));
        if (size.rows === 99) break;
      }
    },
  });
  await using shell = await joined.client.shell({ pty: { term: "vt100", columns: 100, rows: 30, modes: { ECHO: 0 } } });
  const reader = shell.stdout.getReader();
  assertEquals(JSON.parse(text((await reader.read()).value!)), {
    term: "vt100",
    columns: 100,
    rows: 30,
    width: 0,
    height: 0,
    modes: { ECHO: 0 },
  });
  for (let rows = 1; rows < 50; rows++) shell.resize({ columns: 80, rows });
  // An answered request behind the resizes: they have all been taken when it is back.
  assertEquals(await shell.sendBreak(), false);
  go.resolve();
  assertEquals(JSON.parse(text((await reader.read()).value!)), { columns: 80, rows: 49, width: 0, height: 0 });
  shell.resize({ columns: 80, rows: 99, width: 0xffff_ffff });
  assertEquals(JSON.parse(text((await reader.read()).value!)).width, 0xffff_ffff);
  assertEquals((await shell.status).code, 0);
  shell.resize({ columns: 1, rows: 1 });
  assertThrows(() => shell.resize({ columns: -1, rows: 1 }), RangeError);
});

Deno.test("exec() with a terminal takes defaults, and without one the handler sees none", async () => {
  const seen: unknown[] = [];
  await using joined = await join({ handler: (session) => void seen.push(session.pty) });
  await joined.client.exec("x", { pty: true });
  await joined.client.exec("x", { pty: false });
  await joined.client.exec("x");
  assertEquals(seen, [{ term: "xterm-256color", columns: 80, rows: 24, width: 0, height: 0, modes: {} }, null, null]);
  await assertRejects(() => joined.client.exec("x", { pty: { modes: { NOPE: 1 } } }), TypeError, "NOPE");
});

Deno.test("kill() and sendBreak() reach the handler", async () => {
  const seen: unknown[] = [];
  await using joined = await join({
    handler: async (session) => {
      (async () => {
        for await (const length of session.breaks) seen.push(length);
      })();
      await say(session.stdout.getWriter(), "ready");
      for await (const signal of session.signals) {
        seen.push(signal);
        if (signal === "INT") break;
      }
      return 7;
    },
  });
  await using process = await joined.client.spawn("wait");
  await process.stdout.getReader().read();
  process.kill();
  process.kill("SIGUSR1");
  assertEquals(await process.sendBreak(500), true);
  process.kill("INT");
  assertEquals((await process.status).code, 7);
  assertEquals(seen.toSorted(), [500, "INT", "TERM", "USR1"]);
  process.kill();
  assertThrows(() => process.kill("no signal"), TypeError);
});

Deno.test("only one exec, shell or subsystem runs on a channel", async () => {
  let runs = 0;
  await using joined = await join({
    handler: async (session) => {
      runs++;
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    },
  });
  await using channel = await joined.client.openChannel("session");
  await channel.execCommand("one");
  for (
    const again of [() => channel.execCommand("two"), () => channel.invokeShell(), () => channel.invokeSubsystem("x")]
  ) {
    await assertRejects(again, SshError, "refused");
  }
  await assertRejects(() => channel.getPty(), SshError, "refused");
  assertEquals(await channel.setEnvironmentVariable("A", "b"), false);
  assertEquals(runs, 1);
});

Deno.test("malformed and oversized session requests are refused, and the session goes on", async () => {
  await using joined = await join();
  await using channel = await joined.client.openChannel("session");
  const bad: [string, Uint8Array][] = [
    ["pty-req", new Uint8Array([0, 0, 0, 1])],
    ["pty-req", new Uint8Array([0, 0, 0, 1, 65, ...new Array(16).fill(0), 0, 0, 0, 3, 53, 0, 0])],
    ["exec", new Uint8Array([0, 0, 0, 9, 65])],
    ["exec", new Uint8Array([0, 0, 0, 2, 65, 0])],
    ["shell", new Uint8Array([1])],
    ["window-change", new Uint8Array(16)],
    ["signal", new Uint8Array([0, 0, 0, 3, 0x2e, 0x2e, 0x2f])],
    ["signal", new Uint8Array([0, 0, 0, 4, 0x54, 0x45, 0x52, 0x4d])],
    ["x11-req", new Uint8Array(20)],
    ["auth-agent-req@openssh.com", new Uint8Array(0)],
    ["nobody@example.org", new Uint8Array(1000)],
  ];
  for (const [name, data] of bad) assertEquals(await channel.request(name, data), false, name);
  await channel.execCommand("echo fine");
  assertEquals(await new Response(channel.readable).text(), "fine\n");
  assertEquals((await channel.exitStatus).code, 0);
});

Deno.test("extended data for a session is thrown away and credited", async () => {
  await using joined = await join({ window: 40_000 });
  await using channel = await joined.client.openChannel("session");
  await channel.execCommand("cat");
  const writer = channel.stderrWritable.getWriter();
  for (let i = 0; i < 20; i++) await writer.write(new Uint8Array(10_000));
  const stdin = channel.writable.getWriter();
  await say(stdin, "still here");
  await stdin.close();
  assertEquals(await new Response(channel.readable).text(), "still here");
});

Deno.test("exec() works in chunks of one byte", async () => {
  await using joined = await join({}, {}, memoryPair({ chunks: "bytes" }));
  assertEquals(text((await joined.client.exec("echo hello")).stdout), "hello\n");
});

Deno.test("a reader that asks for more than is left gets the rest, as from a socket", async () => {
  await using joined = await join();
  for (const [bytes, size] of [[100, 96], [5, 200], [70_000, 65_536], [96, 96]] as const) {
    await using process = await joined.client.spawn(`bytes ${bytes}`);
    const reader = process.stdout.getReader({ mode: "byob" });
    let left: number = bytes;
    for (let done = false; !done;) {
      const result = await reader.read(new Uint8Array(size), { min: size });
      ({ done } = result);
      assertEquals(result.value?.length, Math.min(left, size));
      left -= result.value!.length;
    }
    assertEquals(left, 0);
  }
});
