/**
 * A deadline, a lost connection and a close never look like the end of the output: whoever reads, writes or waits learns why.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import type { SshClient } from "../../lib/api/client.ts";
import { sftpSubsystem } from "../../lib/api/sftp_subsystem.ts";
import { memoryFiles } from "../../lib/files/memory/files.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { SshError } from "../../lib/errors.ts";
import type { RemoteProcess } from "../../lib/session/process.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import { memoryPair } from "../_support/duplex.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { commands, hostKey, join, say } from "../_support/joined.ts";

/** A handler that writes to both outputs until the client is gone; the signals it sees go to `signals`. */
function endless(signals: string[]): (session: ServerSession) => Promise<void> {
  return async (session) => {
    (async () => {
      for await (const signal of session.signals) signals.push(signal);
    })();
    const outputs = [session.stdout.getWriter(), session.stderr.getWriter()];
    for (;;) await Promise.all(outputs.map((output) => output.write(new Uint8Array(10_000))));
  };
}

const starts: Record<string, (client: SshClient, options: ExecOptions) => Promise<RemoteProcess>> = {
  spawn: (client, options) => client.spawn("endless", options),
  shell: (client, options) => client.shell(options),
  subsystem: (client, options) => client.subsystem("endless", options),
};

/** Reads both outputs, writes, and waits, all at once; what each comes to. */
async function useAll(process: RemoteProcess): Promise<unknown[]> {
  const writer = process.stdin.getWriter();
  const writing = (async () => {
    for (;;) await writer.write(new Uint8Array(100_000));
  })();
  const all = [new Response(process.stdout).bytes(), new Response(process.stderr).bytes(), writing, process.status];
  return await Promise.all(all.map((one) => (one as Promise<unknown>).then((value) => value, (error) => error)));
}

// D1 of the newcomer's log.
for (const [name, start] of Object.entries(starts)) {
  Deno.test(`${name}() past its deadline: streams and status reject with the signal's reason, and the process gets TERM`, async () => {
    const signals: string[] = [], handler = endless(signals);
    await using joined = await join({ handler, subsystems: { endless: handler } });
    for (const reason of [new DOMException("Signal timed out.", "TimeoutError"), "enough", null]) {
      const deadline = new AbortController();
      const process = await start(joined.client, { signal: deadline.signal });
      const using = useAll(process);
      await turns();
      deadline.abort(reason);
      assertEquals(await inTime(using, "Streams and status"), [reason, reason, reason, reason]);
      await until(() => signals.length === 1, "TERM");
      assertEquals(signals.splice(0), ["TERM"]);
      assertEquals(await process.sendBreak().then(() => "resolved", (error) => error), reason);
    }
    assertEquals(joined.errors, []);
  });
}

Deno.test("exec() and output() past a real deadline reject with its TimeoutError", async () => {
  const signals: string[] = [];
  await using joined = await join({ handler: endless(signals) });
  const { client } = joined;
  const failed = await assertRejects(() => client.exec("endless", { signal: AbortSignal.timeout(30) }), DOMException);
  assertEquals(failed.name, "TimeoutError");
  for (const ignored of [{}, { stdout: "null" }, { stdout: "null", stderr: "null" }] as const) {
    // On a busy machine the deadline may come before the start.
    const run = async () => (await client.spawn("endless", { ...ignored, signal: AbortSignal.timeout(30) })).output();
    assertEquals((await assertRejects(run, DOMException)).name, "TimeoutError");
  }
});

