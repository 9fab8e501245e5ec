/**
 * Copies remote files and trees here. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.7.
 *
 * The server is not trusted with names: an entry whose name is more than one component is refused, links are made last and
 * only where they stay in the tree, and nothing is written through a link that is here already but the one the caller named.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import { OpenFlag } from "../wire/constants.ts";
import { FileType, MAX_DEPTH, Status } from "../../files/limits.ts";
import { isGlob } from "../../files/glob.ts";
import { type DirectoryEntry, listDirectory } from "../remote/listing.ts";
import {
  continueLocal,
  createLocal,
  isForeignTarget,
  type LocalFile,
  type LocalInfo,
  localMode,
  localStat,
  localSystem,
  localTimes,
  makeLocalDirectory,
  makeLocalLink,
  openLocalInPlace,
  removeLocal,
  renameLocal,
  splitLocal,
  writeLocal,
} from "../../files/local_files.ts";
import { localNameOf } from "../../files/local_names.ts";
import { Open } from "../wire/messages.ts";
import { baseName, isContainedTarget, isEntryName, joinPath, quoted } from "../../files/names.ts";
import { ReadPipeline } from "../remote/read_pipeline.ts";
import { isMissing } from "../../files/refusals.ts";
import type { SftpSession } from "../remote/session.ts";
import { localFailure, type TransferOptions, TransferRun, withGrace, wouldReplace } from "./run.ts";
import { partName, type TransferSummary } from "../../files/copied.ts";
import type { TreePlace } from "../../files/exclude.ts";
import { remoteRoots, remoteTally, tallyInfo } from "./remote_tally.ts";

/** Most bytes beyond the size that the server gives, which is 0 for files of /proc. */
const UNKNOWN_LIMIT = 1_073_741_824;

/** Entries that are asked about at once, where a listing tells too little of them. */
const ASKED_AT_ONCE = 64;

/** One thing to copy. */
interface Item extends TreePlace {
  /** Where it is. */
  readonly remote: string;
  /** Where it goes. */
  readonly local: string;
  /** Its canonical remote path, which says that it is the same one in a later run. */
  readonly identity: string;
  /** Whether `local` is what the caller named: only that may be a link. */
  readonly isNamed: boolean;
  /** Whether nothing of its name is here: its directory was just made. */
  readonly isNew: boolean;
}

function refused(remote: string, why: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(`Cannot download ${quoted(remote)}: ${why}`, status, remote);
}

function failure(remote: string, local: string, error: unknown): unknown {
  return localFailure(error, `download ${quoted(remote)} to ${quoted(local)}`, remote);
}

/** Copies a remote file, a tree, or what a glob finds. */
export async function download(
  client: RemoteFiles,
  session: SftpSession,
  remote: string,
  local: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  return await withGrace(copy(client, session, remote, local === "" ? "." : local, options), options.signal);
}

async function copy(
  client: RemoteFiles,
  session: SftpSession,
  remote: string,
  local: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(session, null, options, remote);
  run.check();
  const downloader = new Downloader(client, session, run);
  try {
    const found = await client.stat(remote).catch((error) => {
      // A star is a name that some file systems cannot have, and their servers say so in their own ways.
      if (isGlob(remote) && error instanceof SftpError && session.ended === null) return error;
      throw error;
    });
    // Who was given up for lack of an answer begins nothing when it comes.
    run.check();
    const tree = remoteTally(client, session);
    if (found instanceof SftpError) {
      run.measure(tree, remoteRoots(client, remote, run.exclusion));
      await downloader.glob(remote, local, found);
    } else {
      const isTree = found.isDirectory, named = local.endsWith("/");
      const there = isTree || named ? undefined : (await localStat(local, true))?.kind;
      const into = !isTree && (named || there === "directory");
      if (there === "other" && !options.inPlace) throw refused(remote, wouldReplace(local, "here"));
      const to = into ? joinPath(local, localName(baseName(remote), remote)) : local;
      // Some servers resolve directories only.
      const identity = await session.realPath(remote).catch(() => remote);
      run.check();
      const place = { within: run.exclusion, name: null };
      run.measure(tree, [{ path: remote, info: tallyInfo(found), ...place }]);
      await downloader.entry({ remote, local: to, identity, isNamed: !into, isNew: false, ...place }, found, []);
    }
  } catch (error) {
    run.failed(failure(remote, local, error));
  }
  await run.settle();
  await downloader.finish();
  return run.summary();
}

/** A remote name as a local one: refused where this system cannot have it. */
function localName(name: string, path: string): string {
  const local = localNameOf(name, localSystem());
  if (local !== null) return local;
  throw refused(path, `the server names ${quoted(name)}, which is no name of a file here`, Status.BAD_MESSAGE);
}

