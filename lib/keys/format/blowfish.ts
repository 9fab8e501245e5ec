/**
 * Blowfish as bcrypt uses it: the initial tables, the two key schedules, one block. Schneier 1993, Provos and Mazieres 1999.
 * No I/O. Its table look-ups depend on the key, as in every Blowfish: it runs over passphrases on the user's own machine only.
 *
 * @module
 */
import { tables } from "./blowfish_tables.ts";
import { fromBase64 } from "../../wire/base_text.ts";

/** Words of the P array. */
const P_WORDS = 18;
/** Words of the four S boxes, which follow the P array. */
const S_WORDS = 1024;

function initialTables(): Int32Array<ArrayBuffer> {
  const bytes = fromBase64(tables), view = new DataView(bytes.buffer);
  return Int32Array.from({ length: P_WORDS + S_WORDS }, (_, i) => view.getInt32(4 * i));
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