Deno.test("one signal for connect() and for what waits: the waits reject with its own reason, as they would alone", async () => {
  const deadline = new AbortController(),
    reason = new DOMException("Signal timed out.", "TimeoutError"),
    { signal } = deadline;
  await using joined = await join({ handler: endless([]), subsystems: { sftp: sftpSubsystem(memoryFiles()) } }, {
    signal,
  });
  const { client } = joined;
  await using sftp = await client.sftp();
  const process = await client.spawn("endless", { signal });
  const waiting = [
    client.run("endless", { signal }),
    client.run("endless", { signal: AbortSignal.any([signal]), timeout: 600_000 }),
    new Response(process.stdout).bytes(),
    process.status,
    sftp.writeFile("/x", new ReadableStream(), { signal }),
  ];
  const outcomes = Promise.all(
    waiting.map((one) => (one as Promise<unknown>).then(() => "resolved", (error) => error)),
  );
  await turns();
  deadline.abort(reason);
  assertEquals(await inTime(outcomes, "The end"), waiting.map(() => reason));
  await assertRejects(() => client.run("true"), SshError, "Connection was aborted");
});

Deno.test("what connect()'s signal ends has its reason as the cause, everywhere, and what runs gets TERM", async () => {
  const signals: string[] = [], reason = new DOMException("Signal timed out.", "TimeoutError");
  const deadline = new AbortController(), root = await Deno.makeTempDir();
  let asked = 0, started = 0;
  await using joined = await join({
    handler: (session) => {
      started++;
      return endless(signals)(session);
    },
    subsystems: {
      sftp: sftpSubsystem({ root }),
    },
  }, { signal: deadline.signal });
  const { client } = joined;
  const process = await client.spawn("endless"), raw = await client.openChannel("session");
  await raw.execCommand("endless");
  await using sftp = await client.sftp();
  const file = await sftp.open("/new", { write: true, create: true });
  const waiting: Record<string, Promise<unknown>> = {
    exec: client.exec("endless"),
    status: process.status,
    stdout: new Response(process.stdout).bytes(),
    stderr: new Response(process.stderr).bytes(),
    channel: new Response(raw.readable).bytes(),
    sftp: (async () => {
      for (;; asked++) await sftp.stat("/");
    })(),
    writing: new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(100_000)) }).pipeTo(
      file.writable,
    ),
    openChannel: (async () => {
      for (;;) {
        await client.openChannel("nobody@example.org").catch((error) => {
          if (error.code !== "CHANNEL_OPEN_FAILED") throw error;
        });
      }
    })(),
    request: (async () => {
      for (;;) {
        await client.request("nobody@example.org").catch((error) => {
          if (error.code !== "REQUEST_DENIED") throw error;
        });
      }
    })(),
  };
  const outcomes = Promise.all(
    Object.entries(waiting).map(async ([name, one]) => [name, await one.then(() => "resolved", (error) => error)]),
  );
  await until(() => asked > 0 && started === 3, "An answer, and three sessions");
  deadline.abort(reason);
  for (const [name, error] of await inTime(outcomes, "The end")) {
    assert(error === reason || (error as Error).cause === reason, `${name}: ${error}, cause ${(error as Error).cause}`);
  }
  // Three sessions ran.
  await until(() => signals.length === 3, "TERM");
  assertEquals(signals, ["TERM", "TERM", "TERM"]);
  // It was this side's own wish; what it had written and could not leave is told of all the same.
  const loss = await client.closed.then(() => null, (error) => error);
  if (loss !== null) assertEquals([loss.code, loss.cause], ["CLOSED", reason]);
  const after: Promise<unknown>[] = [client.exec("x"), client.openChannel("session"), client.sftp(), client.rekey()];
  for (const late of after) {
    const error = await assertRejects(() => late, SshError);
    assertEquals([error.code, error.cause], ["CLOSED", reason]);
  }
  assertEquals(joined.errors, []);
  await Deno.remove(root, { recursive: true });
});

Deno.test("close() and dispose while a command runs: readers get CLOSED, and not the end", async () => {
  await using joined = await join({ handler: endless([]) });
  const disposed = await joined.client.spawn("endless");
  const reading = new Response(disposed.stdout).bytes();
  await disposed[Symbol.asyncDispose]();
  assertEquals((await assertRejects(() => reading, SshError)).code, "CLOSED");
  const closed = await joined.client.spawn("endless");
  const using = useAll(closed);
  await joined.client.close();
  for (const error of await using) {
    assertInstanceOf(error, SshError);
    assertEquals(error.code, "CLOSED");
  }
});

