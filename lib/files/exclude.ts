/**
 * Patterns of what a copy of a tree leaves out, as `rsync`, `tar` and .gitignore have them. No I/O.
 *
 * Names may come from a peer: one is compared with each pattern that can still match in its directory, in time in proportion to the
 * product of their lengths at most.
 *
 * @module
 */
import { kindOf } from "../wire/check.ts";
import { componentMatcher, expandBraces } from "./glob.ts";

/** Most patterns, with each form of their braces counted. */
const MAX_PATTERNS = 1024;
/** Longest pattern, in characters. */
const MAX_LENGTH = 4096;

/** Where something lies in a tree that is copied. */
export interface TreePlace {
  /** What is left out in its directory. */
  readonly within: Exclusion;
  /** Its name there; null for what is copied itself, and never left out. */
  readonly name: string | null;
}

/** A component of a pattern, and what comes behind it. */
interface Step {
  /** Any number of directories; at the end of a pattern, everything in them. */
  readonly deep: boolean;
  readonly matches: (name: string) => boolean;
  /** Null at the end. */
  readonly next: Step | null;
}

/** What all patterns of a copy have come to in one directory of its tree. */
interface State {
  /** Patterns without a slash, which hold in every directory. */
  readonly anywhere: readonly Step[];
  /** What others can still match from here on. */
  readonly here: ReadonlySet<Step>;
  /** Ends of patterns that stand for directories alone. */
  readonly directories: ReadonlySet<Step>;
}

/** What is left out in one directory of a tree. */
export class Exclusion {
  readonly #state: State;

  /** See {@linkcode exclusionOf}. */
  constructor(state: State) {
    this.#state = state;
  }

  /** Whether an entry is left out, null being the tree itself; a link is no directory, unless it is followed to one. */
  excludes(name: string | null, isDirectory: boolean): boolean {
    if (name === null) return false;
    const { anywhere, here, directories } = this.#state;
    const isIt = (step: Step): boolean =>
      step.next === null && (isDirectory || !directories.has(step)) && (step.deep || step.matches(name));
    return anywhere.some(isIt) || here.size > 0 && here.values().some(isIt);
  }

  /** What is left out in an entry that is a directory, null being the tree itself. */
  enter(name: string | null): Exclusion {
    if (name === null) return this;
    const { here } = this.#state, below = new Set<Step>();
    for (const step of here) {
      if (step.deep) reach(below, step);
      else if (step.next !== null && step.matches(name)) reach(below, step.next);
    }
    return below.size === 0 && here.size === 0 ? this : new Exclusion({ ...this.#state, here: below });
  }
}

/** Adds a step; what comes behind `**` may come at once. */
function reach(steps: Set<Step>, step: Step): void {
  steps.add(step);
  if (step.deep && step.next !== null) steps.add(step.next);
}

function refused(pattern: string, why: string): TypeError {
  return new TypeError(`Cannot use ${JSON.stringify(pattern.slice(0, 64))} in \`exclude\`: ${why}`);
}

/**
 * What these patterns leave out at the top of a tree. Throws `TypeError` for what are no patterns or could match nothing, and `RangeError`
 * for too many or too long ones.
 */
export function exclusionOf(patterns: unknown): Exclusion {
  const anywhere: Step[] = [], here = new Set<Step>(), directories = new Set<Step>();
  if (patterns === undefined) return new Exclusion({ anywhere, here, directories });
  if (!Array.isArray(patterns)) {
    const advice = typeof patterns === "string" ? ": write it in `[]`" : "";
    throw new TypeError(`Cannot use ${kindOf(patterns)} as \`exclude\`: it must be an array of patterns${advice}`);
  }
  let forms = 0;
  for (let i = 0; i < patterns.length; i++) {
    const pattern: unknown = patterns[i];
    if (typeof pattern !== "string" || pattern === "") {
      throw new TypeError(`Cannot use ${kindOf(pattern)} in \`exclude\`: it must hold patterns, which are texts`);
    }
    if (pattern.length > MAX_LENGTH) {
      throw new RangeError(
        `Cannot use a pattern of ${pattern.length} characters in \`exclude\`: ${MAX_LENGTH} at most`,
      );
    }
    for (const form of expandBraces(pattern)) {
      if (++forms > MAX_PATTERNS) {
        throw new RangeError(
          `Cannot use more than ${MAX_PATTERNS} patterns in \`exclude\`, each form of their braces counted`,
        );
      }
      const { first, last, isAnchored } = parse(pattern, form);
      if (form.endsWith("/")) directories.add(last);
      if (isAnchored || first.deep) reach(here, first);
      else anywhere.push(first);
    }
  }
  return new Exclusion({ anywhere, here, directories });
}

function parse(pattern: string, form: string): { first: Step; last: Step; isAnchored: boolean } {
  if (form.startsWith("!")) throw refused(pattern, "what is left out cannot be taken in again; write `\\!` for a name");
  const parts = form.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0) throw refused(pattern, "it names the tree itself, or nothing");
  if (parts.includes("..")) throw refused(pattern, "`..` is no name in a tree");
  if (form.includes("\0")) throw refused(pattern, "no name holds a NUL");
  let first: Step | null = null, last: Step | null = null;
  for (const part of parts.toReversed()) {
    const deep = part === "**";
    // Two of them mean what one does.
    if (deep && first?.deep) continue;
    first = { deep, matches: componentMatcher(part, true), next: first };
    last ??= first;
  }
  return { first: first!, last: last!, isAnchored: form.replace(/\/+$/, "").includes("/") };
}
