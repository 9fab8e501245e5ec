/**
 * The URL of a proxy: what kind it is, where, and with which login. RFC 3986 section 3.2. No I/O.
 *
 * @module
 */
import { checkPort, wrongKind } from "../wire/check.ts";
import { ipv6Bytes, type ProxyTarget } from "./address.ts";

/** A proxy, as its URL says. */
export interface Proxy {
  /** What it speaks. */
  readonly kind: "socks5" | "socks4a" | "http";
  /** Name or address, an IPv6 one without brackets. */
  readonly hostname: string;
  /** TCP port. */
  readonly port: number;
  /** User, or null without a login. */
  readonly username: string | null;
  /** Empty where none is given. */
  readonly password: string;
}

const kinds: Readonly<Record<string, Pick<Proxy, "kind" | "port">>> = {
  "socks5:": { kind: "socks5", port: 1080 },
  "socks5h:": { kind: "socks5", port: 1080 },
  "socks4a:": { kind: "socks4a", port: 1080 },
  "http:": { kind: "http", port: 80 },
};

const WANTED = "a URL such as `socks5://user:password@host:1080`, `socks4a://host` or `http://host:3128`";

const byteLength = (text: string): number => new TextEncoder().encode(text).length;

/** Reads a URL. Throws `TypeError` and `RangeError`, in which nothing of it stands: it may hold a password. */
export function parseProxy(value: unknown, name = "proxy"): Proxy {
  const cannot = (why: string): TypeError => new TypeError(`Cannot use \`${name}\`: ${why}`);
  if (typeof value !== "string" && !(value instanceof URL)) throw wrongKind(name, value, WANTED);
  const text = String(value), scheme = /^([a-z][a-z\d+.-]*:)\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) throw cannot(`it must be ${WANTED}`);
  const known = Object.hasOwn(kinds, scheme) ? kinds[scheme]! : undefined;
  if (known === undefined) {
    const advice = scheme === "socks4:"
      ? "; write `socks4a://`, which leaves names to the proxy and is the same for IPv4 addresses"
      : scheme === "socks:"
      ? "; write `socks5://`"
      : "";
    throw cannot(`"${scheme.slice(0, 32)}//" is none of socks5://, socks5h://, socks4a:// and http://${advice}`);
  }
  const authority = /^[^/]*\/\/([^/?#]*)/.exec(text)![1]!;
  const written = /:(\d*)$/.exec(authority.slice(authority.lastIndexOf("@") + 1))?.[1] ?? "";
  if (written !== "") checkPort(Number(written), 1, `${name} (its port)`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw cannot(`it must be ${WANTED}; characters such as "@", ":" and "/" in a login are written %40, %3A and %2F`);
  }
  if (url.hostname === "") throw cannot("it names no host");
  if (!/^\/?$/.test(url.pathname) || url.search !== "" || url.hash !== "") {
    throw cannot('a proxy has no path; a "/", "?" or "#" in a login is written %2F, %3F and %23');
  }
  let hostname: string, username: string, password: string;
  try {
    [hostname, username, password] = [url.hostname, url.username, url.password].map(decodeURIComponent) as [
      string,
      string,
      string,
    ];
  } catch {
    throw cannot('its login has a "%" that begins no percent-encoded UTF-8: a "%" itself is written %25');
  }
  // deno-lint-ignore no-control-regex
  if (/[\s\u0000-\u001f\u007f]/.test(hostname)) throw cannot("the name of its host has spaces or control characters");
  const proxy: Proxy = {
    kind: known.kind,
    hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: written === "" ? known.port : Number(written),
    username: username === "" && password === "" ? null : username,
    password,
  };
  checkLogin(proxy, cannot);
  return proxy;
}

function checkLogin({ kind, username, password }: Proxy, cannot: (why: string) => TypeError): void {
  if (username === null) return;
  if (kind === "socks5") {
    for (const [part, text] of Object.entries({ "user name": username, password })) {
      const length = byteLength(text);
      if (length > 255) throw cannot(`SOCKS5 carries 255 bytes of a ${part} at most, and not ${length}`);
    }
    if (username === "") throw cannot("SOCKS5 has no login without a user name");
  } else if (kind === "socks4a") {
    if (password !== "") throw cannot("SOCKS4 knows user names but no passwords");
    if (username.includes("\0")) throw cannot("SOCKS4 carries no zero bytes");
    if (byteLength(username) > 255) throw cannot("a user name of SOCKS4 has 255 bytes at most");
  } else {
    if (username.includes(":")) throw cannot("Basic authentication has no user names with a colon");
    // deno-lint-ignore no-control-regex
    if (/[\u0000-\u001f\u007f]/.test(username + password)) {
      throw cannot("Basic authentication has no control characters");
    }
    if (byteLength(username) + byteLength(password) > 4_096) {
      throw cannot("a login of 4,096 bytes is the longest that a header of HTTP can be trusted with");
    }
  }
}

/** Throws `TypeError` for a host that cannot be asked for in the words of the proxy. */
export function checkTarget({ kind }: Proxy, { hostname }: ProxyTarget): void {
  const cannot = `Cannot connect through a ${kind === "http" ? "HTTP" : "SOCKS"} proxy:`;
  // deno-lint-ignore no-control-regex
  if (/[\s\u0000-\u001f\u007f]/.test(hostname)) {
    throw new TypeError(`${cannot} a name of a host has no spaces and no control characters`);
  }
  const length = byteLength(hostname);
  if (length > 255) throw new TypeError(`${cannot} names of hosts have 255 bytes at most, and not ${length}`);
  if (kind === "socks4a" && ipv6Bytes(hostname) !== null) {
    throw new TypeError(`${cannot} SOCKS4 knows no IPv6 addresses; use one that speaks SOCKS5`);
  }
}
