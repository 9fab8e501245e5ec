/**
 * Copies files and trees to the server, from here or from another one. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { CopySource, SourceInfo } from "../../files/copy_source.ts";
import { whatIsAt } from "../remote/look.ts";
import { moveIntoPlace } from "../remote/replace.ts";
import { isMissing, refusalOf } from "../../files/refusals.ts";
import type { FurtherSessions } from "../remote/further_sessions.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import type { SftpSession } from "../remote/session.ts";
import { type TransferOptions, TransferRun, withGrace } from "./run.ts";
import type { TransferSummary } from "../../files/copied.ts";
import { failure, kept, refused } from "./handle_write.ts";
import { FileUpload, partPaths } from "./upload_file.ts";
import { tallyInfo } from "./remote_source.ts";
import { type CopyTarget, copyTree, entryName, type Item } from "./walk.ts";

/** A server that a copy goes to. */
export interface UploadTarget {
  /** The same object for all sessions with it that are known to be, */
  readonly server: object;
  /** the files there, */
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
  return await withGrace(copyTree(source, new RemoteTarget(target, source, run), run, path, remote), options.signal);
}

/** Files of a server that are written. */
class RemoteTarget implements CopyTarget {
  readonly where = "there";
  readonly #server: object;
  readonly #client: RemoteFiles;
  readonly #session: SftpSession;
  readonly #source: CopySource;
  readonly #run: TransferRun;

  constructor({ server, client, session }: UploadTarget, source: CopySource, run: TransferRun) {
    this.#server = server;
    this.#client = client;
    this.#session = session;
    this.#source = source;
    this.#run = run;
  }

  refused(path: string, why: string, status?: number): SftpError {
    return refused(this.#source, path, why, status);
  }

  failure({ path }: Pick<Item, "path">, error: unknown): unknown {
    return failure(this.#source, path, error);
  }

  spell(name: string, path: string): string {
    return entryName(this, name, path);
  }

  /** A server that does not say it may let a file be written all the same. */
  async kindAt(path: string): Promise<SourceInfo["kind"] | null | undefined> {
    try {
      return tallyInfo(await this.#client.stat(path)).kind;
    } catch (error) {
      if (this.#session.ended !== null || !(error instanceof SftpError)) throw error;
      return isMissing(error) ? null : undefined;
    }
  }

  async makeDirectory({ to }: Pick<Item, "to">, info: SourceInfo | null): Promise<boolean> {
    // While it is being filled, the directory is the user's own to write to.
    const options = info === null ? {} : { mode: (info.mode ?? 0o755) | 0o700 };
    try {
      await this.#client.mkdir(to, options);
    } catch (error) {
      this.#run.check(to);
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      const there = await whatIsAt(this.#session, to);
      if (there === "directory" || refusal === "exists" && there !== "other") return false;
      await this.#client.mkdir(to, { ...options, recursive: true });
    }
    return true;
  }

  async file(item: Item): Promise<void> {
    using file = await this.#source.open(item.path, this.#run.requests);
    const info = file.stat();
    if (info.kind !== "file") throw this.refused(item.path, "it changed meanwhile");
    await this.#run.hold(info.size);
    try {
      const copy = {
        server: this.#server,
        session: this.#session,
        run: this.#run,
        source: this.#source,
        file,
        item,
        info,
      };
      await new FileUpload(copy).run();
    } finally {
      this.#run.letGo(info.size);
    }
  }

  async keep(path: string, info: SourceInfo): Promise<void> {
    await this.#client.setStat(path, kept(info));
  }

  takesLink(target: string): boolean {
    return !target.startsWith("/");
  }

  async link({ to, identity }: Item, target: string): Promise<void> {
    try {
      await this.#client.symlink(target, to);
    } catch (error) {
      const there = await this.#client.readLink(to).catch(() => null);
      if (there === null) throw error;
      if (there === target) return this.#run.wasThere();
      this.#run.check();
      await this.#replaceLink(target, to, identity, error);
    }
    this.#run.finished();
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
}
