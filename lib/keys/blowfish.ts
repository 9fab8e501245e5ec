/**
 * L2. Blowfish as bcrypt uses it: the initial tables, the two key schedules, one block. Schneier 1993, Provos and Mazieres 1999.
 * No I/O. Its table look-ups depend on the key, as in every Blowfish: it runs over passphrases on the user's own machine only.
 *
 * @module
 */

/** Words of the P array. */
const P_WORDS = 18;
/** Words of the four S boxes, which follow the P array. */
const S_WORDS = 1024;

/** The integer square root, by Newton's method from above. */
function squareRoot(n: bigint): bigint {
  let root = 1n << BigInt((n.toString(16).length + 1) * 2);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Chudnovsky's series from term `a` up to `b`, by binary splitting: the P, Q and T of the recurrence. */
function series(a: bigint, b: bigint): [p: bigint, q: bigint, t: bigint] {
  if (b - a === 1n) {
    const p = a === 0n ? 1n : (6n * a - 5n) * (2n * a - 1n) * (6n * a - 1n);
    const q = a === 0n ? 1n : a * a * a * 10939058860032000n;
    const t = p * (13591409n + 545140134n * a);
    return [p, q, a & 1n ? -t : t];
  }
  const middle = (a + b) >> 1n;
  const [p1, q1, t1] = series(a, middle), [p2, q2, t2] = series(middle, b);
  return [p1 * p2, q1 * q2, q2 * t1 + p1 * t2];
}

let initial: Int32Array<ArrayBuffer> | undefined;

/** The initial tables are the fraction of pi: 1042 words, computed once in a few milliseconds instead of being written out. */
function initialTables(): Int32Array<ArrayBuffer> {
  if (initial !== undefined) return initial;
  const bits = 32 * (P_WORDS + S_WORDS), guard = 64;
  // Each term gives 47.1 bits.
  const [, q, t] = series(0n, BigInt(Math.ceil((bits + guard) / 47)));
  const scale = BigInt(bits + guard);
  const pi = 426880n * squareRoot(10005n << (2n * scale)) * q / t;
  const fraction = ((pi >> BigInt(guard)) & ((1n << BigInt(bits)) - 1n)).toString(16).padStart(bits / 4, "0");
  initial = Int32Array.from(
    { length: P_WORDS + S_WORDS },
    (_, i) => parseInt(fraction.slice(8 * i, 8 * i + 8), 16) | 0,
  );
  return initial;
}

/** A Blowfish state. */
export class Blowfish {
  readonly #p: Int32Array;
  readonly #s: Int32Array;
  readonly #block = new Int32Array(2);

  /** Starts from the digits of pi. */
  constructor() {
    const tables = initialTables();
    this.#p = tables.slice(0, P_WORDS);
    this.#s = tables.slice(P_WORDS);
  }

  /** Encrypts two words in place. */
  encrypt(block: Int32Array): void {
    const p = this.#p, s = this.#s;
    let left = block[0]! ^ p[0]!, right = block[1]!;
    for (let i = 1; i < 17; i += 2) {
      right ^= ((((s[left >>> 24]! + s[256 + (left >>> 16 & 255)]!) ^ s[512 + (left >>> 8 & 255)]!) +
        s[768 + (left & 255)]!) | 0) ^ p[i]!;
      left ^= ((((s[right >>> 24]! + s[256 + (right >>> 16 & 255)]!) ^ s[512 + (right >>> 8 & 255)]!) +
        s[768 + (right & 255)]!) | 0) ^ p[i + 1]!;
    }
    block[0] = right ^ p[17]!;
    block[1] = left;
  }

  /** The expensive key schedule: 16 words of key, and 16 words of salt or none. */
  expand(key: Int32Array, salt: Int32Array | null): void {
    const p = this.#p, s = this.#s, block = this.#block;
    for (let i = 0; i < P_WORDS; i++) p[i]! ^= key[i & 15]!;
    block.fill(0);
    let at = 0;
    for (const table of [p, s]) {
      for (let i = 0; i < table.length; i += 2, at += 2) {
        if (salt !== null) {
          block[0]! ^= salt[at & 15]!;
          block[1]! ^= salt[(at + 1) & 15]!;
        }
        this.encrypt(block);
        table[i] = block[0]!;
        table[i + 1] = block[1]!;
      }
    }
  }
}
