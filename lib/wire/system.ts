/**
 * What a page does not have: sockets, files and an environment; and what is Deno's alone. No I/O.
 *
 * @module
 */

/**
 * Throws `TypeError` where the runtime is not Deno, as in a page: before anything of it is used, and with what there is `instead`.
 * `what` ends the words "Cannot".
 */
export function requireDeno(what: string, instead: string): void {
  if (hasDeno()) return;
  throw new TypeError(`Cannot ${what}: that takes Deno, and this runtime is another; ${instead}`);
}

/**
 * Throws `TypeError` where the runtime has no sockets, files and environment, as a page: before anything of it is used, and with what there is
 * `instead`. `what` ends the words "Cannot".
 */
export function requireSystem(what: string, instead: string): void {
  if (hasSystem()) return;
  throw new TypeError(
    `Cannot ${what}: that takes Deno, Node or Bun, and this runtime, such as a page, is another; ${instead}`,
  );
}

/**
 * Throws `TypeError` where Deno does not let several sockets listen at one port. It wants a flag for that, and where it was started
 * without, `Deno.listen()` does not throw: it ends the process.
 */
export function requireReusePort(): void {
  // What the same flag gives.
  if ("listenDatagram" in Deno) return;
  throw new TypeError(
    'Cannot listen with `reusePort`: Deno wants its flag `--unstable-net` for that, or `"unstable": ["net"]` in deno.json',
  );
}

/** Whether sockets, files and an environment are there: those of Deno, or the modules of Node, which Bun has as well. */
export function hasSystem(): boolean {
  const { process } = globalThis as { process?: { getBuiltinModule?: unknown } };
  return hasDeno() || typeof process?.getBuiltinModule === "function";
}

/** Whether this is Deno. */
export function hasDeno(): boolean {
  return (globalThis as { Deno?: unknown }).Deno !== undefined;
}

/**
 * Throws `TypeError` in a page that has no WebCrypto, which is what browsers do to those that anybody could have changed on the way.
 * `what` ends the words "Cannot".
 */
export function requireWebCrypto(what: string): void {
  if ((crypto as { subtle?: unknown }).subtle !== undefined) return;
  throw new TypeError(
    `Cannot ${what}: this page has no WebCrypto, which needs a secure context; load it by https:, or http: from localhost`,
  );
}
