/**
 * L5. Copies local files and trees to the server. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import type { SftpAttributes, SftpFileInfo } from "./attrs.ts";
import type { SftpClient } from "./client.ts";
import { Extension, MAX_DEPTH, OpenFlag, Status } from "./constants.ts";
import { LAST_WINDOW } from "./flight_window.ts";
import { expandGlob, isGlob } from "./glob.ts";
import {
  listLocal,
  type LocalFile,
  type LocalInfo,
  localLink,
  localRealPath,
  localStat,
  openLocal,
  splitLocal,
} from "./local_files.ts";
import { Fsetstat, Open, PosixRename, Remove, Rename, Setstat } from "./messages.ts";
import { dirName, joinPath, quoted } from "./names.ts";
import type { SftpSession } from "./requests.ts";
import {
  localFailure,
  partName,
  type TransferOptions,
  TransferRun,
  type TransferSummary,
  withGrace,
} from "./transfer.ts";
import { WritePipeline } from "./write_pipeline.ts";

/** Read from a local file at once. */
const BLOCK = 1_048_576;
/** The same for a file whose size is given as 0. */
const UNKNOWN_BLOCK = 65_536;

/** Copies a local file, a tree, or what a glob finds. */
export async function upload(
  client: SftpClient,
  session: SftpSession,
  local: string,
  remote: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  return await withGrace(copy(client, session, local, remote, options), options.signal);
}

async function copy(
  client: SftpClient,
  session: SftpSession,
  local: string,
  remote: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(session, options);
  run.check();
  const uploader = new Uploader(client, session, run);
  try {
    const found = await localStat(local, true);
    if (found === null) {
      if (!isGlob(local)) throw refused(local, "no such file here", Status.NO_SUCH_FILE);
      await uploader.glob(local, remote);
    } else {
      const isTree = found.kind === "directory", named = remote.endsWith("/");
      const there = isTree || named ? undefined : await lookUp(client, remote);
      const into = !isTree && (named || there?.isDirectory);
      const to = into ? joinPath(remote, splitLocal(local).base) : remote;
      const identity = await localRealPath(local);
      await uploader.entry({ local, remote: to, identity, isNew: there === null }, found, []);
    }
  } catch (error) {
    run.failed(failure(local, error));
  }
  await run.settle();
  await uploader.finishDirectories();
  return run.summary();
}

/** What is at a path there, or null. */
async function lookUp(client: SftpClient, path: string): Promise<SftpFileInfo | null> {
  return await client.stat(path).catch((error) => {
    if (error instanceof SftpError && error.status === Status.NO_SUCH_FILE) return null;
    throw error;
  });
}

const localTree = {
  list: async (path: string) => {
    if ((await localStat(path, true))?.kind !== "directory") return [];
    return await Array.fromAsync(listLocal(path), ({ name, kind }) => ({ name, isDirectory: kind === "directory" }));
  },
  exists: async (path: string) => await localStat(path, false) !== null,
};

/** One thing to copy. */
interface Item {
  /** Where it is. */
  readonly local: string;
  /** Where it goes. */
  readonly remote: string;
  /** Its canonical local path, which says that it is the same one in a later run. */
  readonly identity: string;
  /** Whether it replaces nothing, as far as is known: its directory was just made. */
  readonly isNew: boolean;
}

function refused(local: string, why: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(`Cannot upload ${quoted(local)}: ${why}`, status, local);
}

function failure(local: string, error: unknown): unknown {
  return localFailure(error, `upload ${quoted(local)}`, local);
}

function isUnsupported(error: unknown): boolean {
  return error instanceof SftpError && error.status === Status.OP_UNSUPPORTED;
}

class Uploader {
  readonly #client: SftpClient;
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  /** Directories whose times and modes are set when nothing is written to them any more, inner ones last. */
  readonly #directories: { path: string; info: LocalInfo }[] = [];

  constructor(client: SftpClient, session: SftpSession, run: TransferRun) {
    this.#client = client;
    this.#session = session;
    this.#run = run;
  }

