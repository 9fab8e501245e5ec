/**
 * Writes to a remote file with many requests under way. draft-ietf-secsh-filexfer-02 section 6.4.
 *
 * @module
 */
import { SshProtocolError } from "../../errors.ts";
import { Reader } from "../../wire/reader.ts";
import { Fxp } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { FIRST_WINDOW, FlightWindow, LAST_WINDOW, MAX_REQUESTS } from "./flight_window.ts";
import { readStatus } from "../wire/messages.ts";
import type { Pending, SftpSession } from "./session.ts";
import { statusError } from "./errors.ts";

/** How a file is written. */
export interface WritePlan {
  /** Where the first byte goes. */
  readonly offset: number;
  /** Most requests under way. */
  readonly concurrency?: number;
  /** Told of each answered request's bytes. */
  readonly onWritten?: (bytes: number) => void;
}

/** A write in progress. The first failure stays and is thrown by every later call. */
export class WritePipeline {
  readonly #session: SftpSession;
  readonly #handle: Uint8Array;
  readonly #path: string | null;
  readonly #plan: WritePlan;
  readonly #window: FlightWindow;
  #offset: number;
  #inFlight = 0;
  #failure: Error | null = null;
  #refusedAt: number | null = null;
  #wake: (() => void) | null = null;
  /** Small writes gathered while others are under way. */
  #staged: Uint8Array | null = null;
  #stagedLength = 0;

  /** Nothing is sent yet. */
  constructor(session: SftpSession, handle: Uint8Array, path: string | null, plan: WritePlan) {
    this.#session = session;
    this.#handle = handle;
    this.#path = path;
    this.#plan = plan;
    this.#offset = plan.offset;
    const requests = Math.min(Math.max(1, plan.concurrency ?? MAX_REQUESTS), MAX_REQUESTS);
    this.#window = new FlightWindow(FIRST_WINDOW, Math.min(requests * session.maxWrite, LAST_WINDOW));
  }

  /** Where the next byte goes. */
  get offset(): number {
    return this.#offset + this.#stagedLength;
  }

  /** Where the first bytes belong that the server refused; those behind them may be there, and make the file seem whole. */
  get refusedAt(): number | null {
    return this.#refusedAt;
  }

  /** Takes the bytes, which may be used again afterwards. Returns a promise only where it must wait. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const max = this.#session.maxWrite;
    let at = 0;
    if (this.#stagedLength > 0 || bytes.length < max && this.#inFlight > 0) {
      this.#staged ??= new Uint8Array(max);
      at = Math.min(bytes.length, max - this.#stagedLength);
      this.#staged.set(bytes.subarray(0, at), this.#stagedLength);
      this.#stagedLength += at;
      if (this.#stagedLength === max) this.#sendStaged();
    }
    for (; at < bytes.length; at += max) {
      if (!this.#fits(Math.min(max, bytes.length - at))) return this.#writeRest(bytes, at);
      this.#send(bytes.subarray(at, at + max));
    }
    return undefined;
  }

  #fits(length: number): boolean {
    return this.#inFlight === 0 || this.#inFlight + length <= this.#window.size;
  }

  async #writeRest(bytes: Uint8Array, from: number): Promise<void> {
    const max = this.#session.maxWrite;
    for (let at = from; at < bytes.length; at += max) {
      const part = bytes.subarray(at, at + max);
      while (!this.#fits(part.length)) await this.#below(this.#inFlight - 1);
      this.#send(part);
    }
  }

  async #below(limit: number): Promise<void> {
    while (this.#inFlight > limit && this.#failure === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    if (this.#failure !== null) throw this.#failure;
  }

  #sendStaged(): void {
    const length = this.#stagedLength;
    if (length === 0) return;
    this.#stagedLength = 0;
    this.#send(this.#staged!.subarray(0, length));
  }

  #send(bytes: Uint8Array): void {
    const length = bytes.length, offset = this.#offset, sent = performance.now();
    this.#offset += length;
    this.#inFlight += length;
    const pending: Pending = {
      action: "write",
      path: this.#path,
      handle: this.#handle,
      reply: (payload) => {
        if (payload[0] !== Fxp.STATUS) {
          throw new SshProtocolError(`Cannot write: the server answered with packet type ${payload[0]}`);
        }
        const { status, text } = readStatus(new Reader(payload, 5));
        if (status !== Status.OK) this.#refusedAt = Math.min(offset, this.#refusedAt ?? offset);
        this.#settled(length, sent, status === Status.OK ? null : statusError(pending, status, text));
      },
      fail: (error) => this.#settled(length, sent, error),
    };
    this.#session.send(pending, (out, id) => out.write(id, this.#handle, offset, bytes));
  }

  #settled(length: number, sent: number, error: Error | null): void {
    this.#inFlight -= length;
    if (error !== null) {
      this.#failure ??= error;
      this.#stagedLength = 0;
    } else {
      this.#window.answered(length, sent, performance.now());
      this.#plan.onWritten?.(length);
      if (this.#inFlight === 0) this.#sendStaged();
    }
    this.#wake?.();
    this.#wake = null;
  }

  /** Sends what was gathered and waits until everything is answered. */
  async finish(): Promise<void> {
    if (this.#failure === null) this.#sendStaged();
    await this.#below(0);
  }

  /** Sends nothing more, and wakes who waits. Answers that are still to come do not matter; a CLOSE may follow at once. */
  abandon(reason: unknown): void {
    this.#failure ??= reason instanceof Error ? reason : new Error("The write was given up", { cause: reason });
    this.#stagedLength = 0;
    this.#wake?.();
    this.#wake = null;
  }
}