class Downloader {
  readonly #client: RemoteFiles;
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  /** Directories whose times and modes are set when nothing is written to them any more. */
  readonly #directories: { item: Item; info: SftpFileInfo }[] = [];
  /** Links to make when no file is written any more. */
  readonly #links: { item: Item; depth: number }[] = [];

  constructor(client: RemoteFiles, session: SftpSession, run: TransferRun) {
    this.#client = client;
    this.#session = session;
    this.#run = run;
  }

  /** Copies what a glob finds into a directory, which is made when there is something to put there; `error` says what is no name. */
  async glob(pattern: string, directory: string, error: SftpError): Promise<void> {
    const taken = new Map<string, string>(), within = this.#run.exclusion;
    let isNew: boolean | null = null, isAny = false;
    for await (const remote of this.#client.glob(pattern)) {
      isAny = true;
      if (within.excludes(baseName(remote), false)) continue;
      isNew ??= await makeDirectory(pattern, directory, true);
      let local = directory;
      try {
        const name = localName(baseName(remote), remote), other = taken.get(name);
        if (other !== undefined) throw refused(remote, `${quoted(other)} goes to the same place`);
        taken.set(name, remote);
        local = joinPath(directory, name);
        const info = await this.#client.stat(remote);
        const place = { within, name: baseName(remote) };
        await this.entry({ remote, local, identity: remote, isNamed: false, isNew, ...place }, info, []);
      } catch (error) {
        this.#run.check();
        this.#run.failed(failure(remote, local, error));
      }
    }
    if (!isAny) {
      if (!isMissing(error)) throw error;
      throw refused(pattern, "no such file there, and nothing that matches it as a glob", Status.NO_SUCH_FILE);
    }
  }

  /**
   * Copies one thing, whatever it is; a file's copy goes on after this returns, and it returns a promise only where it must wait.
   * `above` are the directories it lies in.
   */
  entry(item: Item, info: SftpFileInfo, above: readonly string[]): Promise<void> | undefined {
    const { remote } = item, { recursive, links = "copy" } = this.#run.options;
    if (info.isSymlink) {
      if (links === "copy") this.#links.push({ item, depth: above.length - 1 });
      return links === "follow" ? this.#follow(item, above) : undefined;
    }
    if (info.isDirectory) {
      if (item.within.excludes(item.name, true)) return undefined;
      if (!recursive) throw refused(remote, "it is a directory; use `recursive: true`");
      if (above.includes(item.identity)) throw refused(remote, "a link leads back to a directory it lies in");
      if (above.length >= MAX_DEPTH) throw refused(remote, `more than ${MAX_DEPTH} directories deep`);
      return this.#directory(item, info, [...above, item.identity]);
    }
    // What nothing tells the type of may be a file.
    if (!info.isFile && ((info.mode ?? 0) & FileType.MASK) !== 0) {
      throw refused(remote, "it is neither file, directory nor link");
    }
    return this.#run.start(() => this.#file(item, info));
  }

