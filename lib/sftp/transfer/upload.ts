/**
 * Copies files and trees to the server, from here or from another one. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import type { CopySource, SourceInfo } from "../../files/copy_source.ts";
import { MAX_DEPTH, Status } from "../../files/limits.ts";
import { expandGlob, isGlob } from "../../files/glob.ts";
import { whatIsAt } from "../remote/look.ts";
import { isContainedTarget, isEntryName, joinPath, quoted } from "../../files/names.ts";
import { moveIntoPlace } from "../remote/replace.ts";
import { isMissing, refusalOf } from "../../files/refusals.ts";
import type { FurtherSessions } from "../remote/further_sessions.ts";
import type { SftpSession } from "../remote/session.ts";
import { type TransferOptions, TransferRun, withGrace } from "./run.ts";
import type { TransferSummary } from "../../files/copied.ts";
import { failure, FileUpload, type Item, kept, partPaths, refused } from "./upload_file.ts";

/** Where a copy goes. */
export interface UploadTarget {
  /** The files there, */
  readonly client: RemoteFiles;
  /** their session, */
  readonly session: SftpSession;
  /** and those that may take part. */
  readonly further: FurtherSessions;
}

/** Copies a file, a tree, or what a glob finds; `from` is the session of a source that is another server's. */
export async function upload(
  target: UploadTarget,
  source: CopySource,
  from: SftpSession | null,
  path: string,
  remote: string,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(target.session, target.further, options, path, from);
  return await withGrace(copy(target, source, run, path, remote), options.signal);
}

async function copy(
  target: UploadTarget,
  source: CopySource,
  run: TransferRun,
  path: string,
  remote: string,
): Promise<TransferSummary> {
  run.check();
  const uploader = new Uploader(target, source, run);
  try {
    const found = await source.look(path, true);
    if (found === null) {
      if (!isGlob(path)) throw uploader.refused(path, `no such file ${uploader.where}`, Status.NO_SUCH_FILE);
      run.measure(source, source.roots(path, run.exclusion));
      await uploader.glob(path, remote);
    } else {
      const isTree = found.kind === "directory", named = remote.endsWith("/");
      const there = isTree || named ? undefined : await lookUp(target, remote);
      const into = !isTree && (named || there?.isDirectory);
      const to = into ? joinPath(remote, source.base(path)) : remote;
      const identity = await source.realPath(path);
      const place = { within: run.exclusion, name: null };
      run.measure(source, [{ path, info: found, ...place }]);
      await uploader.entry({ path, remote: to, identity, isNew: there === null, ...place }, found, []);
    }
  } catch (error) {
    run.failed(failure(source, path, error));
  }
  await run.settle();
  await uploader.finish();
  return run.summary();
}

/** What is at a path there, null for nothing, or undefined where the server does not say: it may let a file be written all the same. */
async function lookUp({ client, session }: UploadTarget, path: string): Promise<SftpFileInfo | null | undefined> {
  return await client.stat(path).catch((error) => {
    if (session.ended !== null || !(error instanceof SftpError)) throw error;
    return isMissing(error) ? null : undefined;
  });
}

class Uploader {
  readonly #client: RemoteFiles;
  readonly #session: SftpSession;
  readonly #source: CopySource;
  readonly #run: TransferRun;
  /** Directories whose times and modes are set when nothing is written to them any more, inner ones last. */
  readonly #directories: { path: string; info: SourceInfo }[] = [];
  /** Links of another's to make when no file is written any more: nothing is written through one. */
  readonly #links: { item: Item; depth: number }[] = [];
  /** Where the source is, for errors. */
  readonly where: string;

  constructor({ client, session }: UploadTarget, source: CopySource, run: TransferRun) {
    this.#client = client;
    this.#session = session;
    this.#source = source;
    this.#run = run;
    this.where = source.isForeign ? "there" : "here";
  }

  /** What there is against copying something. */
  refused(path: string, why: string, status?: number): SftpError {
    return refused(this.#source, path, why, status);
  }

  /** Copies what a glob finds into a directory, which is made when there is something to put there. */
  async glob(pattern: string, remote: string): Promise<void> {
    const taken = new Map<string, string>(), within = this.#run.exclusion, source = this.#source;
    let isNew: boolean | null = null, isAny = false;
    for await (const path of expandGlob(source.globs, pattern)) {
      isAny = true;
      const name = source.base(path);
      if (within.excludes(name, false)) continue;
      isNew ??= await this.#makeDirectory(remote);
      try {
        const other = taken.get(name);
        if (other !== undefined) throw this.refused(path, `${quoted(other)} goes to the same place`);
        taken.set(name, path);
        const info = await this.#target(path), identity = await source.realPath(path);
        await this.entry({ path, remote: joinPath(remote, name), identity, isNew, within, name }, info, []);
      } catch (error) {
        this.#run.check();
        this.#run.failed(failure(source, path, error));
      }
    }
    if (isAny) return;
    const why = `no such file ${this.where}, and nothing that matches it as a glob`;
    throw this.refused(pattern, why, Status.NO_SUCH_FILE);
  }

  /** What a path leads to. */
  async #target(path: string): Promise<SourceInfo> {
    const info = await this.#source.look(path, true);
    if (info === null) throw this.refused(path, "its target is missing", Status.NO_SUCH_FILE);
    return info;
  }

