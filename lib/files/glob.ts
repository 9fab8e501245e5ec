/**
 * Glob patterns over a tree: `*`, `?`, `[a-z]`, `[!a-z]`, `[[:digit:]]`, `{one,two}`, and `**` for any depth. No I/O of
 * its own.
 *
 * A pattern may come from a peer, and so may the names: matching one takes time in proportion to the product of their lengths
 * at most, and every directory is listed once, however many forms the pattern has.
 *
 * @module
 */
import { MAX_DEPTH } from "./limits.ts";
import { joinPath } from "./names.ts";

/** An entry of a directory, as a glob sees it. */
export interface GlobEntry {
  /** Its name. */
  readonly name: string;
  /** Whether it is a directory, and no link to one. */
  readonly isDirectory: boolean;
}

/** What a glob needs of a file system. */
export interface GlobTree {
  /** Entries of a directory; nothing where there is none. */
  list(path: string): Promise<readonly GlobEntry[]> | AsyncIterable<GlobEntry>;
  /** Whether the path exists. */
  exists(path: string): Promise<boolean>;
  /** Told before so many comparisons are made; what it throws ends the walk. */
  look?(comparisons: number): void;
  /**
   * Asked between steps that take some time, for what to wait for before going on: a pattern of a peer may take seconds in all.
   */
  rest?(): Promise<void> | null;
}

/** A pattern stands for more than is looked at here. */
export class GlobLimitError extends RangeError {
  /** See {@linkcode RangeError}. */
  override readonly name = "GlobLimitError";
}

/** Patterns that the braces of one may stand for. */
const MAX_FORMS = 1024;
/** Characters made while braces are expanded. */
const MAX_CHARACTERS = 1_048_576;

