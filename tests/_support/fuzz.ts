/** Seeded fuzzing: the same seed gives the same input, and a failure names its seed. */

/** A small deterministic generator (xorshift32 of a mixed seed). Not for anything but tests. */
export class Prng {
  #state: number;

  /** Equal seeds give equal sequences. */
  constructor(seed: number) {
    // Mixed so that neighbouring seeds do not begin alike; the state must not be 0.
    let state = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2_ae35);
    this.#state = (state ^ (state >>> 16)) || 1;
  }

  /** A number from 0 to 2^32 - 1. */
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** A number from 0 to `n - 1`. */
  below(n: number): number {
    return Math.floor(this.u32() / 2 ** 32 * n);
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32() >>> 24;
    return bytes;
  }
}

/** Bytes that tend to look like SSH: random ones, runs, and small lengths, at most `maxLength`. */
export function fuzzBytes(seed: number, maxLength = 256): Uint8Array<ArrayBuffer> {
  const prng = new Prng(seed);
  const bytes = prng.bytes(prng.below(maxLength + 1));
  for (let at = 0; at + 4 <= bytes.length; at += 4 + prng.below(16)) {
    // A length that fits, or nearly so, gets past the first check.
    if (prng.below(3) === 0) new DataView(bytes.buffer).setUint32(at, prng.below(bytes.length - at + 2));
    else if (prng.below(4) === 0) bytes.fill(prng.pick([0, 0x2c, 0x61, 0x7f, 0x80, 0xff]), at, at + prng.below(12));
  }
  return bytes;
}

const LENGTHS = [0, 1, 4, 0x7f, 0x80, 0xff, 0x100, 0x8000, 0x40000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/** A damaged copy of a valid message: bits flipped, parts cut, doubled or overwritten, lengths made absurd. */
export function mutate(message: Uint8Array, seed: number): Uint8Array<ArrayBuffer> {
  const prng = new Prng(seed);
  let bytes = new Uint8Array(message);
  for (let n = 1 + prng.below(3); n > 0; n--) {
    const at = prng.below(bytes.length + 1);
    switch (prng.below(7)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << prng.below(8));
        break;
      case 1:
        bytes = bytes.slice(0, at);
        break;
      case 2:
        bytes = splice(bytes, at, prng.below(9), new Uint8Array(0));
        break;
      case 3:
        bytes = splice(bytes, at, 0, prng.bytes(1 + prng.below(9)));
        break;
      case 4:
        bytes = splice(bytes, at, 0, bytes.slice(at, at + prng.below(64)));
        break;
      case 5:
        if (at + 4 <= bytes.length) new DataView(bytes.buffer).setUint32(at, prng.pick(LENGTHS));
        break;
      default:
        bytes.fill(prng.pick([0, 0x2c, 0x80, 0xff]), at, at + prng.below(9));
    }
  }
  return bytes;
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array<ArrayBuffer> {
  const tail = bytes.subarray(Math.min(bytes.length, at + remove));
  const out = new Uint8Array(at + insert.length + tail.length);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(tail, at + insert.length);
  return out;
}

/** What one run did. */
export interface FuzzRun {
  /** Inputs tried. */
  readonly count: number;
  /** Inputs for which `check` returned true, as it does for one that was accepted. */
  readonly accepted: number;
}

/**
 * Calls `check` with the seeds 0, 1, 2 and so on: `count` of them, or for as long as AMIKO_FUZZ_SECONDS says, divided by `share`
 * where several targets run in one test file. What `check` throws is a finding, and the error names its seed.
 */
export function fuzz(check: (seed: number) => boolean, options: { count: number; share?: number }): FuzzRun {
  const seconds = Number(Deno.env.get("AMIKO_FUZZ_SECONDS") ?? 0) / (options.share ?? 1);
  const until = performance.now() + seconds * 1000;
  let accepted = 0, seed = 0;
  for (; seed < options.count || (seconds > 0 && (seed % 64 !== 0 || performance.now() < until)); seed++) {
    try {
      if (check(seed)) accepted++;
    } catch (cause) {
      throw new Error(`Finding: seed ${seed}`, { cause });
    }
  }
  return { count: seed, accepted };
}

/** The same for a check that has to wait. */
export async function fuzzAsync(
  check: (seed: number) => Promise<boolean>,
  options: { count: number; share?: number },
): Promise<FuzzRun> {
  const seconds = Number(Deno.env.get("AMIKO_FUZZ_SECONDS") ?? 0) / (options.share ?? 1);
  const until = performance.now() + seconds * 1000;
  let accepted = 0, seed = 0;
  for (; seed < options.count || (seconds > 0 && performance.now() < until); seed++) {
    try {
      if (await check(seed)) accepted++;
    } catch (cause) {
      throw new Error(`Finding: seed ${seed}`, { cause });
    }
  }
  return { count: seed, accepted };
}
