import { assertEquals, assertRejects } from "@std/assert";
import {
  ChannelClose,
  ChannelEof,
  ChannelFailure,
  ChannelOpen,
  ChannelOpenFailure,
  ChannelRequest,
  ChannelSuccess,
} from "../../lib/connection/messages.ts";
import { SshDisconnectError, SshError } from "../../lib/errors.ts";
import { ExitStatusRequest, Signal } from "../../lib/session/messages.ts";
import { outputOf, type ProcessStart, type RemoteProcess, startProcess } from "../../lib/session/process.ts";
import { terminateAll } from "../../lib/session/client_session.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import {
  confirmation,
  data,
  extendedData,
  fakeMux,
  type FakeTransport,
  type PeerWindow,
  request,
  settle,
  stateOf,
  text,
} from "../_support/fake_transport.ts";
import { countedSignal } from "../_support/counted_signal.ts";

const success = ChannelSuccess.encode({ recipient: 0 });
const failure = ChannelFailure.encode({ recipient: 0 });
const eof = ChannelEof.encode({ recipient: 0 });
const close = ChannelClose.encode({ recipient: 0 });
const exit = (code: number): Bytes => request(0, "exit-status", false, ExitStatusRequest.encode({ code }));

const command: ProcessStart = { kind: "exec", command: "x" };

/** Asks for a process; the server opens the channel and answers nothing yet. */
async function asked(
  start: ProcessStart = command,
  options: ExecOptions = {},
  peer: PeerWindow = {},
): Promise<{ transport: FakeTransport; starting: Promise<RemoteProcess>; mux: ReturnType<typeof fakeMux>["mux"] }> {
  const { transport, mux } = fakeMux();
  const starting = startProcess(mux, start, options);
  starting.catch(() => {});
  await settle();
  const { sender } = ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
  assertEquals(sender, 0);
  transport.receive(confirmation(0, peer));
  await settle();
  return { transport, mux, starting };
}

/** Names of what has been sent: requests by their own. */
function said(payloads: readonly Uint8Array[]): (string | number)[] {
  return payloads.map((payload) =>
    payload[0] === Msg.CHANNEL_REQUEST ? ChannelRequest.decode(payload).name : payload[0]!
  );
}

Deno.test("startProcess() that waits for room of a server's sessions ends with its signal", async () => {
  const { transport, mux } = fakeMux(), counted = countedSignal();
  const asked = Promise.withResolvers<void>();
  const starting = startProcess(mux, command, { signal: counted.signal }, {
    // Sessions that are given up may end late, or never.
    giveRoom: () => {
      asked.resolve();
      return new Promise<boolean>(() => {});
    },
  });
  await settle();
  const { sender: recipient } = ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
  transport.receive(ChannelOpenFailure.encode({ recipient, reason: 2, description: "open failed", language: "" }));
  await asked.promise;
  const reason = new Error("enough");
  counted.abort(reason);
  assertEquals(await starting.then(() => null, (error) => error), reason);
  await counted.released();
});

Deno.test("startProcess() lets go of its signal where the channel ends as soon as it is open", async () => {
  for (const how of ["closed", "lost"] as const) {
    const { transport, mux } = fakeMux();
    const counted = countedSignal();
    const starting = startProcess(mux, { kind: "exec", command: "x" }, { signal: counted.signal });
    starting.catch(() => {});
    await settle();
    const { sender } = ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
    // Both come before anybody could have looked at the open channel.
    transport.receive(confirmation(sender), ...how === "closed" ? [ChannelClose.encode({ recipient: sender })] : []);
    if (how === "lost") transport.finish(new SshError("gone", { code: "CONNECTION_LOST" }));
    await assertRejects(() => starting, SshError);
    assertEquals(counted.listeners, 0);
  }
});

// C7: phpseclib #1631, shhhbb #11.
Deno.test("a command whose server never answers CHANNEL_SUCCESS gives its output and code", async () => {
  for (const pty of [false, true]) {
    for (const [out, code] of [["out", 0], ["out", 3], ["", 0], ["", 7]] as const) {
      const { transport, starting } = await asked(command, { pty, stdin: "null" });
      transport.receive(...out === "" ? [] : [data(0, out)], exit(code), eof, close);
      const output = await (await starting).output();
      assertEquals([text(output.stdout), output.code, output.success], [out, code, code === 0]);
      assertEquals(transport.end, null);
    }
  }
});

Deno.test("a shell, a command and a subsystem that speak without CHANNEL_SUCCESS have started", async () => {
  const starts: ProcessStart[] = [{ kind: "shell" }, command, { kind: "subsystem", name: "netconf" }];
  const speech = { stdout: data(0, "router> "), stderr: extendedData(0, 1, "router> ") };
  for (const start of starts) {
    for (const [stream, message] of Object.entries(speech)) {
      for (const ignored of [{}, { stdout: "null", stderr: "null" }] as const) {
        const { transport, starting } = await asked(start, ignored);
        assertEquals(await stateOf(starting), "pending");
        transport.receive(message);
        const process = await starting;
        if (ignored.stdout === undefined) {
          const { value } = await process[stream as "stdout" | "stderr"].getReader().read();
          assertEquals(text(value!), "router> ");
        }
        // The answer may still come.
        transport.receive(success);
        assertEquals(await stateOf(process.status), "pending");
      }
    }
  }
});

Deno.test("a terminal that nobody answers for is taken as given when the shell speaks", async () => {
  const { transport, starting } = await asked({ kind: "shell" }, { pty: true });
  // The one answer of a server that knows no pty-req.
  transport.receive(success, data(0, "$ "));
  assertEquals(await stateOf((await starting).status), "pending");
});

