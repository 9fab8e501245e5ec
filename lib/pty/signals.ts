/**
 * Signals by the names that RFC 4254 section 6.10 has. No I/O.
 *
 * @module
 */

/** Their numbers on x86-64 and arm64 Linux. */
const numbers: ReadonlyMap<string, number> = new Map([
  ["HUP", 1],
  ["INT", 2],
  ["QUIT", 3],
  ["ILL", 4],
  ["ABRT", 6],
  ["FPE", 8],
  ["KILL", 9],
  ["USR1", 10],
  ["SEGV", 11],
  ["USR2", 12],
  ["PIPE", 13],
  ["ALRM", 14],
  ["TERM", 15],
]);

/** Whether a client may send it: RFC 4254 has a name for it. */
export function isSignal(name: string): boolean {
  return numbers.has(name);
}

/** The number of a signal. Throws `TypeError` for one that RFC 4254 has no name for. */
export function signalNumber(name: string): number {
  const number = numbers.get(name);
  if (number === undefined) {
    throw new TypeError(`Cannot send this signal: write one of ${[...numbers.keys()].join(", ")}`);
  }
  return number;
}
