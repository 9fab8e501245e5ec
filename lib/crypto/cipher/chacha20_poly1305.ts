/**
 * chacha20-poly1305@openssh.com (OpenSSH PROTOCOL.chacha20poly1305). No I/O.
 *
 * All connections share one WebAssembly instance and its one memory, which never grows. Sealing and opening have a part each;
 * whatever lies there is used up before anything else runs.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { type ChachaFunctions, FREE, instantiateChacha } from "./chacha20_poly1305_wasm.ts";
import { frameEnd, macInvalid, MAX_PACKET_LENGTH, uint32At } from "./packets.ts";
import type { DirectionKeys, PacketFrame, PacketOpener, PacketSealer } from "../types.ts";

const TAG_LENGTH = 16;
/** Enough for what is left of a packet of maximal length and a whole chunk of 256 KiB from the socket. */
const CAPACITY = 4 + MAX_PACKET_LENGTH + TAG_LENGTH + 262_144;
const SHAPE = { blockSize: 8, lengthPadded: false, tagLength: TAG_LENGTH } as const;

/** The key of the payload, K_2, then that of the length, K_1. */
const PAYLOAD_KEY = FREE;
const LENGTH_KEY = PAYLOAD_KEY + 32;
/** Four nonces, and the key stream for the lengths of the packets they belong to. */
const NONCES = LENGTH_KEY + 32;
const LENGTH_STREAM = NONCES + 16;
/** Blocks 0 to 3 of a packet's key stream: the Poly1305 key in block 0, then 192 bytes of stream. */
const FIRST_BLOCKS = LENGTH_STREAM + 16;
const TAG = FIRST_BLOCKS + 256;
const SEALING = align(TAG + TAG_LENGTH);
const OPENING = align(SEALING + CAPACITY);
/** Blocks 4 and on of the key stream of a packet that is being opened. */
const LATER_BLOCKS = align(OPENING + CAPACITY);
const PAGES = Math.ceil((LATER_BLOCKS + CAPACITY) / 65_536);

/** Blocks 1 to 7 are encrypted before ChaCha20 and Poly1305 go on side by side, as Poly1305 has to stay 256 bytes behind. */
const AHEAD = 448;

function align(offset: number): number {
  return Math.ceil(offset / 64) * 64;
}

/** The shared instance, and whose keys lie in it. */
class Engine {
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly functions: ChachaFunctions;
  #key: Bytes | null = null;

  constructor() {
    ({ memory: this.memory, functions: this.functions } = instantiateChacha(PAGES));
  }

