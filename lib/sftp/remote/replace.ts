/**
 * Gives what was written beside a name that name. draft-ietf-secsh-filexfer-02 section 6.5, OpenSSH PROTOCOL section 4.3.
 *
 * Whatever the server refuses, and in whatever order, one whole file is left, the old one or the new one: what had the name
 * is removed only when the new one has it, and the part only when one of the two is known to be whole under the name. Where
 * the part stays, the error says its name.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { fileInfo, typeOf } from "../wire/attrs.ts";
import { Extension } from "../wire/constants.ts";
import { Lstat, PosixRename, Remove, Rename } from "../wire/messages.ts";
import { isListable } from "./look.ts";
import { quoted } from "../../files/names.ts";
import { isMissing, refusalOf } from "../../files/refusals.ts";
import type { SftpSession } from "./session.ts";
import { lostError, reworded } from "./errors.ts";

/** How a file is opened to be written in place: one that is not there, or one that is. */
export type InPlace = "new" | "existing";

/** What is to get a name. */
export interface Replacement {
  /** What was written, whole and closed. */
  readonly part: string;
  /** The name that it is to have. */
  readonly path: string;
  /** What is there already gets this name for as long as it takes, where the server cannot replace it in one step. */
  readonly aside: string;
  /** What it is, for errors. */
  readonly what: "file" | "link";
  /** Opens `path` to write the same contents there, for servers that rename nothing; absent where that is not possible. */
  readonly openInPlace?: (how: InPlace) => Promise<Uint8Array>;
  /** Writes the same contents to what was opened, and closes it. */
  readonly writeInPlace?: (handle: Uint8Array) => Promise<void>;
  /** Told of what stays behind though the file has its name. */
  readonly onWarning: (error: SftpError) => void;
}

/** What has a name there; `unknown` where the server does not say. */
interface There {
  readonly kind: "file" | "link" | "nothing" | "other" | "unknown";
  readonly size: number;
}

/** The same error, which says one thing more. */
export function noting(error: unknown, note: string): unknown {
  if (!(error instanceof SftpError)) return error;
  return reworded(error, `${error.message}; ${note}`);
}

/** Gives the part its name, or throws what the server refused first. */
export async function moveIntoPlace(session: SftpSession, replacement: Replacement): Promise<void> {
  await new Move(session, replacement).run();
}

class Move {
  readonly #session: SftpSession;
  readonly #replacement: Replacement;

  constructor(session: SftpSession, replacement: Replacement) {
    this.#session = session;
    this.#replacement = replacement;
  }

  async run(): Promise<void> {
    const { part, path } = this.#replacement;
    let replaces = this.#session.extensions.has(Extension.posixRename);
    try {
      return await this.#rename(part, path, replaces);
    } catch (error) {
      if (!replaces || refusalOf(error) !== "unsupported") {
        return await this.#refused(error, replaces);
      }
    }
    // Named among the extensions, and not there.
    replaces = false;
    try {
      await this.#rename(part, path, false);
    } catch (error) {
      await this.#refused(error, false);
    }
  }

  async #rename(from: string, to: string, replaces: boolean): Promise<void> {
    const message = replaces ? PosixRename : Rename;
    const purpose = { action: "replace", path: this.#replacement.path };
    await this.#session.status(message, { oldPath: from, newPath: to }, purpose);
  }

  /** The first rename failed with `error`: finds another way, or throws it. */
  async #refused(error: unknown, replaces: boolean): Promise<void> {
    const { part, path } = this.#replacement;
    this.#stopIfLost(`the new one is whole, under its name or as ${quoted(part)}`);
    const there = await this.#look();
    this.#stopIfLost(`the new one is whole, as ${quoted(part)}`);
    if (there.kind === "nothing") {
      // Nothing can be lost by it.
      if (replaces && await this.#isDone(this.#rename(part, path, false))) return;
      this.#stopIfLost(`the new one is whole, under its name or as ${quoted(part)}`);
      return await this.#inPlace(error, null);
    }
    // It may be a link, or a directory: neither is written to or moved.
    if (there.kind === "unknown") throw this.#keeping(error);
    // A server that can replace a file and does not will have its reason.
    if (replaces || there.kind === "other") return await this.#giveUp(error);
    await this.#aside(error, there);
  }