  /** Copies what a glob finds into a directory, which is made when there is something to put there. */
  async glob(pattern: string, remote: string): Promise<void> {
    const taken = new Map<string, string>();
    let isNew: boolean | null = null;
    for await (const local of expandGlob(localTree, pattern)) {
      isNew ??= await this.#makeDirectory(remote);
      try {
        const name = splitLocal(local).base, other = taken.get(name);
        if (other !== undefined) throw refused(local, `${quoted(other)} goes to the same place`);
        taken.set(name, local);
        const info = await localStat(local, true);
        if (info === null) throw refused(local, "its target is missing", Status.NO_SUCH_FILE);
        const identity = await localRealPath(local);
        await this.entry({ local, remote: joinPath(remote, name), identity, isNew }, info, []);
      } catch (error) {
        this.#run.check();
        this.#run.failed(failure(local, error));
      }
    }
    if (isNew === null) {
      throw refused(pattern, "no such file here, and nothing that matches it as a glob", Status.NO_SUCH_FILE);
    }
  }

  /** Copies one thing, whatever it is; a file's copy goes on after this returns. `above` are the directories it lies in. */
  async entry(item: Item, info: LocalInfo, above: readonly string[]): Promise<void> {
    const { local } = item, { recursive, links = "copy" } = this.#run.options;
    switch (info.kind) {
      case "link": {
        if (links === "skip") return;
        if (links === "copy") return await this.#run.start(() => this.#link(item));
        const target = await localStat(local, true);
        if (target === null) throw refused(local, "its target is missing", Status.NO_SUCH_FILE);
        return await this.entry({ ...item, identity: await localRealPath(local) }, target, above);
      }
      case "directory":
        if (!recursive) throw refused(local, "it is a directory; use `recursive: true`");
        if (above.includes(item.identity)) throw refused(local, "a link leads back to a directory it lies in");
        if (above.length >= MAX_DEPTH) throw refused(local, `more than ${MAX_DEPTH} directories deep`);
        return await this.#directory(item, info, [...above, item.identity]);
      case "other":
        throw refused(local, "it is neither file, directory nor link");
      case "file":
        await this.#run.start(() => this.#file(item));
    }
  }

  async #directory(item: Item, info: LocalInfo, above: readonly string[]): Promise<void> {
    // While it is being filled, the directory is the user's own to write to.
    const isNew = await this.#makeDirectory(item.remote, (info.mode ?? 0o755) | 0o700);
    if (this.#run.options.preserve) this.#directories.push({ path: item.remote, info });
    for await (const { name, kind } of listLocal(item.local)) {
      this.#run.check();
      const inner: Item = {
        local: joinPath(item.local, name),
        remote: joinPath(item.remote, name),
        identity: joinPath(item.identity, name),
        isNew,
      };
      try {
        // A file is looked at when it is open.
        const found = kind === "file" ? someFile : await localStat(inner.local, false);
        if (found !== null) await this.entry(inner, found, above);
      } catch (error) {
        this.#run.check();
        this.#run.failed(failure(inner.local, error));
      }
    }
  }

  /** Makes a directory and its parents; false where there is one already. */
  async #makeDirectory(path: string, mode?: number): Promise<boolean> {
    const options = mode === undefined ? {} : { mode };
    try {
      await this.#client.mkdir(path, options);
    } catch (error) {
      this.#run.check(path);
      if ((await this.#client.stat(path).catch(() => null))?.isDirectory) return false;
      if (!(error instanceof SftpError)) throw error;
      await this.#client.mkdir(path, { ...options, recursive: true });
    }
    return true;
  }

  /** Sets what `preserve` keeps of directories. */
  async finishDirectories(): Promise<void> {
    for (const { path, info } of this.#directories.reverse()) {
      if (this.#session.ended !== null || this.#run.options.signal?.aborted) return;
      await this.#client.setStat(path, {
        ...(info.mode === null ? {} : { mode: info.mode }),
        atime: info.atime,
        mtime: info.mtime,
      }).catch((error) => this.#run.failed(error));
    }
  }

  async #link({ local, remote }: Item): Promise<void> {
    try {
      const target = await localLink(local);
      try {
        await this.#client.symlink(target, remote);
      } catch (error) {
        const there = await this.#client.readLink(remote).catch(() => null);
        if (there === null) throw error;
        if (there === target) return;
        await this.#client.remove(remote);
        await this.#client.symlink(target, remote);
      }
      this.#run.finished();
    } catch (error) {
      throw failure(local, error);
    }
  }

