/**
 * AES-GCM of large packets, at once: AES by `node:crypto`, which is fast in blocks by themselves, and GHASH by WebAssembly. RFC 5647
 * section 7, NIST SP 800-38D section 7. No I/O.
 *
 * All connections share one WebAssembly instance and its one memory, which never grows. What lies there is used up before anything
 * else runs.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { equalBytes } from "../constant_time.ts";
import { FREE, type GhashFunctions, ghashTables, GROUP, instantiateGhash, TABLES } from "./ghash_wasm.ts";
import { hasNodeCrypto, type NodeCipher, nodeCipher } from "../node_crypto.ts";
import { MAX_PACKET_LENGTH } from "./packets.ts";

const TAG_LENGTH = 16;
const BLOCK = 16;
/** What is hashed beside the packet: the length in front of it, as a block, and the block of lengths behind. */
const BESIDE = 2 * BLOCK;

const HASH = FREE;
const TABLES_AT = HASH + BLOCK;
const STREAM = TABLES_AT + TABLES;
const DATA = STREAM + MAX_PACKET_LENGTH;
/** Enough for what is left of a packet of maximal length, a whole chunk of 256 KiB from the socket, and what lies beside each packet. */
const CAPACITY = 2 * MAX_PACKET_LENGTH + 400 * (GROUP + BESIDE);
const PAGES = Math.ceil((DATA + CAPACITY) / 65_536);

/** The shared instance, and whose tables lie in it. */
class Engine {
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly functions: GhashFunctions;
  /** Counter blocks; their last four bytes, which begin at 1 for each packet, never change. */
  readonly counters: Uint8Array = new Uint8Array(MAX_PACKET_LENGTH + BLOCK);
  readonly #words = new Uint32Array(this.counters.buffer);
  #tables: Bytes | null = null;

  constructor() {
    ({ memory: this.memory, functions: this.functions } = instantiateGhash(PAGES));
    const view = new DataView(this.counters.buffer);
    for (let at = 0; at < this.counters.length; at += BLOCK) view.setUint32(at + 12, at / BLOCK + 1);
  }

  use(tables: Bytes): void {
    if (this.#tables === tables) return;
    this.memory.set(tables, TABLES_AT);
    this.#tables = tables;
  }

  /** That many counter blocks with the nonce. */
  blocks(nonce: Bytes, count: number): Uint8Array {
    const words = this.#words, [a, b, c] = new Uint32Array(nonce.buffer) as unknown as [number, number, number];
    for (let i = 0; i < 4 * count; i += 4) {
      words[i] = a;
      words[i + 1] = b;
      words[i + 2] = c;
    }
    return this.counters.subarray(0, BLOCK * count);
  }
}

let shared: Engine | null | undefined;

/** The engine; null where there is no WebAssembly or no `node:crypto`. */
function engine(): Engine | null {
  if (shared === undefined) {
    try {
      shared = hasNodeCrypto() ? new Engine() : null;
    } catch {
      shared = null;
    }
  }
  return shared;
}

/** Bytes of the groups that a packet of `length` bytes takes with what is hashed beside it. */
function groupsOf(length: number): number {
  return Math.ceil((BESIDE + length) / GROUP) * GROUP;
}

/** One key. */
export class GcmAtOnce {
  readonly #engine: Engine;
  readonly #aes: NodeCipher;
  readonly #tables: Bytes;
  /** Where the next packet of a batch goes. */
  #at = DATA;

  private constructor(engine: Engine, key: Bytes) {
    this.#engine = engine;
    this.#aes = nodeCipher(`aes-${8 * key.length}-ecb`, "encrypt", key, null);
    this.#tables = ghashTables(this.#aes.update(new Uint8Array(BLOCK)));
  }

  /** Takes a key of 16 or 32 bytes; null where this runtime cannot. */
  static create(key: Bytes): GcmAtOnce | null {
    const made = engine();
    return made === null ? null : new GcmAtOnce(made, key);
  }

  /** Another batch begins: what was opened before is not needed any more. */
  begin(): void {
    this.#at = DATA;
  }

  /** Puts `data` where it is hashed, and returns its offset. */
  #put(at: number, clear: Uint8Array, data: Uint8Array): number {
    const { memory } = this.#engine, { length } = data, end = at + groupsOf(length), body = end - BLOCK - length;
    memory.fill(0, at, body);
    memory.set(clear, body - BLOCK);
    memory.set(data, body);
    memory.fill(0, end - BLOCK, end);
    new DataView(memory.buffer).setUint32(end - 12, 8 * clear.length);
    new DataView(memory.buffer).setUint32(end - 4, 8 * length);
    return body;
  }

  /** The tag of what lies at `at`; `mask` is the first block of the key stream. */
  #tag(at: number, length: number, mask: Uint8Array): Uint8Array {
    const { memory, functions } = this.#engine, tag = new Uint8Array(TAG_LENGTH);
    this.#engine.use(this.#tables);
    functions.ghash(TABLES_AT, at, groupsOf(length), HASH);
    for (let k = 0; k < TAG_LENGTH; k++) tag[k] = memory[HASH + k]! ^ mask[k]!;
    return tag;
  }

  /** The first block of the key stream, and then as much of it as `length` bytes of data need. */
  #stream(nonce: Bytes, length: number): Uint8Array {
    return this.#aes.update(this.#engine.blocks(nonce, 1 + length / BLOCK));
  }

  #xor(body: number, stream: Uint8Array): void {
    this.#engine.memory.set(stream.subarray(BLOCK), STREAM);
    this.#engine.functions.xor(body, STREAM, stream.length - BLOCK);
  }

  /** Encrypts whole blocks, no more than a packet has, into `out` at `offset`, the tag behind them. */
  seal(nonce: Bytes, clear: Uint8Array, data: Uint8Array, out: Bytes, offset: number): void {
    const { length } = data;
    if (length % BLOCK !== 0 || length > MAX_PACKET_LENGTH) {
      throw new RangeError(`Cannot seal ${length} bytes: they are no whole blocks, or too many`);
    }
    const stream = this.#stream(nonce, length), body = this.#put(DATA, clear, data);
    this.#xor(body, stream);
    out.set(this.#engine.memory.subarray(body, body + length), offset);
    out.set(this.#tag(DATA, length, stream), offset + length);
  }

  /**
   * Decrypts, or returns null where the tag is wrong; nothing is decrypted before that is known. What it returns lies in the shared
   * memory until the next batch, or is a copy where that is full.
   */
  open(nonce: Bytes, clear: Uint8Array, data: Uint8Array, tag: Uint8Array): Uint8Array | null {
    const { memory } = this.#engine, { length } = data;
    if (length % BLOCK !== 0 || length > MAX_PACKET_LENGTH) return null;
    // Behind a packet that stays there must be room for the next one, however long that is.
    const isCopied = this.#at + groupsOf(length) + groupsOf(MAX_PACKET_LENGTH) > DATA + CAPACITY;
    const at = this.#at, stream = this.#stream(nonce, length), body = this.#put(at, clear, data);
    if (!equalBytes(this.#tag(at, length, stream), tag)) return null;
    this.#xor(body, stream);
    if (isCopied) return memory.slice(body, body + length);
    this.#at += groupsOf(length);
    return memory.subarray(body, body + length);
  }

  /** Lets go of the cipher. */
  close(): void {
    this.#aes.close();
  }
}
