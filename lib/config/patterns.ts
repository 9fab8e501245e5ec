/**
 * Patterns of ssh_config(5), PATTERNS: `*`, `?`, and lists of them with `!`. No I/O.
 *
 * @module
 */
import { wildcardMatch } from "../keys/trust/host_patterns.ts";

/** Whether a text fits a pattern. A long pattern costs no more than the text's length squared. */
export function fitsPattern(text: string, pattern: string): boolean {
  const short = pattern.replace(/\*{2,}/g, "*");
  // Each character that is no `*` stands for one of the text.
  if (short.length > 2 * text.length + 1) return false;
  return wildcardMatch(text, short);
}

/** Whether a list with commas names a text: one pattern fits, and none with `!` does. */
export function fitsList(text: string, list: string): boolean {
  let fits = false;
  for (const one of list.split(",")) {
    const negated = one.startsWith("!");
    if (!fitsPattern(text, negated ? one.slice(1) : one)) continue;
    if (negated) return false;
    fits = true;
  }
  return fits;
}

/** Whether a list names a host, whose name may be written in either case. */
export function fitsHostList(host: string, list: string): boolean {
  return fitsList(host.toLowerCase(), list.toLowerCase());
}
