/**
 * The walk of a copy, whatever it copies from and to: files, trees and what globs find, with what is left out, links, and what is kept
 * of directories. No I/O of its own.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { CopySource, SourceInfo } from "../../files/copy_source.ts";
import type { TreePlace } from "../../files/exclude.ts";
import { expandGlob, isGlob } from "../../files/glob.ts";
import { MAX_DEPTH, Status } from "../../files/limits.ts";
import { isContainedTarget, isEntryName, joinPath, quoted } from "../../files/names.ts";
import { isMissing } from "../../files/refusals.ts";
import type { TallyEntry } from "../../files/tally.ts";
import type { TransferSummary } from "../../files/copied.ts";
import type { TransferRun } from "./run.ts";

/** Entries that are asked about at once, where a listing tells too little of them. */
const ASKED_AT_ONCE = 64;

/** One thing to copy. */
export interface Item extends TreePlace {
  /** Where it is. */
  readonly path: string;
  /** Where it goes. */
  readonly to: string;
  /** Its canonical path, which says that it is the same one in a later run. */
  readonly identity: string;
  /** Whether `to` is what the caller named: only that may be a link. */
  readonly isNamed: boolean;
  /** Whether it replaces nothing, as far as is known: its directory was just made. */
  readonly isNew: boolean;
}

/** Where a copy goes. */
export interface CopyTarget {
  /** Where it is, for errors. */
  readonly where: "here" | "there";
  /** What is at a path, links followed; null where nothing is, undefined where nobody says. */
  kindAt(path: string): Promise<SourceInfo["kind"] | null | undefined>;
  /** The name that something gets there; throws where it can have none. */
  spell(name: string, path: string): string;
  /** Makes a directory, or takes the one that is there; false where there is one. `info` is what is copied, where that is one. */
  makeDirectory(item: Pick<Item, "path" | "to" | "isNamed">, info: SourceInfo | null): Promise<boolean>;
  /** Copies a file. */
  file(item: Item, info: SourceInfo): Promise<void>;
  /** Whether a link that another made may say that; those that lead out of the tree are refused in any case. */
  takesLink(target: string): boolean;
  /** Makes a link. */
  link(item: Item, target: string): Promise<void>;
  /** Sets what `preserve` keeps of a directory. */
  keep(path: string, info: SourceInfo): Promise<void>;
  /** What there is against copying something. */
  refused(path: string, why: string, status?: number): SftpError;
  /** What is thrown for an error of either side. */
  failure(item: Pick<Item, "path" | "to">, error: unknown): unknown;
}

/** Copies a file, a tree, or what a glob finds. */
export async function copyTree(
  source: CopySource,
  target: CopyTarget,
  run: TransferRun,
  path: string,
  to: string,
): Promise<TransferSummary> {
  run.check();
  const copy = new TreeCopy(source, target, run);
  try {
    await copy.start(path, to);
  } catch (error) {
    run.failed(target.failure({ path, to }, error));
  }
  await run.settle();
  await copy.finish();
  return run.summary();
}

class TreeCopy {
  readonly #source: CopySource;
  readonly #target: CopyTarget;
  readonly #run: TransferRun;
  /** Directories whose times and modes are set when nothing is written to them any more, inner ones last. */
  readonly #directories: { item: Item; info: SourceInfo }[] = [];
  /** Links of another's to make when no file is written any more: nothing is written through one. */
  readonly #links: { item: Item; depth: number }[] = [];

  constructor(source: CopySource, target: CopyTarget, run: TransferRun) {
    this.#source = source;
    this.#target = target;
    this.#run = run;
  }