  async #follow(item: Item, above: readonly string[]): Promise<void> {
    const { remote } = item;
    const [identity, info] = await Promise.all([
      this.#session.realPath(remote).catch(() => item.identity),
      this.#client.stat(remote),
    ]);
    await this.entry({ ...item, identity }, info, above);
  }

  async #directory(item: Item, info: SftpFileInfo, above: readonly string[]): Promise<void> {
    this.#run.check();
    const isNew = await makeDirectory(item.remote, item.local, item.isNamed);
    if (this.#run.options.preserve) this.#directories.push({ item, info });
    const seen = new Set<string>(), within = item.within.enter(item.name);
    for await (const entries of listDirectory(this.#session, item.remote)) {
      // What is no name of an entry is refused, and never just left out.
      const wanted = entries.filter(({ name }) => !isEntryName(name) || !within.excludes(name, false));
      for (const { name, info } of await this.#complete(item.remote, wanted)) {
        this.#run.check();
        const remote = joinPath(item.remote, name);
        let local = item.local;
        try {
          const own = localName(name, remote);
          if (seen.has(own)) throw refused(remote, "the server names it twice", Status.BAD_MESSAGE);
          seen.add(own);
          local = joinPath(item.local, own);
          const identity = joinPath(item.identity, name);
          const inner = { remote, local, identity, isNamed: false, isNew, within, name };
          const waiting = this.entry(inner, info, above);
          if (waiting !== undefined) await waiting;
        } catch (error) {
          this.#run.check();
          this.#run.failed(failure(remote, local, error));
        }
      }
    }
  }

  /** Asks for what a listing left out, where it did. */
  async #complete(directory: string, entries: readonly DirectoryEntry[]): Promise<readonly DirectoryEntry[]> {
    if (!entries.some(({ partial }) => partial)) return entries;
    const whole: DirectoryEntry[] = [];
    for (let from = 0; from < entries.length; from += ASKED_AT_ONCE) {
      this.#run.check();
      const asked = entries.slice(from, from + ASKED_AT_ONCE).map(async (entry) => {
        if (!entry.partial) return entry;
        const info = await this.#client.lstat(joinPath(directory, entry.name)).catch(() => entry.info);
        return { ...entry, info };
      });
      whole.push(...await Promise.all(asked));
    }
    return whole;
  }

  /** Makes links, then sets what `preserve` keeps of directories. */
  async finish(): Promise<void> {
    const over = (): boolean => this.#session.ended !== null || this.#run.options.signal?.aborted === true;
    const told = ({ remote, local }: Item) => (error: unknown) => this.#run.failed(failure(remote, local, error));
    for (const { item, depth } of this.#links) {
      if (over()) return;
      await this.#link(item, depth).catch(told(item));
    }
    for (const { item, info } of this.#directories.reverse()) {
      if (over()) return;
      await this.#keep(item.local, info).catch(told(item));
    }
  }

  async #link({ remote, local }: Item, depth: number): Promise<void> {
    const target = await this.#client.readLink(remote);
    this.#run.check();
    if (isForeignTarget(target) || !target.isWellFormed() || !isContainedTarget(target, depth)) {
      throw refused(
        remote,
        `the link leads out of the tree, to ${quoted(target)}; \`links\` can be "follow" or "skip"`,
      );
    }
    const { directory, base } = splitLocal(local);
    await makeLocalLink(target, local, joinPath(directory, partName(base, remote, 0, 0)));
    this.#run.finished();
  }

  async #keep(path: string, info: SftpFileInfo): Promise<void> {
    if (info.mode !== null) await localMode(path, info.mode & 0o777);
    if (info.mtime !== null) {
      await localTimes(path, (info.atime ?? info.mtime).getTime() / 1000, info.mtime.getTime() / 1000);
    }
  }

  async #file(item: Item, info: SftpFileInfo): Promise<void> {
    await this.#run.hold(info.size);
    try {
      await this.#copy(item, info);
    } catch (error) {
      throw failure(item.remote, item.local, error);
    } finally {
      this.#run.letGo(info.size);
    }
  }

  async #copy(item: Item, info: SftpFileInfo): Promise<void> {
    const { remote, local, identity, isNamed, isNew } = item;
    const { inPlace, resume, preserve, signal } = this.#run.options;
    // Looked at while the server is asked for the contents.
    const replaced = isNew || inPlace || preserve && !resume ? null : regularFile(local);
    if (resume && isWhole(await replaced, info)) {
      this.#run.wasWhole(remote, info.size);
      return;
    }
    const { directory, base } = splitLocal(local);
    const part = joinPath(directory, partName(base, identity, info.size, info.mtime?.getTime() ?? 0));
    const path = inPlace ? local : part;
    const own = info.mode === null ? null : info.mode & 0o777;
    const kept = preserve ? null : replaced?.then((there) => there?.mode ?? null) ?? null;
    try {
      const isSmall = !inPlace && !resume && info.size > 0 && info.size <= this.#session.maxRead;
      if (!isSmall || !await this.#small(remote, path, info.size, own, kept)) {
        const handle = await this.#open(remote);
        try {
          using target = inPlace
            ? await openLocalInPlace(path, own, isNamed || isNew ? "follow" : "replace")
            : await openPart(path, resume, await kept ?? own);
          await this.#large(handle, remote, target, info.size, resume ?? false);
        } finally {
          this.#session.dropHandle(handle, remote);
        }
      }
      const mode = await kept;
      if (mode !== null) await localMode(path, mode);
      // A file system that does not keep them has the contents all the same.
      if (preserve) await this.#keep(path, info).catch((error) => this.#run.warn(failure(remote, local, error)));
      if (!inPlace) await renameLocal(path, local);
    } catch (error) {
      const cut = this.#session.ended !== null || signal?.aborted;
      if (!inPlace && !cut) await removeLocal(path).catch(() => {});
      throw error;
    }
    this.#run.finished();
  }

  #open(remote: string): Promise<Uint8Array> {
    const purpose = { action: "open", path: remote, signal: this.#run.options.signal };
    const values = { path: remote, flags: OpenFlag.READ, attrs: {} };
    return this.#session.handle(Open, values, purpose);
  }

  /**
   * A file of one request is written in one step, when its handle has gone: CLOSE leaves together with others' requests. False
   * where there is more of it than the server said.
   */
  async #small(
    remote: string,
    path: string,
    size: number,
    own: number | null,
    kept: Promise<number | null> | null,
  ): Promise<boolean> {
    const handle = await this.#open(remote);
    this.#run.report(remote, 0, size);
    let got: Uint8Array | null, more: Uint8Array | null;
    const requests = this.#run.requests;
    const pipeline = new ReadPipeline(this.#session, handle, remote, {
      offset: 0,
      end: null,
      size,
      ...(requests === undefined ? {} : { concurrency: requests }),
    });
    const leave = cancelOnAbort(pipeline, this.#run.options.signal);
    try {
      got = await pipeline.next();
      more = got === null ? null : await pipeline.next();
    } finally {
      leave();
      pipeline.cancel();
      this.#session.dropHandle(handle, remote);
    }
    this.#run.options.signal?.throwIfAborted();
    if (more !== null || got !== null && got.length > size) return false;
    if (got === null || got.length < size) throw shorter(remote, got?.length ?? 0, size);
    await writeLocal(path, got, await kept ?? own);
    this.#run.copied(remote, size);
    this.#run.report(remote, size, size);
    return true;
  }

  /** Writes in order, so that what is there of a cut copy is the start of the file. */
  async #large(handle: Uint8Array, remote: string, target: LocalFile, size: number, resume: boolean): Promise<void> {
    const { signal } = this.#run.options;
    const offset = resume ? Math.min(target.stat().size, size) : 0, total = size > 0 ? size : null;
    // The end is where the server says EOF: it may give less than a file has that it unpacks as it is read.
    if (offset > 0) await target.seek(offset);
    this.#run.report(remote, offset, total);
    this.#run.passed(remote, offset);
    const requests = this.#run.requests;
    const pipeline = new ReadPipeline(this.#session, handle, remote, {
      offset,
      end: null,
      size,
      ...(requests === undefined ? {} : { concurrency: requests }),
    });
    const leave = cancelOnAbort(pipeline, signal);
    let done = offset;
    try {
      for (let part = await pipeline.next(); part !== null; part = await pipeline.next()) {
        await target.write(part);
        done += part.length;
        this.#run.copied(remote, part.length, Math.max(0, Math.min(part.length, done - size)));
        pipeline.recycle(part);
        if (done > size + UNKNOWN_LIMIT) {
          throw refused(remote, `the server gives its size as ${size} and sends over 1 GiB more`);
        }
        this.#run.report(remote, done, done > size ? null : total);
        this.#run.check(remote);
      }
    } finally {
      leave();
      pipeline.cancel();
    }
    signal?.throwIfAborted();
    if (done < size) throw shorter(remote, done, size);
    // A total that was wrong has been told.
    if (total !== null && done > size) this.#run.report(remote, done, done);
    // What a longer file left behind.
    if (resume) await target.truncate(done);
  }
}

