/**
 * L5. Copies remote files and trees here. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.7.
 *
 * The server is not trusted with names: an entry whose name is more than one component is refused, links are made last and
 * only where they stay in the tree, and nothing is written through a link that is here already.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import type { SftpFileInfo } from "./attrs.ts";
import type { SftpClient } from "./client.ts";
import { MAX_DEPTH, OpenFlag, Status } from "./constants.ts";
import { isGlob } from "./glob.ts";
import { listDirectory } from "./listing.ts";
import {
  continueLocal,
  createLocal,
  isForeignTarget,
  type LocalFile,
  localMode,
  localStat,
  localTimes,
  makeLocalDirectory,
  makeLocalLink,
  openLocalInPlace,
  removeLocal,
  renameLocal,
  splitLocal,
  writeLocal,
} from "./local_files.ts";
import { Open } from "./messages.ts";
import { baseName, encodeName, isContainedTarget, isSafeEntryName, joinPath, quoted } from "./names.ts";
import { ReadPipeline } from "./read_pipeline.ts";
import type { SftpSession } from "./requests.ts";
import { partName, type TransferOptions, TransferRun, type TransferSummary, withGrace } from "./transfer.ts";

/** Most bytes of a file whose size the server gives as 0, as for those of /proc. */
const UNKNOWN_LIMIT = 1_073_741_824;

/** One thing to copy. */
interface Item {
  /** Where it is. */
  readonly remote: string;
  /** Where it goes. */
  readonly local: string;
  /** Its canonical remote path, which says that it is the same one in a later run. */
  readonly identity: string;
}

function refused(remote: string, why: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(`Cannot download ${quoted(remote)}: ${why}`, status, remote);
}

/** Copies a remote file, a tree, or what a glob finds. */
export async function download(
  client: SftpClient,
  session: SftpSession,
  remote: string,
  local: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  return await withGrace(copy(client, session, remote, local, options), options.signal);
}

async function copy(
  client: SftpClient,
  session: SftpSession,
  remote: string,
  local: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(session, options);
  run.check();
  const downloader = new Downloader(client, session, run);
  try {
    const found = await client.stat(remote).catch((error) => {
      if (isGlob(remote) && error instanceof SftpError && error.status === Status.NO_SUCH_FILE) return null;
      throw error;
    });
    if (found !== null) {
      const into = !found.isDirectory &&
        (local.endsWith("/") || (await localStat(local, true))?.kind === "directory");
      const to = into ? joinPath(local, localName(baseName(remote), remote)) : local;
      await downloader.entry({ remote, local: to, identity: await client.realPath(remote) }, found, []);
    } else {
      await makeLocalDirectory(local, true);
      for await (const path of client.glob(remote)) {
        try {
          const to = joinPath(local, localName(baseName(path), path));
          await downloader.entry({ remote: path, local: to, identity: path }, await client.stat(path), []);
        } catch (error) {
          run.check();
          run.failed(error);
        }
      }
    }
  } catch (error) {
    run.failed(error);
  }
  await run.settle();
  await downloader.finish();
  return run.summary();
}

