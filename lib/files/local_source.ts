/**
 * Local files as a copy reads them.
 *
 * @module
 */
import type { CopySource } from "./copy_source.ts";
import { expandGlob, type GlobTree } from "./glob.ts";
import { listLocal, localLink, localRealPath, localStat, openLocal, splitLocal } from "./local_files.ts";
import type { TallyEntry } from "./tally.ts";

/** Entries that are looked at together. */
const TOGETHER = 64;

const globs: GlobTree = {
  list: async (path) => {
    if ((await localStat(path, true))?.kind !== "directory") return [];
    return await Array.fromAsync(listLocal(path), ({ name, kind }) => ({ name, isDirectory: kind === "directory" }));
  },
  exists: async (path) => await localStat(path, false) !== null,
};

/** Local files. */
export const localSource: CopySource = {
  action: "upload",
  isForeign: false,
  globs,
  async *roots(pattern, within) {
    for await (const path of expandGlob(globs, pattern)) {
      const info = await localStat(path, true);
      if (info !== null) yield { path, info, within, name: splitLocal(path).base };
    }
  },
  async *list(path) {
    let entries: TallyEntry[] = [];
    for await (const { name, kind } of listLocal(path)) {
      entries.push({ name, info: { kind, size: 0, mode: null, atime: null, mtime: null }, isWhole: false });
      if (entries.length < TOGETHER) continue;
      yield entries;
      entries = [];
    }
    yield entries;
  },
  look: localStat,
  realPath: localRealPath,
  readLink: localLink,
  open: openLocal,
  base: (path) => splitLocal(path).base,
};
