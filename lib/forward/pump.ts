/**
 * Joins two byte duplexes, so that each gets what the other sends. No I/O of its own.
 *
 * Each direction goes on until its source ends, and that end goes on as a half-close. While a side takes nothing, nothing is read for
 * it. Where reading fails, the side has been reset, and the other one is, too. Where writing fails, the side takes no more: what it
 * has still sent is delivered, and then both are closed.
 *
 * @module
 */
import { callBack } from "../wire/callback.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { ChannelConn } from "./conn.ts";

/**
 * A socket, such as a `Deno.TcpConn` or a `Deno.UnixConn`. Its streams are not used: the end of `readable` would close the socket for
 * both directions. `close()` makes calls that wait reject.
 */
export interface Socket {
  /** Reads into `p`; null is the end. */
  read(p: Uint8Array): Promise<number | null>;
  /** Writes some of `p`. */
  write(p: Uint8Array): Promise<number>;
  /** Half-close. */
  closeWrite(): Promise<void>;
  /** Closes both directions. */
  close(): unknown;
}

/**
 * What can be joined: a forwarded connection, a socket, or any pair of byte streams. Where the writable of a pair fails, its readable
 * has to come to an end as well, sooner or later.
 */
export type PumpSide = ByteDuplex | Socket;

/** Bytes of the first read of a socket, and of the largest: they grow while reads fill them, and most connections are short. */
const BUFFER = { first: 4_096, last: 262_144 };

/** One of two things that are joined. */
interface Side {
  /** Whether the bytes of a read are overwritten by a later one. */
  readonly reusesChunks: boolean;
  /** Whether written chunks may be used after `write()` has settled. */
  readonly keepsChunks: boolean;
  /** Rejects when nothing more can be written; may stay pending. */
  readonly gone: Promise<never>;
  /** The next bytes, which stay as they are until the read after the next one has begun; null at the end. */
  read(): Promise<Uint8Array | null>;
  /** Writes all of it. */
  write(chunk: Uint8Array): Promise<unknown>;
  /** Half-close. */
  end(): Promise<unknown>;
  /** Nobody wants what else comes. */
  discard(reason: unknown): void;
  /** Gives both directions up. */
  reset(reason: unknown): void;
  /** Both directions have come to their end. */
  close(): Promise<unknown>;
}

/**
 * Joins `a` and `b`, and resolves when both directions have ended and both sides are closed. Rejects with what cut a direction short,
 * or with the reason of the signal, which resets both sides; nothing is open then, either.
 */
