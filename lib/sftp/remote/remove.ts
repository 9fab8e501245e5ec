/**
 * Removes remote files, and directories with what is in them. draft-ietf-secsh-filexfer-02 sections 6.5 to 6.7.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { RemoteFiles } from "./remote_files.ts";
import { MAX_DEPTH, Status } from "../../files/limits.ts";
import { whatIsNamed } from "./look.ts";
import { Remove, Rmdir } from "../wire/messages.ts";
import { joinPath, quoted } from "../../files/names.ts";
import { isMissing } from "../../files/refusals.ts";
import type { SftpSession } from "./session.ts";

/** Removes a file, a link or an empty directory; with `recursive` whatever is in it. */
export async function remove(
  client: RemoteFiles,
  session: SftpSession,
  path: string,
  recursive: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (recursive) await new TreeRemoval(client, session, signal).start(path);
  else if (!await isRemoved(session, path, signal)) await removeDirectory(session, path, signal);
}

/** Removes what is no directory, or an empty one; false where it is one that may hold something. A link to a directory is none. */
async function isRemoved(session: SftpSession, path: string, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await session.status(Remove, { path }, { action: "remove", path, signal });
    return true;
  } catch (error) {
    if (!(error instanceof SftpError) || session.ended !== null) throw error;
    // Whatever the status, it may be a directory: some say that there is no file of this name, which is true.
    // With a slash behind it, a link is what it leads to.
    const there = await whatIsNamed(session, path.replace(/(?<=[^/])\/+$/, ""));
    if (there === "directory") return false;
    // RMDIR takes nothing but an empty directory away: it may be asked of what the server tells nothing of.
    const isUntold = there === "unknown" || there === "nothing" && !isMissing(error);
    if (!isUntold) throw error;
    return await removeDirectory(session, path, signal).then(() => true, (second) => {
      throw session.ended === null ? error : second;
    });
  }
}

async function removeDirectory(session: SftpSession, path: string, signal: AbortSignal | undefined): Promise<void> {
  await session.status(Rmdir, { path }, { action: "remove directory", path, signal });
}

/** Entries that are being removed or listed at once. */
const MAX_PLACES = 64;

/** One recursive removal. Its first failure ends it. */
class TreeRemoval {
  readonly #client: RemoteFiles;
  readonly #session: SftpSession;
  readonly #signal: AbortSignal | undefined;
  /** Free ones, over all levels of the tree: a directory that is being listed has a place, and a handle of the server. */
  #places: number;
  readonly #waiting: (() => void)[] = [];
  #failure: { readonly error: unknown } | null = null;

  constructor(client: RemoteFiles, session: SftpSession, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#session = session;
    this.#signal = signal;
    this.#places = Math.max(1, Math.min(MAX_PLACES, Math.floor(session.maxHandles / 2)));
  }

  async start(path: string): Promise<void> {
    await this.#enter();
    await this.#entry(path, 0);
  }

  async #enter(): Promise<void> {
    if (this.#places > 0) this.#places--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    // Who came last lies deepest: what was begun comes to its end before more is begun, and few listings are held at once.
    const next = this.#waiting.pop();
    if (next === undefined) this.#places++;
    else next();
  }

  /** Removes one thing. The place that was taken for it is given back before what is in it gets its own. */
  async #entry(path: string, depth: number): Promise<void> {
    let names: readonly string[];
    try {
      if (await isRemoved(this.#session, path, this.#signal)) return;
      if (depth >= MAX_DEPTH) {
        const message = `Cannot remove ${quoted(path)}: more than ${MAX_DEPTH} directories deep`;
        throw new SftpError(message, Status.FAILURE, path);
      }
      // All of them: what is listed while it changes may leave entries out.
      names = await Array.fromAsync(this.#client.readDir(path, { signal: this.#signal }), ({ name }) => name);
    } finally {
      this.#leave();
    }
    const running = new Set<Promise<void>>();
    for (const name of names) {
      await this.#enter();
      if (this.#failure !== null) {
        this.#leave();
        break;
      }
      const task = this.#entry(joinPath(path, name), depth + 1)
        .catch((error) => void (this.#failure ??= { error }))
        .finally(() => running.delete(task));
      running.add(task);
    }
    await Promise.all(running);
    if (this.#failure !== null) throw this.#failure.error;
    await removeDirectory(this.#session, path, this.#signal);
  }
}
