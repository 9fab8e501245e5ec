/**
 * Names of displays, as DISPLAY has them: X(7), "Display names". No I/O.
 *
 * @module
 */

/** Where a display is. */
export interface Display {
  /** Number of the display on its host. */
  readonly number: string;
  /** Number of the screen. */
  readonly screen: number;
  /** The host, or the paths at which a socket of this machine may be, the likeliest first. */
  readonly at: { readonly hostname: string; readonly port: number } | { readonly paths: readonly string[] };
}

/** TCP port of display 0. */
export const X11_PORT = 6000;
const FOLDER = "/tmp/.X11-unix";

/** Reads a name, such as `:0`, `host:0.1` or `/folder/org.xquartz:0`; null where it is none. */
export function parseDisplay(name: string): Display | null {
  const [, front, number, screen = "0"] = /^([^\0]*):(\d{1,5})(?:\.(\d{1,5}))?$/.exec(name) ?? [];
  if (front === undefined || number === undefined || Number(screen) > 0xffff) return null;
  const rest = { number: String(Number(number)), screen: Number(screen) };
  // A path may well end in what looks like a screen.
  if (front.startsWith("/")) return { ...rest, at: { paths: [...new Set([name, `${front}:${number}`])] } };
  const [, protocol = "", host = ""] = /^(?:([a-z0-9]*)\/)?(.*)$/s.exec(front)!;
  if (!["", "unix", "local", "tcp", "inet", "inet6"].includes(protocol)) return null;
  if (protocol === "unix" || protocol === "local" || protocol === "" && (host === "" || host === "unix")) {
    return { ...rest, at: { paths: [`${FOLDER}/X${rest.number}`] } };
  }
  const port = X11_PORT + Number(number), hostname = /^\[.*\]$/s.test(host) ? host.slice(1, -1) : host;
  // Two colons are DECnet's.
  if (port > 0xffff || hostname.endsWith(":") && !hostname.endsWith("::")) return null;
  return { ...rest, at: { hostname: hostname === "" ? "localhost" : hostname, port } };
}
