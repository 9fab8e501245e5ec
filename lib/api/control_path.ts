/**
 * A client over the control socket of a running `ssh -M`. OpenSSH PROTOCOL.mux.
 *
 * @module
 */
import { Mux } from "../connection/mux.ts";
import type { UnixSocket } from "../system/types.ts";
import { cannot, ProxiedTransport } from "../transport/proxied_transport.ts";
import type { ClientTransport } from "./client_transport.ts";
import { requireSystem } from "../wire/system.ts";
import { checkControl } from "./check_control.ts";
import { ControlLender } from "./control_lender.ts";
import type { ControlPathOptions } from "./control_options.ts";
import { askMaster, named } from "./control_socket.ts";
import { given, MAX_CHANNELS } from "./options.ts";
import { socketStreams } from "./socket_streams.ts";
import { clientOver, type SshClient } from "./ssh_client.ts";

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
  requireSystem("use `controlPath`", "hand over `transport`, such as `await webSocketTransport(url)` gives");
  const { controlPath, signal, handshakeTimeout } = options;
  const failure = `Cannot use ${named(controlPath)}`;
  return await askMaster({ controlPath, signal, handshakeTimeout, failure }, async (control, socket) => {
    const rest = await control.proxy();
    signal?.throwIfAborted();
    return clientOf(socket, rest, options);
  });
}

function clientOf(socket: UnixSocket, rest: Uint8Array, options: ControlPathOptions): SshClient {
  let mux!: Mux;
  const hold = (close: () => Promise<void>, ended: Promise<void>): void => {
    socket.unref();
    const [oldest] = held;
    if (oldest !== undefined && held.size >= MAX_HELD) letGo(oldest);
    held.add(close);
    void ended.then(() => letGo(close));
  };
  const proxied = new ProxiedTransport(
    socketStreams(socket),
    { rest, hold, copyingWritable: true, ...given(options, "trace") },
    (transport) => mux = new Mux(transport, { ...given(options, "window"), maxChannels: MAX_CHANNELS, cannot }),
  );
  const transport: ClientTransport = {
    get info() {
      return proxied.info;
    },
    lender: new ControlLender(options.controlPath),
    closed: proxied.closed,
    close: () => proxied.close(),
    end: (wish) => proxied.end(wish),
    rekey: () => proxied.rekey(),
    setRef: (refed) => proxied.setRef(refed),
  };
  return clientOver({
    transport,
    mux,
    signal: options.signal,
    way: { setRef: (refed) => refed ? socket.ref() : socket.unref() },
    place: `the ${named(options.controlPath)}`,
  });
}

function letGo(close: () => Promise<void>): void {
  held.delete(close);
  void close();
}