Deno.test("a connection that is lost in the middle of output: readers and status reject with CONNECTION_LOST", async () => {
  await using joined = await join({ handler: endless([]) });
  const using = useAll(await joined.client.spawn("endless"));
  joined.pair.reset();
  for (const error of await inTime(using, "The end")) {
    assertInstanceOf(error, SshError);
    assertEquals(error.code, "CONNECTION_LOST");
  }
});

Deno.test("a server that disconnects in the middle of output: readers and status reject with DISCONNECTED", async () => {
  const stop = new AbortController(), reasons: unknown[] = [];
  await using joined = await join({
    signal: stop.signal,
    handler: async (session) => {
      session.signal.addEventListener("abort", () => reasons.push(session.signal.reason));
      await endless([])(session);
    },
  });
  const using = useAll(await joined.client.spawn("endless"));
  await turns();
  stop.abort("maintenance");
  for (const error of await inTime(using, "The end")) {
    assertInstanceOf(error, SshError);
    assertEquals(error.code, "DISCONNECTED");
  }
  // The handler learns why.
  const [reason] = reasons;
  assertInstanceOf(reason, SshError);
  assertEquals([reason.code, reason.cause], ["CLOSED", "maintenance"]);
});

Deno.test("input that a client cuts off does not look whole to the handler", async () => {
  const seen: unknown[] = [];
  await using joined = await join({
    handler: async (session) => {
      const input = await new Response(session.stdin).text().catch((error) => error);
      seen.push(input, session.signal.aborted);
    },
  });
  for (const how of ["aborted", "disposed", "ended"] as const) {
    const abort = new AbortController();
    const process = await joined.client.spawn("store", { signal: abort.signal });
    const writer = process.stdin.getWriter();
    await say(writer, "half");
    if (how === "aborted") abort.abort("enough");
    else if (how === "disposed") await process[Symbol.asyncDispose]();
    else await writer.close();
    await until(() => seen.length === 2, how);
    const [input, aborted] = seen.splice(0);
    if (how === "ended") assertEquals(input, "half");
    else {
      assertInstanceOf(input, SshError);
      assertEquals([input.code, aborted], ["CLOSED", true]);
      assertEquals(input.message, "Client closed the session before the end of its input");
    }
  }
  assertEquals(joined.errors, []);
});

Deno.test("a handler that has returned fails nobody who still reads its input", async () => {
  const left: Promise<unknown>[] = [];
  await using joined = await join({
    handler: (session) => void left.push(session.stdin.pipeTo(new WritableStream())),
  });
  const process = await joined.client.spawn("x");
  assertEquals((await process.output()).code, 0);
  assertEquals(await Promise.all(left), [undefined]);
});

Deno.test("Transport.openSession() rejects with its signal's reason, and the channel that comes too late is closed", async () => {
  const pair = memoryPair(), asked = Promise.withResolvers<void>(), decided = Promise.withResolvers<null>();
  await using client = new Transport(pair.client), server = new Transport(pair.server);
  server.addServerKey(await hostKey());
  await Promise.all([
    server.startServer({
      checkAuthPassword: () => true,
      checkChannelRequest: () => (asked.resolve(), decided.promise),
    }),
    client.startClient(),
  ]);
  await client.authPassword("alice", "wonderland");
  const abort = new AbortController();
  const opening = client.openSession({ signal: abort.signal });
  await asked.promise;
  abort.abort("enough");
  assertEquals(await opening.then(() => "opened", (error) => error), "enough");
  decided.resolve(null);
  await assertRejects(() => client.openSession(), SshError, "refused");
});

Deno.test("commands that end by themselves are whole, whatever happens afterwards", async () => {
  const abort = new AbortController();
  await using joined = await join({ handler: commands }, { signal: abort.signal });
  const process = await joined.client.spawn("bytes 100000", { signal: abort.signal });
  assertEquals((await process.status).code, 0);
  const output = await process.output();
  abort.abort("too late");
  assertEquals([output.code, output.stdout.length], [0, 100_000]);
});
