/**
 * A client that always has more to ask, and a backend that is always ready, leave the rest of the process its turns. Time is
 * made up here: it goes on by a millisecond whenever somebody looks, and turns are counted.
 */
import { assert, assertEquals } from "@std/assert";
import type { SftpBackend } from "../../lib/files/backend.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { serveScp } from "../../lib/scp/server.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { info } from "../_support/file_info.ts";
import { framed, pipes, RawPeer, someone, statusIn, tempDir } from "../_support/sftp_peers.ts";

const text = new TextEncoder(), decoder = new TextDecoder(), COUNT = 3000;

/** Turns of the event loop that other work has while this goes on, and milliseconds of the longest. */
async function turnsDuring(
  work: () => Promise<unknown>,
): Promise<{ readonly turns: number; readonly longest: number }> {
  const { now } = performance;
  let time = now.call(performance), turns = 0, longest = 0, going = true;
  performance.now = () => time++;
  const counting = (async () => {
    for (let last = time; going; last = time) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
      turns++;
      longest = Math.max(longest, time - last);
    }
  })();
  try {
    await work();
    return { turns, longest };
  } finally {
    performance.now = now;
    going = false;
    await counting;
  }
}

/** Everything is there at once: `/` and what ends in `d` are directories of COUNT empty files. */
function readyBackend(promises: boolean): SftpBackend {
  const given = <T>(value: T): T | Promise<T> => promises ? Promise.resolve(value) : value;
  return {
    open: () =>
      given({
        readAt: () => given(0),
        writeAt: () => given(undefined),
        stat: () => given(info()),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    async *readDir() {
      for (let i = 0; i < COUNT; i++) {
        yield { name: `f${i}`, isFile: true, isDirectory: false, isSymlink: false, info: info() };
      }
    },
    stat: (path) => {
      if (path.endsWith("none")) throw new Deno.errors.NotFound();
      return given(info(0, path.endsWith("/") || path.endsWith("d")));
    },
    setStat: () => given(undefined),
    mkdir: () => given(undefined),
  };
}

/** The same bytes so many times. */
function times(one: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(one.length * count);
  for (let i = 0; i < count; i++) all.set(one, i * one.length);
  return all;
}

for (const promises of [false, true]) {
  Deno.test(`serveSftp() gives others a turn every few of ${COUNT} requests of one chunk (${promises ? "promises" : "values"})`, async () => {
    const { near, far } = pipes(), served = serveSftp(far, readyBackend(promises), someone), peer = new RawPeer(near);
    await peer.ask(m.encodeVersion(Fxp.INIT, 3));
    const { turns } = await turnsDuring(async () => {
      const sent = peer.raw(times(framed(m.Stat.encode({ id: 1, path: "/f" })), COUNT));
      for (let i = 0; i < COUNT; i++) assertEquals((await peer.next())![0], Fxp.ATTRS);
      await sent;
    });
    await peer.end();
    await served;
    assert(turns >= COUNT / 20, `${turns} turns in ${COUNT} requests`);
  });
}

Deno.test("serveSftp() and serveScp() take no longer turns when many clients flood them at once", async () => {
  const { turns, longest } = await turnsDuring(() =>
    Promise.all(Array.from({ length: 12 }, async (_, i) => {
      const { near, far } = pipes();
      if (i % 3 === 0) {
        const code = serveScp(far, "scp -r -t -- /", readyBackend(false), someone);
        const drained = near.readable.pipeTo(new WritableStream());
        const writer = near.writable.getWriter();
        await writer.write(times(text.encode("C0644 0 f\n\0"), COUNT));
        await writer.close();
        assertEquals(await code, 0);
        return await drained;
      }
      const served = serveSftp(far, readyBackend(i % 2 === 0), someone), peer = new RawPeer(near);
      await peer.ask(m.encodeVersion(Fxp.INIT, 3));
      const sent = peer.raw(times(framed(m.Stat.encode({ id: 1, path: "/f" })), COUNT));
      for (let i = 0; i < COUNT; i++) assertEquals((await peer.next())![0], Fxp.ATTRS);
      await sent;
      await peer.end();
      await served;
    }))
  );
  // 10 ms, and a look at the clock of each; with 10 ms for each of them it would be 120.
  assert(longest <= 40, `${longest} ms in one of ${turns} turns`);
});

Deno.test("serveSftp() gives others a turn while one copy-data goes on", async () => {
  const size = 1000 * 262_144, backend = readyBackend(false), { near, far } = pipes();
  let written = 0;
  backend.open = () => ({
    readAt: (p) => p.length,
    writeAt: (p) => void (written += p.length),
    stat: () => info(size),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const served = serveSftp(far, backend, someone), peer = new RawPeer(near);
  await peer.ask(m.encodeVersion(Fxp.INIT, 3));
  const open = async (path: string): Promise<Uint8Array> =>
    m.Handle.decode((await peer.ask(m.Open.encode({ id: 1, path, flags: 3, attrs: {} })))!).handle.slice();
  const from = await open("/a"), to = await open("/b"), zero = { fromOffset: 0n, length: 0n, toOffset: 0n };
  const { turns } = await turnsDuring(async () => {
    assertEquals(
      statusIn(await peer.ask(m.CopyData.encode({ id: 2, extension: Extension.copyData, from, to, ...zero }))),
      Status.OK,
    );
  });
  await peer.end();
  await served;
  assertEquals(written, size);
  assert(turns >= 50, `${turns} turns in 1000 pieces`);
});

Deno.test("serveScp() reads a file whose size is given as 0 in turns, and takes no more memory than it has bytes", async () => {
  const size = 320_000, buffers = new Set<ArrayBufferLike>(), backend = readyBackend(false), { near, far } = pipes();
  backend.open = () => ({
    // As files of /proc do, it gives less than what there is room for.
    readAt: (p, offset) => {
      buffers.add(p.buffer);
      const count = Math.min(p.length, 320, size - offset);
      p.fill(0x61, 0, count);
      return count;
    },
    writeAt: () => {},
    stat: () => info(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  let said = "", code: number | undefined;
  const { turns } = await turnsDuring(async () => {
    const serving = serveScp(far, "scp -f -- /f", backend, someone), writer = near.writable.getWriter();
    const heard = near.readable.pipeTo(new WritableStream({ write: (chunk) => void (said += decoder.decode(chunk)) }));
    await writer.write(new Uint8Array(3));
    await writer.close();
    code = await serving;
    await heard;
  });
  assertEquals([code, said], [0, `C0644 ${size} f\n${"a".repeat(size)}\0`]);
  const held = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert(held < 2 * size, `${held} bytes for a file of ${size}`);
  assert(turns >= 50, `${turns} turns in 1000 reads`);
});

const commands: Record<
  string,
  { readonly command: string; readonly sent: Uint8Array; readonly code: number; least?: number }
> = {
  "times": { command: "scp -p -t -- /", sent: times(text.encode("T0 0 0 0\n"), COUNT), code: 1 },
  "errors": { command: "scp -t -- /", sent: times(text.encode("\x01no\n"), COUNT), code: 1 },
  "directories": { command: "scp -r -t -- /", sent: times(text.encode("D0755 0 d\nE\n"), COUNT), code: 0 },
  "empty files": { command: "scp -r -t -- /", sent: times(text.encode("C0644 0 f\n\0"), COUNT), code: 0 },
  "answers to empty files": { command: "scp -r -f -- /d", sent: new Uint8Array(3 * COUNT), code: 0 },
  "names that are not there": { command: `scp -f --${" /none".repeat(COUNT)}`, sent: new Uint8Array(2), code: 1 },
  "forms of a pattern": {
    command: `scp -f -- /none/${"{a,b}".repeat(8)}*`,
    sent: new Uint8Array(2),
    code: 1,
    least: 20,
  },
  "comparisons of one name": {
    command: `scp -f -- /{one,none}/${"{a,b}".repeat(8)}*x`,
    sent: new Uint8Array(2),
    code: 1,
    least: 20,
  },
  "a pattern that matches nothing": { command: "scp -f -- '/d/'*x", sent: new Uint8Array(2), code: 1 },
};

for (const [what, { command, sent, code, least = COUNT / 20 }] of Object.entries(commands)) {
  Deno.test(`serveScp() gives others a turn every few of many ${what}`, async () => {
    const { near, far } = pipes();
    let left: number | undefined;
    const { turns } = await turnsDuring(async () => {
      const serving = serveScp(far, command, readyBackend(false), someone);
      const drained = near.readable.pipeTo(new WritableStream()).catch(() => {});
      const writer = near.writable.getWriter();
      await writer.write(sent).catch(() => {});
      await writer.close().catch(() => {});
      left = await serving;
      await drained;
    });
    assertEquals(left, code);
    assert(turns >= least, `${turns} turns`);
  });
}

for (const [strategy, most] of [[undefined, 1024], ["named", 512]] as const) {
  Deno.test(`the rooted backend walks ${most} components for one path, and not more (${strategy ?? "held"})`, async () => {
    await using dir = await tempDir();
    await using backend = await openRootedBackend({ root: dir.path, ...strategy === undefined ? {} : { strategy } });
    if (strategy === undefined && Deno.build.os !== "linux") return;
    await Deno.mkdir(dir.path + "/a".repeat(most + 1), { recursive: true });
    // Each leads as deep as a link can, out again, and to the next one: steps count, wherever they lead.
    const there = most / 4;
    for (let i = 0; i < 3; i++) {
      await Deno.symlink("a/".repeat(there) + "../".repeat(there) + `l${i + 1}`, `${dir.path}/l${i}`);
    }
    const { near, far } = pipes(), served = serveSftp(far, backend, someone), peer = new RawPeer(near);
    await peer.ask(m.encodeVersion(Fxp.INIT, 3));
    const stat = (path: string) => peer.ask(m.Stat.encode({ id: 1, path }));
    assertEquals((await stat("/a".repeat(most)))![0], Fxp.ATTRS);
    assertEquals(statusIn(await stat("/a".repeat(most + 1))), Status.NO_SUCH_FILE);
    assertEquals(statusIn(await stat("/l0")), Status.NO_SUCH_FILE);
    await peer.end();
    await served;
  });
}