  async #look(): Promise<There> {
    const { path } = this.#replacement;
    try {
      const info = fileInfo(await this.#session.attrs(Lstat, { path }, { action: "lstat", path }));
      const isOther = typeOf({ mode: info.mode ?? 0 }, 0) !== 0 || await isListable(this.#session, path);
      const kind = info.isFile ? "file" : info.isSymlink ? "link" : isOther ? "other" : "file";
      return { kind, size: info.size };
    } catch (error) {
      return { kind: isMissing(error) ? "nothing" : "unknown", size: 0 };
    }
  }

  /** Moves what is there out of the way, and back where the part does not get its place. */
  async #aside(error: unknown, there: There): Promise<void> {
    const { part, path, aside } = this.#replacement;
    const moved = await this.#isDone(this.#rename(path, aside, false));
    this.#stopIfLost(
      `the old one is whole, under its name or as ${quoted(aside)}; the new one as ${quoted(part)}`,
    );
    // Some refuse what they have done.
    if (!moved && (await this.#look()).kind !== "nothing") {
      this.#stopIfLost(`the new one is whole, as ${quoted(part)}`);
      // It renames nothing at all, as far as is known: what is there has not been touched.
      return there.kind === "file" ? await this.#inPlace(error, there) : await this.#giveUp(error);
    }
    const both = `the old one is whole, as ${quoted(aside)}; the new one as ${quoted(part)}`;
    try {
      await this.#rename(part, path, false);
    } catch (second) {
      this.#stopIfLost(`${both}; either may be under its name`);
      if (await this.#isDone(this.#rename(aside, path, false))) return await this.#giveUp(second);
      this.#stopIfLost(`${both}; either may be under its name`);
      throw noting(second, both);
    }
    const purpose = { action: "remove", path: aside };
    await this.#session.status(Remove, { path: aside }, purpose).catch((left) => {
      const note = `it is what ${quoted(path)} was before it was replaced`;
      this.#replacement.onWarning(noting(left, note) as SftpError);
    });
  }

  /**
   * Writes the contents once more, to the name itself; the part stays until they are there. `error` says why, and
   * `there` what is written over.
   */
  async #inPlace(error: unknown, there: There | null): Promise<void> {
    const { part, path, openInPlace, writeInPlace } = this.#replacement;
    if (openInPlace === undefined || writeInPlace === undefined) throw this.#keeping(error);
    let handle: Uint8Array;
    try {
      handle = await openInPlace(there === null ? "new" : "existing");
    } catch (refused) {
      this.#stopIfLost(`the new one is whole, as ${quoted(part)}`);
      const now = refused instanceof SftpError && there !== null ? await this.#look() : null;
      // Some empty what they refuse to open.
      if (now !== null && now.kind === there!.kind && now.size === there!.size) return await this.#giveUp(error);
      throw this.#keeping(error);
    }
    try {
      await writeInPlace(handle);
    } catch (failure) {
      throw noting(failure, `the new one is whole, as ${quoted(part)}, and what is under its own name is not`);
    }
    const purpose = { action: "remove", path: part };
    await this.#session.status(Remove, { path: part }, purpose).catch((left) => {
      this.#replacement.onWarning(noting(left, `it is a copy of ${quoted(path)}`) as SftpError);
    });
  }

  /** What has the name is untouched: the part is of no use. */
  async #giveUp(error: unknown): Promise<never> {
    const path = this.#replacement.part;
    await this.#session.status(Remove, { path }, { action: "remove", path }).catch(() => {});
    throw error;
  }

  #keeping(error: unknown): unknown {
    const { part, what } = this.#replacement;
    return noting(error, `the new ${what} is whole, as ${quoted(part)}`);
  }

  async #isDone(work: Promise<void>): Promise<boolean> {
    return await work.then(() => true, () => false);
  }

  /** Throws where the session is over: nothing more can be done, and `note` says where things are. */
  #stopIfLost(note: string): void {
    const { ended } = this.#session, { path } = this.#replacement;
    if (ended !== null) throw noting(lostError({ action: "replace", path }, ended), note);
  }
}
