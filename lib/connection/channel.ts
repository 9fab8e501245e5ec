/**
 * A channel as the application sees it. RFC 4254 section 5.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkWait } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { ChannelCore } from "./channel_core.ts";

let coreOf: (channel: BaseChannel) => ChannelCore;

/** One channel of a connection (RFC 4254 section 5): byte streams each way, requests, EOF and CLOSE. */
export class BaseChannel implements AsyncDisposable {
  readonly #core: ChannelCore;

  static {
    coreOf = (channel) => channel.#core;
  }

  /** Makes a channel that is not open yet; the connection opens it. */
  constructor(channelId: number) {
    this.#core = new ChannelCore(channelId, {
      onRequest: (name, data, wantReply) => this.onRequest(name, data, wantReply),
      onEof: () => this.onEof(),
      onUnended: () => this.onUnended(),
      onEnded: (error) => this.onEnded(error),
    });
  }

  /** Channel type, such as `session`. */
  get type(): string {
    return this.#core.type;
  }

  /** Local number. */
  get id(): number {
    return this.#core.id;
  }

  /** Data from the peer, a byte stream; reading returns window (RFC 4254 section 5.2). */
  get readable(): ReadableStream<Bytes> {
    return this.#core.received.readable;
  }

  /** Data to the peer; closing sends EOF, aborting sends CLOSE. */
  get writable(): WritableStream<Uint8Array> {
    return this.#core.sent.writable;
  }

  /** Extended data type 1 from the peer, a byte stream; it shares the window with `readable`. */
  get stderr(): ReadableStream<Bytes> {
    return this.#core.receivedStderr.readable;
  }

  /** Extended data type 1 to the peer; closing it sends nothing. */
  get stderrWritable(): WritableStream<Uint8Array> {
    return this.#core.sentStderr.writable;
  }

  /** Resolves when CLOSE went both ways; rejects when the connection is lost first. Never an unhandled rejection. */
  get closed(): Promise<void> {
    return this.#core.closed;
  }

  /** Whether CLOSE has been neither sent nor received, and the connection is up. */
  get isOpen(): boolean {
    return this.#core.isOpen;
  }

  /**
   * Sends a request and waits for the answer: true for SUCCESS, false for FAILURE (RFC 4254 section 5.4). `data` is what
   * follows want_reply. Rejects when the channel ends first, with the signal's reason, or with a `TimeoutError`.
   */
  request(
    name: string,
    data: Uint8Array = new Uint8Array(0),
    options?: WaitOptions,
  ): Promise<boolean> {
    if (options === undefined) return this.#core.request(name, data);
    checkWait(options);
    const what = (): string => `the peer to answer channel request "${printable(name, 64)}"`;
    return withDeadline(options, what, (signal) => this.#core.request(name, data, signal));
  }

  /** Sends a request that wants no answer, behind data that has been written. Does nothing on a channel that is not open. */
  notify(name: string, data: Uint8Array = new Uint8Array(0)): void {
    this.#core.notify(name, data);
  }

  /**
   * Sends CLOSE behind data that has been written; who still reads what the peer has not ended sees `SshError` `CLOSED`. Where the peer
   * takes nothing of it for 3 seconds, or not all in 30, the rest is lost: then `closed` rejects and says how much. Resolves when CLOSE has
   * been queued; `closed` tells of the peer's answer, which may be a long time coming. Safe to call twice; never rejects.
   */
  close(): Promise<void> {
    return this.#core.close();
  }

  /** Sends EOF behind data that has been written, as closing `writable` does (RFC 4254 section 5.3). */
  sendEof(): void {
    this.#core.sendEof();
  }

  /** Puts what arrives as extended data into `readable`, in the order of arrival. */
  mergeStderr(): void {
    this.#core.stderrIsMerged = true;
  }

  /** Throws away what arrives on one stream, giving the window back at once. */
  discard(stream: "readable" | "stderr"): void {
    (stream === "readable" ? this.#core.received : this.#core.receivedStderr).discard();
  }

  /**
   * A request of the peer, `data` being what follows want_reply. Called in order, one at a time; the answer goes out when
   * the result is there, and a request that throws is answered FAILURE. The default refuses.
   */
  onRequest(_name: string, _data: Bytes, _wantReply: boolean): MaybePromise<boolean> {
    return false;
  }

  /** The peer sent EOF. */
  onEof(): void {}

  /**
   * The peer sent CLOSE and never EOF: what `readable` and `stderr` end with behind the data. The default is null, an end like any
   * other, as there are programs that send no EOF. Must not throw.
   */
  onUnended(): Error | null {
    return null;
  }

  /** The channel has ended: null after CLOSE both ways, or why the connection ended. Called once. */
  onEnded(_error: Error | null): void {}

  /** Same as {@linkcode BaseChannel.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The state behind a channel, for the mux. */
export function channelCore(channel: BaseChannel): ChannelCore {
  return coreOf(channel);
}
