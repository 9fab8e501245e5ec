/**
 * A client over the control socket of a running `ssh -M`. OpenSSH PROTOCOL.mux.
 *
 * @module
 */
import { Mux } from "../connection/mux.ts";
import { printable, SshError, type SshErrorCode } from "../errors.ts";
import { ControlConn } from "../transport/control_conn.ts";
import { cannot, ProxiedTransport } from "../transport/proxied_transport.ts";
import { requireDeno } from "../wire/system.ts";
import { Timer } from "../wire/timer.ts";
import { checkControl } from "./check_control.ts";
import type { ControlPathOptions } from "./control_options.ts";
import { given, MAX_CHANNELS } from "./options.ts";
import { clientOver, type SshClient } from "./ssh_client.ts";

/** Milliseconds that a master may take. */
const TIMEOUT = 30_000;
/** Control connections that are kept open for the sake of their masters. */
const MAX_HELD = 64;

/** Lets go of control connections whose masters would end with them; the oldest first. */
const held = new Set<() => Promise<void>>();

/** Lets go of all control connections that are kept for the sake of their masters: for tests. */
export async function letGoOfHeld(): Promise<void> {
  await Promise.all([...held].map((close) => close()));
  held.clear();
}

/** See `connect()`. */
export async function connectControl(options: ControlPathOptions): Promise<SshClient> {
  checkControl(options);
  requireDeno("use `controlPath`", "hand over `transport`, such as `await webSocketTransport(url)` gives");
  const { controlPath: path, signal, handshakeTimeout = TIMEOUT } = options;
  signal?.throwIfAborted();
  let socket: Deno.UnixConn | null = null, late = false;
  const hangUp = (): void => {
    try {
      socket?.close();
    } catch {
      // It is closed.
    }
  };
  const timer = new Timer(() => {
    late = true;
    hangUp();
  });
  timer.start(handshakeTimeout);
  signal?.addEventListener("abort", hangUp);
  try {
    await mustBeOwn(path);
    socket = await Deno.connect({ transport: "unix", path });
    // Neither has a socket to close before this one is there.
    signal?.throwIfAborted();
    if (late) throw new SshError("", { code: "CONNECTION_LOST" });
    const control = await ControlConn.greet(socket);
    const rest = await control.proxy();
    signal?.throwIfAborted();
    return clientOf(socket, rest, options);
  } catch (cause) {
    hangUp();
    signal?.throwIfAborted();
    if (cause instanceof TypeError || cause instanceof Deno.errors.NotCapable) throw cause;
    throw failed(path, late ? `nothing answers there within ${handshakeTimeout} ms` : whyOf(cause), cause);
  } finally {
    timer.stop();
    signal?.removeEventListener("abort", hangUp);
  }
}

function clientOf(socket: Deno.UnixConn, rest: Uint8Array, options: ControlPathOptions): SshClient {
  let mux!: Mux;
  const hold = (close: () => Promise<void>, ended: Promise<void>): void => {
    socket.unref();
    const [oldest] = held;
    if (oldest !== undefined && held.size >= MAX_HELD) letGo(oldest);
    held.add(close);
    void ended.then(() => letGo(close));
  };
  const transport = new ProxiedTransport(
    socket,
    { rest, hold, copyingWritable: true, ...given(options, "trace") },
    (transport) => mux = new Mux(transport, { ...given(options, "window"), maxChannels: MAX_CHANNELS, cannot }),
  );
  return clientOver({
    transport,
    mux,
    signal: options.signal,
    way: { setRef: (refed) => refed ? socket.ref() : socket.unref() },
    place: `the control socket "${printable(options.controlPath)}"`,
  });
}

function letGo(close: () => Promise<void>): void {
  held.delete(close);
  void close();
}

/** Whoever makes a socket hears all that is said there. `ssh` makes it the user's own. */
async function mustBeOwn(path: string): Promise<void> {
  const { isSocket, uid } = await Deno.stat(path), own = Deno.uid();
  if (isSocket !== true) throw new SshError("it is no socket", { code: "CONNECTION_LOST" });
  if (own !== null && uid === own) return;
  throw new SshError(`it belongs to another user (${uid}), who would hear all that is said there`, {
    code: "REQUEST_DENIED",
  });
}

function whyOf(cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) {
    return "nothing is there; `ssh -M -S path host` starts a master, and `ssh -G host` tells which path it uses";
  }
  if (cause instanceof Deno.errors.ConnectionRefused) return "its master is gone";
  return cause instanceof Error ? cause.message : String(cause);
}

function failed(path: string, why: string, cause: unknown): SshError {
  const code: SshErrorCode = cause instanceof SshError ? cause.code : "CONNECTION_LOST";
  return new SshError(`Cannot use control socket "${printable(path)}": ${why}`, { code, cause });
}
