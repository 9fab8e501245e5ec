/**
 * Many channels on one connection: in parallel, opened and closed at random, and refused without end.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { equals } from "@std/bytes";
import { ChannelOpenError, type RemoteProcess } from "../../mod.ts";
import { join, text } from "../_support/joined.ts";
import { memoryPair, seededBytes } from "../_support/duplex.ts";
import { Prng } from "../_support/fuzz.ts";
import { assertGivenBack, holdings, MemoryWatch, sized } from "../_support/resources.ts";
import { fast } from "../_support/load.ts";

const PARALLEL = sized(100, 256);
const BYTES = 300_000;
const STEPS = sized(500, 10_000);
const REFUSED = sized(10_000, 1_000_000);

const limits = { algorithms: fast, maxSessions: 256 };
const joinMany = () => join(limits, { algorithms: fast }, memoryPair({ chunks: "whole" }));

/** Writes bytes to a process that sends them back, in pieces of every size, and reads what comes. */
async function echo(process: RemoteProcess, bytes: Uint8Array, seed: number): Promise<Uint8Array> {
  const prng = new Prng(seed), writer = process.stdin.getWriter();
  const writing = (async () => {
    for (let at = 0; at < bytes.length;) {
      const size = 1 + prng.below(prng.pick([10, 1000, 50_000]));
      await writer.write(bytes.slice(at, at + size));
      at += size;
    }
    await writer.close();
  })();
  const [{ stdout, code }] = await Promise.all([process.output(), writing]);
  assertEquals(code, 0);
  return stdout;
}

Deno.test(`${PARALLEL} channels of one connection carry their own bytes in parallel`, async () => {
  await using joined = await joinMany();
  await joined.client.exec("echo x");
  const before = await holdings();
  await (async () => {
    const processes = await Promise.all(Array.from({ length: PARALLEL }, () => joined.client.spawn("cat")));
    await Promise.all(processes.map(async (process, i) => {
      const bytes = seededBytes(BYTES + i, i + 1);
      assert(equals(await echo(process, bytes, i), bytes), `channel ${i}: other bytes came back`);
    }));
  })();
  assertEquals(joined.errors, []);
  await assertGivenBack(before);
});

/** A process that is open, and the bytes that must come back from it. */
interface Open {
  readonly process: RemoteProcess;
  readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly written: number[];
}

Deno.test(`${STEPS} random steps on the channels of one connection leave nothing behind`, async () => {
  await using joined = await joinMany();
  await joined.client.exec("echo x");
  const before = await holdings();
  await randomSteps(joined.client, new Prng(1));
  assertEquals(text((await joined.client.exec("echo alive")).stdout), "alive\n");
  assertEquals(joined.errors, []);
  await assertGivenBack(before);
});

async function randomSteps(client: Awaited<ReturnType<typeof joinMany>>["client"], prng: Prng): Promise<void> {
  const open: Open[] = [];
  const pick = () => open[prng.below(open.length)]!;
  for (let step = 0; step < STEPS; step++) {
    const kind = open.length === 0 ? 0 : prng.below(10);
    if (kind <= 1 && open.length < 200) {
      const process = await client.spawn("cat");
      open.push({ process, writer: process.stdin.getWriter(), reader: process.stdout.getReader(), written: [] });
    } else if (kind <= 5) {
      const { writer, written } = pick(), bytes = prng.bytes(1 + prng.below(2000));
      // The window holds much more than is ever under way here.
      await writer.write(bytes);
      written.push(...bytes);
    } else if (kind <= 7) {
      const { reader, written } = pick();
      if (written.length === 0) continue;
      const { value } = await reader.read();
      assertEquals([...value!], written.splice(0, value!.length));
    } else if (kind === 8) {
      const [one] = open.splice(prng.below(open.length), 1);
      await one!.writer.close();
      for (let end = await one!.reader.read(); !end.done; end = await one!.reader.read()) {
        assertEquals([...end.value], one!.written.splice(0, end.value.length));
      }
      assertEquals(one!.written.length, 0);
      assertEquals((await one!.process.status).code, 0);
      await one!.process[Symbol.asyncDispose]();
    } else {
      const [one] = open.splice(prng.below(open.length), 1);
      one!.writer.closed.catch(() => {});
      await one!.process[Symbol.asyncDispose]();
    }
  }
  for (const { process, writer } of open) {
    writer.closed.catch(() => {});
    await process[Symbol.asyncDispose]();
  }
}

Deno.test(`${REFUSED} channels refused on one connection leave memory flat`, async () => {
  await using joined = await joinMany();
  const refuse = async () => {
    const error = await joined.client.openChannel("x11").then(() => null, (error) => error);
    assertInstanceOf(error, ChannelOpenError);
    assertEquals(error.reason, 3);
  };
  const AT_ONCE = 100;
  for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: AT_ONCE }, refuse));
  const before = await holdings();
  const watch = await MemoryWatch.start();
  for (let i = 0; i < REFUSED; i += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, refuse));
    if (i % 5000 === 0) watch.assertUnder(32 * 2 ** 20);
  }
  await assertGivenBack(before);
});
