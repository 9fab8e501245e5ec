/**
 * How a connection or a channel is closed: how long it waits for what was accepted to leave, and what it says of the rest. No I/O.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { Timer } from "../wire/timer.ts";

/** Milliseconds that a close waits for the peer to take more of what was accepted, and how long it lasts at most. */
const PATIENCE = { stalled: 3000, total: 30_000 };
/** Milliseconds a DISCONNECT gets to leave, and the peer to hang up, before the streams are closed. */
export const FLUSH_TIME = 600;
/** Milliseconds that the peer gets to hang up. */
export const LINGER_TIME = 200;
/** The same where data has just left: on its way through slow networks it would be lost if the socket were closed before the peer does. */
export const LINGER_TIME_FOR_DATA = 3000;
/** Milliseconds that data counts as having just left. */
export const JUST_NOW = 1000;
/** Milliseconds in which what has left may still be on its way, where no answer says that it has come. */
export const LATELY = 30_000;

/** How a connection has ended. */
export interface End {
  /** Why, or null where this side closed it. */
  readonly error: Error | null;
  /** Whether nothing went wrong. */
  readonly clean: boolean;
  /** What whoever waits sees where that is not `error`: the wish that this side closed for. */
  readonly wish?: Error;
  /** What the peer is told of it, where it is not what the error says. */
  readonly says?: string;
}

/** What whoever waits for something is told of an end; null stands for a plain one. */
export function reasonOf({ error, wish }: End): Error | null {
  return wish ?? error;
}

/** The patience of a close. */
export class Patience {
  readonly #stalled: Timer;
  readonly #overdue: Timer;
  #running = false;

  /** Calls `over` once it has come to its end. */
  constructor(over: () => void) {
    const end = (): void => {
      this.stop();
      over();
    };
    this.#stalled = new Timer(end);
    this.#overdue = new Timer(end);
  }

  /** The close begins to wait. */
  start(): void {
    this.#running = true;
    this.#stalled.start(PATIENCE.stalled);
    this.#overdue.start(PATIENCE.total);
  }

  /** The peer has taken something. */
  progress(): void {
    if (this.#running) this.#stalled.start(PATIENCE.stalled);
  }

  /** Nothing is waited for any more. */
  stop(): void {
    this.#running = false;
    this.#stalled.stop();
    this.#overdue.stop();
  }

  /** Whether it keeps the program alive. */
  setRef(refed: boolean): void {
    for (const timer of [this.#stalled, this.#overdue]) refed ? timer.ref() : timer.unref();
  }
}

/** The error of a close that could not deliver all: `what` is lost, and `why`. */
export function lossOf(
  where: "Connection" | "Channel",
  what: string,
  why: string,
  cause?: unknown,
): SshError {
  const message = `${where} was closed before all that was written could leave: ${what} lost, as ${why}`;
  return new SshError(message, cause === undefined ? { code: "CLOSED" } : { code: "CLOSED", cause });
}

/** The error of a connection that broke. */
export function lostError(message: string, cause?: unknown): SshError {
  return new SshError(message, cause === undefined ? { code: "CONNECTION_LOST" } : { code: "CONNECTION_LOST", cause });
}

/** The error that waiters see when a signal of this side has ended the connection. */
export function abortedError(signal: AbortSignal): SshError {
  return new SshError("Connection was aborted", { code: "CLOSED", cause: signal.reason });
}

/** For calls on a channel that has been closed. */
export function channelClosed(): SshError {
  return new SshError("Channel is closed", { code: "CLOSED" });
}

/** The error that waiters see when the connection has ended without one. */
export function closedError(error: Error | null): Error {
  return error ?? new SshError("Connection is closed", { code: "CLOSED" });
}

/** Waits for a promise that never rejects, but not longer than `time` milliseconds; says whether it was in time. */
export async function within(time: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), time));
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
