/**
 * Files of X cookies: Xau(3), `Xauthority`. Entries of a family, an address, a display's number, a name and a secret, each behind its
 * length in two bytes. No I/O.
 *
 * @module
 */
import { concat, equals } from "@std/bytes";
import { ipv4Bytes, ipv6Bytes } from "../proxy/address.ts";
import type { Bytes } from "../wire/types.ts";

/** The way to prove oneself to a display that is known here: the secret itself. */
export const MAGIC_COOKIE = "MIT-MAGIC-COOKIE-1";

/** Kinds of addresses. */
const Family = { INTERNET: 0, INTERNET6: 6, LOCAL: 256, WILD: 65_535 } as const;

/** One cookie. */
export interface AuthorityEntry {
  readonly family: number;
  readonly address: Uint8Array;
  readonly number: string;
  readonly name: string;
  readonly data: Bytes;
}

const utf8 = new TextEncoder(), latin = new TextDecoder("latin1");

/** The entries of a file. What follows an entry that is cut short is none, as for the programs of X. */
export function parseAuthority(file: Uint8Array): AuthorityEntry[] {
  const entries: AuthorityEntry[] = [], view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  const field = (): Uint8Array | null => {
    if (at + 2 > file.length) return null;
    const start = at + 2, end = start + view.getUint16(at);
    at = end;
    return end > file.length ? null : file.subarray(start, end);
  };
  while (at + 2 <= file.length) {
    const family = view.getUint16(at);
    at += 2;
    const [address, number, name, data] = [field(), field(), field(), field()];
    if (!address || !number || !name || !data) break;
    entries.push({ family, address, number: latin.decode(number), name: latin.decode(name), data: data.slice() });
  }
  return entries;
}

/** A file with one cookie, for a display wherever it may be. */
export function authorityFor(number: string, name: string, data: Uint8Array): Bytes {
  const part = (bytes: Uint8Array): Uint8Array[] => [pair(bytes.length), bytes];
  return concat([pair(Family.WILD), pair(0), ...[utf8.encode(number), utf8.encode(name), data].flatMap(part)]);
}

function pair(value: number): Uint8Array {
  return new Uint8Array([value >> 8, value & 0xff]);
}

/**
 * The cookie for a display of this machine (`address` null), or for the one at an IP address; null where there is none. `host` is asked for
 * this machine's name where several could be meant: home folders are shared among machines.
 */
export function findCookie(
  entries: readonly AuthorityEntry[],
  number: string,
  address: string | null,
  host: () => string | null,
): Bytes | null {
  const fitting = entries.filter((entry) => entry.name === MAGIC_COOKIE && ["", number].includes(entry.number));
  const named = (family: number, bytes: Uint8Array): AuthorityEntry | undefined =>
    fitting.find((entry) => entry.family === family && equals(entry.address, bytes));
  const wild = fitting.find(({ family }) => family === Family.WILD);
  if (address !== null && !isLoopback(address)) {
    const four = ipv4Bytes(address.replace(/^::ffff:(?=\d+\.)/i, "")), six = ipv6Bytes(address);
    const found = four !== null
      ? named(Family.INTERNET, four)
      : six !== null
      ? named(Family.INTERNET6, six)
      : undefined;
    return (found ?? wild)?.data ?? null;
  }
  const local = fitting.filter(({ family }) => family === Family.LOCAL);
  if (local.length < 2) return (local[0] ?? wild)?.data ?? null;
  const own = host();
  return ((own === null ? undefined : named(Family.LOCAL, utf8.encode(own))) ?? wild)?.data ?? null;
}

function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\./i.test(address) || address === "::1";
}
