/**
 * SFTP as a subsystem of a server.
 *
 * @module
 */
import { errorReporter, plainOf, type ServerSession, type SessionHandler } from "../session/server_session.ts";
import type { SftpBackend } from "../files/backend.ts";
import type { RootedOptions } from "../files/rooted/backend.ts";
import { checkServedHere } from "./check_served.ts";

/**
 * An `sftp` subsystem on a file system: `serve({ subsystems: { sftp: sftpSubsystem({ root: "/srv" }) } })`.
 * Nothing outside `root` can be reached, by `..` or by link. With a {@linkcode SftpBackend} any file system is served;
 * its errors that are neither an `SftpError` nor one of a file system go to the server's `onError`. Throws `TypeError` at once where
 * `root` is no directory, or a backend has names that are not those of {@linkcode SftpBackend}.
 */
export function sftpSubsystem(options: RootedOptions | SftpBackend): SessionHandler {
  checkServedHere(options);
  return async (session: ServerSession): Promise<void> => {
    // Only servers of files pay for it.
    const { serveOn } = await import("../sftp/server/server.ts");
    const { OwnChannel } = await import("../sftp/wire/channel.ts");
    const plain = plainOf(session), { info, signal } = session;
    const channel = plain === null
      ? { readable: session.stdin, writable: session.stdout, releasesChunks: true }
      : new OwnChannel(plain);
    await serveOn(channel, options, info, { signal, onError: errorReporter(session) });
  };
}