  use(key: Bytes): void {
    if (this.#key === key) return;
    this.memory.set(key, PAYLOAD_KEY);
    this.#key = key;
  }

  /** Writes a sequence number, as it stands in the nonce. */
  nonce(at: number, sequence: number): void {
    const memory = this.memory;
    memory[at] = sequence >>> 24;
    memory[at + 1] = sequence >>> 16;
    memory[at + 2] = sequence >>> 8;
    memory[at + 3] = sequence;
  }

  /** Computes the length key stream of four packets from `sequence` on, and leaves their nonces in {@linkcode NONCES}. */
  lengthStreams(sequence: number): void {
    for (let i = 0; i < 4; i++) this.nonce(NONCES + 4 * i, sequence + i);
    this.memory.fill(0, LENGTH_STREAM, LENGTH_STREAM + 16);
    this.functions.headers(LENGTH_KEY, NONCES, LENGTH_STREAM);
  }

  /** XORs the padded part of the packet whose first blocks are in {@linkcode FIRST_BLOCKS}. */
  xorBody(nonce: number, at: number, length: number): void {
    this.functions.xor(at, FIRST_BLOCKS + 64, Math.min(length, 192));
    if (length > 192) this.functions.chacha20(PAYLOAD_KEY, nonce, 4, at + 192, length - 192);
  }

  /** Encrypts what is between the length at `start` and `tag`, and writes the tag. */
  seal(nonce: number, start: number, tag: number): void {
    const functions = this.functions, body = start + 4, length = tag - body, later = body + AHEAD;
    functions.keystream(PAYLOAD_KEY, nonce, 0, FIRST_BLOCKS);
    this.xorBody(nonce, body, Math.min(length, AHEAD));
    if (length <= AHEAD) functions.poly1305(FIRST_BLOCKS, start, tag - start, tag);
    else functions.chacha20Poly1305(PAYLOAD_KEY, nonce, 8, later, tag - later, FIRST_BLOCKS, start, tag - start, tag);
  }

  /**
   * Whether `tag` is right for what is before it, from the length at `start` on. Nothing is decrypted before that is known: of a
   * large packet the key stream is computed meanwhile, and lies in {@linkcode LATER_BLOCKS} until then.
   */
  open(nonce: number, start: number, tag: number): boolean {
    const { memory, functions } = this, body = start + 4, length = tag - body, later = length - 192;
    const large = length > AHEAD;
    functions.keystream(PAYLOAD_KEY, nonce, 0, FIRST_BLOCKS);
    if (large) {
      memory.fill(0, LATER_BLOCKS, LATER_BLOCKS + later);
      functions.chacha20Poly1305(PAYLOAD_KEY, nonce, 4, LATER_BLOCKS, later, FIRST_BLOCKS, start, tag - start, TAG);
    } else functions.poly1305(FIRST_BLOCKS, start, tag - start, TAG);
    let difference = 0;
    for (let k = 0; k < TAG_LENGTH; k++) difference |= memory[TAG + k]! ^ memory[tag + k]!;
    if (difference !== 0) return false;
    this.xorBody(nonce, body, large ? 192 : length);
    if (large) functions.xor(body + 192, LATER_BLOCKS, later);
    return true;
  }
}

let shared: Engine | null = null;

function engine(): Engine {
  return shared ??= new Engine();
}

/** Whether WebAssembly is there: a page whose content security policy does not allow it has none. */
export function hasChacha(): boolean {
  try {
    engine();
    return true;
  } catch {
    return false;
  }
}

/**
 * Holds that no nonce is used twice: numbers follow each other and end before the first one comes again. The nonce is the
 * packet's sequence number, so this is all that keeps two packets from sharing a key stream.
 */
class NonceGuard {
  #next: number | null = null;
  #left = 2 ** 32;

  take(sequence: number, count: number): void {
    if (this.#next !== null && sequence !== this.#next) {
      throw new RangeError(`Cannot seal packet: sequence number ${sequence} does not follow the last one`);
    }
    if (count > this.#left) {
      throw new RangeError("Cannot seal packet: all sequence numbers have been used with this key");
    }
    this.#left -= count;
    this.#next = (sequence + count) % 2 ** 32;
  }
}

class ChachaSealer implements PacketSealer {
  readonly blockSize = SHAPE.blockSize;
  readonly lengthPadded = SHAPE.lengthPadded;
  readonly tagLength = SHAPE.tagLength;
  readonly fillsOut = true;
  readonly #key: Bytes;
  readonly #guard = new NonceGuard();

  constructor(key: Bytes) {
    this.#key = key;
  }

  workspace(size: number): Uint8Array {
    return size <= CAPACITY ? engine().memory.subarray(SEALING, SEALING + CAPACITY) : new Uint8Array(size);
  }

  seal(workspace: Uint8Array, ends: readonly number[], sequence: number, kept?: Bytes): Bytes {
    this.#guard.take(sequence, ends.length);
    const shared = engine(), memory = shared.memory, length = ends.at(-1) ?? 0;
    shared.use(this.#key);
    if (length > workspace.length) throw new RangeError("Cannot seal packets: they end outside of the workspace");
    if (workspace.buffer === memory.buffer) {
      const base = workspace.byteOffset;
      this.#sealAll(base, ends, sequence);
      if (kept === undefined || kept.length < length) return memory.slice(base, base + length);
      kept.set(memory.subarray(base, base + length));
      return kept.subarray(0, length);
    }
    // Not our memory: one packet at a time.
    const out = new Uint8Array(length);
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i]!;
      if (end - start > CAPACITY) throw new RangeError("Cannot seal packets: one is too long");
      memory.set(workspace.subarray(start, end), SEALING);
      this.#sealAll(SEALING, [end - start], sequence + i);
      out.set(memory.subarray(SEALING, SEALING + end - start), start);
      start = end;
    }
    return out;
  }

