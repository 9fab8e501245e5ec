/**
 * Test support. Recordings of connections: the bytes of both directions, the points at which the peer's came, and the streams that
 * record and replay them. recorded_sessions.ts says what happens on a connection, record.ts makes the files in tests/recordings.
 *
 * @module
 */
import { fillRandom } from "../../lib/crypto/random.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { seededRandom } from "./duplex.ts";

/**
 * What the peer did, after how many of our bytes: so many bytes came, the connection ended, or the application waited for quiet
 * (everything that was on its way had arrived and been answered).
 */
export type PeerEvent = readonly [sent: number, what: number | "end" | "quiet"];

/** The algorithms of a recorded connection, one for each purpose. */
export interface RecordedAlgorithms {
  /** Key exchange. */
  readonly kex: string;
  /** Cipher of both directions. */
  readonly cipher: string;
  /** MAC of both directions; unused by AEAD ciphers. */
  readonly mac: string;
  /** Compression of both directions. */
  readonly compression: string;
}

/** What the application saw, as plain data: equal means the same session. */
export type Seen = Readonly<Record<string, string | number | boolean | null>>;

/** One recorded connection. */
export interface Recording {
  /** What it is. */
  readonly note: string;
  /** The peer's program and version. */
  readonly peer: string;
  /** Which side we are. */
  readonly side: "client" | "server";
  /** Seed of what we took for random. */
  readonly seed: number;
  /** User that logs in. */
  readonly username: string;
  /** Host key line of the server. */
  readonly hostKey: string;
  /** Bytes of the large transfer. */
  readonly size: number;
  /** What we offered. */
  readonly algorithms: RecordedAlgorithms;
  /** What the application saw. */
  readonly seen: Seen;
  /** How the peer's bytes came. */
  readonly events: readonly PeerEvent[];
  /** All bytes that we sent, in base64. */
  readonly ours: string;
  /** All bytes that the peer sent, in base64. */
  readonly theirs: string;
}

// ------------------------------------------------------------------------------------------------ randomness

/** Size of the pool of lib/crypto/random.ts. */
const POOL = 16_384;
/** What stands before the 32 bytes of an X25519 key in PKCS #8 (RFC 8410). */
const X25519_PKCS8 = Uint8Array.fromHex("302e020100300506032b656e04220420");

/**
 * Until it is disposed of, `crypto.getRandomValues()` and X25519 keys of this realm come from the seed. The test runner gives each
 * test file a realm of its own, so nothing else sees it. Requests of one length share a sequence, so that it does not matter
 * whether the pool is refilled before or after a key is made.
 */
export function seedRandomness(seed: number): Disposable {
  const sequences = new Map<string, () => number>();
  const fill = (view: Uint8Array, purpose: string) => {
    let random = sequences.get(purpose);
    if (random === undefined) {
      const salt = [...purpose].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed);
      sequences.set(purpose, random = seededRandom(salt));
    }
    for (let i = 0; i < view.length; i++) view[i] = random() * 256;
  };
  let poolFilled = false;
  Object.defineProperty(crypto, "getRandomValues", {
    configurable: true,
    value: <T extends ArrayBufferView>(view: T): T => {
      fill(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), `random ${view.byteLength}`);
      poolFilled ||= view.byteLength === POOL;
      return view;
    },
  });
  const { subtle } = crypto;
  const generateKey = subtle.generateKey.bind(subtle) as (...args: unknown[]) => Promise<unknown>;
  Object.defineProperty(subtle, "generateKey", {
    configurable: true,
    value: (...args: unknown[]): Promise<unknown> => {
      if (args[0] !== "X25519") return generateKey(...args);
      const secret = new Uint8Array(32);
      fill(secret, "X25519");
      return x25519Pair(secret);
    },
  });
  // What the pool held before is used up: it starts anew one byte behind a refill.
  while (!poolFilled) fillRandom(new Uint8Array(1));
  return {
    [Symbol.dispose]() {
      Reflect.deleteProperty(crypto, "getRandomValues");
      Reflect.deleteProperty(subtle, "generateKey");
      fillRandom(new Uint8Array(POOL));
    },
  };
}

async function x25519Pair(secret: Uint8Array): Promise<CryptoKeyPair> {
  const pkcs8 = new Uint8Array([...X25519_PKCS8, ...secret]);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", true, ["deriveBits"]);
  const { x } = await crypto.subtle.exportKey("jwk", privateKey);
  const raw = Uint8Array.fromBase64(x!, { alphabet: "base64url" });
  return { privateKey, publicKey: await crypto.subtle.importKey("raw", raw, "X25519", true, []) };
}

// ------------------------------------------------------------------------------------------------ recording

/** Streams for one side of a connection, and when nothing is on its way between the sides. */
export interface Tape {
  /** What the library gets. */
  readonly duplex: ByteDuplex;
  /** Waits until everything has come that the other side had to say. */
  quiet(): Promise<void>;
}

/** Milliseconds without a byte that count as quiet. */
const QUIET = 200;

/** Records a connection that goes through it. */
export class Recorder implements Tape {
  readonly duplex: ByteDuplex;
  readonly #events: PeerEvent[] = [];
  readonly #ours: Uint8Array[] = [];
  readonly #theirs: Uint8Array[] = [];
  #sent = 0;
  #moved = performance.now();

