// How the reader goes on while a cipher opens a batch elsewhere, as WebCrypto does. Whole connections are in secure_transport_test.ts.
import { assertEquals } from "@std/assert";
import { plainOpener } from "../../lib/crypto/cipher/ciphers.ts";
import type { PacketFrame, PacketOpener } from "../../lib/crypto/types.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import { Ending } from "../../lib/transport/ending.ts";
import type { KeyExchanges } from "../../lib/transport/key_exchanges.ts";
import { ReaderLoop } from "../../lib/transport/reader_loop.ts";
import { WorkShare } from "../../lib/transport/work_share.ts";
import { until } from "../_support/until.ts";

/** Packets of 16 bytes, each with a payload of one. */
function packets(...payloads: number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16 * payloads.length);
  payloads.forEach((payload, i) => bytes.set([0, 0, 0, 12, 10, payload], 16 * i));
  return bytes;
}

interface Begun {
  readonly frames: number;
  done(): void;
  fail(): void;
}

/** Opens nothing until it is told to, but has what it needs when `open()` returns. */
class LaterOpener implements PacketOpener {
  readonly blockSize = 8;
  readonly lengthPadded = true;
  readonly tagLength = 0;
  readonly headLength = 4;
  /** What was begun and is not done, in order. */
  readonly begun: Begun[] = [];
  /** Batches of one packet are opened at once. */
  onesAtOnce = false;
  readonly #plain = plainOpener();

  packetLength(chunk: Uint8Array, offset: number, sequence: number): number {
    return this.#plain.packetLength(chunk, offset, sequence);
  }

  open(chunk: Uint8Array, frames: readonly PacketFrame[]) {
    const opened = frames.map(({ offset, length }) => chunk.slice(offset + 4, offset + 4 + length));
    chunk.fill(0xee, frames[0]!.offset, frames.at(-1)!.offset + 16);
    if (this.onesAtOnce && frames.length === 1) return opened;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array[]>();
    this.begun.push({
      frames: frames.length,
      done: () => resolve(opened),
      fail: () => reject(new SshProtocolError("Changed on its way", 5, { code: "MAC_INVALID" })),
    });
    return promise;
  }
}

interface Controller {
  readonly byobRequest?: { respond(bytes: number): void } | null;
  enqueue(chunk: Uint8Array<ArrayBuffer>): void;
  close(): void;
  error(reason: unknown): void;
}

/** A reader behind a stream whose chunks come by `push()`; `type` is that of the stream. */
function start(type?: "bytes") {
  const opener = new LaterOpener(), ending = new Ending(), log: (number | string)[] = [];
  const exchanges = { running: false, firstDone: true, received: () => {} };
  let controller!: Controller;
  const source = { start: (made: Controller) => void (controller = made) };
  const readable = type === "bytes"
    ? new ReadableStream({ type, ...source } as UnderlyingByteSource)
    : new ReadableStream<Uint8Array>(source as UnderlyingSource<Uint8Array>);
  const end = (why: string) => {
    if (ending.hasCome) return;
    log.push(why);
    ending.take({ error: new SshProtocolError(why), clean: false });
  };
  const steps = new Map<number, Promise<void>>();
  const reader = new ReaderLoop({
    role: "client",
    exchanges: exchanges as unknown as KeyExchanges,
    share: new WorkShare(),
    ending,
    identified: () => log.push("ident"),
    receive: ([payload]) => {
      log.push(payload!);
      return steps.get(payload!) ?? null;
    },
    delivered: () => {},
    isQuiet: () => false,
    broken: (error) => end(`broken: ${error.message}`),
    fail: (error) => end(`failed: ${error.message}`),
  });
  reader.lock(readable);
  reader.useKeys(opener, null, false);
  const running = reader.run();
  controller.enqueue(new TextEncoder().encode("SSH-2.0-test\r\n"));
  const close = () => {
    controller.close();
    controller.byobRequest?.respond(0);
  };
  const push = (...payloads: number[]) => controller.enqueue(packets(...payloads));
  /** Waits until the log reads so, and then whether it stays so while the loop runs on. */
  const logged = async (...wanted: (number | string)[]) => {
    await until(() => log.length > wanted.length, `Not all of ${wanted} was logged`);
    assertEquals(log, ["ident", ...wanted]);
  };
  const begun = async (count: number): Promise<Begun[]> => {
    await until(() => opener.begun.length >= count, `Fewer than ${count} batches were begun`);
    for (let i = 0; i < 20; i++) await Promise.resolve();
    assertEquals(opener.begun.length, count);
    return opener.begun;
  };
  return { opener, exchanges, controller, close, running, push, log, logged, begun, steps };
}

