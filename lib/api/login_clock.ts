/**
 * How long a login may take, everything in it: dialling, key exchange, authentication. The clock stands still while a person is asked.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { Timer } from "../wire/timer.ts";
import type { MaybePromise } from "../wire/types.ts";

/** Milliseconds. */
const DEFAULT_LOGIN_TIMEOUT = 120_000;

/** What a clock is made of. */
export interface ClockSettings {
  /** Where to, for the error. */
  readonly where: string;
  /** Milliseconds. */
  readonly loginTimeout?: number | undefined;
  /** Ends the login as well. */
  readonly signal?: AbortSignal | undefined;
}

/** The clock of one login. A login that is a part of another one stops and is stopped with it. */
export class LoginClock {
  /** What the login waits for now, for the error. */
  waitsFor = "the connection";
  readonly #abort = new AbortController();
  readonly #timer: Timer;
  readonly #outer: LoginClock | null;
  readonly #sources: readonly AbortSignal[];
  /** Persons who are being asked. */
  #asking = 0;
  readonly #onAbort = (): void => this.#abort.abort(this.#sources.find(({ aborted }) => aborted)?.reason);

  /** Starts at once. */
  constructor({ where, loginTimeout = DEFAULT_LOGIN_TIMEOUT, signal }: ClockSettings, outer: LoginClock | null) {
    this.#outer = outer;
    this.#timer = new Timer(() => {
      const message = `Login at ${where} took longer than ${loginTimeout} ms: it still waited for ${this.waitsFor}`;
      this.#abort.abort(
        new SshError(message, { code: "CONNECTION_LOST", cause: new DOMException(message, "TimeoutError") }),
      );
    });
    this.#timer.start(loginTimeout);
    this.#sources = [signal, outer?.signal].filter((source) => source !== undefined);
    for (const source of this.#sources) source.addEventListener("abort", this.#onAbort);
    if (this.#sources.some(({ aborted }) => aborted)) this.#onAbort();
  }

  /** Aborts when the time is over, and with whatever else ends the login. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** This side is asked, and perhaps a person: that takes as long as it takes. What is returned is to be called once there is an answer. */
  readonly asking = (): () => void => {
    const outer = this.#outer?.asking();
    if (this.#asking++ === 0) this.#timer.pause();
    return () => {
      outer?.();
      if (--this.#asking === 0) this.#timer.resume();
    };
  };

  /** Asks the program, and perhaps a person through it. */
  async ask<T>(act: () => MaybePromise<T>): Promise<T> {
    const answered = this.asking();
    try {
      return await act();
    } finally {
      answered();
    }
  }

  /** The login is over. */
  stop(): void {
    this.#timer.stop();
    for (const source of this.#sources) source.removeEventListener("abort", this.#onAbort);
  }
}