  constructor(conn: ByteDuplex) {
    const reader = conn.readable.getReader(), writer = conn.writable.getWriter();
    this.duplex = {
      readable: new ReadableStream({
        pull: async (controller) => {
          const { done, value } = await reader.read();
          this.#moved = performance.now();
          this.#events.push([this.#sent, done ? "end" : value.length]);
          if (done) return controller.close();
          this.#theirs.push(value.slice());
          controller.enqueue(value);
        },
        cancel: (reason) => reader.cancel(reason),
      }, { highWaterMark: 0 }),
      writable: new WritableStream({
        write: (chunk) => {
          this.#moved = performance.now();
          this.#ours.push(chunk.slice());
          this.#sent += chunk.length;
          return writer.write(chunk);
        },
        close: () => writer.close(),
        abort: (reason) => writer.abort(reason),
      }, { highWaterMark: 0 }),
    };
  }

  async quiet(): Promise<void> {
    this.#moved = performance.now();
    while (performance.now() - this.#moved < QUIET) await new Promise((resolve) => setTimeout(resolve, 20));
    this.#events.push([this.#sent, "quiet"]);
  }

  /** What went through so far. */
  recorded(): Pick<Recording, "events" | "ours" | "theirs"> {
    return { events: this.#events, ours: joined(this.#ours).toBase64(), theirs: joined(this.#theirs).toBase64() };
  }
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

// ------------------------------------------------------------------------------------------------ replay

/** Milliseconds after which a replay that does not go on has failed. */
const STUCK = 60_000;

/**
 * Plays the peer's part of a recording: each of its chunks comes when as many of our bytes have been sent as in the recording, and
 * what we send must be what was sent then. With `bytes` the peer's chunks are cut into single bytes.
 */
export class Replay implements Tape, Disposable {
  readonly duplex: ByteDuplex;
  readonly #events: readonly PeerEvent[];
  readonly #ours: Uint8Array;
  readonly #theirs: Uint8Array;
  readonly #failed = Promise.withResolvers<never>();
  readonly #timer: ReturnType<typeof setTimeout>;
  #next = 0;
  #sent = 0;
  #delivered = 0;
  #left = 0;
  #wake: (() => void)[] = [];
  #quietWanted: (() => void) | null = null;
  #error: Error | null = null;

  constructor(recording: Recording, chunks: "recorded" | "bytes") {
    this.#events = recording.events;
    this.#ours = Uint8Array.fromBase64(recording.ours);
    this.#theirs = Uint8Array.fromBase64(recording.theirs);
    this.#failed.promise.catch(() => {});
    this.#timer = setTimeout(() => this.#fail(`no more was sent within ${STUCK} ms`), STUCK);
    const most = chunks === "bytes" ? 1 : Infinity;
    // Sockets are byte streams, and read in another way than streams that are not.
    const plain = (): ReadableStream<Uint8Array> =>
      new ReadableStream({ pull: (controller) => this.#pull(controller, most) }, { highWaterMark: 0 });
    const byteStream = (): ReadableStream<Uint8Array> =>
      new ReadableStream({ type: "bytes", pull: (controller) => this.#pull(controller, most) }, { highWaterMark: 0 });
    this.duplex = {
      readable: chunks === "bytes" ? plain() : byteStream(),
      writable: new WritableStream({ write: (chunk) => this.#write(chunk) }, { highWaterMark: 0 }),
    };
  }

  quiet(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#quietWanted = resolve;
    this.#notify();
    return Promise.race([promise, this.#failed.promise]);
  }

  /** The result of `session`, which uses the streams; rejects when what we sent is not what was recorded, byte for byte. */
  async check<T>(session: Promise<T>): Promise<T> {
    session.catch(() => {});
    let result: T;
    try {
      result = await Promise.race([session, this.#failed.promise]);
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
      await session.catch(() => {});
      throw this.#error === null ? error : new Error(this.#error.message, { cause: error });
    }
    if (this.#error !== null) throw this.#error;
    if (this.#sent !== this.#ours.length) throw this.#fail("the end came early");
    if (this.#delivered !== this.#theirs.length) throw this.#fail("the peer was not heard to its end");
    return result;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #fail(why: string): Error {
    this.#error ??= new Error(
      `Cannot replay recording: ${why}: ${this.#sent} of ${this.#ours.length} bytes sent, ${this.#delivered} of ` +
        `${this.#theirs.length} received, at event ${this.#next} of ${this.#events.length}`,
    );
    this.#failed.reject(this.#error);
    this.#notify();
    return this.#error;
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const one of wake) one();
  }

  #write(chunk: Uint8Array): void {
    for (let i = 0; i < chunk.length; i++) {
      if (chunk[i] === this.#ours[this.#sent + i]) continue;
      this.#sent += i;
      throw this.#fail("another byte was recorded here");
    }
    this.#sent += chunk.length;
    this.#notify();
  }

  /** Called when everything delivered before has been taken in. */
  async #pull(
    controller: ReadableByteStreamController | ReadableStreamDefaultController,
    most: number,
  ): Promise<void> {
    for (;;) {
      if (this.#error !== null) return controller.error(this.#error);
      if (this.#next === this.#events.length) return this.#end(controller);
      const [at, what] = this.#events[this.#next]!;
      if (this.#sent < at || what === "quiet" && this.#quietWanted === null) {
        await new Promise<void>((resolve) => this.#wake.push(resolve));
        continue;
      }
      if (what === "end") return this.#end(controller);
      if (what === "quiet") {
        if (this.#sent > at) this.#fail("more was sent than was recorded up to here");
        this.#next++;
        this.#quietWanted!();
        this.#quietWanted = null;
        continue;
      }
      if (this.#left === 0) this.#left = what;
      const n = Math.min(this.#left, most);
      controller.enqueue(this.#theirs.slice(this.#delivered, this.#delivered + n));
      this.#delivered += n;
      this.#left -= n;
      if (this.#left === 0) this.#next++;
      return;
    }
  }

  #end(controller: ReadableByteStreamController | ReadableStreamDefaultController): void {
    controller.close();
    if ("byobRequest" in controller) controller.byobRequest?.respond(0);
  }
}
