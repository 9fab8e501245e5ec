/**
 * The SFTP client. draft-ietf-secsh-filexfer-02, OpenSSH PROTOCOL section 4. Knows byte streams, not SSH.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { abortable } from "../wire/abortable.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { requireSystem } from "../wire/system.ts";
import type { Bytes } from "../wire/types.ts";
import { FileType, Status } from "../files/limits.ts";
import { checkCall, checkChannel, checkContents, checkPaths, checkWord } from "../files/check_calls.ts";
import { asked, atMost } from "./remote/asked.ts";
import { checkFilePath, RemoteFiles } from "./remote/remote_files.ts";
export type { RemoteFiles, SftpServerInfo } from "./remote/remote_files.ts";
import { copyRemoteFile } from "./remote/copy.ts";
import { joinPath, quoted } from "../files/names.ts";
import { localSource } from "../files/local_source.ts";
import { wrongKind } from "../wire/check.ts";
import { FurtherSessions, type OpenFurther } from "./remote/further_sessions.ts";
import { openToRead } from "./remote/open_to_read.ts";
import { readAll } from "./remote/read_pipeline.ts";
import { remove } from "./remote/remove.ts";
import { SftpSession } from "./remote/session.ts";
import type { MeasuredChannel, OwnChannel, SftpChannel } from "./wire/channel.ts";
import { saidLinkFirst } from "./wire/symlink_order.ts";
import { download } from "./transfer/download.ts";
import { checkStream, downloadStream } from "./transfer/download_stream.ts";
import type { TransferOptions } from "./transfer/run.ts";
import type { TransferSummary } from "../files/copied.ts";
import { remoteSource } from "./transfer/remote_source.ts";
import { upload } from "./transfer/upload.ts";
import { writeWholeFile } from "./transfer/write_file.ts";

/** A tree that is copied into itself would have no end. */
async function checkApart(session: SftpSession, from: string, to: string, signal?: AbortSignal): Promise<void> {
  const whole = (path: string): Promise<string> => session.realPath(path, signal).catch(() => path);
  const [source, target] = await abortable(Promise.all([whole(from), whole(to)]), signal);
  if (source !== target && !target.startsWith(joinPath(source, ""))) return;
  throw new SftpError(`Cannot copy ${quoted(from)} to ${quoted(to)}: that is it, or lies in it`, Status.FAILURE, from);
}

let construct: (session: SftpSession, linkFirst: boolean, further: FurtherSessions, server: object) => SftpClient;

/** Has a client give up the sessions that it has beside its first, for the program's own; false where it has none. */
export let giveRoom: (client: SftpClient) => Promise<boolean>;

/**
 * Starts an SFTP session on the streams of a channel, which it owns from here on. With `linkFirst` the fields of SYMLINK are in
 * the draft's order and not in that of OpenSSH and most others, unless the server says which it wants
 * (symlink-order@rjk.greenend.org.uk). With `hasLimits` the server is asked for its limits before it has said that it tells them.
 */
export async function openSftp(
  channel: SftpChannel,
  options: WaitOptions & { linkFirst?: boolean | undefined; hasLimits?: boolean | undefined } = {},
): Promise<SftpClient> {
  checkChannel(channel);
  checkCall("session", options);
  return await openSftpAmong(channel, options, new FurtherSessions(null, 0));
}

/** What is known of a server. */
interface Known {
  /** The same object for all sessions with it that are known to be. */
  readonly server?: object | undefined;
  readonly linkFirst?: boolean | undefined;
  readonly hasLimits?: boolean | undefined;
}

/** A session on a channel, started. */
async function started(channel: MeasuredChannel | OwnChannel, options: WaitOptions & Known): Promise<SftpSession> {
  const session = new SftpSession(channel);
  await withDeadline(options, () => "the server to start SFTP", (signal) => session.start(signal, options.hasLimits));
  return session;
}

/** As `openSftp()`, with up to `most` further sessions on channels that `openMore` gives, or null where there can be none just now. */
export function openSftpOn(
  channel: MeasuredChannel | OwnChannel,
  options: WaitOptions & Known,
  openMore: (signal: AbortSignal) => Promise<MeasuredChannel | OwnChannel | null>,
  most: number,
): Promise<SftpClient> {
  const open: OpenFurther = async (signal) => {
    const channel = await openMore(signal);
    return channel && await started(channel, { ...options, signal });
  };
  return openSftpAmong(channel, options, new FurtherSessions(open, most));
}

async function openSftpAmong(
  channel: MeasuredChannel | OwnChannel,
  options: WaitOptions & Known,
  further: FurtherSessions,
): Promise<SftpClient> {
  const session = await started(channel, options);
  const linkFirst = saidLinkFirst(session.extensions) ?? options.linkFirst ?? false;
  return construct(session, linkFirst, further, options.server ?? session);
}

/**
 * An SFTP session. Method names follow `Deno.*` file functions.
 *
 * Relative paths start where the server says, which is the user's home directory nearly everywhere. Names that are not UTF-8
 * survive: each byte that does not belong to valid UTF-8 is the lone surrogate U+DC00 plus the byte, in what is received and
 * in what is sent. Every method throws {@linkcode SftpError} for a status other than OK, also when the connection is lost
 * (`code` is `CONNECTION_LOST`) or the session was closed (`CLOSED`).
 */
