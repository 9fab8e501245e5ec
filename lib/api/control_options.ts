/**
 * What `connect()` may be told where another program has connected already. OpenSSH PROTOCOL.mux.
 *
 * @module
 */
import type { TraceEvent } from "../transport/transport_options.ts";

/**
 * Options of `connect()` for using the connection of a running `ssh -M` (`ControlMaster`), through its control socket: commands, SFTP,
 * SCP and forwards, without a login of one's own. The master goes on when the client is closed.
 *
 * The server knows the master alone: what the handshake agreed on, keys, keepalives and other global requests are out of reach, and so
 * are channels that the server opens, such as those of agent and X11 forwarding. `listen()`, `listenUnix()` and `forwardRemote()` have
 * the master forward to a Unix socket in a temporary directory here, so nobody says who has connected. The master must be of the same
 * user, and OpenSSH 7.4 or later. It needs the permissions to read and write the socket, for listening those for temporary files, and
 * `--allow-sys=uid` for knowing whose the socket is.
 *
 * OpenSSH has a fault: a master ends itself, with all that runs over it, when somebody hangs up for whom the server has refused a
 * channel, such as `dial()` to where nothing listens. So where that has happened, the control connection outlives the client that is
 * closed, up to the program's end.
 *
 * @example Through the master that `ssh -M -N -f -S ~/.ssh/web web` has started
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function uptime(home: string): Promise<string> {
 *   await using client = await connect({ controlPath: `${home}/.ssh/web` });
 *   return (await client.exec("uptime")).text();
 * }
 * ```
 */
export interface ControlPathOptions {
  /**
   * Where the control socket is, as `ssh -S` has it: 107 bytes at most (103 but for Linux). Neither `~` nor tokens such as `%C` are
   * looked into: `ssh -G host` tells what becomes of those.
   */
  controlPath: string;
  /** Receive window that each channel starts with, in bytes; it grows as it does otherwise. @default {2097152} */
  window?: number | undefined;
  /** Aborts the asking. After that it ends the client at once, as it does otherwise; the master goes on. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that the master may take to let this program in. `Infinity` waits without end. @default {30000} */
  handshakeTimeout?: number | undefined;
  /** Told of what happens, for whoever debugs a connection: never a payload, never a secret. */
  trace?: ((event: TraceEvent) => void) | undefined;
}

/** Whether a control socket is meant. */
export function isControlPath(options: object): options is ControlPathOptions {
  return (options as Partial<ControlPathOptions> | null | undefined)?.controlPath !== undefined;
}
