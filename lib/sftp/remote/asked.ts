/**
 * How long a caller waits for what it asks a server for. No I/O.
 *
 * @module
 */
import { checkCall } from "../../files/check_calls.ts";
import { quoted } from "../../files/names.ts";
import { abortable } from "../../wire/abortable.ts";
import { type WaitOptions, withDeadline } from "../../wire/deadline.ts";
import type { Purpose } from "./errors.ts";

/** As `withDeadline()`, by options that may hold null, as those of Deno's own shape. */
export function within<T>(
  { timeout, signal }: WaitOptions,
  what: () => string,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  return withDeadline({ signal: signal ?? undefined, timeout }, what, work);
}

/** The same, but over at once when the wait is: a server that answers nothing must not hold the caller. */
export function atMost<T>(
  options: WaitOptions,
  what: () => string,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  return within(options, what, (signal) => abortable(work(signal), signal));
}

/**
 * What `ask` gets for a purpose, while the caller waits for it; options of another kind than a wait's alone are checked as such. What was
 * sent before the wait ends the server may still do; nothing more is sent for the purpose behind it.
 */
export function asked<T>(
  action: string,
  path: string | null,
  options: WaitOptions,
  ask: (purpose: Purpose) => Promise<T>,
  kind: Parameters<typeof checkCall>[0] = "wait",
): Promise<T> {
  return heeding(action, path, options, (purpose) => abortable(ask(purpose), purpose.signal), kind);
}

/**
 * The same for an `ask` that is over at once by itself when the signal aborts, and whose outcome must not be lost between the two, as a
 * handle or a place in a file would be: who waits hears what it came to, however closely an abort follows.
 */
export function heeding<T>(
  action: string,
  path: string | null,
  options: WaitOptions,
  ask: (purpose: Purpose) => Promise<T>,
  kind: Parameters<typeof checkCall>[0] = "wait",
): Promise<T> {
  checkCall(kind, options);
  const what = path === null ? action : `${action} ${quoted(path)}`;
  return within(options, () => `the server to ${what}`, (signal) => ask({ action, path, signal }));
}