export class SftpClient extends RemoteFiles implements AsyncDisposable {
  readonly #session: SftpSession;
  readonly #further: FurtherSessions;
  readonly #server: object;

  static {
    construct = (session, linkFirst, further, server) => new SftpClient(session, linkFirst, further, server);
    giveRoom = (client) => client.#further.yield();
  }

  private constructor(session: SftpSession, linkFirst: boolean, further: FurtherSessions, server: object) {
    super(session, linkFirst);
    this.#session = session;
    this.#further = further;
    this.#server = server;
  }

  /**
   * Reads a whole file, with many requests under way. It ends where the server says so, whatever size it gave before; a
   * `RangeError` where it has more than 64 MiB and eight times that size, or 1 GiB where none was given.
   */
  async readFile(path: string, options: WaitOptions = {}): Promise<Bytes> {
    checkPaths({ path });
    checkCall("wait", options);
    return await atMost(options, () => `${quoted(path)} to be read`, (signal) => this.#readFile(path, signal));
  }

  async #readFile(path: string, signal?: AbortSignal): Promise<Bytes> {
    const session = this.#session;
    const { handle, attrs: { size, mode } } = await openToRead(session, path, signal);
    try {
      // Only a regular file's size says where it may end; in /proc even that is 0.
      const regular = mode === undefined || (mode & FileType.MASK) === FileType.REGULAR;
      return await readAll(session, handle, path, regular ? size ?? 0 : 0, signal);
    } finally {
      session.dropHandle(handle, path);
    }
  }

  /** Reads a whole file as UTF-8; a byte order mark stays, as with `Deno.readTextFile()`. */
  async readTextFile(path: string, options: WaitOptions = {}): Promise<string> {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(await this.readFile(path, options));
  }

