/**
 * Counts what there is to copy, by a walk of its own beside the copying. No I/O of its own.
 *
 * It asks one thing after the other and holds one directory open at a time, so that it is in nobody's way; what it keeps are the
 * directories that it has still to go to, up to a bound. What cannot be looked at counts nothing: the copy tells of it.
 *
 * @module
 */
import type { Exclusion, TreePlace } from "./exclude.ts";
import { MAX_DEPTH } from "./limits.ts";
import type { LocalInfo } from "./local_files.ts";
import { isEntryName, joinPath } from "./names.ts";

/** What something is, and its size. */
export type TallyInfo = Pick<LocalInfo, "kind" | "size">;

/** What a copy wants to know of what it reads. */
export interface SourceInfo extends TallyInfo {
  /** Permission bits, or null where there are none to be known. */
  readonly mode: number | null;
  /** Last access in seconds since 1970, or null where nobody knows. */
  readonly atime: number | null;
  /** Last change in seconds since 1970, or null where nobody knows. */
  readonly mtime: number | null;
}

/** An entry of a directory, as far as its listing tells. */
export interface TallyEntry {
  /** Its name. */
  readonly name: string;
  /** What the listing tells of it, a file where it does not say what it is. */
  readonly info: SourceInfo;
  /** Whether that is all there is to be known. */
  readonly isWhole: boolean;
}

/** What a tally needs of a file system. */
export interface TallyTree {
  /** Entries of a directory, some at a time. */
  list(path: string): AsyncIterable<readonly TallyEntry[]>;
  /** What is at a path; null for what does not count. */
  look(path: string, followLinks: boolean): Promise<TallyInfo | null>;
  /** The canonical form of a path. */
  realPath(path: string): Promise<string>;
}

/** Where a walk begins. */
export interface TallyRoot extends TreePlace {
  /** The path. */
  readonly path: string;
  /** What is there. */
  readonly info: TallyInfo;
}

/** What is counted, and how. */
export interface TallyPlan {
  /** Directories too. */
  readonly recursive: boolean;
  /** What becomes of links. */
  readonly links: "copy" | "follow" | "skip";
  /** Told what was found. */
  found(files: number, bytes: number): void;
  /** Whether nobody wants to know any more. */
  over(): boolean;
}

/** Most directories that are still to be gone to; of a tree with more nobody knows how much there is. */
const MAX_PENDING = 65_536;

/** A directory to go to. */
interface Pending {
  readonly path: string;
  /** What is left out in it. */
  readonly exclusion: Exclusion;
  /** Canonical paths of it and the directories that it lies in. */
  readonly above: readonly string[];
}

/** Counts all that is below the roots; false where it did not come to the end. */
export async function tally(
  tree: TallyTree,
  roots: Iterable<TallyRoot> | AsyncIterable<TallyRoot>,
  plan: TallyPlan,
): Promise<boolean> {
  const { recursive, links } = plan, pending: Pending[] = [];
  /** Counts a file, or keeps a directory to go to; `above` are those that it lies in. */
  const count = async (path: string, info: TallyInfo, place: TreePlace, above: readonly string[]): Promise<void> => {
    const { within, name } = place;
    if (within.excludes(name, info.kind === "directory")) return;
    switch (info.kind) {
      case "file":
        return plan.found(1, info.size);
      case "link": {
        if (links === "copy") plan.found(1, 0);
        if (links !== "follow") return;
        const target = await tree.look(path, true);
        if (target !== null && target.kind !== "link") await count(path, target, place, above);
        return;
      }
      case "directory": {
        if (!recursive || above.length >= MAX_DEPTH) return;
        // Without links that are followed nothing leads back.
        const identity = links === "follow" ? await tree.realPath(path) : "";
        if (links === "follow" && above.includes(identity)) return;
        pending.push({ path, exclusion: within.enter(name), above: [...above, identity] });
      }
    }
  };
  const entry = async ({ path, exclusion: within, above }: Pending, one: TallyEntry): Promise<void> => {
    const { name, info, isWhole } = one;
    // What is left out whatever it is need not be looked at, and what is no name is not copied.
    if (!isEntryName(name) || within.excludes(name, false)) return;
    const inner = joinPath(path, name);
    // What fails here the copy meets, too.
    const isTold = isWhole || info.kind !== "file";
    const there = isTold ? info : await tree.look(inner, false).catch(() => null);
    if (there !== null) await count(inner, there, { within, name }, above).catch(() => {});
  };
  for await (const { path, info, within, name } of roots) {
    await count(path, info, { within, name }, []).catch(() => {});
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      if (plan.over()) return false;
      const directory = at;
      try {
        for await (const entries of tree.list(at.path)) {
          if (plan.over() || pending.length > MAX_PENDING) return false;
          await Promise.all(entries.map((one) => entry(directory, one)));
        }
      } catch {
        // As above.
      }
    }
  }
  return !plan.over();
}
