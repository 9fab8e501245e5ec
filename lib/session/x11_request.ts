/**
 * What a client says of the display that it lends. RFC 4254 section 6.3.1. No I/O.
 *
 * @module
 */
import { X11Req } from "./messages.ts";

/** The display of a client. */
export interface X11Request {
  /** Whether the first connection is to be the only one. */
  readonly single: boolean;
  /** Name of the way to prove oneself there. */
  readonly protocol: string;
  /** The secret for it, as hexadecimal digits. */
  readonly cookie: string;
  /** Number of the screen. */
  readonly screen: number;
}

/** Screens of a display that make sense. */
const MAX_SCREEN = 0xffff;

/**
 * Reads the data of an x11-req; null where it has what no display has. What it says ends up in command lines and files: it may hold
 * nothing but what stands for itself there. Throws `SshProtocolError` where it is malformed.
 */
export function readX11Request(data: Uint8Array): X11Request | null {
  const { single, protocol, cookie, screen } = X11Req.decode(data);
  if (!/^[A-Za-z0-9][A-Za-z0-9.:\/_-]{0,127}$/.test(protocol) || screen > MAX_SCREEN) return null;
  return /^(?:[0-9a-f]{2}){1,256}$/i.test(cookie) ? { single, protocol, cookie, screen } : null;
}