/** A remote name as a local one: refused where it is no single name; bytes that are not UTF-8 become `%XX`. */
function localName(name: string, path: string): string {
  if (!isSafeEntryName(name)) {
    throw refused(path, `the server names ${quoted(name)}, which is no name of a file here`, Status.BAD_MESSAGE);
  }
  if (name.isWellFormed()) return name;
  return Array.from(name, (character) => {
    if (character.isWellFormed()) return character;
    return Array.from(encodeName(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  }).join("");
}

class Downloader {
  readonly #client: SftpClient;
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  /** Directories whose times and modes are set when nothing is written to them any more. */
  readonly #directories: { path: string; info: SftpFileInfo }[] = [];
  /** Links to make when no file is written any more. */
  readonly #links: { item: Item; depth: number }[] = [];

  constructor(client: SftpClient, session: SftpSession, run: TransferRun) {
    this.#client = client;
    this.#session = session;
    this.#run = run;
  }

  /** Copies one thing, whatever it is; a file's copy goes on after this returns. `above` are the directories it lies in. */
  async entry(item: Item, info: SftpFileInfo, above: readonly string[]): Promise<void> {
    const { remote } = item, { recursive, links = "copy" } = this.#run.options;
    if (info.isSymlink) {
      if (links === "copy") this.#links.push({ item, depth: above.length - 1 });
      if (links !== "follow") return;
      const identity = await this.#client.realPath(remote);
      return await this.entry({ ...item, identity }, await this.#client.stat(remote), above);
    }
    if (info.isDirectory) {
      if (!recursive) throw refused(remote, "it is a directory; use `recursive: true`");
      if (above.includes(item.identity)) throw refused(remote, "a link leads back to a directory it lies in");
      if (above.length >= MAX_DEPTH) throw refused(remote, `more than ${MAX_DEPTH} directories deep`);
      return await this.#directory(item, info, [...above, item.identity]);
    }
    if (!info.isFile && info.mode !== null) throw refused(remote, "it is neither file, directory nor link");
    await this.#run.start(() => this.#file(item, info));
  }

  async #directory(item: Item, info: SftpFileInfo, above: readonly string[]): Promise<void> {
    const top = above.length === 1;
    // Only the directory that the caller named may be a link; inside the tree a link could lead anywhere.
    const there = await localStat(item.local, top);
    if (there !== null && there.kind !== "directory") throw refused(item.remote, "something else of that name is here");
    if (there === null) await makeLocalDirectory(item.local, top);
    if (this.#run.options.preserve) this.#directories.push({ path: item.local, info });
    const seen = new Set<string>();
    for await (const { name, info } of listDirectory(this.#session, item.remote)) {
      this.#run.check();
      const remote = joinPath(item.remote, name);
      try {
        const own = localName(name, remote);
        if (seen.has(own)) throw refused(remote, "the server names it twice", Status.BAD_MESSAGE);
        seen.add(own);
        await this.entry(
          { remote, local: joinPath(item.local, own), identity: joinPath(item.identity, name) },
          info,
          above,
        );
      } catch (error) {
        this.#run.check();
        this.#run.failed(error);
      }
    }
  }

  /** Makes links, then sets what `preserve` keeps of directories. */
  async finish(): Promise<void> {
    const over = (): boolean => this.#session.ended !== null || this.#run.options.signal?.aborted === true;
    for (const { item, depth } of this.#links) {
      if (over()) return;
      await this.#link(item, depth).catch((error) => this.#run.failed(error));
    }
    for (const { path, info } of this.#directories.reverse()) {
      if (over()) return;
      await this.#keep(path, info).catch((error) => this.#run.failed(error));
    }
  }

  async #link({ remote, local }: Item, depth: number): Promise<void> {
    const target = await this.#client.readLink(remote);
    if (isForeignTarget(target) || !target.isWellFormed() || !isContainedTarget(target, depth)) {
      throw refused(
        remote,
        `the link leads out of the tree, to ${quoted(target)}; \`links\` can be "follow" or "skip"`,
      );
    }
    await makeLocalLink(target, local);
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
    } finally {
      this.#run.letGo(info.size);
    }
  }

  async #copy({ remote, local, identity }: Item, info: SftpFileInfo): Promise<void> {
    const { inPlace, resume, preserve, signal } = this.#run.options;
    if (resume && await isWhole(local, info)) {
      this.#run.report(remote, info.size, info.size);
      return;
    }
    const mode = info.mode === null ? null : info.mode & 0o777;
    const { directory, base } = splitLocal(local);
    const part = joinPath(directory, partName(base, identity, info.size, info.mtime?.getTime() ?? 0));
    const path = inPlace ? local : part;
    const handle = await this.#session.handle(
      Open,
      { path: remote, flags: OpenFlag.READ, attrs: {} },
      { action: "open", path: remote },
      signal,
    );
    try {
      if (!inPlace && !resume && info.size > 0 && info.size <= this.#session.maxRead) {
        await this.#small(handle, remote, path, info.size, mode);
      } else {
        using target = inPlace
          ? await openLocalInPlace(path, resume ?? false, mode)
          : await openPart(path, resume, mode);
        await this.#large(handle, remote, target, info.size, resume ?? false);
      }
    } catch (error) {
      const cut = this.#session.ended !== null || signal?.aborted;
      if (!inPlace && !cut) await removeLocal(path).catch(() => {});
      throw error;
    } finally {
      this.#session.dropHandle(handle, remote);
    }
    if (preserve) await this.#keep(path, info);
    if (!inPlace) await renameLocal(path, local);
    this.#run.finished();
  }

  /** A file of one request is written in one step. */
  async #small(handle: Uint8Array, remote: string, path: string, size: number, mode: number | null): Promise<void> {
    const { signal } = this.#run.options;
    this.#run.report(remote, 0, size);
    const data = new Uint8Array(size);
    const pipeline = new ReadPipeline(this.#session, handle, remote, { offset: 0, end: size, target: data });
    const got = await pipeline.next();
    signal?.throwIfAborted();
    if (got === null || got.length < size) throw shorter(remote, got?.length ?? 0, size);
    await writeLocal(path, data, mode);
    this.#run.copied(size);
    this.#run.report(remote, size, size);
  }

  /** Writes in order, so that what is there of a cut copy is the start of the file. */
  async #large(handle: Uint8Array, remote: string, target: LocalFile, size: number, resume: boolean): Promise<void> {
    const { signal } = this.#run.options;
    const offset = resume ? Math.min(target.stat().size, size) : 0, total = size > 0 ? size : null;
    if (offset > 0) await target.seek(offset);
    this.#run.report(remote, offset, total);
    const requests = this.#run.requests;
    const pipeline = new ReadPipeline(this.#session, handle, remote, {
      offset,
      end: size > 0 ? size : null,
      ...(requests === undefined ? {} : { concurrency: requests }),
    });
    const stop = (): void => pipeline.cancel();
    signal?.addEventListener("abort", stop, { once: true });
    let done = offset;
    try {
      for (let part = await pipeline.next(); part !== null; part = await pipeline.next()) {
        await target.write(part);
        done += part.length;
        this.#run.copied(part.length);
        pipeline.recycle(part);
        if (size === 0 && done > UNKNOWN_LIMIT) {
          throw refused(remote, "the server gives its size as 0 and sends over 1 GiB");
        }
        this.#run.report(remote, done, total);
        this.#run.check(remote);
      }
    } finally {
      pipeline.cancel();
      signal?.removeEventListener("abort", stop);
    }
    signal?.throwIfAborted();
    if (done < size) throw shorter(remote, done, size);
    // What a longer file left behind.
    if (resume) await target.truncate(done);
  }
}

function shorter(remote: string, done: number, size: number): SftpError {
  return refused(remote, `it ended after ${done} of ${size} bytes; it may have changed meanwhile`);
}

async function openPart(path: string, resume: boolean | undefined, mode: number | null): Promise<LocalFile> {
  return resume ? await continueLocal(path) ?? await createLocal(path, mode) : await createLocal(path, mode);
}

async function isWhole(local: string, info: SftpFileInfo): Promise<boolean> {
  const there = await localStat(local, false);
  return there?.kind === "file" && there.size === info.size && info.mtime !== null &&
    there.mtime >= Math.floor(info.mtime.getTime() / 1000);
}