for (const type of ["bytes", undefined] as const) {
  const name = type === undefined ? "stream" : "byte stream";

  Deno.test(`ReaderLoop reads on and opens one batch more while one is opened elsewhere, and delivers in order: ${name}`, async () => {
    const { push, begun, logged, log, close, running } = start(type);
    push(1, 2);
    await begun(1);
    push(3);
    await begun(2);
    push(4);
    const [first, second] = await begun(2);
    assertEquals(log, ["ident"]);
    second!.done();
    first!.done();
    await logged(1, 2, 3);
    (await begun(3))[2]!.done();
    await logged(1, 2, 3, 4);
    close();
    await running;
  });

  Deno.test(`ReaderLoop delivers what was opened elsewhere though nothing more comes: ${name}`, async () => {
    const { push, begun, logged, close, running } = start(type);
    for (const payload of [1, 2, 3]) {
      push(payload);
      (await begun(payload))[payload - 1]!.done();
      await logged(...Array.from({ length: payload }, (_, i) => i + 1));
    }
    close();
    await running;
  });

  Deno.test(`ReaderLoop delivers what came before the stream ended or broke, then says so: ${name}`, async () => {
    for (const [how, why] of [["close", "broken: Peer closed"], ["error", "broken: Connection was lost"]] as const) {
      const { push, begun, log, controller, close, running } = start(type);
      push(1);
      const [first] = await begun(1);
      if (how === "close") close();
      else controller.error(new Error("Reset"));
      await begun(1);
      assertEquals(log, ["ident"]);
      first!.done();
      await running;
      assertEquals([log.length, log[1], String(log[2]).slice(0, why.length)], [3, 1, why]);
    }
  });
}

Deno.test("ReaderLoop looks at the errors of a batch when those before it have been delivered", async () => {
  const wrong: ((connection: ReturnType<typeof start>) => Promise<void>)[] = [
    // The first batch fails, and the second one, too.
    async ({ push, begun, close, running, log }) => {
      push(2);
      const [first, second] = await begun(2);
      second!.fail();
      first!.fail();
      close();
      await running;
      assertEquals(log, ["ident", "failed: Changed on its way"]);
    },
    async ({ push, begun, close, running, log }) => {
      push(2);
      const [first, second] = await begun(2);
      second!.fail();
      first!.done();
      close();
      await running;
      assertEquals(log, ["ident", 1, "failed: Changed on its way"]);
    },
    // A length that no peer may send is seen before the first batch is there.
    async ({ begun, controller, close, running, log }) => {
      controller.enqueue(new Uint8Array(16).fill(0xff));
      const [first] = await begun(1);
      assertEquals(log, ["ident"]);
      first!.done();
      close();
      await running;
      assertEquals([log.length, log[1], String(log[2]).slice(0, 17)], [3, 1, "failed: Packet of"]);
    },
  ];
  for (const test of wrong) {
    const connection = start();
    connection.push(1);
    await connection.begun(1);
    await test(connection);
  }
});

Deno.test("ReaderLoop delivers a batch that is opened at once behind the one that is not there yet", async () => {
  const { opener, push, begun, logged, log, close, running } = start();
  opener.onesAtOnce = true;
  push(1, 2);
  const [first] = await begun(1);
  push(3);
  await begun(1);
  assertEquals(log, ["ident"]);
  first!.done();
  await logged(1, 2, 3);
  close();
  await running;
});

Deno.test("ReaderLoop opens one packet at a time while keys are exchanged, and none before those ahead are delivered", async () => {
  const { exchanges, push, begun, logged, close, running } = start();
  push(1, 2);
  await begun(1);
  exchanges.running = true;
  push(3, 4);
  (await begun(1))[0]!.done();
  await logged(1, 2);
  const [, third] = await begun(2);
  assertEquals(third!.frames, 1);
  third!.done();
  await logged(1, 2, 3);
  (await begun(3))[2]!.done();
  await logged(1, 2, 3, 4);
  close();
  await running;
});

Deno.test("ReaderLoop reads on while later packets wait for a step, whether a read is under way or not", async () => {
  for (const early of [true, false]) {
    for (const closes of [true, false]) {
      const { steps, push, begun, logged, log, close, running } = start("bytes");
      const { promise, resolve } = Promise.withResolvers<void>();
      steps.set(1, promise);
      push(1, 2);
      const [first] = await begun(1);
      if (early) {
        push(3);
        await begun(2);
      }
      first!.done();
      await logged(1);
      push(5);
      if (closes) close();
      for (let i = 0; i < 50; i++) await Promise.resolve();
      assertEquals(log, ["ident", 1]);
      resolve();
      await logged(1, 2);
      if (early) {
        (await begun(3))[1]!.done();
        await logged(1, 2, 3);
      }
      (await begun(early ? 3 : 2)).at(-1)!.done();
      const all = [1, 2, ...early ? [3] : [], 5];
      if (!closes) {
        await logged(...all);
        close();
      }
      await running;
      assertEquals(log, ["ident", ...all, "broken: Peer closed the connection without a word"]);
    }
  }
});
