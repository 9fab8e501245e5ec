/**
 * SOCKS from the side of a client: version 5 (RFC 1928, RFC 1929), and version 4 with names (4a). Names are resolved by the
 * proxy. No I/O of its own.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { printable, type SshError } from "../errors.ts";
import { ipv4Bytes, ipv6Bytes, type ProxyTarget } from "./address.ts";
import { proxyError, type ProxyStreams } from "./proxy_streams.ts";
import type { Proxy } from "./proxy_url.ts";

/** RFC 1928 section 6. */
const replies: Readonly<Record<number, string>> = {
  1: "general failure",
  2: "not allowed by its rules",
  3: "network unreachable",
  4: "host unreachable",
  5: "connection refused",
  6: "time to live expired",
  7: "command not supported",
  8: "address type not supported",
};

const replies4: Readonly<Record<number, string>> = {
  91: "rejected or failed",
  92: "it cannot reach the ident service of this machine",
  93: "the ident service of this machine names another user",
};

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function withLength(bytes: Uint8Array): Uint8Array {
  return concat([Uint8Array.of(bytes.length), bytes]);
}

function portBytes(port: number): Uint8Array {
  return Uint8Array.of(port >> 8, port & 0xff);
}

function notSocks(version: number, first: Uint8Array): SshError {
  const text = printable(String.fromCharCode(...first));
  const advice = first[0] === 0x48 ? ", as HTTP begins: is it `http://`?" : "";
  return proxyError(`what answers is no SOCKS${version} proxy: it began with "${text}"${advice}`);
}

/** Asks for the connection, and resolves when it is there. */
export async function askSocks5(streams: ProxyStreams, proxy: Proxy, target: ProxyTarget): Promise<void> {
  const { username, password } = proxy;
  streams.write(username === null ? Uint8Array.of(5, 1, 0) : Uint8Array.of(5, 2, 0, 2));
  const choice = await streams.read(2), method = choice[1];
  if (choice[0] !== 5) throw notSocks(5, choice);
  if (method === 0xff || method === 2 && username === null) {
    throw proxyError(
      username === null
        ? "the proxy wants a login: write it into the URL, `socks5://user:password@host`"
        : "the proxy takes neither a user name with a password nor nobody at all",
    );
  }
  if (method !== 0 && method !== 2) {
    throw proxyError(`the proxy chose method ${method} of logging in, which was not offered`);
  }
  if (method === 2) {
    streams.write(concat([Uint8Array.of(1), withLength(encode(username!)), withLength(encode(password))]));
    // Some say version 5 here.
    const status = (await streams.read(2))[1];
    if (status !== 0) throw proxyError(`the proxy refused the login (status ${status})`);
  }
  const { hostname, port } = target, v4 = ipv4Bytes(hostname), v6 = ipv6Bytes(hostname);
  const address = v4 !== null
    ? [Uint8Array.of(1), v4]
    : v6 !== null
    ? [Uint8Array.of(4), v6]
    : [Uint8Array.of(3), withLength(encode(hostname))];
  streams.write(concat([Uint8Array.of(5, 1, 0), ...address, portBytes(port)]));
  const [version, reply] = await streams.read(2);
  if (version !== 5) throw notSocks(5, Uint8Array.of(version!, reply!));
  // What refuses may leave the address out.
  if (reply !== 0) throw proxyError(`the proxy refused: ${replies[reply!] ?? "unknown reason"} (${reply})`);
  const type = (await streams.read(2))[1];
  const length = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? (await streams.read(1))[0]! : null;
  if (length === null) throw proxyError(`the proxy named an address of type ${type}, which SOCKS5 does not have`);
  await streams.read(length + 2);
}

/** Asks for the connection, and resolves when it is there. */
export async function askSocks4a(streams: ProxyStreams, proxy: Proxy, target: ProxyTarget): Promise<void> {
  const { hostname, port } = target, v4 = ipv4Bytes(hostname), end = Uint8Array.of(0);
  streams.write(concat([
    Uint8Array.of(4, 1),
    portBytes(port),
    // An address that is none says that a name follows.
    v4 ?? Uint8Array.of(0, 0, 0, 1),
    encode(proxy.username ?? ""),
    end,
    ...v4 === null ? [encode(hostname), end] : [],
  ]));
  const answer = await streams.read(2), code = answer[1]!;
  if (answer[0] !== 0) throw notSocks(4, answer);
  if (code !== 90) throw proxyError(`the proxy refused: ${replies4[code] ?? "unknown reason"} (${code})`);
  await streams.read(6);
}
