/**
 * L5. Copies local files and trees to the server. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
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
import { Fsetstat, Open } from "./messages.ts";
import { dirName, joinPath, quoted } from "./names.ts";
import type { SftpSession } from "./requests.ts";
import { partName, type TransferOptions, TransferRun, type TransferSummary, withGrace } from "./transfer.ts";
import { WritePipeline } from "./write_pipeline.ts";

/** Read from a local file at once. */
const BLOCK = 1_048_576;

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
    if (found === null && isGlob(local)) {
      const directory = await isRemoteDirectory(client, remote);
      if (!directory) await client.mkdir(remote, { recursive: true });
      for await (const path of expandGlob(localTree, local)) {
        const info = await localStat(path, true);
        if (info !== null) {
          await uploader.entry(
            { local: path, remote: joinPath(remote, splitLocal(path).base), identity: await localRealPath(path) },
            info,
            [],
          );
        }
      }
    } else if (found === null) {
      throw refused(local, "no such file here", Status.NO_SUCH_FILE);
    } else {
      const into = found.kind !== "directory" && (remote.endsWith("/") || await isRemoteDirectory(client, remote));
      const to = into ? joinPath(remote, splitLocal(local).base) : remote;
      await uploader.entry({ local, remote: to, identity: await localRealPath(local) }, found, []);
    }
  } catch (error) {
    run.failed(error);
  }
  await run.settle();
  await uploader.finishDirectories();
  return run.summary();
}

async function isRemoteDirectory(client: SftpClient, path: string): Promise<boolean> {
  return await client.stat(path).then((info) => info.isDirectory, (error) => {
    if (error instanceof SftpError && error.status === Status.NO_SUCH_FILE) return false;
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
}

function refused(local: string, why: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(`Cannot upload ${quoted(local)}: ${why}`, status, local);
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
    const mode = (info.mode ?? 0o755) | 0o700;
    await this.#client.mkdir(item.remote, { mode, recursive: true });
    if (this.#run.options.preserve) this.#directories.push({ path: item.remote, info });
    for await (const { name, kind } of listLocal(item.local)) {
      this.#run.check();
      const inner: Item = {
        local: joinPath(item.local, name),
        remote: joinPath(item.remote, name),
        identity: joinPath(item.identity, name),
      };
      try {
        // A file is looked at when it is open.
        const found = kind === "file" ? someFile : await localStat(inner.local, false);
        if (found !== null) await this.entry(inner, found, above);
      } catch (error) {
        this.#run.check();
        this.#run.failed(error);
      }
    }
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
  }

  async #file({ local, remote, identity }: Item): Promise<void> {
    using source = await openLocal(local);
    const info = source.stat(), { options } = this.#run;
    if (info.kind !== "file") throw refused(local, "it changed meanwhile");
    await this.#run.hold(info.size);
    try {
      const base = remote.slice(remote.lastIndexOf("/") + 1);
      const path = options.inPlace
        ? remote
        : joinPath(dirName(remote), partName(base, identity, info.size, info.mtime));
      let offset = 0;
      if (options.resume) {
        if (await this.#isWhole(remote, info)) {
          this.#run.report(local, info.size, info.size);
          return;
        }
        // Behind the last byte that was written there may be gaps, as wide as what was under way.
        offset = Math.max(0, Math.min(await this.#sizeOf(path), info.size) - LAST_WINDOW);
      }
      this.#run.report(local, offset, info.size);
      try {
        await this.#write(source, local, path, info, offset);
        // All may have been under way when the first answer came, and the listener threw.
        this.#run.check(local);
      } catch (error) {
        // What a server refused is of no use; what was cut can go on.
        const cut = this.#session.ended !== null || options.signal?.aborted;
        if (!options.inPlace && !cut) await this.#client.remove(path).catch(() => {});
        throw error;
      }
      if (path !== remote) await this.#moveIntoPlace(path, remote);
      this.#run.finished();
    } finally {
      this.#run.letGo(info.size);
    }
  }

  async #write(source: LocalFile, local: string, path: string, info: LocalInfo, offset: number): Promise<void> {
    const session = this.#session, { preserve, signal } = this.#run.options;
    const flags = OpenFlag.WRITE | OpenFlag.CREAT | (offset === 0 ? OpenFlag.TRUNC : 0);
    const attrs = info.mode === null ? {} : { mode: info.mode };
    const handle = await session.handle(Open, { path, flags, attrs }, { action: "create", path }, signal);
    let done = offset;
    const requests = this.#run.requests;
    const pipeline = new WritePipeline(session, handle, path, {
      offset,
      ...(requests === undefined ? {} : { concurrency: requests }),
      onWritten: (bytes) => {
        done += bytes;
        this.#run.copied(bytes);
        this.#run.report(local, done, info.size);
      },
    });
    const stop = (): void => pipeline.abandon(signal!.reason);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      if (offset > 0) await source.seek(offset);
      const buffer = new Uint8Array(Math.min(BLOCK, info.size - offset));
      for (let left = info.size - offset; left > 0;) {
        const count = await source.read(left < buffer.length ? buffer.subarray(0, left) : buffer);
        this.#run.check(local);
        if (count === null) {
          throw refused(local, "it became shorter meanwhile");
        }
        await pipeline.write(buffer.subarray(0, count));
        left -= count;
      }
      // CLOSE and the attributes follow the last write without waiting for its answer.
      const kept = preserve
        ? session.status(
          Fsetstat,
          { handle, attrs: { ...attrs, atime: info.atime, mtime: info.mtime } },
          { action: "change attributes of", path },
        )
        : undefined;
      const written = pipeline.finish();
      // A file that was longer before must not keep its tail.
      const cut = offset > 0
        ? session.status(Fsetstat, { handle, attrs: { size: info.size } }, { action: "truncate", path })
        : undefined;
      await all([written, kept, cut, session.closeHandle(handle, path)]);
    } catch (error) {
      pipeline.abandon(error);
      session.dropHandle(handle, path);
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  async #isWhole(remote: string, info: LocalInfo): Promise<boolean> {
    const there = await this.#client.lstat(remote).catch(() => null);
    return there !== null && there.isFile && there.size === info.size && there.mtime !== null &&
      there.mtime.getTime() >= info.mtime * 1000;
  }

  async #sizeOf(remote: string): Promise<number> {
    const there = await this.#client.lstat(remote).catch(() => null);
    return there?.isFile ? there.size : 0;
  }

  async #moveIntoPlace(part: string, remote: string): Promise<void> {
    try {
      await this.#client.rename(part, remote);
    } catch (error) {
      if (this.#session.extensions.has(Extension.posixRename) || this.#session.ended !== null) throw error;
      // Without posix-rename a file of that name has to go first.
      await this.#client.remove(remote).catch(() => {
        throw error;
      });
      await this.#client.rename(part, remote);
    }
  }
}

const someFile: LocalInfo = { kind: "file", size: 0, mode: null, atime: 0, mtime: 0 };

/** Waits for all, then throws the first failure: nothing is left running. */
async function all(promises: readonly (Promise<void> | undefined)[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === "rejected") throw result.reason;
  }
}
