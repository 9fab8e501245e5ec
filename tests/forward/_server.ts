/**
 * Test support. A client's paths over a server in memory that grants what it is asked for: it connects to whatever answers a target, and
 * "listens" by keeping the request, so that a test opens the connections of it.
 */
import type { ChannelOpenError } from "../../lib/errors.ts";
import { acceptConn, openConn, type SshConn } from "../../lib/forward/conn.ts";
import { ClientForwards } from "../../lib/forward/client.ts";
import {
  CancelTcpipForward,
  DirectStreamlocal,
  DirectTcpip,
  ForwardedStreamlocal,
  ForwardedTcpip,
  StreamlocalForward,
  TcpipForward,
} from "../../lib/forward/messages.ts";
import { Writer } from "../../lib/wire/writer.ts";
import type { Bytes, MaybePromise } from "../../lib/wire/types.ts";
import type { MuxOptions } from "../../lib/connection/mux.ts";
import { type JoinedMuxes, joinedMuxes } from "../_support/joined_muxes.ts";

/** Where a client wanted to go. */
export interface Dialled {
  readonly host: string;
  readonly port: number;
  readonly from: string;
}

/** A client, and a server in memory. */
export interface PathServer extends JoinedMuxes {
  readonly forwards: ClientForwards;
  /** Ends the connection: as one that is lost where there is an error. */
  end(error?: Error): void;
  /** What was dialled. */
  readonly dialled: Dialled[];
  /** Requests and cancellations, as `listen localhost 80`. */
  readonly asked: string[];
  /** Answers a request to listen on a port. */
  onListen: (address: string, port: number) => MaybePromise<Bytes | boolean>;
  /** Answers the cancellation of one. */
  onCancel: () => MaybePromise<boolean>;
  /** Somebody connects where the server listens. */
  connect(address: string, port: number, from?: Deno.NetAddr): Promise<SshConn>;
  /** Somebody connects to a Unix socket there. */
  connectUnix(path: string): Promise<SshConn>;
}

/** The reply that tells a port. */
export function portReply(port: number): Bytes {
  return new Writer().u32(port).bytes();
}

const origin: Deno.NetAddr = { transport: "tcp", hostname: "192.0.2.7", port: 4321 };

/** `answer` serves each connection that the client opens; it throws `ChannelOpenError` to refuse. */
export function pathServer(
  answer: (conn: SshConn, to: Dialled) => unknown = (conn) => conn.readable.pipeTo(conn.writable).catch(() => {}),
  refuse: (to: Dialled) => ChannelOpenError | null = () => null,
  options: { client?: MuxOptions; server?: MuxOptions } = {},
): PathServer {
  const muxes = joinedMuxes({
    client: { maxChannels: 5000, ...options.client },
    server: { maxChannels: 5000, ...options.server },
  });
  const closed = Promise.withResolvers<void>(), { server } = muxes;
  const dialled: Dialled[] = [], asked: string[] = [];
  const accept = (id: number, to: Dialled) => {
    dialled.push(to);
    const error = refuse(to);
    if (error !== null) throw error;
    const { channel, conn } = acceptConn(id, { localAddr: origin, remoteAddr: origin });
    return { channel, opened: () => void answer(conn, to) };
  };
  server.onChannel("direct-tcpip", ({ id, data }) => {
    const { host, port, originHost, originPort } = DirectTcpip.decode(data);
    return accept(id, { host, port, from: `${originHost} ${originPort}` });
  });
  server.onChannel("direct-streamlocal@openssh.com", ({ id, data }) => {
    return accept(id, { host: DirectStreamlocal.decode(data).path, port: 0, from: "" });
  });
  server.onRequest("tcpip-forward", (data) => {
    const { address, port } = TcpipForward.decode(data);
    asked.push(`listen ${address} ${port}`);
    return made.onListen(address, port);
  });
  server.onRequest("cancel-tcpip-forward", (data) => {
    const { address, port } = CancelTcpipForward.decode(data);
    asked.push(`cancel ${address} ${port}`);
    return made.onCancel();
  });
  for (const what of ["streamlocal-forward", "cancel-streamlocal-forward"]) {
    server.onRequest(`${what}@openssh.com`, (data) => {
      asked.push(`${what === "streamlocal-forward" ? "listen" : "cancel"} ${StreamlocalForward.decode(data).path}`);
      return true;
    });
  }
  const made: PathServer = {
    ...muxes,
    forwards: new ClientForwards(muxes.client, closed.promise),
    end(error) {
      muxes.transports.client.finish(error ?? null);
      error === undefined ? closed.resolve() : closed.reject(error);
    },
    dialled,
    asked,
    onCancel: () => true,
    onListen: (_address, port) => port === 0 ? portReply(4711) : true,
    connect: (address, port, from = origin) =>
      openConn(
        server,
        "forwarded-tcpip",
        ForwardedTcpip.encode({ address, port, originHost: from.hostname, originPort: from.port }),
        { localAddr: origin, remoteAddr: origin },
      ),
    connectUnix: (path) =>
      openConn(
        server,
        "forwarded-streamlocal@openssh.com",
        ForwardedStreamlocal.encode({ path, reserved: new Uint8Array(0) }),
        { localAddr: origin, remoteAddr: origin },
      ),
  };
  return made;
}
