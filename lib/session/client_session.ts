/**
 * The channel of a process as the client's side has it: how the process ended, and what was lent to it. RFC 4254 sections 6.9 and
 * 6.10. No I/O.
 *
 * @module
 */
import { BaseChannel, channelCore } from "../connection/channel.ts";
import type { Mux } from "../connection/mux.ts";
import { SshProtocolError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";
import { decodeExit, encodeSignal } from "./encoding.ts";
import { Signal } from "./messages.ts";
import type { Secrets } from "./secrets.ts";
import type { StartRequest } from "./start.ts";
import type { ExitStatus } from "./types.ts";

/** One thing that the server is asked to take. */
export interface LentRequest extends Omit<StartRequest, "refused"> {
  /** How "the server …" ends where it refuses; null where that does not matter. */
  readonly refused: () => string | null;
}

/** What a session may use of this side: an agent, a display. */
export interface Lent {
  /** What the server is asked for, before the start. */
  readonly requests: readonly LentRequest[];
  /** The session has ended, or never began: nothing new is taken. Safe to call twice. */
  release(): void;
  /** As `release()`, and what is open is cut off: this side has given the session up. */
  revoke(): void;
}

/** Where nothing is. */
export const nothingLent: Lent = { requests: [], release: () => {}, revoke: () => {} };

/** A session channel that remembers how its process ended. */
export class ClientSession extends BaseChannel {
  readonly #status = Promise.withResolvers<ExitStatus>();
  #onEnd: (() => void) | null = null;
  #ended = false;
  #closed = false;
  readonly #lent: Lent;
  /** What no error of the process may show; null while there is nothing. */
  secrets: Secrets | null = null;

  constructor(id: number, lent: Lent) {
    super(id);
    this.#lent = lent;
    this.#status.promise.catch(() => {});
  }

  get status(): Promise<ExitStatus> {
    return this.#status.promise;
  }

  /** Whether CLOSE went both ways. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Ends it for a reason of this side, which everything sees that waits: TERM for what runs, and CLOSE. */
  abort(reason: unknown): void {
    this.#status.reject(reason);
    this.#lent.revoke();
    channelCore(this).abort(reason, TERMINATE);
  }

  /** Ends it for what the server did. */
  fail(error: Error): void {
    this.#status.reject(error);
    this.#lent.revoke();
    channelCore(this).abort(error);
  }

  /** The peer's CLOSE may be a long time coming, in which nothing is lent any more. */
  override close(): Promise<void> {
    this.#lent.release();
    return super.close();
  }

  /** Calls `onEnd` once when the channel has ended, and at once where it has. */
  whenEnded(onEnd: () => void): void {
    if (this.#ended) return onEnd();
    this.#onEnd = onEnd;
  }

  override onRequest(name: string, data: Bytes, _wantReply: boolean): boolean {
    try {
      const status = decodeExit(name, data);
      if (status === null) return false;
      this.#status.resolve(status);
      channelCore(this).speaks();
      return true;
    } catch (error) {
      // A server that garbles this request spoils one channel, not the connection.
      if (!(error instanceof SshProtocolError)) throw error;
      this.fail(error);
      return false;
    }
  }

  override onEnded(error: Error | null): void {
    if (error === null) this.#status.resolve({ success: false, code: null, signal: null });
    else this.#status.reject(error);
    this.#closed = error === null;
    this.#ended = true;
    this.#lent.release();
    this.#onEnd?.();
    this.#onEnd = null;
  }
}

/** The request that ends what runs. */
const TERMINATE = [Signal.name, encodeSignal("TERM")] as const;

/** Asks for the end of everything that runs on a connection: it is about to go. */
export function terminateAll(mux: Mux): void {
  mux.urgeAll("session", ...TERMINATE);
}
