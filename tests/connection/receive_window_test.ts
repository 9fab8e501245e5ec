import { assert, assertEquals, assertThrows } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { ReceiveWindow } from "../../lib/connection/receive_window.ts";
import { Prng } from "../_support/fuzz.ts";

const PACKET = 32_768;

Deno.test("ReceiveWindow.take() throws at the first byte beyond the window, and for a packet that is too long", () => {
  // Rows 98 and 99.
  const window = new ReceiveWindow(100, 60, 0);
  window.take(60);
  window.take(40);
  assertEquals(window.left, 0);
  window.take(0);
  assertThrows(() => window.take(1), SshProtocolError, "into a channel window of 0");
  assertThrows(() => new ReceiveWindow(1000, 60, 0).take(61), SshProtocolError, "60 were agreed");
});

Deno.test("ReceiveWindow.consumed() pays back when more than three packets are owed", () => {
  const window = new ReceiveWindow(100 * PACKET, PACKET, 0);
  for (let i = 0; i < 3; i++) {
    window.take(PACKET);
    assertEquals(window.consumed(PACKET, 1000), false);
  }
  window.take(1);
  assertEquals(window.consumed(1, 1000), true);
  assertEquals(window.pay(), 3 * PACKET + 1);
  assertEquals(window.left, 100 * PACKET);
  assertEquals(window.pay(), 0);
});

Deno.test("ReceiveWindow.consumed() pays back when less than half of the window is left", () => {
  const window = new ReceiveWindow(1000, PACKET, 0);
  window.take(500);
  assertEquals(window.consumed(200, 1000), false);
  window.take(1);
  assertEquals(window.consumed(1, 1000), true);
  assertEquals(window.pay(), 201);
  assertEquals(window.waiting, 300);
});

/** A sender that uses the whole window over a path with this round trip; the reader takes `share` of what is there. */
function run(path: { roundTrip: number; rate: number; share?: number; size?: number; seconds?: number }): number {
  const { roundTrip, rate, share = 1, size = 2_097_152, seconds = 20 } = path;
  const window = new ReceiveWindow(size, PACKET, 0);
  window.heard(roundTrip);
  let budget = size, queued = 0;
  const adjusts: { at: number; bytes: number }[] = [];
  const step = 0.5;
  for (let now = roundTrip; now < roundTrip + seconds * 1000; now += step) {
    while (adjusts.length > 0 && adjusts[0]!.at <= now) budget += adjusts.shift()!.bytes;
    for (let room = rate * step; room > 0 && budget > 0;) {
      const bytes = Math.min(PACKET, budget, Math.ceil(room));
      window.take(bytes);
      budget -= bytes;
      queued += bytes;
      room -= bytes;
    }
    window.batchEnd();
    const read = Math.floor(queued * share);
    queued -= read;
    if (read > 0 && window.consumed(read, now)) adjusts.push({ at: now + roundTrip, bytes: window.pay() });
    assertEquals(window.waiting, queued);
  }
  return window.size;
}

Deno.test("ReceiveWindow grows on a fast, long path, by eight at most", () => {
  assertEquals(run({ roundTrip: 170, rate: 200_000 }), 8 * 2_097_152);
  assertEquals(run({ roundTrip: 1000, rate: 200_000, seconds: 60 }), 8 * 2_097_152);
  assertEquals(run({ roundTrip: 50, rate: 200_000, size: 65_536 }), 8 * 65_536);
});

Deno.test("ReceiveWindow grows no further than the path needs", () => {
  // 170 ms at 25 MB/s are 4.25 MB on their way.
  const grown = run({ roundTrip: 170, rate: 25_000 });
  assert(grown >= 4_250_000 && grown <= 8 * 2_097_152, `${grown}`);
});

Deno.test("ReceiveWindow stays as it is on a short path and on a slow one", () => {
  assertEquals(run({ roundTrip: 1, rate: 200_000 }), 2_097_152);
  assertEquals(run({ roundTrip: 20, rate: 10_000 }), 2_097_152);
});

Deno.test("ReceiveWindow stays as it is when the reader falls behind", () => {
  assertEquals(run({ roundTrip: 170, rate: 200_000, share: 0.001 }), 2_097_152);
});

Deno.test("ReceiveWindow stays as it is while the round trip is not known", () => {
  const window = new ReceiveWindow(1000, PACKET, 50);
  window.heard(50);
  for (let i = 0; i < 100; i++) {
    window.take(1000);
    window.batchEnd();
    window.consumed(1000, 50);
    window.pay();
  }
  assertEquals(window.size, 1000);
});

Deno.test("ReceiveWindow never promises more than a uint32", () => {
  const window = new ReceiveWindow(0xc000_0000, 0xffff_ffff, 0);
  window.heard(10);
  for (let i = 0; i < 4; i++) {
    window.take(window.left);
    window.batchEnd();
    window.consumed(window.waiting, 10);
    assert(window.pay() <= 0xffff_ffff);
    assert(window.left <= 0xffff_ffff, `${window.left}`);
  }
  assertEquals(window.size, 0xffff_ffff);
});

Deno.test("ReceiveWindow accounts for every byte, whatever comes in whatever order", () => {
  for (let seed = 0; seed < 200; seed++) {
    const prng = new Prng(seed);
    const size = 1 + prng.below(200_000);
    const window = new ReceiveWindow(size, PACKET, 0);
    let waiting = 0, granted = size, sent = 0, now = 1;
    for (let i = 0; i < 200; i++) {
      now += prng.below(5);
      if (prng.below(2) === 0) {
        const bytes = prng.below(Math.min(window.left, PACKET) + 1);
        window.take(bytes);
        window.heard(now);
        waiting += bytes;
        sent += bytes;
      } else {
        const bytes = prng.below(waiting + 1);
        waiting -= bytes;
        if (window.consumed(bytes, now)) granted += window.pay();
      }
      if (prng.below(3) === 0) window.batchEnd();
      assertEquals(window.left, granted - sent);
      assertEquals(window.waiting, waiting);
      assert(window.left >= 0 && window.size <= 8 * size);
    }
  }
});
