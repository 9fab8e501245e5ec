/**
 * L2. BLAKE2b without a key. RFC 7693. Written plainly: only Argon2 uses it, a few hundred times. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

const MASK = (1n << 64n) - 1n;
const BLOCK = 128;
/** The fractions of the square roots of the first eight primes (section 2.6). */
const IV = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
] as const;
/** Message schedule (section 2.7), a row of hexadecimal digits for each of ten rounds. */
const SIGMA = [
  "0123456789abcdef",
  "ea489fd61c02b753",
  "b8c052fdae367194",
  "7931dcbe265a40f8",
  "905724afe1bc683d",
  "2c6a0b834d75fe19",
  "c51fed4a0763928b",
  "db7ec13950f4862a",
  "6fe9b308c2d714a5",
  "a2847615fb9e3cd0",
];

function rotate(x: bigint, n: bigint): bigint {
  return (x >> n | x << (64n - n)) & MASK;
}

function compress(h: bigint[], block: DataView, counter: bigint, last: boolean): void {
  const m = Array.from({ length: 16 }, (_, i) => block.getBigUint64(8 * i, true));
  const v = [...h, ...IV];
  v[12]! ^= counter;
  if (last) v[14]! ^= MASK;
  const mix = (a: number, b: number, c: number, d: number, x: bigint, y: bigint) => {
    v[a] = (v[a]! + v[b]! + x) & MASK;
    v[d] = rotate(v[d]! ^ v[a]!, 32n);
    v[c] = (v[c]! + v[d]!) & MASK;
    v[b] = rotate(v[b]! ^ v[c]!, 24n);
    v[a] = (v[a]! + v[b]! + y) & MASK;
    v[d] = rotate(v[d]! ^ v[a]!, 16n);
    v[c] = (v[c]! + v[d]!) & MASK;
    v[b] = rotate(v[b]! ^ v[c]!, 63n);
  };
  for (let round = 0; round < 12; round++) {
    const s = [...SIGMA[round % 10]!].map((digit) => m[parseInt(digit, 16)]!);
    for (let i = 0; i < 4; i++) mix(i, 4 + i, 8 + i, 12 + i, s[2 * i]!, s[2 * i + 1]!);
    for (let i = 0; i < 4; i++) {
      mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, s[8 + 2 * i]!, s[9 + 2 * i]!);
    }
  }
  for (let i = 0; i < 8; i++) h[i]! ^= v[i]! ^ v[i + 8]!;
}

/** The hash of `data` in `length` bytes, 1 to 64. */
export function blake2b(data: Uint8Array, length: number): Bytes {
  const h: bigint[] = [...IV];
  h[0]! ^= 0x01010000n ^ BigInt(length);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK));
  const padded = new Uint8Array(blocks * BLOCK);
  padded.set(data);
  for (let i = 0; i < blocks; i++) {
    const last = i === blocks - 1;
    compress(h, new DataView(padded.buffer, i * BLOCK, BLOCK), BigInt(last ? data.length : (i + 1) * BLOCK), last);
  }
  const out = new Uint8Array(64), view = new DataView(out.buffer);
  h.forEach((word, i) => view.setBigUint64(8 * i, word, true));
  return out.slice(0, length);
}
