/** Standard input and a terminal of this program's own, which are the test's here. */
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { ChannelOpen, ChannelRequest, ChannelSuccess } from "../../lib/connection/messages.ts";
import { SshError } from "../../lib/errors.ts";
import { PtyReq } from "../../lib/session/messages.ts";
import { type ProcessServices, type RemoteProcess, startProcess, windowOf } from "../../lib/session/process.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { confirmation, fakeMux, type FakeTransport, request, settle, utf8 } from "../_support/fake_transport.ts";

/** Starts a process; the server grants, or refuses, all that it is asked for. */
async function start(
  options: ExecOptions,
  services: ProcessServices,
  granted = true,
): Promise<{ transport: FakeTransport; process: Promise<RemoteProcess>; sent: Uint8Array[] }> {
  const { transport, mux } = fakeMux(), sent: Uint8Array[] = [];
  const process = startProcess(mux, { kind: "exec", command: "x" }, options, services);
  process.catch(() => {});
  await settle();
  const [open] = transport.takeType(Msg.CHANNEL_OPEN);
  if (open === undefined) return { transport, process, sent };
  const { sender } = ChannelOpen.decode(open);
  transport.receive(confirmation(sender));
  await settle();
  sent.push(...transport.take());
  const asked = sent.filter((one) => one[0] === Msg.CHANNEL_REQUEST).map((one) => ChannelRequest.decode(one));
  for (const { wantReply } of asked) {
    if (!wantReply) continue;
    transport.receive(
      granted ? ChannelSuccess.encode({ recipient: 0 }) : new Uint8Array([Msg.CHANNEL_FAILURE, 0, 0, 0, 0]),
    );
  }
  await settle();
  return { transport, process, sent };
}

/** An input that counts. */
function input(): {
  stream: ReadableStream<Uint8Array>;
  type: (text: string | null) => void;
  reads: number;
  left: unknown[];
} {
  const state = {
    reads: 0,
    left: [] as unknown[],
    waiting: null as ReadableStreamDefaultController<Uint8Array> | null,
  };
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      state.reads++;
      const { promise, resolve } = Promise.withResolvers<void>();
      state.waiting = controller;
      typed = resolve;
      return promise;
    },
    cancel: (reason) => void state.left.push(reason),
  }, { highWaterMark: 0 });
  let typed = (): void => {};
  return Object.assign(state, {
    stream,
    type(text: string | null) {
      if (text === null) state.waiting!.close();
      else state.waiting!.enqueue(utf8(text));
      typed();
    },
  });
}

Deno.test('`stdin: "inherit"` sends this program\'s input as it comes, and its end of file', async () => {
  const own = input(), { transport, process } = await start({ stdin: "inherit" }, { ownInput: () => own.stream });
  await process;
  assertEquals(own.reads, 1);
  own.type("hello");
  await settle();
  assertEquals(transport.take().map((one) => one[0]), [Msg.CHANNEL_DATA]);
  own.type(null);
  await settle();
  assertEquals(transport.take().map((one) => one[0]), [Msg.CHANNEL_EOF]);
  assertEquals(own.left, []);
});

Deno.test('`stdin: "inherit"` lets go of the input when the process ends, and where it never starts', async () => {
  const own = input(), { transport, process } = await start({ stdin: "inherit" }, { ownInput: () => own.stream });
  await process;
  assertEquals([own.reads, own.left.length], [1, 0]);
  transport.receive(request(0, "exit-status", false, new Uint8Array(4)));
  transport.receive(new Uint8Array([Msg.CHANNEL_CLOSE, 0, 0, 0, 0]));
  await settle();
  assertEquals([own.reads, own.left.length], [1, 1]);
  const refused = input(), denied = await start({ stdin: "inherit" }, { ownInput: () => refused.stream }, false);
  await assertRejects(() => denied.process, SshError, "refused it");
  assertEquals([refused.reads, refused.left.length], [0, 1]);
  // Who is in use already ends it before anything is sent.
  const error = new TypeError("in use");
  const never = await start({ stdin: "inherit" }, {
    ownInput: () => {
      throw error;
    },
  });
  assertStrictEquals(await never.process.catch((error) => error), error);
  assertEquals(never.sent, []);
});

Deno.test('`pty: "inherit"` asks for a terminal like this program\'s, and for none where there is none', async () => {
  const own = { term: "vt220", columns: 132, rows: 43 };
  const { process, sent } = await start({ pty: "inherit" }, { ownPty: () => own });
  const asked = sent.map((one) => ChannelRequest.decode(one));
  assertEquals(asked.map(({ name }) => name), ["pty-req", "exec"]);
  const { term, columns, rows } = PtyReq.decode(asked[0]!.data);
  assertEquals({ term, columns, rows }, own);
  const started = await process;
  assertEquals([windowOf(started)?.columns, windowOf(started)?.rows], [132, 43]);
  started.resize({ columns: 90, rows: 20 });
  assertEquals(windowOf(started), { columns: 90, rows: 20 });
  for (const services of [{ ownPty: () => null }, {}]) {
    const plain = await start({ pty: "inherit" }, services);
    assertEquals(plain.sent.map((one) => ChannelRequest.decode(one).name), ["exec"]);
    assertEquals(windowOf(await plain.process), null);
  }
});