/** A server that answers nothing must not hold whoever reads; what is returned lets go of the signal. */
function cancelOnAbort(pipeline: ReadPipeline, signal: AbortSignal | undefined): () => void {
  const stop = (): void => pipeline.cancel();
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  return () => signal?.removeEventListener("abort", stop);
}

function shorter(remote: string, done: number, size: number): SftpError {
  return refused(remote, `it ended after ${done} of ${size} bytes; it may have changed meanwhile`);
}

async function openPart(path: string, resume: boolean | undefined, mode: number | null): Promise<LocalFile> {
  return resume ? await continueLocal(path) ?? await createLocal(path, mode) : await createLocal(path, mode);
}

/** Makes a directory here, or takes the one that is there; tells whether it is new. */
async function makeDirectory(remote: string, local: string, isNamed: boolean): Promise<boolean> {
  // Inside the tree a link could lead anywhere.
  const there = await localStat(local, isNamed);
  if (there === null) await makeLocalDirectory(local, isNamed);
  else if (there.kind !== "directory") throw refused(remote, `something else of that name is here, ${quoted(local)}`);
  return there === null;
}

/** The regular file at a path here, or null where there is none to be seen. */
async function regularFile(path: string): Promise<LocalInfo | null> {
  const there = await localStat(path, false).catch(() => null);
  return there?.kind === "file" ? there : null;
}

/** Whether what is here may be taken for a copy of the file. */
function isWhole(there: LocalInfo | null, info: SftpFileInfo): boolean {
  return there !== null && there.size === info.size && info.mtime !== null &&
    there.mtime >= Math.floor(info.mtime.getTime() / 1000);
}