Deno.test("a command that is refused stays refused, whatever the server sends behind it", async () => {
  const behind = [[], [data(0, "usage")], [exit(1), eof, close], [close], [eof]];
  for (const [pty, answers] of [[false, [failure]], [true, [success, failure]], [true, [failure]]] as const) {
    for (const more of behind) {
      const { transport, starting } = await asked(command, { pty });
      transport.receive(...answers, ...more);
      const error = await assertRejects(() => starting, SshError);
      assertEquals(error.code, "REQUEST_DENIED");
      const sent = said(transport.take());
      assertEquals([sent.includes("signal"), sent.at(-1)], [false, Msg.CHANNEL_CLOSE]);
    }
  }
});

Deno.test("a refusal behind the first output ends the process with REQUEST_DENIED", async () => {
  const { transport, starting } = await asked();
  transport.receive(data(0, "Welcome\n"));
  const process = await starting;
  const output = process.output();
  await settle();
  transport.receive(failure);
  for (const waiting of [output, process.status]) {
    assertEquals((await assertRejects(() => waiting, SshError)).code, "REQUEST_DENIED");
  }
});

Deno.test("a server that closes without an answer and without a word has not started anything", async () => {
  for (const messages of [[close], [eof, close]]) {
    const { transport, starting } = await asked();
    transport.receive(...messages);
    await assertRejects(() => starting, SshError, "the server closed the session without an answer");
  }
});

Deno.test("CLOSE without EOF ends the output, and the status is the code or nothing, as ssh has it", async () => {
  for (const [messages, code] of [[[exit(4), close], 4], [[close], null], [[exit(0), close], 0]] as const) {
    const { transport, starting } = await asked();
    transport.receive(success, data(0, "out"));
    const process = await starting;
    transport.receive(...messages);
    const output = await process.output();
    assertEquals([text(output.stdout), output.code, output.signal, output.success], ["out", code, null, code === 0]);
  }
});

Deno.test("a connection that ends in the middle of output fails its readers, behind what has come", async () => {
  const ends = [
    new SshError("gone", { code: "CONNECTION_LOST" }),
    new SshDisconnectError("Peer disconnected: bye (11)", 11),
    null,
  ];
  for (const end of ends) {
    const { transport, starting } = await asked();
    transport.receive(success, data(0, "out"));
    const process = await starting;
    const reader = process.stdout.getReader();
    transport.finish(end);
    assertEquals(text((await reader.read()).value!), "out");
    for (
      const waiting of [
        reader.read(),
        process.status,
        process.stderr.getReader().read(),
        process.stdin.getWriter().closed,
      ]
    ) {
      const error = await assertRejects(() => waiting, SshError);
      assertEquals(error.code, end?.code ?? "CLOSED");
    }
  }
});

Deno.test("TERM and CLOSE of an aborted process go ahead of input that the server does not take", async () => {
  const abort = new AbortController();
  const { transport, starting } = await asked(command, { signal: abort.signal }, { window: 10 });
  transport.receive(success);
  const process = await starting, writer = process.stdin.getWriter();
  const writes = [1, 2, 3].map(() => writer.write(new Uint8Array(100_000)).then(() => null, (error) => error));
  await settle();
  transport.take();
  transport.takes = false;
  abort.abort("enough");
  transport.drain();
  assertEquals(said(transport.take()), ["signal", Msg.CHANNEL_CLOSE]);
  // The first was gathered.
  assertEquals(await Promise.all(writes), [null, "enough", "enough"]);
  assertEquals(await writer.closed.catch((error) => error), "enough");
  // What still comes is dropped, until the server's CLOSE.
  transport.receive(data(0, "late"), exit(0), eof, close);
  assertEquals(await process.status.catch((error) => error), "enough");
  assertEquals(transport.end, null);
});

Deno.test("an aborted process whose output was whole before keeps it", async () => {
  const abort = new AbortController();
  const { transport, starting } = await asked(command, { signal: abort.signal });
  transport.receive(success, data(0, "out"), eof);
  const process = await starting;
  abort.abort("enough");
  assertEquals(await new Response(process.stdout).text(), "out");
  assertEquals(await process.status.catch((error) => error), "enough");
});

Deno.test("terminateAll() sends TERM on each session ahead of all data, and on nothing else", async () => {
  const { transport, mux, starting } = await asked(command, {}, { window: 10 });
  transport.receive(success);
  const process = await starting, writer = process.stdin.getWriter();
  writer.write(new Uint8Array(100_000)).catch(() => {});
  await settle();
  transport.take();
  terminateAll(mux);
  const [term, ...more] = transport.take();
  const { name, wantReply, data: rest } = ChannelRequest.decode(term!);
  assertEquals([name, wantReply, Signal.decode(rest), more.length], ["signal", false, { signal: "TERM" }, 0]);
  transport.receive(exit(0), eof, close);
  await process.status;
  transport.take();
  terminateAll(mux);
  assertEquals(said(transport.take()), []);
});

Deno.test("output() with more than `maxOutput` is an error also where all of it, the status and CLOSE came at once", async () => {
  for (const collect of [outputOf, (process: RemoteProcess) => process.output()]) {
    for (const onStderr of [false, true]) {
      const { transport, starting } = await asked(command, { maxOutput: 4 });
      transport.receive(success);
      const collecting = collect(await starting);
      collecting.catch(() => {});
      await settle();
      transport.receive(onStderr ? extendedData(0, 1, "12345") : data(0, "12345"), eof, exit(0), close);
      await settle();
      const error = await assertRejects(() => collecting, SshError, "`maxOutput`, 4 bytes");
      assertEquals(error.code, "CLOSED");
    }
  }
});
