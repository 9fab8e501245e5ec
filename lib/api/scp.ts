/**
 * L6. SCP on a client's connection, and as a handler of a server. For peers that have no SFTP.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { type RemoteProcess, startProcess } from "../session/process.ts";
import { errorReporter, type ServerSession, type SessionHandler } from "../session/server_session.ts";
import type { SftpBackend } from "../sftp/backend.ts";
import type { ScpOptions } from "../sftp/scp.ts";
import type { RootedOptions } from "../sftp/rooted_backend.ts";
import type { TransferSummary } from "../sftp/transfer.ts";
import type { ByteDuplex } from "../wire/types.ts";

/** Copies by the `scp` program of the server, as `scp -O` does. Where the server has SFTP, `sftp()` is faster and can resume. */
export interface ScpClient {
  /**
   * Copies a local file or tree there. The server puts it into `remote` where that is a directory, and gives it that name where it
   * is not. Rejects with `SftpError`, at the end for those of single files, and with `SshError` where the server runs no commands.
   */
  upload(local: string, remote: string, options?: ScpOptions): Promise<TransferSummary>;
  /**
   * Copies a remote file or tree to a local path, whatever the server calls it; a file goes into `local` where that is a directory.
   * Nothing in `remote` is expanded. Rejects as `upload()` does.
   */
  download(remote: string, local: string, options?: ScpOptions): Promise<TransferSummary>;
}

/** How long a server's scp may take to end when everything is said, in milliseconds. */
const GRACE = 1000;

/** Lets the other side end by itself: some servers speak on, of the exit code, when the channel is closed to them before. */
async function ended(process: RemoteProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, GRACE);
  const done = process.status.then(() => {}, () => {});
  await Promise.race([done, promise]);
  clearTimeout(timer);
}

/** SCP over channels of a connection, one for each copy. */
export function scpClient(mux: Mux): ScpClient {
  const copy = async (
    direction: "to" | "from",
    remote: string,
    options: ScpOptions,
    run: (scp: typeof import("../sftp/scp.ts"), channel: ByteDuplex) => Promise<TransferSummary>,
  ): Promise<TransferSummary> => {
    // Only those who copy pay for it.
    const [scp, { scpCommand }] = await Promise.all([import("../sftp/scp.ts"), import("../sftp/scp_command.ts")]);
    const command = scpCommand(direction, remote, options);
    const { signal } = options;
    await using process = await startProcess(mux, { kind: "exec", command }, {
      stderr: "null",
      ...signal === undefined ? {} : { signal },
    });
    const summary = await run(scp, process);
    await ended(process);
    return summary;
  };
  return {
    upload: (local, remote, options = {}) =>
      copy("to", remote, options, (scp, channel) => scp.scpUpload(channel, local, options)),
    download: (remote, local, options = {}) =>
      copy("from", remote, options, (scp, channel) => scp.scpDownload(channel, remote, local, options)),
  };
}

/**
 * A handler that serves `scp -O` from a file system, and refuses every other command with exit code 127:
 * `serve({ handler: scpHandler({ root: "/srv" }) })`. Nothing outside `root` can be reached, and no shell is involved. A server that
 * runs other commands too calls it where `session.command` starts with `scp `. Errors of a backend that are neither an `SftpError`
 * nor one of the file system go to the server's `onError`.
 */
export function scpHandler(options: RootedOptions | SftpBackend): SessionHandler {
  return async (session: ServerSession): Promise<number> => {
    const { serveScp } = await import("../sftp/scp.ts");
    const { stdin, stdout, info, signal } = session;
    const channel = { readable: stdin, writable: stdout }, onError = errorReporter(session);
    return await serveScp(channel, session.command ?? "", options, info, { signal, onError });
  };
}
