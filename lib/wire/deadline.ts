/**
 * How long a call waits: until its signal aborts, or until its time is over. No I/O.
 *
 * Whatever waits takes one signal. Where there is a time too, that signal is one of its own, which aborts with whichever of the two comes
 * first; so what a timed-out wait leaves behind is let go of as it is after an abort.
 *
 * @module
 */
import { Timer } from "./timer.ts";

/** How long a call waits. */
export interface WaitOptions {
  /** Aborting ends the wait, which rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds to wait. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for. @default {Infinity} */
  timeout?: number | undefined;
}

/** The end of a wait, once it is on. */
export interface Deadline {
  /** Aborts with the caller's signal, or with a `TimeoutError`; undefined where nothing ends the wait. */
  readonly signal: AbortSignal | undefined;
  /** Nobody waits any more: no timer runs on, and nobody listens to the caller's signal. */
  stop(): void;
}

const nothing = (): void => {};

/** Starts the time, where there is one. `what` ends "waiting for …". */
export function startDeadline({ signal, timeout = Infinity }: WaitOptions, what: () => string): Deadline {
  if (timeout === Infinity) return { signal, stop: nothing };
  const either = new AbortController();
  const end = (reason: unknown): void => {
    stop();
    either.abort(reason);
  };
  const timer = new Timer(() =>
    end(new DOMException(`Timed out after ${timeout} ms waiting for ${what()}`, "TimeoutError"))
  );
  const onAbort = (): void => end(signal!.reason);
  const stop = (): void => {
    timer.stop();
    signal?.removeEventListener("abort", onAbort);
  };
  if (signal?.aborted) onAbort();
  else {
    signal?.addEventListener("abort", onAbort);
    timer.start(timeout);
  }
  return { signal: either.signal, stop };
}

/**
 * What `work` settles to, which waits no longer than the signal that it is given lets: the caller's own where no time is given. `what`
 * ends "waiting for …".
 */
export function withDeadline<T>(
  options: WaitOptions | undefined,
  what: () => string,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const { timeout = Infinity, signal } = options ?? {};
  return timeout === Infinity ? work(signal) : timed({ signal, timeout }, what, work);
}

async function timed<T>(
  options: WaitOptions,
  what: () => string,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const { signal, stop } = startDeadline(options, what);
  try {
    return await work(signal);
  } finally {
    stop();
  }
}
