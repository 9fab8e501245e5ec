/**
 * Opening the control socket of a master: whose it is, and how long it may take. OpenSSH PROTOCOL.mux.
 *
 * @module
 */
import { printable, SshError, type SshErrorCode } from "../errors.ts";
import { system } from "../system/system.ts";
import type { UnixSocket } from "../system/types.ts";
import { ControlConn } from "../transport/control_conn.ts";
import { Timer } from "../wire/timer.ts";

/** Milliseconds that a master may take. */
const TIMEOUT = 30_000;

/** Where a master is to be asked, and until when. */
export interface Asking {
  /** Path of the socket. */
  readonly controlPath: string;
  /** Milliseconds for all of it. */
  readonly handshakeTimeout?: number | undefined;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /** What an error begins with. */
  readonly failure: string;
}

/**
 * Asks a master for something. The socket is closed where that fails, and else the caller's. Rejects with the reason of the signal, with
 * `SshError`, and with what Deno says where a permission is missing.
 */
export async function askMaster<T>(
  { controlPath: path, handshakeTimeout = TIMEOUT, signal, failure }: Asking,
  ask: (control: ControlConn, socket: UnixSocket) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  let socket: UnixSocket | null = null, late = false;
  const giveUp = (): void => hangUp(socket);
  const timer = new Timer(() => {
    late = true;
    giveUp();
  });
  timer.start(handshakeTimeout);
  signal?.addEventListener("abort", giveUp);
  try {
    await mustBeOwn(path);
    socket = await system.connect({ transport: "unix", path });
    // Who gave up had no socket to close before this one was there.
    signal?.throwIfAborted();
    if (late) throw new SshError("too late", { code: "CONNECTION_LOST" });
    const answer = await ask(await ControlConn.greet(socket), socket);
    signal?.throwIfAborted();
    return answer;
  } catch (cause) {
    giveUp();
    signal?.throwIfAborted();
    if (cause instanceof TypeError || cause instanceof system.errors.NotCapable) throw cause;
    const why = late ? `nothing answers there within ${handshakeTimeout} ms` : whyOf(cause);
    const code: SshErrorCode = cause instanceof SshError ? cause.code : "CONNECTION_LOST";
    throw new SshError(`${failure}: ${why}`, { code, cause });
  } finally {
    timer.stop();
    signal?.removeEventListener("abort", giveUp);
  }
}

/** Closes a socket that may be closed. */
export function hangUp(socket: UnixSocket | null): void {
  try {
    socket?.close();
  } catch {
    // It is.
  }
}

/** The path of a socket for an error. */
export function named(path: string): string {
  return `control socket "${printable(path)}"`;
}

/** Whoever makes a socket hears all that is said there. `ssh` makes it the user's own. */
async function mustBeOwn(path: string): Promise<void> {
  const { isSocket, uid } = await system.stat(path), own = system.uid();
  if (isSocket !== true) throw new SshError("it is no socket", { code: "CONNECTION_LOST" });
  if (own !== null && uid === own) return;
  throw new SshError(`it belongs to another user (${uid}), who would hear all that is said there`, {
    code: "REQUEST_DENIED",
  });
}

function whyOf(cause: unknown): string {
  if (cause instanceof system.errors.NotFound) {
    return "nothing is there; `ssh -M -S path host` starts a master, and `ssh -G host` tells which path it uses";
  }
  if (cause instanceof system.errors.ConnectionRefused) return "its master is gone";
  return cause instanceof Error ? cause.message : String(cause);
}
