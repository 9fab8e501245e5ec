/**
 * Copies one file to the server, from here or from another one. draft-ietf-secsh-filexfer-02 sections 6.3 to 6.6.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { fileInfo } from "../wire/attrs.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import { OpenFlag } from "../wire/constants.ts";
import { LAST_WINDOW } from "../remote/flight_window.ts";
import type { SourceInfo } from "../../files/copy_source.ts";
import { Lstat, Open, Remove, Setstat } from "../wire/messages.ts";
import { dirName, joinPath, quoted } from "../../files/names.ts";
import { moveIntoPlace, noting } from "../remote/replace.ts";
import type { SftpSession } from "../remote/session.ts";
import { failure, type FileCopy, HandleWrite } from "./handle_write.ts";
import type { TransferRun } from "./run.ts";
import { partName, takePart } from "../../files/copied.ts";
import type { Item } from "./walk.ts";

/** Opens what is not there yet, and nothing that is: a link neither. */
const FRESH = OpenFlag.CREAT | OpenFlag.EXCL | OpenFlag.TRUNC;

/** The names beside `remote` of what is written, and of what is there already while that takes its place. */
export function partPaths(
  remote: string,
  identity: string,
  size: number,
  mtime: number | null,
  copy = 0,
): { readonly part: string; readonly aside: string } {
  const base = remote.slice(remote.lastIndexOf("/") + 1), directory = dirName(remote);
  const named = (ending: string): string =>
    joinPath(directory, partName(base, identity, size, mtime ?? 0, { ending, copy }));
  return { part: named("part"), aside: named("old") };
}

/** One file on its way. */
export class FileUpload {
  readonly #copy: FileCopy;
  readonly #session: SftpSession;
  readonly #run: TransferRun;
  readonly #item: Item;
  readonly #info: SourceInfo;

  /** Nothing is asked for yet. */
  constructor(copy: FileCopy) {
    this.#copy = copy;
    this.#session = copy.session;
    this.#run = copy.run;
    this.#item = copy.item;
    this.#info = copy.info;
  }

  /** Copies it. */
  async run(): Promise<void> {
    const { path, to: remote, identity } = this.#item, { inPlace, resume } = this.#run.options, info = this.#info;
    if (resume && isWhole(await this.#fileAt(remote), info)) {
      this.#run.wasWhole(path, info.size);
      return;
    }
    if (inPlace) await this.#writeInPlace(await this.#open(remote, OpenFlag.CREAT | OpenFlag.TRUNC), true);
    else {
      const pathsOf = (copy: number): ReturnType<typeof partPaths> =>
        partPaths(remote, identity, info.size, info.mtime, copy);
      using taken = takePart(this.#copy.server, (copy) => pathsOf(copy).part);
      const { path: part } = taken, { aside } = pathsOf(taken.copy);
      await this.#writePart(part);
      await moveIntoPlace(this.#session, {
        part,
        path: remote,
        aside,
        what: "file",
        openInPlace: (how) => this.#open(remote, how === "new" ? FRESH : OpenFlag.TRUNC),
        writeInPlace: (handle) => this.#writeInPlace(handle, false),
        onWarning: (left) => this.#run.warn(left),
      });
    }
    this.#run.finished();
  }

  /** Writes what an earlier copy left to do of the part, or all of it. */
  async #writePart(part: string): Promise<void> {
    const { path, to: remote, isNew } = this.#item, { resume, preserve, signal } = this.#run.options, info = this.#info;
    // Behind the last byte that was written there may be gaps, as wide as what was under way: less is not worth a look.
    let begun = resume && info.size > LAST_WINDOW ? await this.#fileAt(part) : null;
    if (begun !== null && (begun.size <= LAST_WINDOW || begun.size > info.size)) begun = null;
    try {
      // Asked for together with OPEN: it costs no time.
      const replaced = preserve || isNew ? null : this.#fileAt(remote);
      const handle = await this.#openPart(part, begun);
      const locked = isLocked(begun) ? begun.mode : null;
      await new HandleWrite(this.#copy, handle, {
        path: part,
        offset: begun === null ? 0 : begun.size - LAST_WINDOW,
        mode: replaced === null ? locked : replaced.then((there) => there?.mode ?? locked),
        isCounted: true,
      }).run();
      // All may have been under way when the first answer came, and the listener threw.
      this.#run.check(path);
    } catch (error) {
      // What a server refused is of no use; what was cut can go on.
      const cut = this.#run.lost !== null || signal?.aborted;
      if (!cut) await this.#remove(part).catch(() => {});
      throw error;
    }
  }

  /** Writes all of it to the file's own name. */
  async #writeInPlace(handle: Uint8Array, isCounted: boolean): Promise<void> {
    const { to: path } = this.#item;
    try {
      await this.#copy.file.seek(0);
      await new HandleWrite(this.#copy, handle, { path, offset: 0, mode: null, isCounted }).run();
      this.#run.check(this.#item.path);
    } catch (error) {
      this.#session.dropHandle(handle, path);
      const failed = failure(this.#copy.source, this.#item.path, error);
      throw isCounted
        ? noting(failed, `what is at ${quoted(path)} is not whole, as it was written to in place`)
        : failed;
    }
  }

  #open(path: string, flags: number): Promise<Uint8Array> {
    const { mode } = this.#info, { signal } = this.#run.options;
    const purpose = { action: "create", path: this.#item.to, signal };
    const values = { path, flags: OpenFlag.WRITE | flags, attrs: mode === null ? {} : { mode } };
    return this.#session.handle(Open, values, purpose);
  }

  async #openPart(part: string, begun: SftpFileInfo | null): Promise<Uint8Array> {
    if (begun !== null) {
      // The bits forbid its owner to write to it, and will again when it is open.
      if (isLocked(begun)) {
        const purpose = { action: "create", path: this.#item.to };
        await this.#session.status(Setstat, { path: part, attrs: { mode: (begun.mode | 0o200) & 0o777 } }, purpose);
      }
      return await this.#open(part, 0);
    }
    try {
      return await this.#open(part, FRESH);
    } catch (error) {
      if (!(error instanceof SftpError)) throw error;
      // What an earlier copy left, or a link of that name, is removed and never written to.
      await this.#remove(part).catch(() => {
        throw error;
      });
      return await this.#open(part, FRESH);
    }
  }

  /** The regular file at a path there, or null where there is none to be seen. */
  async #fileAt(path: string): Promise<SftpFileInfo | null> {
    const asked = this.#session.attrs(Lstat, { path }, { action: "lstat", path });
    const there = await asked.then((attrs) => fileInfo(attrs), () => null);
    return there?.isFile ? there : null;
  }

  #remove(path: string): Promise<void> {
    return this.#session.status(Remove, { path }, { action: "remove", path });
  }
}

/** Whether a file's own bits keep its owner from writing to it. */
function isLocked(file: SftpFileInfo | null): file is SftpFileInfo & { mode: number } {
  return file !== null && file.mode !== null && (file.mode & 0o200) === 0;
}

/** Whether what is there may be taken for a copy of the file. */
function isWhole(there: SftpFileInfo | null, info: SourceInfo): boolean {
  return there !== null && there.size === info.size && there.mtime !== null &&
    info.mtime !== null && there.mtime.getTime() >= info.mtime * 1000;
}