  #sealAll(base: number, ends: readonly number[], sequence: number): void {
    const shared = engine(), memory = shared.memory;
    let start = base;
    for (let i = 0; i < ends.length; i++) {
      const lane = 4 * (i & 3), nonce = NONCES + lane, tag = base + ends[i]! - TAG_LENGTH, body = start + 4;
      // A length below zero would be a very large one over there.
      if (!(tag > body)) throw new RangeError("Cannot seal packets: one is too short");
      if (lane === 0) shared.lengthStreams(sequence + i);
      for (let k = 0; k < 4; k++) memory[start + k]! ^= memory[LENGTH_STREAM + lane + k]!;
      shared.seal(nonce, start, tag);
      start = base + ends[i]!;
    }
  }
}

class ChachaOpener implements PacketOpener {
  readonly blockSize = SHAPE.blockSize;
  readonly lengthPadded = SHAPE.lengthPadded;
  readonly tagLength = SHAPE.tagLength;
  readonly headLength = 4;
  readonly #key: Bytes;
  /** Length key stream of four packets from `#streamsFrom` on. */
  readonly #streams = new Uint8Array(16);
  #streamsFrom = -1;

  constructor(key: Bytes) {
    this.#key = key;
  }

  packetLength(chunk: Uint8Array, offset: number, sequence: number): number {
    let lane = this.#streamsFrom < 0 ? 4 : (sequence - this.#streamsFrom) >>> 0;
    if (lane >= 4) {
      const shared = engine();
      shared.use(this.#key);
      shared.lengthStreams(sequence);
      this.#streams.set(shared.memory.subarray(LENGTH_STREAM, LENGTH_STREAM + 16));
      this.#streamsFrom = sequence;
      lane = 0;
    }
    return (uint32At(chunk, offset) ^ uint32At(this.#streams, 4 * lane)) >>> 0;
  }

  open(chunk: Uint8Array, frames: readonly PacketFrame[], sequence: number): readonly Uint8Array[] {
    const shared = engine(), memory = shared.memory, opened: Uint8Array[] = [];
    shared.use(this.#key);
    let at = OPENING;
    const copied = totalLength(frames) > CAPACITY;
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i]!, end = frameEnd(chunk, frame, TAG_LENGTH);
      if (copied) at = OPENING;
      if (end - frame.offset > CAPACITY) throw macInvalid();
      memory.set(chunk.subarray(frame.offset, end), at);
      const body = at + 4, next = body + frame.length;
      shared.nonce(NONCES, sequence + i);
      if (!shared.open(NONCES, at, next)) throw macInvalid();
      at = next + TAG_LENGTH;
      opened.push(copied ? memory.slice(body, next) : memory.subarray(body, next));
    }
    return opened;
  }
}

function totalLength(frames: readonly PacketFrame[]): number {
  let total = 0;
  for (const frame of frames) total += 4 + frame.length + TAG_LENGTH;
  return total;
}

function checkedKey(keys: DirectionKeys): Bytes {
  if (keys.key.length !== 64) throw new RangeError("Cannot use key: chacha20-poly1305@openssh.com wants 64 bytes");
  return keys.key.slice();
}

/** Seals with chacha20-poly1305@openssh.com. */
export function chachaSealer(keys: DirectionKeys): PacketSealer {
  return new ChachaSealer(checkedKey(keys));
}

/** Opens with chacha20-poly1305@openssh.com. */
export function chachaOpener(keys: DirectionKeys): PacketOpener {
  return new ChachaOpener(checkedKey(keys));
}