  /** Copies one thing, whatever it is; a file's copy goes on after this returns. `above` are the directories it lies in. */
  async entry(item: Item, info: SourceInfo, above: readonly string[]): Promise<void> {
    const { path } = item, { recursive, links = "copy" } = this.#run.options;
    switch (info.kind) {
      case "link": {
        if (links === "skip") return;
        if (links === "copy" && this.#source.isForeign) {
          this.#links.push({ item, depth: above.length - 1 });
          return;
        }
        if (links === "copy") return await this.#run.start(() => this.#link(item));
        const target = await this.#target(path);
        return await this.entry({ ...item, identity: await this.#source.realPath(path) }, target, above);
      }
      case "directory":
        if (item.within.excludes(item.name, true)) return;
        if (!recursive) throw this.refused(path, "it is a directory; use `recursive: true`");
        if (above.includes(item.identity)) throw this.refused(path, "a link leads back to a directory it lies in");
        if (above.length >= MAX_DEPTH) throw this.refused(path, `more than ${MAX_DEPTH} directories deep`);
        return await this.#directory(item, info, [...above, item.identity]);
      case "other":
        throw this.refused(path, "it is neither file, directory nor link");
      case "file":
        await this.#run.start(() => this.#file(item));
    }
  }

  async #directory(item: Item, info: SourceInfo, above: readonly string[]): Promise<void> {
    // While it is being filled, the directory is the user's own to write to.
    const isNew = await this.#makeDirectory(item.remote, (info.mode ?? 0o755) | 0o700);
    if (this.#run.options.preserve) this.#directories.push({ path: item.remote, info });
    const within = item.within.enter(item.name), seen = new Set<string>();
    for await (const entries of this.#source.list(item.path)) {
      for (const { name, kind } of entries) {
        this.#run.check();
        // What is no name of an entry is refused, and never just left out.
        if (isEntryName(name) && within.excludes(name, false)) continue;
        const path = joinPath(item.path, name), remote = joinPath(item.remote, name);
        const inner: Item = { path, remote, identity: joinPath(item.identity, name), isNew, within, name };
        try {
          if (!isEntryName(name) || seen.has(name)) throw this.refused(path, namelessOr(name), Status.BAD_MESSAGE);
          seen.add(name);
          // A file is looked at when it is open.
          const found = kind === "file" ? someFile : await this.#source.look(path, false);
          if (found !== null) await this.entry(inner, found, above);
        } catch (error) {
          this.#run.check();
          this.#run.failed(failure(this.#source, path, error));
        }
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

  /** Makes another's links, then sets what `preserve` keeps of directories. */
  async finish(): Promise<void> {
    const isOver = (): boolean => this.#run.lost !== null || this.#run.options.signal?.aborted === true;
    for (const { item, depth } of this.#links) {
      if (isOver()) return;
      await this.#link(item, depth).catch((error) => this.#run.failed(error));
    }
    for (const { path, info } of this.#directories.reverse()) {
      if (isOver()) return;
      await this.#client.setStat(path, kept(info)).catch((error) => this.#run.warn(error));
    }
  }

  async #link({ path, remote, identity }: Item, depth: number | null = null): Promise<void> {
    try {
      const target = await this.#source.readLink(path);
      if (depth !== null && (target.startsWith("/") || !isContainedTarget(target, depth))) {
        const why = `the link leads out of the tree, to ${quoted(target)}; \`links\` can be "follow" or "skip"`;
        throw this.refused(path, why);
      }
      try {
        await this.#client.symlink(target, remote);
      } catch (error) {
        const there = await this.#client.readLink(remote).catch(() => null);
        if (there === null) throw error;
        if (there === target) return this.#run.wasThere();
        await this.#replaceLink(target, remote, identity, error);
      }
      this.#run.finished();
    } catch (error) {
      throw failure(this.#source, path, error);
    }
  }

  /** The link that is there goes only when the new one is. */
  async #replaceLink(target: string, path: string, identity: string, error: unknown): Promise<void> {
    const { part, aside } = partPaths(path, identity, 0, 0);
    await this.#client.symlink(target, part).catch(async () => {
      // What an earlier copy left.
      if (await this.#client.readLink(part).catch(() => null) !== target) throw error;
    });
    const onWarning = (left: SftpError): void => this.#run.warn(left);
    await moveIntoPlace(this.#session, { part, path, aside, what: "link", onWarning });
  }

  async #file(item: Item): Promise<void> {
    try {
      using file = await this.#source.open(item.path);
      const info = file.stat();
      if (info.kind !== "file") throw this.refused(item.path, "it changed meanwhile");
      await this.#run.hold(info.size);
      try {
        await new FileUpload(this.#session, this.#run, this.#source, file, item, info).run();
      } finally {
        this.#run.letGo(info.size);
      }
    } catch (error) {
      throw failure(this.#source, item.path, error);
    }
  }
}

const someFile: SourceInfo = { kind: "file", size: 0, mode: null, atime: null, mtime: null };

/** What there is against the name of an entry. */
function namelessOr(name: string): string {
  return isEntryName(name) ? "the server names it twice" : `the server names ${quoted(name)} in a directory`;
}
