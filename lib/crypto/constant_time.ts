/**
 * Comparison whose time does not depend on where the values differ. No I/O.
 *
 * @module
 */

/** Whether two byte strings are equal. Time depends on their lengths only, which are not secret. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