  /**
   * Writes a whole file; it is created, and what was in it replaced, unless the options say otherwise. A `mode` is given to a file
   * that is there too. It is written in place: bytes that fit into one request (32 KiB, or what the server's limits say) leave
   * what was there whole where the server refuses them, more of them and streams do not, and the error says so.
   */
  async writeFile(
    path: string,
    data: Uint8Array | ReadableStream<Uint8Array>,
    options: Omit<Deno.WriteFileOptions, "signal"> & WaitOptions = {},
  ): Promise<void> {
    checkPaths({ path });
    checkContents(data);
    checkCall("write", options);
    checkFilePath("write", path);
    await atMost(
      options,
      () => `${quoted(path)} to be written`,
      (signal) => writeWholeFile(this, this.#session, path, data, { ...options, signal }),
    );
  }

  /** Writes a whole file as UTF-8. */
  async writeTextFile(
    path: string,
    data: string,
    options: Omit<Deno.WriteFileOptions, "signal"> & WaitOptions = {},
  ): Promise<void> {
    checkWord("data", data);
    await this.writeFile(path, new TextEncoder().encode(data), options);
  }

  /** Removes a file or an empty directory; with `recursive` whatever is in it, links themselves and not their targets. */
  async remove(path: string, options: WaitOptions & { recursive?: boolean | undefined } = {}): Promise<void> {
    checkPaths({ path });
    await asked(
      "remove",
      path,
      options,
      ({ signal }) => remove(this, this.#session, path, options.recursive ?? false, signal),
      "remove",
    );
  }

  /**
   * Copies a file and its permission bits on the server's side (copy-data), or through here where it cannot. It is written in
   * place: where that fails halfway, the error says that what is at `to` is not whole, as it is where the wait ends first.
   */
  async copyFile(from: string, to: string, options: WaitOptions = {}): Promise<void> {
    checkPaths({ from, to });
    checkFilePath("copy to", to);
    await asked("copy", from, options, ({ signal }) => this.#copyFile(from, to, signal));
  }

  async #copyFile(from: string, to: string, signal: AbortSignal | undefined): Promise<void> {
    // Some servers resolve directories only.
    const [a, b] = await Promise.all([from, to].map((path) => this.#session.realPath(path, signal).catch(() => null)));
    if (from === to || a !== null && a === b) {
      throw new SftpError(`Cannot copy ${quoted(from)} to ${quoted(to)}: they are one file`, Status.FAILURE, from);
    }
    await copyRemoteFile(this.#session, from, to, signal);
  }

  /**
   * Copies a local file or tree there; parallel, resumable, with progress. A file becomes `remote`, or goes into it where that
   * is a directory; a directory becomes `remote`, and is merged with what is there; what a glob finds goes into `remote`. Each
   * file is written beside its name and renamed when it is whole; where the server renames nothing it is then written in place,
   * and the one beside it is removed when that is done. Whatever the server refuses, the old file or the new one is left whole:
   * under its name, or under one that the error says. What fails does not keep the rest from being copied, and is thrown at the
   * end. `writeFile()` takes a stream.
   */
  async upload(local: string, remote: string, options: TransferOptions = {}): Promise<TransferSummary> {
    checkPaths({ local, remote });
    checkCall("copy", options);
    requireSystem("upload local files", "`writeFile()` takes bytes and streams, as `blob.stream()` gives one");
    const further = this.#further;
    const target = { server: this.#server, client: this, session: this.#session, further },
      to = remote === "" ? "." : remote;
    const copy = (signal: AbortSignal | undefined): Promise<TransferSummary> =>
      upload(target, localSource, null, local, to, { ...options, signal });
    return await further.during(() => withDeadline(options, () => `${quoted(local)} to be copied`, copy));
  }

  /**
   * Copies a file or tree of another server, or of this one, to this one, as {@linkcode SftpClient.upload} copies what is here: through
   * this program, and nothing of it is kept here. The other server is not trusted: names that are none are refused, no link is made that
   * leads out of the tree, and a file ends where that server says so, though it gave a smaller size before. Nothing is copied into
   * itself within one connection; of two connections to one server nobody can tell that.
   *
   * @example A tree from one server to another
   * ```ts
   * import type { SftpClient } from "@amiko/ssh";
   *
   * async function migrate(from: SftpClient, to: SftpClient): Promise<void> {
   *   const { files } = await to.copyFrom(from, "/srv/www", "/srv/www", { recursive: true, preserve: true });
   *   console.log(`${files} files`);
   * }
   * ```
   */
  async copyFrom(
    source: SftpClient,
    path: string,
    remote: string,
    options: TransferOptions = {},
  ): Promise<TransferSummary> {
    if (!(source instanceof SftpClient)) throw wrongKind("source", source, "an SftpClient");
    checkPaths({ path, remote });
    checkCall("copy", options);
    const further = this.#further, from = source.#session;
    const target = { server: this.#server, client: this, session: this.#session, further },
      to = remote === "" ? "." : remote;
    const copy = async (signal: AbortSignal | undefined): Promise<TransferSummary> => {
      if (source.#server === this.#server) await checkApart(this.#session, path, to, signal);
      // Where this server goes, nobody waits for the other one.
      const either = this.#session.untilEnd(signal);
      try {
        const files = remoteSource(source, from, either.signal);
        return await upload(target, files, from, path, to, { ...options, signal });
      } finally {
        either.stop();
      }
    };
    return await further.during(() => withDeadline(options, () => `${quoted(path)} to be copied`, copy));
  }

  /**
   * Copies a remote file or tree here; parallel, resumable, with progress. A file becomes `local`, or goes into it where that
   * is a directory; a directory becomes `local`, and is merged with what is there; what a glob finds goes into `local`. Each
   * file is written beside its name and renamed when it is whole. What fails does not keep the rest from being copied, and is
   * thrown at the end. A file ends where the server says so, though it gave a smaller size before; one that ends before the size
   * that it gave fails. Bytes of names that are not UTF-8, which Deno cannot spell, become `%XX` here.
   *
   * A `WritableStream` as `local` takes the contents of one file, at its own pace, and is closed behind the last byte; where not all
   * comes it is aborted with the error that this rejects with. Nothing of the name is a glob then, and `recursive`, `preserve`, `resume`,
   * `inPlace` and `exclude` are a `TypeError`.
   *
   * @example A tree with a line that tells how far it is, and a file into a stream
   * ```ts
   * import type { SftpClient } from "@amiko/ssh";
   *
   * async function backup(sftp: SftpClient): Promise<Response> {
   *   await sftp.download("project", "backup", {
   *     recursive: true,
   *     exclude: ["node_modules/", "*.log", "/dist"],
   *     onTreeProgress: ({ files, totalFiles, bytes, totalBytes, rate, secondsLeft }) =>
   *       console.log(`${files}/${totalFiles ?? "?"} files, ${bytes}/${totalBytes ?? "?"} bytes, ${rate} B/s, ${secondsLeft ?? "?"} s`),
   *   });
   *   const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
   *   sftp.download("project.tar", writable).catch(console.error);
   *   return new Response(readable);
   * }
   * ```
   */
  async download(
    remote: string,
    local: string | WritableStream<Uint8Array>,
    options: TransferOptions = {},
  ): Promise<TransferSummary> {
    if (local instanceof WritableStream) {
      checkPaths({ remote });
      checkCall("copy", options);
      checkStream(local, options);
      const copy = (signal: AbortSignal | undefined): Promise<TransferSummary> =>
        downloadStream(this.#session, remote, local, { ...options, signal });
      return await withDeadline(options, () => `${quoted(remote)} to be copied`, copy);
    }
    checkPaths({ remote, local });
    checkCall("copy", options);
    requireSystem("download to local files", "a `WritableStream` can take the contents, and `readFile()` gives them");
    const copy = (signal: AbortSignal | undefined): Promise<TransferSummary> =>
      download(this, this.#session, remote, local, { ...options, signal });
    return await withDeadline(options, () => `${quoted(remote)} to be copied`, copy);
  }

  /** Ends the session; requests without an answer are rejected. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all([this.#session.close(), this.#further.end()]);
  }

  /** Same as {@linkcode SftpClient.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
