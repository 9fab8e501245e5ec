import { assert, assertEquals } from "@std/assert";
import { ReceiveWindow } from "../../lib/connection/receive_window.ts";
import { WindowShare } from "../../lib/connection/window_share.ts";

const PACKET = 32_768;
const MIB = 1_048_576;
const FIRST = 2 * MIB;

/** Windows of one connection, and how to let packets come in turn on the first `count` of them. */
function connection(count: number) {
  const share = new WindowShare();
  const windows = Array.from({ length: count }, () => new ReceiveWindow(FIRST, PACKET, share));
  const granted = windows.map(() => FIRST), sent = windows.map(() => 0);
  return {
    windows,
    sizes: () => windows.map((window) => window.size),
    /** Each gets `bytes`, in packets that take turns. */
    receive(bytes: number, options: { roundTrip: number; channels?: number; packet?: number }): void {
      const { roundTrip, channels = count, packet = PACKET } = options;
      for (let got = 0; got < bytes; got += packet) {
        for (let i = 0; i < channels; i++) {
          const window = windows[i]!;
          window.take(packet);
          window.batchEnd();
          if (window.consumed(packet, 1, roundTrip)) granted[i]! += window.pay();
          sent[i]! += packet;
          assertEquals(window.left, granted[i]! - sent[i]!);
        }
      }
    },
  };
}

Deno.test("WindowShare leaves one channel all of its window, on any path", () => {
  for (const roundTrip of [0.1, 1, 100]) {
    const { receive, sizes } = connection(1);
    receive(20 * MIB, { roundTrip });
    assertEquals(sizes(), [FIRST]);
  }
});

Deno.test("WindowShare brings channels that receive at once on a short path down to 4 MiB together, and takes nothing back", () => {
  for (const count of [3, 4, 8, 16]) {
    const { receive, sizes } = connection(count);
    receive(10 * MIB, { roundTrip: 0.2 });
    for (const size of sizes()) assertEquals(size, Math.max(262_144, Math.floor(4 * MIB / count)));
  }
});

Deno.test("WindowShare leaves no channel less than 256 KiB, however many there are", () => {
  const { receive, sizes } = connection(40);
  receive(6 * MIB, { roundTrip: 0.2 });
  assertEquals(new Set(sizes()), new Set([262_144]));
});

Deno.test("WindowShare counts channels whose packets are small, and as many as a connection may have", () => {
  const { receive, sizes } = connection(256);
  receive(4 * MIB, { roundTrip: 0.2, packet: 8_192 });
  assertEquals(new Set(sizes()), new Set([262_144]));
});

Deno.test("WindowShare gives back what the others need no more", () => {
  const { receive, sizes } = connection(8);
  receive(10 * MIB, { roundTrip: 0.2 });
  assertEquals(sizes()[0], 524_288);
  receive(10 * MIB, { roundTrip: 0.2, channels: 1 });
  assertEquals(sizes()[0], FIRST);
  // The others get theirs back as soon as they receive again.
  receive(MIB, { roundTrip: 0.2, channels: 2 });
  assertEquals(sizes()[1], FIRST);
});

Deno.test("WindowShare holds nobody back on a path that is long enough, nor while its round trip is not known", () => {
  for (const roundTrip of [20, 100, 0]) {
    const { receive, sizes } = connection(8);
    receive(10 * MIB, { roundTrip });
    for (const size of sizes()) assert(size >= FIRST, `${size} at ${roundTrip} ms`);
  }
});

Deno.test("WindowShare does not count a channel on which little comes", () => {
  const { receive, sizes, windows } = connection(2);
  for (let i = 0; i < 100; i++) {
    receive(MIB, { roundTrip: 0.2, channels: 1 });
    windows[1]!.take(100);
    windows[1]!.consumed(100, 1, 0.2);
  }
  assertEquals(sizes()[0], FIRST);
});