  async #file(item: Item): Promise<void> {
    try {
      using source = await openLocal(item.local);
      const info = source.stat();
      if (info.kind !== "file") throw refused(item.local, "it changed meanwhile");
      await this.#run.hold(info.size);
      try {
        await this.#copy(source, item, info);
      } finally {
        this.#run.letGo(info.size);
      }
    } catch (error) {
      throw failure(item.local, error);
    }
  }

  async #copy(source: LocalFile, item: Item, info: LocalInfo): Promise<void> {
    const { local, remote, identity } = item, { inPlace, resume, signal } = this.#run.options;
    const base = remote.slice(remote.lastIndexOf("/") + 1);
    const path = inPlace ? remote : joinPath(dirName(remote), partName(base, identity, info.size, info.mtime));
    if (resume && isWhole(await this.#fileAt(remote), info)) {
      this.#run.report(local, info.size, info.size);
      return;
    }
    // Behind the last byte that was written there may be gaps, as wide as what was under way: less is not worth a look.
    let begun = resume && info.size > LAST_WINDOW ? await this.#fileAt(path) : null;
    if (begun !== null && (begun.size <= LAST_WINDOW || begun.size > info.size)) begun = null;
    try {
      await this.#write(source, item, path, info, begun);
      // All may have been under way when the first answer came, and the listener threw.
      this.#run.check(local);
      if (!inPlace) await this.#moveIntoPlace(path, remote);
    } catch (error) {
      // What a server refused is of no use; what was cut can go on.
      const cut = this.#session.ended !== null || signal?.aborted;
      if (!inPlace && !cut) await this.#remove(path).catch(() => {});
      throw error;
    }
    this.#run.finished();
  }

  /** Writes what `begun` lacks to `path`, and closes it. Errors name the path that the file is to have. */
  async #write(
    source: LocalFile,
    { local, remote, isNew }: Item,
    path: string,
    info: LocalInfo,
    begun: SftpFileInfo | null,
  ): Promise<void> {
    const session = this.#session, requests = this.#run.requests, { inPlace, preserve, signal } = this.#run.options;
    const offset = begun === null ? 0 : begun.size - LAST_WINDOW;
    // Asked for together with OPEN: it costs no time.
    const replacing = inPlace || preserve || isNew ? null : this.#fileAt(remote);
    const handle = await this.#open(path, remote, info, begun);
    let closing: Promise<void> | undefined, byPath: SftpAttributes | null = null;
    let done = offset;
    // A server may tell a size of 0 for what has none, as /proc does.
    const total = info.size > 0 ? info.size : null;
    const pipeline = new WritePipeline(session, handle, remote, {
      offset,
      ...(requests === undefined ? {} : { concurrency: requests }),
      onWritten: (bytes) => {
        done += bytes;
        this.#run.copied(bytes);
        this.#run.report(local, done, total);
      },
    });
    const changing = { action: preserve ? "change attributes of" : "keep the mode of", path: remote };
    /** What the server cannot do by handle is left for when the file is closed. */
    const change = (attrs: SftpAttributes): Promise<void> => {
      const changed = session.status(Fsetstat, { handle, attrs }, changing).catch((error) => {
        if (isUnsupported(error)) byPath = attrs;
        // Some servers deny it, those of object stores among them: that matters where the file would be open to more than before.
        else if (preserve || session.ended !== null || ((info.mode ?? 0o777) & ~(attrs.mode ?? 0)) !== 0) throw error;
      });
      // It may fail before it is waited for.
      changed.catch(() => {});
      return changed;
    };
    const stop = (): void => pipeline.abandon(signal!.reason);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const mode = (await replacing)?.mode ?? (isLocked(begun) ? begun.mode : null);
      this.#run.check(local);
      // Before any of the contents, which the bits may have to keep from others.
      let changed = mode === null ? undefined : change({ mode: mode & 0o777 });
      this.#run.report(local, offset, total);
      if (offset > 0) await source.seek(offset);
      const buffer = new Uint8Array(total === null ? UNKNOWN_BLOCK : Math.min(BLOCK, total - offset));
      for (let left = total === null ? Infinity : total - offset; left > 0;) {
        const count = await source.read(left < buffer.length ? buffer.subarray(0, left) : buffer);
        this.#run.check(local);
        if (count === null) {
          if (total === null) break;
          throw refused(local, "it became shorter meanwhile");
        }
        await pipeline.write(buffer.subarray(0, count));
        left -= count;
      }
      // What comes after the last write does not wait for its answer; times last, as a write changes them.
      const written = pipeline.finish();
      if (preserve) {
        changed = change({ ...(info.mode === null ? {} : { mode: info.mode }), atime: info.atime, mtime: info.mtime });
      }
      closing = session.closeHandle(handle, remote);
      await all([written, changed, closing]);
    } catch (error) {
      pipeline.abandon(error);
      // Sent twice it would close what has the same handle by then.
      if (closing === undefined) session.dropHandle(handle, remote);
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    if (byPath === null) return;
    await session.status(Setstat, { path, attrs: byPath }, changing).catch((error) => {
      // A server without permission bits has none to keep.
      if (preserve || !isUnsupported(error)) throw error;
    });
  }

  async #open(path: string, remote: string, info: LocalInfo, begun: SftpFileInfo | null): Promise<Uint8Array> {
    const { inPlace, signal } = this.#run.options, purpose = { action: "create", path: remote };
    const attrs = info.mode === null ? {} : { mode: info.mode };
    const open = (flags: number): Promise<Uint8Array> =>
      this.#session.handle(Open, { path, flags: OpenFlag.WRITE | flags, attrs }, purpose, signal);
    if (inPlace) return await open(OpenFlag.CREAT | OpenFlag.TRUNC);
    if (begun !== null) {
      // The bits forbid its owner to write to it, and will again when it is open.
      if (isLocked(begun)) {
        await this.#session.status(Setstat, { path, attrs: { mode: (begun.mode | 0o200) & 0o777 } }, purpose);
      }
      return await open(0);
    }
    const fresh = OpenFlag.CREAT | OpenFlag.EXCL | OpenFlag.TRUNC;
    try {
      return await open(fresh);
    } catch (error) {
      if (!(error instanceof SftpError)) throw error;
      // What an earlier copy left, or a link of that name, is removed and never written to.
      await this.#remove(path).catch(() => {
        throw error;
      });
      return await open(fresh);
    }
  }

  /** The regular file at a path there, or null where there is none to be seen. */
  async #fileAt(path: string): Promise<SftpFileInfo | null> {
    const there = await this.#client.lstat(path).catch(() => null);
    return there?.isFile ? there : null;
  }

  #remove(path: string): Promise<void> {
    return this.#session.status(Remove, { path }, { action: "remove", path });
  }

  async #moveIntoPlace(part: string, remote: string): Promise<void> {
    const canReplace = this.#session.extensions.has(Extension.posixRename);
    const rename = (): Promise<void> =>
      this.#session.status(canReplace ? PosixRename : Rename, { oldPath: part, newPath: remote }, {
        action: "replace",
        path: remote,
      });
    try {
      await rename();
    } catch (error) {
      if (canReplace || this.#session.ended !== null) throw error;
      // Without posix-rename a file of that name has to go first; a directory does not.
      await this.#remove(remote).catch(() => {
        throw error;
      });
      await rename();
    }
  }
}

/** Whether a file's own bits keep its owner from writing to it. */
function isLocked(file: SftpFileInfo | null): file is SftpFileInfo & { mode: number } {
  return file !== null && file.mode !== null && (file.mode & 0o200) === 0;
}

/** Whether what is there may be taken for a copy of the file. */
function isWhole(there: SftpFileInfo | null, info: LocalInfo): boolean {
  return there !== null && there.size === info.size && there.mtime !== null &&
    there.mtime.getTime() >= info.mtime * 1000;
}

const someFile: LocalInfo = { kind: "file", size: 0, mode: null, atime: 0, mtime: 0 };

/** Waits for all, then throws the first failure: nothing is left running. */
async function all(promises: readonly (Promise<void> | undefined)[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === "rejected") throw result.reason;
  }
}
