/**
 * Places as people write them: `user@host:port`, `ssh://` URIs, the hops of ProxyJump, and the two ends of a forward. ssh(1). No I/O.
 *
 * @module
 */
import { parsePort } from "./numbers.ts";

/** A server, as somebody named it. */
export interface Destination {
  /** The user, where one is named. */
  readonly username: string | null;
  /** The host, or an alias of it. */
  readonly host: string;
  /** The port, where one is named. */
  readonly port: number | null;
}

/** `[user@]host[:port]`, with brackets around an IPv6 address, or a `ssh://` URI; null for what is neither. */
export function parseDestination(text: string): Destination | null {
  return /^ssh:\/\//i.test(text) ? parseUri(text.slice(6)) : parseUserHostPort(text);
}

function parseUri(text: string): Destination | null {
  const [, authority] = /^([^/?#]*)\/?$/.exec(text) ?? [];
  if (authority === undefined) return null;
  const at = authority.lastIndexOf("@");
  const place = parseHostPort(authority.slice(at + 1));
  if (place === null) return null;
  if (at === -1) return { username: null, ...place };
  // Parameters of the connection, which stand behind a semicolon, have no meaning here.
  const username = decodePercent(authority.slice(0, at).split(";")[0]!);
  return username === null || username === "" ? null : { username, ...place };
}

function decodePercent(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function parseUserHostPort(text: string): Destination | null {
  const at = text.lastIndexOf("@");
  if (at === 0) return null;
  const place = parseHostPort(text.slice(at + 1));
  return place === null ? null : { username: at === -1 ? null : text.slice(0, at), ...place };
}

function parseHostPort(text: string): { host: string; port: number | null } | null {
  const [, bracketed, bare, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text) ?? [];
  const host = bracketed ?? bare;
  // An IPv6 address has more colons than one, and none of them begins a port.
  if (host === undefined || host === "") {
    return /^[^[\]]*:[^[\]]*:[^[\]]*$/.test(text) ? { host: text, port: null } : null;
  }
  if (digits === undefined) return { host, port: null };
  if (bare !== undefined && digits.includes(":")) return /[[\]]/.test(text) ? null : { host: text, port: null };
  const port = parsePort(digits);
  return port === null || port === 0 ? null : { host, port };
}

/** Where a forward begins or ends: a port, of a host where one is named, or a path. */
export type ForwardEnd =
  | { readonly kind: "port"; readonly host: string | null; readonly port: number }
  | { readonly kind: "path"; readonly path: string };

/** A forward. */
export interface ForwardSpec {
  /** Where it listens. */
  readonly from: ForwardEnd;
  /** Where it leads; null for where SOCKS says. */
  readonly to: ForwardEnd | null;
}

/** LocalForward, RemoteForward or DynamicForward in one text, as `-L`, `-R` and `-D` have it; null for what is none. */
export function parseForward(
  text: string,
  { dynamic, remote }: { dynamic: boolean; remote: boolean },
): ForwardSpec | null {
  const fields = forwardFields(text.trimStart());
  if (fields === null) return null;
  const path = (i: number): ForwardEnd | null => fields[i]?.isPath ? { kind: "path", path: fields[i].text } : null;
  const port = (i: number, host: number | null): ForwardEnd | null => {
    const port = parsePort(fields[i]?.text ?? "");
    return port === null ? null : { kind: "port", host: host === null ? null : fields[host]!.text, port };
  };
  let from: ForwardEnd | null, to: ForwardEnd | null = null;
  const [first, second, third] = fields.map(({ isPath }) => isPath);
  if (fields.length === 1) from = path(0) ?? port(0, null);
  else if (fields.length === 2) {
    from = second ? path(0) ?? port(0, null) : port(1, 0);
    to = path(1);
  } else if (fields.length === 3) {
    from = first ? path(0) : third ? port(1, 0) : port(0, null);
    to = first || !third ? port(2, 1) : path(2);
  } else {
    from = port(1, 0);
    to = port(3, 2);
  }
  if (from === null || (dynamic ? fields.length > 2 || to !== null : to === null)) return null;
  if (from.kind === "port" && from.port === 0 && !remote || to?.kind === "port" && to.port === 0) return null;
  if (to?.kind === "port" && to.host !== null && to.host.length > 1024) return null;
  return { from, to };
}

/** One to four fields between colons, null for others: brackets keep colons together, and so does a backslash. */
function forwardFields(text: string): { readonly text: string; readonly isPath: boolean }[] | null {
  const fields: { text: string; isPath: boolean }[] = [];
  let at = 0;
  while (at < text.length) {
    if (fields.length === 4) return null;
    if (text[at] === "[") {
      const close = text.indexOf("]", at);
      if (close === -1 || close + 1 < text.length && text[close + 1] !== ":") return null;
      const inner = text.slice(at + 1, close);
      fields.push({ text: inner, isPath: inner.includes("/") });
      at = close + 2;
      continue;
    }
    let field = "";
    for (; at < text.length && text[at] !== ":"; at++) {
      if (text[at] === "\\" && ++at === text.length) return null;
      field += text[at];
    }
    at++;
    fields.push({ text: field, isPath: field.includes("/") });
  }
  return fields.length === 0 ? null : fields;
}

/** A forward's end as `ssh -G` shows it. */
export function showEnd(end: ForwardEnd | null): string {
  if (end === null) return "[socks]:0";
  if (end.kind === "path") return end.path;
  return end.host === null ? String(end.port) : `[${end.host}]:${end.port}`;
}
