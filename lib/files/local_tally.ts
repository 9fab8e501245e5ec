/**
 * Local trees as a tally looks at them, and what a glob stands for here.
 *
 * @module
 */
import type { Exclusion } from "./exclude.ts";
import { expandGlob, type GlobTree } from "./glob.ts";
import { listLocal, localRealPath, localStat, splitLocal } from "./local_files.ts";
import type { TallyEntry, TallyRoot, TallyTree } from "./tally.ts";

/** Entries that are looked at together. */
const TOGETHER = 64;

/** Local files. */
export const localTally: TallyTree = {
  async *list(path) {
    let entries: TallyEntry[] = [];
    for await (const { name, kind } of listLocal(path)) {
      // A listing tells no sizes.
      entries.push({ name, info: kind === "file" ? null : { kind, size: 0 } });
      if (entries.length < TOGETHER) continue;
      yield entries;
      entries = [];
    }
    yield entries;
  },
  look: localStat,
  realPath: localRealPath,
};

/** Local files as a glob looks at them. */
export const localTree: GlobTree = {
  list: async (path) => {
    if ((await localStat(path, true))?.kind !== "directory") return [];
    return await Array.fromAsync(listLocal(path), ({ name, kind }) => ({ name, isDirectory: kind === "directory" }));
  },
  exists: async (path) => await localStat(path, false) !== null,
};

/** What a glob stands for, to be counted: the top of a tree. */
export async function* localRoots(pattern: string, within: Exclusion): AsyncGenerator<TallyRoot> {
  for await (const path of expandGlob(localTree, pattern)) {
    const info = await localStat(path, true);
    if (info !== null) yield { path, info, within, name: splitLocal(path).base };
  }
}
