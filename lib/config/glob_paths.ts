/**
 * The files that a pattern of `Include` names: glob(7), with `*`, `?` and `[…]` within one part of a path. No I/O of its own.
 *
 * @module
 */
import { SshConfigError } from "./config_error.ts";

/** What a glob needs of a file system. */
export interface PathTree {
  /** The names in a folder; none where there is none. */
  list(folder: string): AsyncIterable<string>;
  /** Whether a path exists. */
  exists(path: string): Promise<boolean>;
}

/** Paths that one pattern may stand for. */
const MAX_PATHS = 4096;
/** Names that are looked at for one pattern. */
const MAX_NAMES = 100_000;

/** The paths, in the order of their names. */
export async function globPaths(pattern: string, tree: PathTree): Promise<readonly string[]> {
  if (!/[*?[\\]/.test(pattern)) return await tree.exists(pattern) ? [pattern] : [];
  const parts = pattern.split("/");
  let paths = [""], looked = 0;
  for (const [i, part] of parts.entries()) {
    const join = (path: string, name: string): string => i === 0 ? name : `${path}/${name}`;
    if (!/[*?[\\]/.test(part)) {
      paths = paths.map((path) => join(path, part));
      continue;
    }
    const fits = partMatcher(part), next: string[] = [];
    for (const path of paths) {
      const names: string[] = [];
      for await (const name of tree.list(i === 0 ? "." : path === "" ? "/" : path)) {
        if (++looked > MAX_NAMES) throw tooMany(`more than ${MAX_NAMES} names are looked at`);
        // A name that begins with a dot is hidden unless the pattern begins with one.
        if (name.startsWith(".") === part.startsWith(".") && fits(name)) names.push(name);
      }
      next.push(...names.map((name) => join(path, name)));
      if (next.length > MAX_PATHS) throw tooMany(`it stands for more than ${MAX_PATHS} files`);
    }
    paths = next;
  }
  const there = await Promise.all(paths.map((path) => tree.exists(path)));
  return paths.filter((_, i) => there[i]).sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
}

function tooMany(why: string): SshConfigError {
  return new SshConfigError(`Cannot follow Include of ssh_config: ${why}`, null);
}

/** One thing of a pattern: a `*`, or what one character may be. */
type Piece = "*" | ((char: string) => boolean);

/** Whether names fit one part of a pattern. */
function partMatcher(part: string): (name: string) => boolean {
  const pieces: Piece[] = [], chars = [...part];
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at]!;
    if (char === "*") {
      if (pieces.at(-1) !== "*") pieces.push("*");
    } else if (char === "?") pieces.push(() => true);
    else if (char === "[" && closeOf(chars, at) !== -1) {
      const close = closeOf(chars, at);
      pieces.push(classMatcher(chars.slice(at + 1, close)));
      at = close;
    } else {
      const wanted = char === "\\" && at + 1 < chars.length ? chars[++at]! : char;
      pieces.push((one) => one === wanted);
    }
  }
  return (name) => fitsPieces([...name], pieces);
}

/** Where a `[` is closed, or -1; a `]` right behind it is one of its characters. */
function closeOf(chars: readonly string[], open: number): number {
  const first = open + 1 + (/[!^]/.test(chars[open + 1] ?? "") ? 1 : 0);
  return chars.indexOf("]", first + 1);
}

function classMatcher(inner: readonly string[]): (char: string) => boolean {
  const negated = /[!^]/.test(inner[0] ?? ""), chars = negated ? inner.slice(1) : inner;
  const ranges: (readonly [string, string])[] = [];
  for (let at = 0; at < chars.length; at++) {
    const from = chars[at]!, isRange = chars[at + 1] === "-" && at + 2 < chars.length;
    ranges.push([from, isRange ? chars[at + 2]! : from]);
    if (isRange) at += 2;
  }
  return (char) => ranges.some(([from, to]) => from <= char && char <= to) !== negated;
}

function fitsPieces(chars: readonly string[], pieces: readonly Piece[]): boolean {
  let at = 0, pt = 0, star = -1, resume = 0;
  while (at < chars.length) {
    const piece = pieces[pt];
    if (piece === "*") {
      star = pt++;
      resume = at;
    } else if (piece !== undefined && piece(chars[at]!)) {
      at++;
      pt++;
    } else if (star >= 0) {
      pt = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pieces[pt] === "*") pt++;
  return pt === pieces.length;
}
