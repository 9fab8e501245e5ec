/**
 * What the messages of forwards carry behind their fixed fields, declared in wire order. RFC 4254 sections 7.1 and 7.2, OpenSSH
 * PROTOCOL 2.4. Names and paths are taken as bytes, and ports as any uint32: whoever acts on them judges them, as a value that makes
 * no sense is refused and ends no connection. No I/O.
 *
 * @module
 */
import { bytes, byteText, type Codec, codec, type Field, u32 } from "../wire/codec.ts";

function data<const F extends Record<string, Field<unknown>>>(name: string, fields: F): Codec<F> {
  return codec(name, fields, `data of "${name}"`);
}

/** RFC 4254 section 7.2: the client wants the server to connect to `host`. */
export const DirectTcpip = data("direct-tcpip", {
  host: byteText,
  port: u32,
  originHost: byteText,
  originPort: u32,
});
/** RFC 4254 section 7.2: somebody has connected to `address`, where the server listens for the client. */
export const ForwardedTcpip = data("forwarded-tcpip", {
  address: byteText,
  port: u32,
  originHost: byteText,
  originPort: u32,
});
/** RFC 4254 section 7.1: the client wants the server to listen. */
export const TcpipForward = data("tcpip-forward", { address: byteText, port: u32 });
/** RFC 4254 section 7.1: the reply where port 0 was asked for. */
export const TcpipForwardReply = data("tcpip-forward reply", { port: u32 });
/** RFC 4254 section 7.1: as {@linkcode TcpipForward}, with the port that the server listens on. */
export const CancelTcpipForward = data("cancel-tcpip-forward", { address: byteText, port: u32 });

/** OpenSSH PROTOCOL 2.4: the client wants the server to connect to a Unix socket. The rest is reserved, and anything may be in it. */
export const DirectStreamlocal = data("direct-streamlocal@openssh.com", {
  path: byteText,
  reserved: bytes,
  reservedNumber: u32,
});
/** OpenSSH PROTOCOL 2.4: somebody has connected to a Unix socket where the server listens. */
export const ForwardedStreamlocal = data("forwarded-streamlocal@openssh.com", { path: byteText, reserved: bytes });
/** OpenSSH PROTOCOL 2.4: the client wants the server to listen on a Unix socket. */
export const StreamlocalForward = data("streamlocal-forward@openssh.com", { path: byteText });
/** OpenSSH PROTOCOL 2.4: and no longer. */
export const CancelStreamlocalForward = data("cancel-streamlocal-forward@openssh.com", { path: byteText });

/** Whether a number of the wire is a TCP port. Port 0 is one that is to be chosen. */
export function isPort(port: number): boolean {
  return port <= 0xffff;
}

/** Bytes of a host name or an address that make sense: what DNS has is 255 bytes at most. */
export const MAX_HOST = 1025;
/** Bytes of a Unix socket's path that make sense: systems take 108, and paths from a link elsewhere are no longer than this. */
export const MAX_PATH = 4096;
