/**
 * A forwarded connection: a channel with the shape of a `Deno.Conn`. RFC 4254 section 7.2. No I/O.
 *
 * @module
 */
import { BaseChannel, channelCore } from "../connection/channel.ts";
import type { ChannelCore } from "../connection/channel_core.ts";
import type { Mux } from "../connection/mux.ts";
import { RESET } from "../connection/reset.ts";
import { leavable } from "../connection/output_stream.ts";
import { SshError } from "../errors.ts";
import { wrongKind } from "../wire/check.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";

/**
 * A connection through SSH, with the streams and methods of `Deno.Conn`: code that is written for one runs over the other. It lives as
 * long as its channel, and its channel no longer than the SSH connection.
 */
export interface SshConn<A extends Deno.Addr = Deno.Addr> extends ByteDuplex, AsyncDisposable, Disposable {
  /**
   * Bytes from the far end, a byte stream. It ends where the far end stops sending, also where it closes without a word of that (EOF),
   * as many servers do; it fails when the SSH connection is lost, when this side has closed before the end, and where a far end that
   * runs this module has cut it: other peers do not tell that from an end.
   */
  readonly readable: ReadableStream<Bytes>;
  /** Bytes to the far end; closing it ends that direction alone (half-close), aborting it ends both, and what was written is lost. */
  readonly writable: WritableStream<Uint8Array>;
  /** This end as the peer sees it. */
  readonly localAddr: A;
  /** The far end. */
  readonly remoteAddr: A;
  /** Settles when both directions have ended; rejects where the SSH connection was lost before. Never an unhandled rejection. */
  readonly closed: Promise<void>;
  /**
   * Reads into `p` and resolves to the number of bytes, or null at the end, as `Deno.Conn` does. Rejects with `TypeError` while
   * `readable` is in use.
   */
  read(p: Uint8Array): Promise<number | null>;
  /**
   * Writes all of `p`, which may be changed afterwards, and resolves to its length. Rejects with `TypeError` while `writable` is in
   * use, and with `SshError` `CLOSED` when the far end takes no more.
   */
  write(p: Uint8Array): Promise<number>;
  /** Sends the end of this direction behind what was written, and goes on receiving. Calling it twice is no error. */
  closeWrite(): Promise<void>;
  /**
   * Closes both directions behind what was written, as far as the far end takes it within 3 seconds without progress, or 30 in all.
   * Safe to call twice; never rejects.
   */
  close(): Promise<void>;
  /** Does nothing: the SSH connection keeps the program alive, and has a `ref()` of its own. */
  ref(): void;
  /** Does nothing, as {@linkcode SshConn.ref}. */
  unref(): void;
}

/** The two ends of a connection, as its peers name them. */
export interface ConnAddrs<A extends Deno.Addr> {
  /** This end. */
  readonly localAddr: A;
  /** The far end. */
  readonly remoteAddr: A;
}

/** Errors of connections that were cut at their far ends. */
const cuts = new WeakSet<Error>();

/** Whether an error says that the far end of a connection has cut it. */
export function isCut(error: unknown): boolean {
  return error instanceof Error && cuts.has(error);
}

/** The channel of a connection: it has no standard error and no requests but one, and what a peer sends there is dropped. */
export class ConnChannel extends BaseChannel {
  #reset = false;

  /** Makes a channel that is not open yet. */
  constructor(id: number) {
    super(id);
    channelCore(this).tellsReset = true;
    // It shares the window with the data: unread, it would stop them.
    this.discard("stderr");
  }

  override onRequest(name: string): boolean {
    if (name === RESET) this.#reset = true;
    return false;
  }

  override onUnended(): Error | null {
    if (!this.#reset) return null;
    const error = new SshError("Connection was cut at its far end", { code: "CLOSED" });
    cuts.add(error);
    return error;
  }
}

/** An {@linkcode SshConn} over a channel. */
export class ChannelConn<A extends Deno.Addr = Deno.Addr> implements SshConn<A> {
  readonly localAddr: A;
  readonly remoteAddr: A;
  readonly #channel: BaseChannel;
  /** Locks that `read()` and `write()` hold while calls of them wait. */
  readonly #reader: Lock<ReadableStreamBYOBReader>;
  readonly #writer: Lock<WritableStreamDefaultWriter<Uint8Array>>;
  #scratch: ArrayBuffer | null = null;
  #closeWrite: Promise<void> | null = null;

