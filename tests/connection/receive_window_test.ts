import { assert, assertEquals, assertThrows } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { ReceiveWindow } from "../../lib/connection/receive_window.ts";
import { Prng } from "../_support/fuzz.ts";
import { flow, type Path } from "./_path.ts";

const PACKET = 32_768;
const MIB = 1_048_576;
const FIRST = 2 * MIB;

Deno.test("ReceiveWindow.take() throws at the first byte beyond the window, and for a packet that is too long", () => {
  // Rows 98 and 99.
  const window = new ReceiveWindow(100, 60);
  window.take(60);
  window.take(40);
  assertEquals(window.left, 0);
  window.take(0);
  assertThrows(() => window.take(1), SshProtocolError, "into a channel window of 0");
  assertThrows(() => new ReceiveWindow(1000, 60).take(61), SshProtocolError, "60 were agreed");
});

Deno.test("ReceiveWindow.consumed() pays back when more than three packets are owed", () => {
  const window = new ReceiveWindow(100 * PACKET, PACKET);
  for (let i = 0; i < 3; i++) {
    window.take(PACKET);
    assertEquals(window.consumed(PACKET, 1000, 0), false);
  }
  window.take(1);
  assertEquals(window.consumed(1, 1000, 0), true);
  assertEquals(window.pay(), 3 * PACKET + 1);
  assertEquals(window.left, 100 * PACKET);
  assertEquals(window.pay(), 0);
});

Deno.test("ReceiveWindow.consumed() pays back when less than half of the window is left", () => {
  const window = new ReceiveWindow(1000, PACKET);
  window.take(500);
  assertEquals(window.consumed(200, 1000, 0), false);
  window.take(1);
  assertEquals(window.consumed(1, 1000, 0), true);
  assertEquals(window.pay(), 201);
  assertEquals(window.waiting, 300);
});

/** A window that stays as it is. */
function fixed(size: number): ReceiveWindow {
  const { growth } = ReceiveWindow;
  try {
    ReceiveWindow.growth = 1;
    return new ReceiveWindow(size, PACKET);
  } finally {
    ReceiveWindow.growth = growth;
  }
}

const ours = (size = FIRST) => new ReceiveWindow(size, PACKET);

const lines: Readonly<Record<string, Partial<Path>>> = {
  "a sender that seals 200 MB/s": {},
  "a line of 10 MB/s": { line: 10_000 },
  "a line of 60 MB/s": { line: 60_000 },
  "a program that makes 5 MB/s": { source: 5_000 },
  "a program that makes 4 MB and then pauses": { bursts: { bytes: 4_000_000, pause: 500 } },
  "jitter": { line: 150_000, jitter: 4 },
  "a sender that copies what it has read ahead": { line: 150_000, copying: 0.4 },
  "one that does so on a line of 60 MB/s": { line: 60_000, copying: 0.4 },
  "one that does so where packets take their time": { line: 150_000, copying: 0.4, jitter: 4 },
};

for (const [name, line] of Object.entries(lines)) {
  Deno.test(`ReceiveWindow is no more than 5 percent slower than windows of 1, 2 and 16 MiB: ${name}`, () => {
    for (const roundTrip of [0.1, 1, 20, 100, 300]) {
      const path: Path = { ...line, roundTrip }, time = Math.max(2_000, 100 * roundTrip);
      const { rate } = flow(path, ours(), { time });
      for (const mib of [1, 2, 16]) {
        const beside = flow(path, fixed(mib * MIB), { time }).rate;
        assert(rate > 0.95 * beside, `${roundTrip} ms: ${rate} bytes/ms, and ${beside} with ${mib} MiB`);
      }
    }
  });
}