  /** Copies what is at a path, or what that finds as a glob. */
  async start(path: string, to: string): Promise<void> {
    const source = this.#source, target = this.#target, { exclusion: within } = this.#run;
    const found = await this.#lookBehind(path).catch((error) => {
      // A star is a name that some file systems cannot have, and their servers say so in their own ways.
      if (isGlob(path) && error instanceof SftpError && this.#run.lost === null) return error;
      throw error;
    });
    // Who was given up for lack of an answer begins nothing when it comes.
    this.#run.check();
    if (found === null || found instanceof SftpError) {
      if (!isGlob(path)) throw target.refused(path, `no such file ${this.#where}`, Status.NO_SUCH_FILE);
      this.#run.measure(source, source.roots(path, within));
      return await this.#glob(path, to, found);
    }
    const isTree = found.kind === "directory", isInside = !isTree && to.endsWith("/");
    const there = isTree || isInside ? undefined : await target.kindAt(to), isInto = isInside || there === "directory";
    // Whoever names one, as `/dev/null`, wants it to be there afterwards.
    if (there === "other" && !this.#run.options.inPlace) {
      const what = `${quoted(to)} ${target.where} is no regular file, and would be replaced by one`;
      throw target.refused(path, `${what}; with \`inPlace: true\` it is written to`);
    }
    const place = { within, name: null }, identity = await source.realPath(path);
    this.#run.check();
    this.#run.measure(source, [{ path, info: found, ...place }]);
    const whole = isInto ? joinPath(to, target.spell(source.base(path), path)) : to;
    await this.#entry({ path, to: whole, identity, isNamed: !isInto, isNew: there === null, ...place }, found, []);
  }

  get #where(): string {
    return this.#source.isForeign ? "there" : "here";
  }

  /** Copies what a glob finds into a directory, which is made when there is something to put there; `error` says what is no name. */
  async #glob(pattern: string, directory: string, error: SftpError | null): Promise<void> {
    const taken = new Map<string, string>(), within = this.#run.exclusion, source = this.#source;
    let isNew: boolean | null = null, isAny = false;
    for await (const path of expandGlob(source.globs, pattern)) {
      isAny = true;
      const name = source.base(path);
      if (within.excludes(name, false)) continue;
      isNew ??= await this.#target.makeDirectory({ path: pattern, to: directory, isNamed: true }, null);
      let to = directory;
      try {
        const own = this.#target.spell(name, path), other = taken.get(own);
        if (other !== undefined) throw this.#target.refused(path, `${quoted(other)} goes to the same place`);
        taken.set(own, path);
        to = joinPath(directory, own);
        const { info, identity } = await this.#follow(path);
        const waiting = this.#entry({ path, to, identity, isNamed: false, isNew, within, name }, info, []);
        if (waiting !== undefined) await waiting;
      } catch (error) {
        this.#failed({ path, to }, error);
      }
    }
    if (isAny) return;
    if (error !== null && !isMissing(error)) throw error;
    const why = `no such file ${this.#where}, and nothing that matches it as a glob`;
    throw this.#target.refused(pattern, why, Status.NO_SUCH_FILE);
  }

  /** Keeps an error of one thing, where the rest can go on. */
  #failed(item: Pick<Item, "path" | "to">, error: unknown): void {
    this.#run.check();
    this.#run.failed(this.#target.failure(item, error));
  }

  /** What a path leads to; null for nothing. A link that a server names there is none of a tree, and could be made of anything. */
  async #lookBehind(path: string): Promise<SourceInfo | null> {
    const info = await this.#source.look(path, true);
    if (info?.kind !== "link") return info;
    throw this.#target.refused(path, "the server does not say what the link leads to", Status.BAD_MESSAGE);
  }

  /** What a path leads to, and which that is. */
  async #follow(path: string): Promise<{ readonly info: SourceInfo; readonly identity: string }> {
    const resolved = this.#source.realPath(path);
    resolved.catch(() => {});
    const info = await this.#lookBehind(path);
    if (info === null) throw this.#target.refused(path, "its target is missing", Status.NO_SUCH_FILE);
    return { info, identity: await resolved };
  }

  /**
   * Copies one thing, whatever it is; a file's copy goes on after this returns, and it returns a promise only where it must wait.
   * `above` are the directories it lies in.
   */
  #entry(item: Item, info: SourceInfo, above: readonly string[]): Promise<void> | undefined {
    const { path } = item, { recursive, links = "copy" } = this.#run.options, target = this.#target;
    switch (info.kind) {
      case "link":
        if (links === "follow") return this.#followed(item, above);
        if (links === "skip") return undefined;
        if (!this.#source.isForeign) return this.#run.start(() => this.#link(item, null));
        this.#links.push({ item, depth: above.length - 1 });
        return undefined;
      case "directory":
        if (item.within.excludes(item.name, true)) return undefined;
        if (!recursive) throw target.refused(path, "it is a directory; use `recursive: true`");
        if (above.includes(item.identity)) throw target.refused(path, "a link leads back to a directory it lies in");
        if (above.length >= MAX_DEPTH) throw target.refused(path, `more than ${MAX_DEPTH} directories deep`);
        return this.#directory(item, info, [...above, item.identity]);
      case "other":
        throw target.refused(path, "it is neither file, directory nor link");
      case "file":
        return this.#run.start(() => this.#file(item, info));
    }
  }

  async #followed(item: Item, above: readonly string[]): Promise<void> {
    const { info, identity } = await this.#follow(item.path);
    await this.#entry({ ...item, identity }, info, above);
  }

  async #directory(item: Item, info: SourceInfo, above: readonly string[]): Promise<void> {
    this.#run.check();
    const isNew = await this.#target.makeDirectory(item, info);
    if (this.#run.options.preserve) this.#directories.push({ item, info });
    const within = item.within.enter(item.name), seen = new Set<string>();
    for await (const entries of this.#source.list(item.path)) {
      // What is no name of an entry is refused, and never just left out.
      const wanted = entries.filter(({ name }) => !isEntryName(name) || !within.excludes(name, false));
      for (const { name, info, isWhole } of await this.#complete(item.path, wanted)) {
        this.#run.check();
        const path = joinPath(item.path, name);
        let to = item.to;
        try {
          const own = this.#target.spell(name, path);
          if (seen.has(own)) throw this.#target.refused(path, "the server names it twice", Status.BAD_MESSAGE);
          seen.add(own);
          to = joinPath(item.to, own);
          const inner = { path, to, identity: joinPath(item.identity, name), isNamed: false, isNew, within, name };
          // A file that is here is looked at when it is open.
          const found = isWhole || info.kind === "file" ? info : await this.#source.look(path, false);
          const waiting = found === null ? undefined : this.#entry(inner, found, above);
          if (waiting !== undefined) await waiting;
        } catch (error) {
          this.#failed({ path, to }, error);
        }
      }
    }
  }

  /** Asks for what another's listing left out, where it did. */
  async #complete(directory: string, entries: readonly TallyEntry[]): Promise<readonly TallyEntry[]> {
    if (!this.#source.isForeign || entries.every(({ isWhole }) => isWhole)) return entries;
    const whole: TallyEntry[] = [];
    for (let from = 0; from < entries.length; from += ASKED_AT_ONCE) {
      this.#run.check();
      const asked = entries.slice(from, from + ASKED_AT_ONCE).map(async (entry) => {
        if (entry.isWhole) return entry;
        const found = await this.#source.look(joinPath(directory, entry.name), false).catch(() => null);
        return { name: entry.name, info: found ?? entry.info, isWhole: true };
      });
      whole.push(...await Promise.all(asked));
    }
    return whole;
  }

  async #file(item: Item, info: SourceInfo): Promise<void> {
    try {
      await this.#target.file(item, info);
    } catch (error) {
      throw this.#target.failure(item, error);
    }
  }

  /** Makes a link; one of another's is so many directories below the top of the tree. */
  async #link(item: Item, depth: number | null): Promise<void> {
    try {
      const text = await this.#source.readLink(item.path);
      this.#run.check();
      if (depth !== null && !(this.#target.takesLink(text) && isContainedTarget(text, depth))) {
        const why = `the link leads out of the tree, to ${quoted(text)}; \`links\` can be "follow" or "skip"`;
        throw this.#target.refused(item.path, why);
      }
      await this.#target.link(item, text);
    } catch (error) {
      throw this.#target.failure(item, error);
    }
  }

  /** Makes another's links, then sets what `preserve` keeps of directories. */
  async finish(): Promise<void> {
    const isOver = (): boolean => this.#run.lost !== null || this.#run.options.signal?.aborted === true;
    for (const { item, depth } of this.#links) {
      if (isOver()) return;
      await this.#link(item, depth).catch((error) => this.#run.failed(error));
    }
    for (const { item, info } of this.#directories.reverse()) {
      if (isOver()) return;
      await this.#target.keep(item.to, info).catch((error) => this.#run.warn(this.#target.failure(item, error)));
    }
  }
}

/** The name of an entry, where it is one and nothing else. */
export function entryName(target: CopyTarget, name: string, path: string): string {
  if (isEntryName(name)) return name;
  throw target.refused(path, `the server names ${quoted(name)}, which is no name of an entry`, Status.BAD_MESSAGE);
}
