/**
 * L5. Glob patterns over a tree: `*`, `?`, `[a-z]`, `[!a-z]`, `{one,two}`, and `**` for any depth. No I/O of its own.
 *
 * @module
 */
import { MAX_DEPTH } from "./constants.ts";
import { joinPath } from "./names.ts";

/** What a glob needs of a file system. */
export interface GlobTree {
  /** Entries of a directory; nothing where there is none. */
  list(path: string): Promise<readonly { readonly name: string; readonly isDirectory: boolean }[]>;
  /** Whether the path exists. */
  exists(path: string): Promise<boolean>;
}

const MAX_EXPANSIONS = 1024;

/** Whether a path holds anything that a glob would expand. */
export function isGlob(path: string): boolean {
  return /[*?[{\\]/.test(path);
}

/** Expands `{a,b}`, nested ones too; a brace without its pair stands for itself. */
export function expandBraces(pattern: string): string[] {
  let depth = 0, open = -1;
  const commas: number[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern.charAt(i);
    if (c === "\\") i++;
    else if (c === "{" && depth++ === 0) open = i;
    else if (c === "," && depth === 1) commas.push(i);
    else if (c === "}" && depth > 0 && --depth === 0) {
      if (commas.length === 0) continue;
      const head = pattern.slice(0, open), tails = expandBraces(pattern.slice(i + 1));
      const result: string[] = [];
      const cuts = [open, ...commas, i];
      for (let k = 0; k + 1 < cuts.length; k++) {
        for (const middle of expandBraces(pattern.slice(cuts[k]! + 1, cuts[k + 1]))) {
          for (const tail of tails) result.push(head + middle + tail);
        }
        if (result.length > MAX_EXPANSIONS) {
          throw new RangeError(`Cannot expand glob: more than ${MAX_EXPANSIONS} forms`);
        }
      }
      return result;
    }
  }
  return [pattern];
}

function literal(c: string): string {
  return c.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
}

/** One component as a matcher. As in a shell, a leading dot is matched by a dot only. */
export function componentMatcher(pattern: string): (name: string) => boolean {
  let source = "";
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern.charAt(i);
    if (c === "*") {
      // Several stars mean what one does, and would make matching slow.
      while (pattern.charAt(i + 1) === "*") i++;
      source += "[^]*";
    } else if (c === "?") source += "[^]";
    else if (c === "\\" && i + 1 < pattern.length) source += literal(pattern.charAt(++i));
    else if (c === "[") {
      const negated = /[!^]/.test(pattern.charAt(i + 1));
      const from = i + (negated ? 2 : 1), end = pattern.indexOf("]", from + 1);
      if (end < 0) source += "\\[";
      else {
        source += `[${negated ? "^" : ""}${pattern.slice(from, end).replace(/[\\\]^[]/g, "\\$&")}]`;
        i = end;
      }
    } else source += literal(c);
  }
  const expression = new RegExp(`^(?:${source})$`, "u");
  const dot = /^(\.|\\\.)/.test(pattern);
  return (name) => (dot || !name.startsWith(".")) && expression.test(name);
}

/** Takes backslashes off a component that is to be taken as it is. */
function plain(component: string): string {
  return component.replace(/\\(.)/g, "$1");
}

async function* walk(tree: GlobTree, base: string, parts: readonly string[], depth: number): AsyncIterable<string> {
  const [part, ...rest] = parts;
  if (part === undefined) {
    yield base;
    return;
  }
  if (part === "**") {
    // At the end of a pattern it stands for all there is below; elsewhere for directories, the base among them.
    if (rest.length > 0) yield* walk(tree, base, rest, depth);
    if (depth >= MAX_DEPTH) return;
    for (const entry of await tree.list(base)) {
      if (entry.name.startsWith(".")) continue;
      const path = joinPath(base, entry.name);
      if (rest.length === 0) yield path;
      if (entry.isDirectory) yield* walk(tree, path, parts, depth + 1);
    }
    return;
  }
  if (!isGlob(part)) {
    const path = joinPath(base, plain(part));
    if (rest.length > 0 || await tree.exists(path)) yield* walk(tree, path, rest, depth + 1);
    return;
  }
  const matches = componentMatcher(part);
  for (const entry of await tree.list(base)) {
    if (!matches(entry.name)) continue;
    const path = joinPath(base, entry.name);
    if (rest.length === 0) yield path;
    else yield* walk(tree, path, rest, depth + 1);
  }
}

/** Paths that match, each once. Links to directories are entered where the pattern names them, not by `**`. */
export async function* expandGlob(tree: GlobTree, pattern: string): AsyncIterable<string> {
  const seen = new Set<string>();
  for (const form of expandBraces(pattern)) {
    const absolute = form.startsWith("/");
    const parts = form.split("/").filter((part) => part !== "" && part !== ".");
    for await (const path of walk(tree, absolute ? "/" : ".", parts, 0)) {
      if (seen.has(path)) continue;
      seen.add(path);
      yield path;
    }
  }
}
