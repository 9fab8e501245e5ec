/**
 * Which of some names somebody meant who wrote another one. No I/O.
 *
 * @module
 */

/** Longest word that is compared letter by letter: the time grows with the square of it. */
const LONGEST = 64;

/** Letters and digits only, in lower case: what is left of `host_name` and `hostName` is the same. */
function bare(word: string): string {
  return word.toLowerCase().replace(/[^a-z0-9]/g, "");
}

/**
 * The name that `word` was meant to be, or null: one of the same letters and digits, or, where the name has six of them and more, one
 * that a single slip makes: a letter too many, too few, another, or two in the wrong order.
 */
export function meantBy(word: string, names: Iterable<string>): string | null {
  const list = [...names], plain = bare(word);
  return list.find((name) => bare(name) === plain) ??
    list.find((name) => bare(name).length >= 6 && isSlip(plain, bare(name))) ?? null;
}

/** Whether one slip of the pen makes `a` of `b`. */
function isSlip(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1 || a.length > LONGEST) return false;
  let start = 0, end = 0;
  while (start < a.length && a[start] === b[start]) start++;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [left, right] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (left.length <= 1 && right.length <= 1) return true;
  return left.length === 2 && right === left[1]! + left[0]!;
}
