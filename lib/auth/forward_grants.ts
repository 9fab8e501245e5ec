/**
 * What the grants of a login say of a forward: `permitopen=`, `permitlisten=` and `no-port-forwarding` of authorized_keys (sshd(8)).
 * RFC 4254 sections 7.1 and 7.2, OpenSSH PROTOCOL sections 2.3 and 2.4. No I/O.
 *
 * @module
 */
import { wildcardMatch } from "../keys/trust/host_patterns.ts";
import { Reader } from "../wire/reader.ts";
import type { Grants } from "./grants.ts";

/** What a client asks for: to connect (`direct`) or to listen, at a port or at a Unix socket. */
export type ForwardRequest =
  | { readonly kind: "direct" | "listen"; readonly hostname: string; readonly port: number }
  | { readonly kind: "direct-unix" | "listen-unix"; readonly path: string };

/** A forward by the direction that a grant speaks of: an address, a path, or something that fits no pattern. */
type Forward = { readonly hostname: string; readonly port: number } | { readonly path: string } | null;

/** Channel types and global requests that forward, by the direction that a grant speaks of. */
const forwards: Readonly<Record<"open" | "listen", Readonly<Record<string, (data: Uint8Array) => Forward>>>> = {
  open: { "direct-tcpip": address, "direct-streamlocal@openssh.com": path, "tun@openssh.com": () => null },
  listen: { "tcpip-forward": address, "streamlocal-forward@openssh.com": path },
};

/** Throws `SshProtocolError` where there is none. */
function address(data: Uint8Array): Forward {
  const reader = new Reader(data);
  return { hostname: reader.text(), port: reader.u32() };
}

/** Throws `SshProtocolError` where there is none. */
function path(data: Uint8Array): Forward {
  return { path: new Reader(data).text() };
}

/**
 * Whether a channel of a type, or a global request of a name, is a forward that one of the grants forbids. A grant that says nothing
 * forbids nothing, and one that lists patterns forbids all else, the direction that it leaves out included. Throws `SshProtocolError` for
 * a forward without an address.
 */
export function forbidsForward(grants: Grants, direction: "open" | "listen", name: string, data: Uint8Array): boolean {
  if (!Object.hasOwn(forwards[direction], name)) return false;
  if (grants.portForwarding.every((one) => one === true) && grants.forwardOnly(direction).length === 0) return false;
  return forbids(grants, direction, forwards[direction][name]!(data));
}

function forbids(grants: Grants, direction: "open" | "listen", forward: Forward): boolean {
  const allowed = grants.portForwarding.every((one) =>
    one === true || one !== false && (one[direction] ?? []).some((pattern) => fits(pattern, forward))
  );
  const matches = direction === "listen" ? wildcardMatch : isHost;
  return !allowed ||
    !grants.forwardOnly(direction).every((patterns) => patterns.some((pattern) => fits(pattern, forward, matches)));
}

/** Ports from here on are anybody's to listen on. */
const FIRST_FREE_PORT = 1024;
/** Addresses that only programs of this machine reach. */
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i;

/**
 * What the grants of a login say of a forward: a forbidden one stays forbidden whatever anybody else says, and an allowed one needs
 * nobody else to allow it. Where they say nothing, or not enough, it is `unsaid`: `true` and patterns with `*` speak of ports that anybody
 * may listen on, not of those below 1024, and of the loopback addresses, not of those that a network reaches, as with `GatewayPorts no` of
 * sshd: both have to be named. `true` does not speak of Unix sockets: the server opens them with rights of its own.
 */
export function grantsSay(grants: Grants, request: ForwardRequest): "forbidden" | "allowed" | "unsaid" {
  const direction = request.kind === "direct" || request.kind === "direct-unix" ? "open" : "listen";
  const forward = "path" in request ? { path: request.path } : { hostname: request.hostname, port: request.port };
  if (forbids(grants, direction, forward)) return "forbidden";
  const lists = grants.portForwarding.flatMap((one) => typeof one === "boolean" ? [] : [one[direction] ?? []]);
  if ("path" in forward) return lists.length > 0 ? "allowed" : "unsaid";
  if (grants.portForwarding.length === 0) return "unsaid";
  const isFree = forward.port === 0 || forward.port >= FIRST_FREE_PORT, isLocal = LOOPBACK.test(forward.hostname);
  if (direction === "open" || isFree && isLocal) return "allowed";
  const named = (pattern: string): boolean =>
    (isFree || !pattern.endsWith(":*")) && (isLocal || !pattern.startsWith("*:")) && fits(pattern, forward);
  return lists.some((patterns) => patterns.some(named)) ? "allowed" : "unsaid";
}

/** `host:port`, where either may be `*` and an IPv6 address stands in brackets, or the path of a Unix socket. */
function fits(pattern: string, forward: Forward, matches = isHost): boolean {
  if (forward === null) return false;
  if ("path" in forward) return pattern.startsWith("/") && pattern === forward.path;
  const [, host, port] = /^(.*):([^:]*)$/s.exec(pattern) ?? [];
  if (host === undefined || port === undefined || pattern.startsWith("/")) return false;
  const bare = /^\[.*\]$/s.test(host) ? host.slice(1, -1) : host;
  return matches(forward.hostname.toLowerCase(), bare.toLowerCase()) && (port === "*" || port === String(forward.port));
}

function isHost(host: string, pattern: string): boolean {
  return pattern === "*" || pattern === host;
}
