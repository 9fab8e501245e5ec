/**
 * Copies local files and trees to the server. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import { FileType, MAX_DEPTH, Status } from "../../files/limits.ts";
import { expandGlob, isGlob } from "../../files/glob.ts";
import {
  listLocal,
  type LocalInfo,
  localLink,
  localRealPath,
  localStat,
  openLocal,
  splitLocal,
} from "../../files/local_files.ts";
import { whatIsAt } from "../remote/look.ts";
import { joinPath, quoted } from "../../files/names.ts";
import { localRoots, localTally, localTree } from "../../files/local_tally.ts";
import { moveIntoPlace } from "../remote/replace.ts";
import { isMissing, refusalOf } from "../../files/refusals.ts";
import type { FurtherSessions } from "../remote/further_sessions.ts";
import type { SftpSession } from "../remote/session.ts";
import { type TransferOptions, TransferRun, withGrace, wouldReplace } from "./run.ts";
import type { TransferSummary } from "../../files/copied.ts";
import { failure, FileUpload, type Item, partPaths, refused } from "./upload_file.ts";

/** Copies a local file, a tree, or what a glob finds. */
export async function upload(
  client: RemoteFiles,
  session: SftpSession,
  further: FurtherSessions,
  local: string,
  remote: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  return await withGrace(copy(client, session, further, local, remote, options), options.signal);
}

async function copy(
  client: RemoteFiles,
  session: SftpSession,
  further: FurtherSessions,
  local: string,
  remote: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(session, further, options, local);
  run.check();
  const uploader = new Uploader(client, session, run);
  try {
    const found = await localStat(local, true);
    if (found === null) {
      if (!isGlob(local)) throw refused(local, "no such file here", Status.NO_SUCH_FILE);
      run.measure(localTally, localRoots(local, run.exclusion));
      await uploader.glob(local, remote);
    } else {
      const isTree = found.kind === "directory", named = remote.endsWith("/");
      const there = isTree || named ? undefined : await lookUp(client, session, remote);
      const into = !isTree && (named || there?.isDirectory);
      if (isIrregular(there) && !options.inPlace) throw refused(local, wouldReplace(remote, "there"));
      const to = into ? joinPath(remote, splitLocal(local).base) : remote;
      const identity = await localRealPath(local);
      run.check();
      const place = { within: run.exclusion, name: null };
      run.measure(localTally, [{ path: local, info: found, ...place }]);
      await uploader.entry({ local, remote: to, identity, isNew: there === null, ...place }, found, []);
    }
  } catch (error) {
    run.failed(failure(local, error));
  }
  await run.settle();
  await uploader.finishDirectories();
  return run.summary();
}

/** What is at a path there, null for nothing, or undefined where the server does not say: it may let a file be written all the same. */
async function lookUp(
  client: RemoteFiles,
  session: SftpSession,
  path: string,
): Promise<SftpFileInfo | null | undefined> {
  return await client.stat(path).catch((error) => {
    if (session.ended !== null || !(error instanceof SftpError)) throw error;
    return isMissing(error) ? null : undefined;
  });
}

/** Whether it is known to be a device, a pipe or a socket. */
function isIrregular(there: SftpFileInfo | null | undefined): boolean {
  return !!there && !there.isFile && !there.isDirectory && ((there.mode ?? 0) & FileType.MASK) !== 0;
}

class Uploader {
  readonly #client: RemoteFiles;
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  /** Directories whose times and modes are set when nothing is written to them any more, inner ones last. */
  readonly #directories: { path: string; info: LocalInfo }[] = [];

  constructor(client: RemoteFiles, session: SftpSession, run: TransferRun) {
    this.#client = client;
    this.#session = session;
    this.#run = run;
  }

  /** Copies what a glob finds into a directory, which is made when there is something to put there. */
  async glob(pattern: string, remote: string): Promise<void> {
    const taken = new Map<string, string>(), within = this.#run.exclusion;
    let isNew: boolean | null = null, isAny = false;
    for await (const local of expandGlob(localTree, pattern)) {
      isAny = true;
      const name = splitLocal(local).base;
      if (within.excludes(name, false)) continue;
      isNew ??= await this.#makeDirectory(remote);
      try {
        const other = taken.get(name);
        if (other !== undefined) throw refused(local, `${quoted(other)} goes to the same place`);
        taken.set(name, local);
        const info = await localStat(local, true);
        if (info === null) throw refused(local, "its target is missing", Status.NO_SUCH_FILE);
        const identity = await localRealPath(local);
        await this.entry({ local, remote: joinPath(remote, name), identity, isNew, within, name }, info, []);
      } catch (error) {
        this.#run.check();
        this.#run.failed(failure(local, error));
      }
    }
    if (!isAny) {
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
        if (item.within.excludes(item.name, true)) return;
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
    const within = item.within.enter(item.name);
    for await (const { name, kind } of listLocal(item.local)) {
      this.#run.check();
      if (within.excludes(name, false)) continue;
      const inner: Item = {
        local: joinPath(item.local, name),
        remote: joinPath(item.remote, name),
        identity: joinPath(item.identity, name),
        isNew,
        within,
        name,
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
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      const there = await whatIsAt(this.#session, path);
      if (there === "directory" || refusal === "exists" && there !== "other") return false;
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
      }).catch((error) => this.#run.warn(error));
    }
  }

  async #link({ local, remote, identity }: Item): Promise<void> {
    try {
      const target = await localLink(local);
      try {
        await this.#client.symlink(target, remote);
      } catch (error) {
        const there = await this.#client.readLink(remote).catch(() => null);
        if (there === null) throw error;
        if (there === target) return this.#run.wasThere();
        this.#run.check();
        await this.#replaceLink(target, remote, identity, error);
      }
      this.#run.finished();
    } catch (error) {
      throw failure(local, error);
    }
  }

  /** The link that is there goes only when the new one is. */
  async #replaceLink(target: string, path: string, identity: string, error: unknown): Promise<void> {
    const { part, aside } = partPaths(path, identity, 0, 0);
    await this.#client.symlink(target, part).catch(async () => {
      // What an earlier copy left.
      if (await this.#client.readLink(part).catch(() => null) !== target) throw error;
    });
    this.#run.check();
    const onWarning = (left: SftpError): void => this.#run.warn(left);
    await moveIntoPlace(this.#session, { part, path, aside, what: "link", onWarning });
  }

  async #file(item: Item): Promise<void> {
    try {
      using source = await openLocal(item.local);
      const info = source.stat();
      if (info.kind !== "file") throw refused(item.local, "it changed meanwhile");
      await this.#run.hold(info.size);
      try {
        await new FileUpload(this.#session, this.#run, source, item, info).run();
      } finally {
        this.#run.letGo(info.size);
      }
    } catch (error) {
      throw failure(item.local, error);
    }
  }
}

const someFile: LocalInfo = { kind: "file", size: 0, mode: null, atime: 0, mtime: 0 };