export async function pump(
  a: PumpSide,
  b: PumpSide,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { signal } = options, left = sideOf(a), right = sideOf(b);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const fail = (reason: unknown): void => {
    failed.reject(reason);
    left.reset(reason);
    right.reset(reason);
  };
  const onAbort = (): void => fail(signal!.reason);
  // A connection that is lost still delivers what has come; nobody waits for that here.
  for (const side of [a, b]) if (side instanceof ChannelConn) side.closed.catch(fail);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const flows = Promise.all([flow(left, right, fail), flow(right, left, fail)]);
    const cuts = await Promise.race([failed.promise, flows]);
    await Promise.all([left.close(), right.close()]);
    for (const cut of cuts) if (cut !== null) throw cut.reason;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * One direction until its end: null, or why `to` takes no more of what there is. What `from` fails with goes to `fail`. A side that
 * takes no more while there is nothing for it has just closed.
 */
async function flow(from: Side, to: Side, fail: (reason: unknown) => void): Promise<{ reason: unknown } | null> {
  let read = (): Promise<Uint8Array | null> => from.read(), carrying = false;
  if (from.reusesChunks && to.keepsChunks) read = async () => (await from.read())?.slice() ?? null;
  const carry = async (): Promise<null> => {
    // One chunk is read while the one before is written, so that a reset is seen while the other side is stalled.
    let next = read();
    next.catch(fail);
    for (;;) {
      const chunk = await next;
      if (chunk === null) break;
      next = read();
      next.catch(fail);
      carrying = true;
      await to.write(chunk);
      carrying = false;
    }
    await to.end();
    return null;
  };
  try {
    return await Promise.race([carry(), to.gone]);
  } catch (reason) {
    from.discard(reason);
    return carrying ? { reason } : null;
  }
}

function sideOf(side: PumpSide): Side {
  if (side instanceof ChannelConn) {
    const { plain } = side;
    return plain === null ? new StreamSide(side, false, () => side.close()) : new ConnSide(side, plain);
  }
  return isSocket(side) ? new SocketSide(side) : new StreamSide(side, true, () => Promise.resolve());
}

function isSocket(side: PumpSide): side is Socket {
  const { read, write, closeWrite, close } = side as Partial<Socket>;
  return [read, write, closeWrite, close].every((method) => typeof method === "function");
}

/** One for each use: what waits for a promise that never settles lives as long as the promise. */
function never(): Promise<never> {
  return new Promise(() => {});
}

/** Small reads in a row after which a buffer is too large. */
const SMALL_READS = 16;

/** Two buffers that are read into by turns. They grow while reads fill them, and shrink where little comes. */
class Buffers {
  readonly #kept: [ArrayBuffer | null, ArrayBuffer | null] = [null, null];
  #size = BUFFER.first;
  #turn: 0 | 1 = 0;
  #smallReads = 0;

  /** Room for the next read. */
  next(): Bytes {
    this.#turn = this.#turn === 0 ? 1 : 0;
    const buffer = this.#kept[this.#turn];
    return new Uint8Array(buffer?.byteLength === this.#size ? buffer : new ArrayBuffer(this.#size));
  }

  /** What that read has brought, there or in a buffer that holds nothing else. */
  came(chunk: Bytes): Bytes {
    this.#kept[this.#turn] = chunk.buffer;
    if (chunk.length >= this.#size) this.#size = Math.min(4 * this.#size, BUFFER.last);
    if (chunk.length >= this.#size / 8) this.#smallReads = 0;
    else if (++this.#smallReads === SMALL_READS) {
      this.#smallReads = 0;
      this.#size = Math.max(this.#size / 4, BUFFER.first);
    }
    return chunk;
  }
}

/** A socket. */
class SocketSide implements Side {
  readonly reusesChunks = true;
  readonly keepsChunks = false;
  readonly gone = never();
  readonly #socket: Socket;
  readonly #buffers = new Buffers();
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  async read(): Promise<Uint8Array | null> {
    const buffer = this.#buffers.next(), length = await this.#socket.read(buffer);
    return length === null ? null : this.#buffers.came(buffer.subarray(0, length));
  }

  async write(chunk: Uint8Array): Promise<void> {
    let left = chunk;
    for (;;) {
      const written = await this.#socket.write(left);
      if (written === left.length) return;
      left = left.subarray(written);
    }
  }

  end(): Promise<void> {
    return this.#socket.closeWrite();
  }

  discard(): void {}

  reset(): void {
    if (this.#closed) return;
    this.#closed = true;
    callBack(() => this.#socket.close());
  }

  close(): Promise<void> {
    this.reset();
    return Promise.resolve();
  }
}

/** A connection that nobody else reads or writes: no streams stand in between, which cost more than all else of a short connection. */
class ConnSide implements Side {
  readonly reusesChunks = true;
  readonly keepsChunks = false;
  readonly gone: Promise<never>;
  readonly #conn: ChannelConn;
  readonly #plain: NonNullable<ChannelConn["plain"]>;
  readonly #buffers = new Buffers();

  constructor(conn: ChannelConn, plain: NonNullable<ChannelConn["plain"]>) {
    this.#conn = conn;
    this.#plain = plain;
    this.gone = plain.sent.gone;
  }

  async read(): Promise<Uint8Array | null> {
    const chunk = await this.#plain.received.read(this.#buffers.next());
    return chunk === null ? null : this.#buffers.came(chunk);
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#plain.sent.write(chunk);
  }

  end(): Promise<void> {
    return this.#plain.sent.end();
  }

  discard(): void {
    this.#plain.received.discard();
  }

  reset(reason: unknown): void {
    this.#plain.sent.abort(reason);
    this.discard();
    // Behind an end that has been sent already there was nothing to abort.
    void this.close();
  }

  close(): Promise<void> {
    return this.#conn.close();
  }
}

/** A pair of streams. */
class StreamSide implements Side {
  readonly reusesChunks = false;
  readonly keepsChunks: boolean;
  readonly gone: Promise<never>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #close: () => Promise<unknown>;

  constructor({ readable, writable }: ByteDuplex, keepsChunks: boolean, close: () => Promise<unknown>) {
    this.keepsChunks = keepsChunks;
    this.#close = close;
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    this.#reader.closed.catch(() => {});
    this.gone = this.#writer.closed.then(never);
    this.gone.catch(() => {});
  }

  async read(): Promise<Uint8Array | null> {
    return (await this.#reader.read()).value ?? null;
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#writer.write(chunk);
  }

  end(): Promise<void> {
    return this.#writer.close();
  }

  discard(reason: unknown): void {
    this.#reader.cancel(reason).catch(() => {});
  }

  reset(reason: unknown): void {
    this.#writer.abort(reason).catch(() => {});
    this.discard(reason);
    // Behind an end that has been sent already there was nothing to abort.
    void this.#close();
  }

  close(): Promise<unknown> {
    return this.#close();
  }
}