Deno.test("ReceiveWindow comes to one or two products of rate and round trip, and tries no more than two and a half", () => {
  for (const [roundTrip, line] of [[20, 150_000], [100, 40_000], [300, 20_000], [50, 60_000]] as const) {
    const product = roundTrip * line;
    const { rate, last, largest } = flow({ roundTrip, line }, ours(), { time: 100 * roundTrip });
    assert(rate > 0.95 * line, `${rate} of ${line} at ${roundTrip} ms`);
    assert(last >= 0.95 * product && last <= 2.5 * product, `${last} of ${product}`);
    assert(largest <= 2.5 * product, `${largest} of ${product}`);
  }
});

Deno.test("ReceiveWindow has grown after a few round trips", () => {
  const path: Path = { roundTrip: 300 }, time = 10 * path.roundTrip;
  const { rate } = flow(path, ours(), { time });
  const beside = flow(path, fixed(16 * MIB), { time }).rate;
  assert(rate > 0.8 * beside, `${rate} and ${beside}`);
});

Deno.test("ReceiveWindow grows by what it needs where the round trip was thought to be two thirds of what it is", () => {
  for (const [roundTrip, line] of [[100, 60_000], [50, 100_000], [300, 40_000]] as const) {
    const { rate } = flow({ roundTrip, line, known: roundTrip / 1.5 }, ours(), { time: 60 * roundTrip });
    assert(rate > 0.9 * line, `${rate} of ${line} at ${roundTrip} ms`);
  }
});

Deno.test("ReceiveWindow grows eightfold at most, and to 16 MiB at most", () => {
  const path: Path = { roundTrip: 300, sealing: 1_000_000 };
  assertEquals(flow(path, ours(), { time: 10_000 }).largest, 16 * MIB);
  assertEquals(flow(path, ours(65_536), { time: 10_000 }).largest, 8 * 65_536);
  assertEquals(flow(path, ours(4 * MIB), { time: 10_000 }).largest, 16 * MIB);
  assertEquals(flow(path, ours(14 * MIB), { time: 10_000 }).largest, 16 * MIB);
  assertEquals(flow(path, ours(20 * MIB), { time: 10_000 }).largest, 20 * MIB);
});

Deno.test("ReceiveWindow stays as it is on a short path, and where little comes", () => {
  for (const path of [{ roundTrip: 1 }, { roundTrip: 0.1, copying: 0.4 }, { roundTrip: 20, line: 10_000 }]) {
    assertEquals(flow(path, ours(), { time: 10_000 }).largest, FIRST);
  }
});

Deno.test("ReceiveWindow stays as it is while no round trip is known", () => {
  assertEquals(flow({ roundTrip: 100, known: 0 }, ours(), { time: 10_000 }).largest, FIRST);
});

Deno.test("ReceiveWindow never grows for a reader that is slow", () => {
  for (const roundTrip of [1, 20, 100, 300]) {
    for (const reader of [10, 100, 1_000, 5_000]) {
      const { largest } = flow({ roundTrip, reader }, ours(), { time: 20_000 });
      assertEquals(largest, FIRST, `${roundTrip} ms, ${reader} bytes/ms`);
    }
  }
});

Deno.test("ReceiveWindow takes back a growth that brings no rate, and tries again ever more seldom", () => {
  // The first window is one product and a half: it holds nothing up, and is not quite two.
  const path: Path = { roundTrip: 20, line: FIRST / 30 };
  const window = ours();
  const sizes: number[] = [];
  const { rate, last } = flow(path, window, { time: 60_000, watch: (size) => sizes.push(size) });
  assert(rate > 0.99 * path.line!, `${rate}`);
  const trials = sizes.filter((size, i) => size > FIRST && sizes[i - 1] === FIRST).length;
  assert(trials >= 2 && trials <= 7, `${trials}`);
  assertEquals(last, FIRST);
});