/** Whether a path holds anything that a glob would expand. */
export function isGlob(path: string): boolean {
  return /[*?[{\\]/.test(path);
}

/** Expands `{a,b}`, nested ones too; a brace without its pair or without a comma stands for itself. */
export function expandBraces(pattern: string): string[] {
  let made = 0;
  const joined = (heads: readonly string[], tails: readonly string[]): string[] => {
    if (heads.length * tails.length > MAX_FORMS) {
      throw new GlobLimitError(`Cannot expand glob: its braces stand for more than ${MAX_FORMS} patterns`);
    }
    const result: string[] = [];
    for (const head of heads) {
      for (const tail of tails) {
        made += head.length + tail.length;
        if (made > MAX_CHARACTERS) throw new GlobLimitError("Cannot expand glob: its braces stand for too much");
        result.push(head + tail);
      }
    }
    return result;
  };
  // One list of forms for each alternative; the outermost level has only one, and is never closed.
  const levels: string[][][] = [[[""]]];
  const append = (forms: readonly string[]): void => {
    const level = levels.at(-1)!;
    level.push(joined(level.pop()!, forms));
  };
  for (const [part] of pattern.matchAll(/\\[^]?|[{},]|[^\\{},]+/g)) {
    if (part === "{") levels.push([[""]]);
    else if (part === "," && levels.length > 1) levels.at(-1)!.push([""]);
    else if (part === "}" && levels.length > 1) {
      const alternatives = levels.pop()!;
      append(alternatives.length === 1 ? joined(joined(["{"], alternatives[0]!), ["}"]) : alternatives.flat());
    } else append([part]);
  }
  while (levels.length > 1) {
    const [first, ...more] = levels.pop()!;
    append(["{"]);
    append(first!);
    for (const forms of more) append(joined([","], forms));
  }
  return levels[0]![0]!;
}

/** Whether a set has a character, given as its code point. */
type Test = (code: number) => boolean;
/** What stands for one character, or with `*` for any number of them; a number is that character. */
type Token = number | "?" | "*" | Test;

/** Character classes of POSIX, in the widest sense that Unicode has for them. */
const classes: ReadonlyMap<string, RegExp> = new Map([
  ["alnum", /[\p{L}\p{N}]/u],
  ["alpha", /\p{L}/u],
  ["blank", /[ \t]/],
  ["cntrl", /\p{Cc}/u],
  ["digit", /[0-9]/],
  ["graph", /[^\p{Z}\p{C}]/u],
  ["lower", /\p{Ll}/u],
  ["print", /[^\p{C}]/u],
  ["punct", /[\p{P}\p{S}]/u],
  ["space", /\s/],
  ["upper", /\p{Lu}/u],
  ["xdigit", /[0-9A-Fa-f]/],
]);

/** The set whose `[` stands before `from`, and where its `]` is; null where there is none. */
function parseSet(characters: readonly string[], from: number): { test: Test; end: number } | null {
  const negated = characters[from] === "!" || characters[from] === "^";
  const ranges: [low: number, high: number][] = [], named: RegExp[] = [];
  let at = negated ? from + 1 : from;
  const next = (): number => {
    if (characters[at] === "\\" && at + 1 < characters.length) at++;
    return characters[at++]!.codePointAt(0)!;
  };
  for (const first = at; at < characters.length;) {
    if (characters[at] === "]" && at > first) {
      const test: Test = (code) =>
        negated !== (ranges.some(([low, high]) => low <= code && code <= high) ||
          named.some((class_) => class_.test(String.fromCodePoint(code))));
      return { test, end: at };
    }
    if (characters[at] === "[" && characters[at + 1] === ":") {
      const end = characters.indexOf(":", at + 2);
      if (end > 0 && characters[end + 1] === "]") {
        // A class that nobody knows has nothing in it.
        const known = classes.get(characters.slice(at + 2, end).join(""));
        if (known !== undefined) named.push(known);
        at = end + 2;
        continue;
      }
    }
    const low = next();
    if (characters[at] !== "-" || at + 1 >= characters.length || characters[at + 1] === "]") ranges.push([low, low]);
    else {
      at++;
      // With its ends the wrong way round a range has nothing in it.
      ranges.push([low, next()]);
    }
  }
  return null;
}

function parseComponent(pattern: string): Token[] {
  // By code points: half of a pair never matches, and a byte that is no UTF-8, a lone surrogate here, is one character.
  const characters = Array.from(pattern), tokens: Token[] = [];
  // Where one set has no end, none that starts later is looked for: each would go to the end again.
  let sets = true;
  for (let i = 0; i < characters.length; i++) {
    const c = characters[i]!;
    if (c === "*") {
      if (tokens.at(-1) !== "*") tokens.push("*");
    } else if (c === "?") tokens.push("?");
    else if (c === "\\" && i + 1 < characters.length) tokens.push(characters[++i]!.codePointAt(0)!);
    else {
      const set = c === "[" && sets ? parseSet(characters, i + 1) : null;
      if (set === null) {
        if (c === "[") sets = false;
        tokens.push(c.codePointAt(0)!);
      } else {
        tokens.push(set.test);
        i = set.end;
      }
    }
  }
  return tokens;
}

const DOT = 0x2e;

function matcher(tokens: readonly Token[], dots = false): (name: string) => boolean {
  return (name) => {
    if (!dots && name.startsWith(".") && tokens[0] !== DOT) return false;
    // Only the last star can ever have to take more: what an earlier one takes, that one could take as well.
    let at = 0, token = 0, star = -1, taken = 0;
    while (at < name.length) {
      const code = name.codePointAt(at)!, wanted = tokens[token];
      if (wanted === "*") {
        star = token++;
        taken = at;
      } else if (wanted === code || wanted === "?" || typeof wanted === "function" && wanted(code)) {
        at += code > 0xffff ? 2 : 1;
        token++;
      } else if (star >= 0) {
        at = taken += name.codePointAt(taken)! > 0xffff ? 2 : 1;
        token = star + 1;
      } else return false;
    }
    if (tokens[token] === "*") token++;
    return token === tokens.length;
  };
}

/** One component as a matcher. As in a shell, a leading dot is matched by a dot only; with `dots`, by whatever matches one elsewhere. */
export function componentMatcher(pattern: string, dots = false): (name: string) => boolean {
  return matcher(parseComponent(pattern), dots);
}

/** A component of a pattern, and what comes behind it. */
interface Step {
  /** Any number of directories; at the end of a pattern, everything in them. */
  readonly deep: boolean;
  /** The name, of a component that stands for one only; such a place is gone to and never looked for. */
  readonly name: string | null;
  /** Whether a name matches. */
  readonly matches: (name: string) => boolean;
  /** Null at the end. */
  readonly next: Step | null;
}

function parseForm(components: readonly string[]): Step | null {
  let next: Step | null = null;
  for (const component of components.toReversed()) {
    const deep = component === "**";
    // Two of them mean what one does.
    if (deep && next?.deep) continue;
    const tokens = parseComponent(component);
    const isName = tokens.every((token) => typeof token === "number");
    const name = isName ? tokens.map((token) => String.fromCodePoint(token)).join("") : null;
    next = { deep, name, matches: matcher(tokens), next };
  }
  return next;
}

/** Adds a step; what comes behind `**` may come at once. */
function enter(steps: Set<Step>, step: Step): void {
  steps.add(step);
  if (step.deep && step.next !== null) steps.add(step.next);
}

/** Goes through a directory once for all the steps that have come to it. */
async function* walk(tree: GlobTree, base: string, steps: ReadonlySet<Step>, depth: number): AsyncGenerator<string> {
  await tree.rest?.();
  const places = new Map<string, { found: boolean; readonly below: Set<Step> }>();
  const reach = (name: string, next: Step | null): void => {
    let place = places.get(name);
    if (place === undefined) places.set(name, place = { found: false, below: new Set() });
    if (next === null) place.found = true;
    else enter(place.below, next);
  };
  const patterns: Step[] = [];
  for (const step of steps) {
    if (step.name === null) patterns.push(step);
    else if (step.next !== null) reach(step.name, step.next);
    else {
      tree.look?.(1);
      await tree.rest?.();
      if (await tree.exists(joinPath(base, step.name))) reach(step.name, null);
    }
  }
  if (patterns.length > 0) {
    for await (const { name, isDirectory } of await tree.list(base)) {
      tree.look?.(patterns.length);
      for (const step of patterns) {
        const rest = tree.rest?.();
        if (rest) await rest;
        if (!step.deep) {
          if (step.matches(name)) reach(name, step.next);
        } else if (!name.startsWith(".")) {
          if (step.next === null) reach(name, null);
          if (isDirectory && depth + 1 < MAX_DEPTH) reach(name, step);
        }
      }
    }
  }
  for (const [name, { found }] of places) if (found) yield joinPath(base, name);
  for (const [name, { below }] of places) {
    if (below.size > 0) yield* walk(tree, joinPath(base, name), below, depth + 1);
  }
}

/**
 * Paths that match, each once; one directory is looked at after the other, as they are asked for. Links to directories are
 * entered where the pattern names them, not by `**`. Throws {@linkcode GlobLimitError}, a `RangeError`, where its braces stand
 * for too much.
 */
export async function* expandGlob(tree: GlobTree, pattern: string): AsyncGenerator<string> {
  const forms = expandBraces(pattern);
  for (const root of ["/", "."]) {
    const steps = new Set<Step>();
    let isRoot = false;
    for (const form of forms) {
      if (form.startsWith("/") !== (root === "/")) continue;
      await tree.rest?.();
      const step = parseForm(form.split("/").filter((part) => part !== "" && part !== "."));
      if (step === null) isRoot = true;
      else enter(steps, step);
    }
    if (isRoot) yield root;
    if (steps.size > 0) yield* walk(tree, root, steps, 0);
  }
}
