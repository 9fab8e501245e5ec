/**
 * Test support. A model of a path with a sender at its far end that fills a `ReceiveWindow`: packets, credit, queues and time, all
 * counted and none of it real. What a rate comes out as depends on the window alone.
 */
import type { ReceiveWindow } from "../../lib/connection/receive_window.ts";
import { Prng } from "../_support/fuzz.ts";

const PACKET = 32_768;

/** What a path and its two ends are like. Rates are bytes per millisecond, which is kB/s; times are milliseconds. */
export interface Path {
  /** Both ways together. */
  readonly roundTrip: number;
  /** What the receiver takes the round trip for. @default {roundTrip} */
  readonly known?: number;
  /** What the line carries. @default {1_000_000} */
  readonly line?: number;
  /** What the sender's program makes. @default {Infinity} */
  readonly source?: number;
  /** The program makes this many bytes, and then nothing for `pause`. */
  readonly bursts?: { readonly bytes: number; readonly pause: number };
  /** What the sender seals. @default {200_000} */
  readonly sealing?: number;
  /** Milliseconds more for each packet and MB that the sender has read ahead beyond 4 MB: `sshd` copies its buffer. @default {0} */
  readonly copying?: number;
  /** What the reader takes. @default {Infinity} */
  readonly reader?: number;
  /** Up to so much is added to each packet's way. @default {0} */
  readonly jitter?: number;
  /** Changes the path when the time has come. */
  readonly later?: { readonly at: number; readonly path: Partial<Path> };
}

/** What came of it. */
export interface Flow {
  /** Bytes that were read. */
  readonly bytes: number;
  /** When all had been read, or the time was over. */
  readonly time: number;
  /** Bytes per millisecond. */
  readonly rate: number;
  /** The window at its largest, and at the end. */
  readonly largest: number;
  readonly last: number;
}

/** How long something flows, and who looks on. */
export interface Watch {
  /** @default {Infinity} */
  readonly bytes?: number;
  /** @default {60_000} */
  readonly time?: number;
  /** Told of the window's size after each change of it. */
  readonly watch?: (size: number) => void;
  /** Told of credit that leaves for the sender. */
  readonly paid?: (bytes: number) => void;
  /** Told of data that has come. */
  readonly took?: (bytes: number) => void;
}

/** Bytes that a socket holds before the sender has to wait. */
const SOCKET = 1_000_000;
/** Bytes that the sender reads ahead without any cost. */
const CHEAP = 4_000_000;
/** Bytes that the program makes before it waits for the sender, and in a step at most. */
const MOST_MADE = 32_000_000;

/** Lets `bytes` flow over the path, or as many as go in `time`. */
export function flow(path: Path, window: ReceiveWindow, watching: Watch): Flow {
  const { bytes = Infinity, time = 60_000, watch, paid, took } = watching;
  const prng = new Prng(1);
  let p = path;
  const step = Math.min(1, Math.max(0.1, path.roundTrip / 40));
  let made = 0,
    readAhead = 0,
    ahead = 0,
    credit = window.left,
    sealedUntil = 0,
    lineFree = 0,
    pausedUntil = 0,
    inBurst = 0;
  let queued = 0, read = 0, readable = 0, largest = window.size, size = window.size, lastArrival = 0;
  /** On their way to the receiver, on their way to the sender. */
  const packets: { readonly at: number; readonly left: number; readonly bytes: number }[] = [];
  const adjusts: { readonly at: number; readonly bytes: number }[] = [];
  let head = 0, socketHead = 0;
  let now = 0;
  for (; now < time && read < bytes; now += step) {
    if (p.later !== undefined && now >= p.later.at) p = { ...p, ...p.later.path, later: undefined! };
    const { roundTrip, line = 1e6, source = Infinity, sealing = 200_000, copying = 0, reader = Infinity, jitter = 0 } =
      p;
    while (adjusts.length > 0 && adjusts[0]!.at <= now) credit += adjusts.shift()!.bytes;
    // What the program makes, from burst to burst.
    if (now >= pausedUntil) {
      let more = Math.min(source * step, bytes - made, MOST_MADE);
      if (p.bursts !== undefined) more = Math.min(more, p.bursts.bytes - inBurst);
      more = Math.max(0, Math.min(more, MOST_MADE - (made - readAhead)));
      made += more;
      inBurst += more;
      if (inBurst === p.bursts?.bytes) {
        inBurst = 0;
        pausedUntil = now + p.bursts.pause;
      }
    }
    while (socketHead < packets.length && packets[socketHead]!.left <= now) queued -= packets[socketHead++]!.bytes;
    // The sender reads a packet's worth for each that it sends, and as far as the window lets it while the socket is full.
    while (sealedUntil <= now && queued < SOCKET) {
      const more = Math.min(made - readAhead, credit - ahead, PACKET);
      readAhead += more;
      ahead += more;
      const size = Math.min(PACKET, ahead, credit);
      if (size <= 0) break;
      sealedUntil = Math.max(sealedUntil, now - step) + size / sealing + copying * Math.max(0, ahead - CHEAP) / 1e6;
      ahead -= size;
      credit -= size;
      queued += size;
      const left = lineFree = Math.max(lineFree, sealedUntil) + size / line;
      lastArrival = Math.max(lastArrival, left + roundTrip / 2 + jitter * prng.below(1000) / 1000);
      packets.push({ at: lastArrival, left, bytes: size });
    }
    if (queued >= SOCKET) {
      const more = Math.min(made - readAhead, credit - ahead);
      readAhead += more;
      ahead += more;
    }
    // What has come is a batch.
    const from = head;
    while (head < packets.length && packets[head]!.at <= now) {
      for (let left = packets[head]!.bytes; left > 0;) {
        const part = Math.min(left, PACKET);
        window.take(part);
        took?.(part);
        left -= part;
      }
      readable += packets[head++]!.bytes;
    }
    if (head > from) window.batchEnd();
    const taken = Math.min(readable, Math.floor(reader * step));
    readable -= taken;
    read += taken;
    if (taken > 0 && window.consumed(taken, now, p.known ?? path.roundTrip)) {
      const credited = window.pay();
      adjusts.push({ at: now + roundTrip / 2, bytes: credited });
      paid?.(credited);
    }
    largest = Math.max(largest, window.size);
    if (window.size !== size) watch?.(size = window.size);
    if (window.waiting !== readable) throw new Error(`${readable} bytes wait, and the window says ${window.waiting}`);
  }
  return { bytes: read, time: now, rate: read / now, largest, last: window.size };
}