Deno.test("ReceiveWindow comes back where the round trip was thought to be many times what it is", () => {
  // A sender with all of 16 MiB makes 8 MB/s; the estimate asks for that much.
  const path: Path = { roundTrip: 1, known: 200, line: 150_000, copying: 0.4 };
  const slow = flow(path, fixed(16 * MIB), { time: 20_000 }).rate;
  const { rate, last } = flow(path, ours(), { time: 20_000 });
  assert(last <= 2 * FIRST, `${last}`);
  assert(rate > 5 * slow, `${rate} and ${slow}`);
  // A trial does not last until all of the larger window has crept through.
  assert(rate > 0.5 * path.line!, `${rate}`);
});

Deno.test("ReceiveWindow falls back where what a growth brought is lost later, though no shorter round trip is known", () => {
  const path: Path = { roundTrip: 100, line: 60_000, later: { at: 5_000, path: { roundTrip: 5, copying: 0.4 } } };
  const { rate, largest, last } = flow(path, ours(), { time: 20_000 });
  assert(largest > 2 * FIRST, `${largest}`);
  assertEquals(last, FIRST);
  assert(rate > 0.9 * path.line!, `${rate}`);
});

Deno.test("ReceiveWindow follows a path that becomes longer, shorter, slower or faster", () => {
  const at = 5_000, time = 30_000;
  const longer = flow({ roundTrip: 5, later: { at, path: { roundTrip: 100, known: 100 } } }, ours(), { time });
  assertEquals(longer.last, 16 * MIB);
  const shorter = flow({ roundTrip: 100, later: { at, path: { roundTrip: 5, known: 5 } } }, ours(), { time });
  assert(shorter.largest === 16 * MIB && shorter.last <= 2 * FIRST, `${shorter.last}`);
  const slower = flow({ roundTrip: 100, later: { at, path: { line: 10_000 } } }, ours(), { time });
  assert(slower.largest === 16 * MIB && slower.last <= 2 * FIRST, `${slower.last}`);
  const faster = flow({ roundTrip: 100, line: 5_000, later: { at, path: { line: 1_000_000 } } }, ours(), { time });
  assertEquals(faster.last, 16 * MIB);
});

Deno.test("ReceiveWindow that shrinks takes nothing back", () => {
  const window = ours();
  let granted = FIRST, taken = 0, shrunk = false, before = FIRST;
  const path: Path = { roundTrip: 100, later: { at: 3_000, path: { line: 5_000 } } };
  flow(path, window, {
    time: 20_000,
    paid: (bytes) => granted += bytes,
    took: (bytes) => taken += bytes,
    watch: (size) => {
      shrunk ||= size < before;
      before = size;
      assertEquals(window.left, granted - taken);
    },
  });
  assert(shrunk);
});

Deno.test("ReceiveWindow never promises more than a uint32", () => {
  const window = new ReceiveWindow(0xc000_0000, 0xffff_ffff);
  for (let i = 0; i < 4; i++) {
    window.take(window.left);
    window.batchEnd();
    window.consumed(window.waiting, 10 * i, 1000);
    assert(window.pay() <= 0xffff_ffff);
    assert(window.left <= 0xffff_ffff, `${window.left}`);
  }
});

Deno.test("ReceiveWindow accounts for every byte, whatever comes in whatever order", () => {
  for (let seed = 0; seed < 200; seed++) {
    const prng = new Prng(seed);
    const size = 1 + prng.below(200_000);
    const window = new ReceiveWindow(size, PACKET);
    let waiting = 0, granted = size, sent = 0, now = 1;
    for (let i = 0; i < 400; i++) {
      now += prng.below(5);
      if (prng.below(2) === 0) {
        const bytes = prng.below(Math.min(window.left, PACKET) + 1);
        window.take(bytes);
        waiting += bytes;
        sent += bytes;
      } else {
        const bytes = prng.below(waiting + 1);
        waiting -= bytes;
        if (window.consumed(bytes, now, prng.below(40))) granted += window.pay();
      }
      if (prng.below(3) === 0) window.batchEnd();
      assertEquals(window.left, granted - sent);
      assertEquals(window.waiting, waiting);
      assert(window.left >= 0 && window.size <= 8 * size);
    }
  }
});
