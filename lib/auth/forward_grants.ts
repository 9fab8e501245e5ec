/**
 * Whether what a client asks for is a forward that its login forbids: `permitopen=`, `permitlisten=` and `no-port-forwarding` of
 * authorized_keys (sshd(8)). RFC 4254 sections 7.1 and 7.2, OpenSSH PROTOCOL sections 2.3 and 2.4. No I/O.
 *
 * @module
 */
import { Reader } from "../wire/reader.ts";
import type { Grants } from "./grants.ts";

/** A way of forwarding; what has no port fits no pattern. */
type Forward = { readonly hostname: string; readonly port: number } | null;

/** Channel types and global requests that forward, by the direction that a grant speaks of. */
const forwards: Readonly<Record<"open" | "listen", Readonly<Record<string, (data: Uint8Array) => Forward>>>> = {
  open: { "direct-tcpip": address, "direct-streamlocal@openssh.com": () => null, "tun@openssh.com": () => null },
  listen: { "tcpip-forward": address, "streamlocal-forward@openssh.com": () => null },
};

/** Throws `SshProtocolError` where there is none. */
function address(data: Uint8Array): Forward {
  const reader = new Reader(data);
  return { hostname: reader.text(), port: reader.u32() };
}

/**
 * Whether a channel of a type, or a global request of a name, is a forward that one of the grants forbids. A grant that says nothing
 * forbids nothing, and one that lists patterns forbids all else, the direction that it leaves out included. Throws `SshProtocolError` for
 * a forward without an address.
 */
export function forbidsForward(grants: Grants, direction: "open" | "listen", name: string, data: Uint8Array): boolean {
  if (!Object.hasOwn(forwards[direction], name)) return false;
  const said = grants.portForwarding;
  if (said.every((one) => one === true)) return false;
  const forward = forwards[direction][name]!(data);
  return !said.every((one) => one === true || one !== false && fits(one[direction] ?? [], forward));
}

/** `host:port`, where either may be `*`, and an IPv6 address stands in brackets. */
function fits(patterns: readonly string[], forward: Forward): boolean {
  if (forward === null) return false;
  return patterns.some((pattern) => {
    const [, host, port] = /^(.*):([^:]*)$/s.exec(pattern) ?? [];
    if (host === undefined || port === undefined) return false;
    const bare = /^\[.*\]$/s.test(host) ? host.slice(1, -1) : host;
    return (bare === "*" || bare.toLowerCase() === forward.hostname.toLowerCase()) &&
      (port === "*" || port === String(forward.port));
  });
}
