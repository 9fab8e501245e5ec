/**
 * A listener whose connections come over channels: a bounded queue of them, and who waits for the next one. RFC 4254 section 7.1.
 * No I/O.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { checkWait } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { placeOf } from "./addresses.ts";
import type { SshConn } from "./conn.ts";

/** Forwarded connections as they arrive: the shape of `Deno.Listener`, whose loops and programs run over it. */
export interface SshListener<A extends Deno.Addr = Deno.Addr>
  extends AsyncIterable<SshConn<A>>, AsyncDisposable, Disposable {
  /** The bound address as it was asked for, with the real port when 0 was. */
  readonly addr: A;
  /**
   * Resolves to the next connection. Rejects with `SshError` `CLOSED` once the listener is closed, with the reason of the signal that
   * it was made with, with the error of a connection that is lost, and with the reason of the signal here or a `TimeoutError`, which end
   * nothing else.
   */
  accept(options?: WaitOptions): Promise<SshConn<A>>;
  /**
   * Connections as they come, until the listener is closed; rejects where it ends otherwise, as `accept()` says. Leaving the loop
   * closes the listener, as with `Deno.Listener`.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<SshConn<A>>;
  /**
   * Stops listening, and resolves when the server has said so, or nothing for 3 seconds. Connections that were accepted go on, those that nobody has accepted
   * are closed. Safe to call twice; never rejects.
   */
  close(): Promise<void>;
  /** Does nothing: the SSH connection keeps the program alive, and has a `ref()` of its own. */
  ref(): void;
  /** Does nothing, as {@linkcode SshListener.ref}. */
  unref(): void;
}

/** How a listener has ended. */
type End = { readonly kind: "closed" } | { readonly kind: "failed"; readonly reason: unknown };

/** An {@linkcode SshListener}, fed with connections by whoever has the channels. */
export class ConnListener<A extends Deno.Addr> implements SshListener<A> {
  readonly addr: A;
  readonly #stop: () => Promise<void>;
  #queue: SshConn<A>[] = [];
  #waiting: PromiseWithResolvers<SshConn<A>>[] = [];
  #end: End | null = null;
  #stopped: Promise<void> | null = null;

  /** `stop` has the server stop listening; it must not reject. */
  constructor(addr: A, stop: () => Promise<void>) {
    this.addr = addr;
    this.#stop = stop;
  }

  /** Connections that nobody has accepted yet. */
  get queued(): number {
    return this.#queue.length;
  }

  /** A connection has come. */
  push(conn: SshConn<A>): void {
    if (this.#end !== null) return refuse(conn);
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#queue.push(conn);
    else waiting.resolve(conn);
  }

  /** Nothing comes any more: who waits sees `reason`. */
  fail(reason: unknown): void {
    this.#finish({ kind: "failed", reason });
  }

  async accept(options: WaitOptions = {}): Promise<SshConn<A>> {
    checkWait(options);
    return await withDeadline(
      options,
      () => `a connection to ${placeOf(this.addr as Deno.NetAddr | Deno.UnixAddr)}`,
      (signal) => this.#next(signal),
    );
  }

  async #next(signal: AbortSignal | undefined): Promise<SshConn<A>> {
    signal?.throwIfAborted();
    if (this.#end !== null) throw reasonOf(this.#end);
    const next = this.#queue.shift();
    if (next !== undefined) return next;
    const waiting = Promise.withResolvers<SshConn<A>>();
    this.#waiting.push(waiting);
    // Who gives up leaves the line at once: the next connection is for whoever waits behind.
    const onAbort = (): void => {
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
      waiting.reject(signal!.reason);
    };
    const leave = (): void => signal?.removeEventListener("abort", onAbort);
    signal?.addEventListener("abort", onAbort, { once: true });
    waiting.promise.then(leave, leave);
    return await waiting.promise;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<SshConn<A>> {
    const next = async (): Promise<IteratorResult<SshConn<A>>> => {
      try {
        return { done: false, value: await this.accept() };
      } catch (error) {
        if (this.#end?.kind === "closed") return { done: true, value: undefined };
        throw error;
      }
    };
    const end = async (): Promise<IteratorResult<SshConn<A>>> => {
      await this.close();
      return { done: true, value: undefined };
    };
    return { next, return: end, [Symbol.asyncIterator]: () => this[Symbol.asyncIterator]() };
  }

  close(): Promise<void> {
    this.#finish({ kind: "closed" });
    return this.#stopped ??= this.#stop();
  }

  #finish(end: End): void {
    if (this.#end !== null) return;
    this.#end = end;
    const waiting = this.#waiting, queue = this.#queue;
    this.#waiting = [];
    this.#queue = [];
    queue.forEach(refuse);
    for (const { reject } of waiting) reject(reasonOf(end));
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

function reasonOf(end: End): unknown {
  return end.kind === "failed" ? end.reason : new SshError("Listener is closed", { code: "CLOSED" });
}

/** Nobody will read or write it. */
function refuse(conn: SshConn): void {
  conn.writable.abort(new SshError("Connection was not accepted", { code: "CLOSED" })).catch(() => {});
}
