/**
 * SCP as a handler of a server, for clients that have no SFTP.
 *
 * @module
 */
import type { SftpBackend } from "../files/backend.ts";
import type { RootedOptions } from "../files/rooted/backend.ts";
import { errorReporter, type ServerSession, type SessionHandler } from "../session/server_session.ts";
import { checkServedHere } from "./check_served.ts";

/**
 * A handler that serves `scp -O` from a file system, and refuses every other command with exit code 127:
 * `serve({ handler: scpHandler({ root: "/srv" }) })`. Nothing outside `root` can be reached, and no shell is involved. A server that
 * runs other commands too calls it where `session.command` starts with `scp `. Errors of a backend that are neither an `SftpError`
 * nor one of the file system go to the server's `onError`. Throws `TypeError` at once where `root` is no directory, or a backend
 * has names that are not those of {@linkcode SftpBackend}.
 */
export function scpHandler(options: RootedOptions | SftpBackend): SessionHandler {
  checkServedHere(options);
  return async (session: ServerSession): Promise<number> => {
    const { serveScp } = await import("../scp/server.ts");
    const { stdin, stdout, info, signal } = session;
    const channel = { readable: stdin, writable: stdout }, onError = errorReporter(session);
    return await serveScp(channel, session.command ?? "", options, info, { signal, onError });
  };
}
