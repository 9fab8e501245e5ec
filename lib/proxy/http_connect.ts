/**
 * HTTP's CONNECT from the side of a client: RFC 9110 section 9.3.6, with Basic authentication (RFC 7617). No I/O of its own.
 *
 * @module
 */
import { printable } from "../errors.ts";
import type { ProxyTarget } from "./address.ts";
import { proxyError, type ProxyStreams } from "./proxy_streams.ts";
import type { Proxy } from "./proxy_url.ts";
import { toBase64 } from "../wire/base_text.ts";

/** Bytes of status lines and headers that a proxy may send before it has connected. */
export const MAX_HEAD = 16_384;

const LF = 10, CR = 13;

/** Asks for the connection, and resolves when it is there. */
export async function askHttp(streams: ProxyStreams, proxy: Proxy, target: ProxyTarget): Promise<void> {
  const { username, password } = proxy;
  const authority = `${target.hostname.includes(":") ? `[${target.hostname}]` : target.hostname}:${target.port}`;
  const login = username === null ? null : toBase64(new TextEncoder().encode(`${username}:${password}`));
  const lines = [
    `CONNECT ${authority} HTTP/1.1`,
    `Host: ${authority}`,
    ...login === null ? [] : [`Proxy-Authorization: Basic ${login}`],
  ];
  streams.write(new TextEncoder().encode(lines.map((line) => `${line}\r\n`).join("") + "\r\n"));
  let left = MAX_HEAD;
  for (;;) {
    const { statusLine, length } = await readHead(streams, left);
    left -= length;
    const [, status, reason = ""] = /^HTTP\/\d\.\d +(\d{3})(?: +(.*))?$/.exec(statusLine) ?? [];
    // What a proxy says may hold what it was told.
    const secrets = [login, password].filter((text) => text !== null && text !== "") as string[];
    const clean = (text: string): string =>
      printable(secrets.reduce((rest, secret) => rest.replaceAll(secret, "…"), text), 128);
    if (status === undefined) throw proxyError(`what answers is no HTTP proxy: it began with "${clean(statusLine)}"`);
    if (status.startsWith("1")) continue;
    if (status.startsWith("2")) return;
    const answer = `"${clean(`${status} ${reason}`.trim())}"`;
    if (status !== "407") throw proxyError(`the proxy refused: it answered ${answer}`);
    throw proxyError(
      username === null
        ? `the proxy wants a login (${answer}): write it into the URL, \`http://user:password@host\``
        : `the proxy refused the login, or wants one other than Basic: it answered ${answer}`,
    );
  }
}

/** Reads up to the empty line, and not beyond. Lines end with CRLF, or with LF alone. */
async function readHead(streams: ProxyStreams, limit: number): Promise<{ statusLine: string; length: number }> {
  const head = new Uint8Array(limit);
  let length = 0, newlines = 0;
  while (newlines < 2) {
    if (length === limit) throw proxyError(`the proxy answers with more than ${MAX_HEAD} bytes of headers`);
    // The shortest end that may come: a line feed, with another one before it or not.
    const chunk = await streams.readSome(Math.min(2 - newlines, limit - length));
    for (const byte of chunk) {
      if (byte === LF) newlines++;
      else if (byte !== CR) newlines = 0;
    }
    head.set(chunk, length);
    length += chunk.length;
    // A server of something else waits for words of ours after its own.
    const start = text(head.subarray(0, Math.min(length, 5)));
    if (!"HTTP/".startsWith(start)) {
      throw proxyError(`what answers is no HTTP proxy: it began with "${printable(start)}"`);
    }
  }
  const end = head.indexOf(LF);
  return { statusLine: text(head.subarray(0, end)).replace(/\r+$/, ""), length };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