  /** Over a channel that is open, or about to be. */
  constructor(channel: ConnChannel, { localAddr, remoteAddr }: ConnAddrs<A>) {
    this.#channel = channel;
    this.localAddr = localAddr;
    this.remoteAddr = remoteAddr;
    this.#reader = new Lock(() => channel.readable.getReader({ mode: "byob" }));
    this.#writer = new Lock(() => channel.writable.getWriter());
  }

  get readable(): ReadableStream<Bytes> {
    return this.#channel.readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return this.#channel.writable;
  }

  get closed(): Promise<void> {
    return this.#channel.closed;
  }

  /** The channel's two directions without streams, for who carries all of them on; null where somebody has asked for a stream. */
  get plain(): Pick<ChannelCore, "received" | "sent"> | null {
    const core = channelCore(this.#channel);
    return core.received.isStream || core.sent.isStream ? null : core;
  }

  read(p: Uint8Array): Promise<number | null> {
    // What a read has taken for a buffer that is none is lost, and a stream that is given something else to write has failed.
    if (!(p instanceof Uint8Array)) return Promise.reject(wrongKind("p", p, "a Uint8Array"));
    return p.length === 0 ? Promise.resolve(0) : this.#reader.use(async (reader) => {
      // A stream takes the buffer that it fills away from its owner, and `p` stays the caller's: one of our own goes in between.
      let buffer = this.#scratch;
      this.#scratch = null;
      if (buffer === null || buffer.byteLength < p.length) buffer = new ArrayBuffer(p.length);
      const { value } = await reader.read(new Uint8Array(buffer, 0, p.length));
      if (value === undefined || value.length === 0) return null;
      p.set(value);
      this.#scratch = value.buffer;
      return value.length;
    });
  }

  write(p: Uint8Array): Promise<number> {
    if (!(p instanceof Uint8Array)) return Promise.reject(wrongKind("p", p, "a Uint8Array"));
    return leavable(this.#writer.use(async (writer) => {
      await writer.write(p);
      return p.length;
    }));
  }

  closeWrite(): Promise<void> {
    return this.#closeWrite ??= leavable(
      this.#writer.use((writer) => writer.close()).catch((error) => {
        // Somebody may have held the stream, and lets go of it.
        this.#closeWrite = null;
        throw error;
      }),
    );
  }

  close(): Promise<void> {
    return this.#channel.close();
  }

  ref(): void {}

  unref(): void {}

  [Symbol.dispose](): void {
    void this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A reader or writer that is there while calls wait, so that the stream is free for others between them. */
export class Lock<T extends { releaseLock(): void; readonly closed: Promise<unknown> }> {
  readonly #get: () => T;
  #held: T | null = null;
  #users = 0;

  /** `get` locks the stream. */
  constructor(get: () => T) {
    this.#get = get;
  }

  /** Calls `act` with the lock, which others use meanwhile, too. */
  async use<R>(act: (lock: T) => Promise<R>): Promise<R> {
    const lock = this.#held ??= this.#get();
    lock.closed.catch(() => {});
    this.#users++;
    try {
      return await act(lock);
    } finally {
      if (--this.#users === 0) {
        this.#held = null;
        lock.releaseLock();
      }
    }
  }
}

/**
 * Opens a channel of a type that is a connection, `data` being what follows the fixed fields of CHANNEL_OPEN. Rejects with
 * `ChannelOpenError` where the peer refuses.
 */
export async function openConn<A extends Deno.Addr>(
  mux: Mux,
  type: string,
  data: Uint8Array,
  { signal, ...addrs }: ConnAddrs<A> & { signal?: AbortSignal | undefined },
): Promise<SshConn<A>> {
  const channel = await mux.openChannel(type, data, (id) => new ConnChannel(id), { signal });
  return new ChannelConn(channel, addrs);
}

/**
 * A channel that the peer opens, for `ChannelAcceptor`s to return, and the connection over it, which works from `opened` on. What is
 * written before waits.
 */
export function acceptConn<A extends Deno.Addr>(
  id: number,
  addrs: ConnAddrs<A>,
): { readonly channel: ConnChannel; readonly conn: SshConn<A> } {
  const channel = new ConnChannel(id);
  return { channel, conn: new ChannelConn(channel, addrs) };
}
