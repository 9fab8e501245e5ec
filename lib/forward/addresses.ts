/**
 * Addresses as forwards name them: how one is written, and whether a listener's address covers the one that a connection came to.
 * RFC 4254 section 7.1. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { ipv4Bytes, ipv6Bytes } from "../proxy/address.ts";

/** An IPv6 address without the brackets that URLs put around it. */
export function withoutBrackets(hostname: string): string {
  return /^\[[^\]]*:[^\]]*\]$/.test(hostname) ? hostname.slice(1, -1) : hostname;
}

/** Where something leads or listens, for an error. */
export function placeOf(
  where: { readonly hostname: string; readonly port: number } | { readonly path: string },
): string {
  return "path" in where ? `"${printable(where.path, 256)}"` : `"${printable(where.hostname, 256)}" port ${where.port}`;
}

/** An IPv4 address of four bytes. */
export function ipv4Text(bytes: Uint8Array): string {
  return bytes.join(".");
}

/** An IPv6 address of sixteen bytes, in its shortest form. */
export function ipv6Text(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8 | bytes[i + 1]!).toString(16));
  return canonical(groups.join(":"));
}

/** An address in its one canonical form; a name in small letters. A zone behind an IPv6 address stays. */
function canonical(address: string): string {
  const [, ipv6 = "", zone = ""] = /^([^%]*:[^%]*)(%.*)?$/.exec(address) ?? [];
  if (ipv6 === "") return address.toLowerCase();
  const url = URL.parse(`http://[${ipv6}]/`);
  if (url === null) return address.toLowerCase();
  const text = url.hostname.slice(1, -1);
  // An IPv4 address that a socket of both families shows.
  const mapped = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(text);
  if (mapped === null) return text + zone;
  const high = parseInt(mapped[1]!, 16), low = parseInt(mapped[2]!, 16);
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** Whether a host to connect to is an address, and needs no look-up. */
export function isAddress(host: string): boolean {
  return ipv4Bytes(host) !== null || ipv6Bytes(host) !== null;
}

/** Whether an address to listen at needs no look-up: it is one, or stands for some as RFC 4254 section 7.1 has it. */
export function isBindable(address: string): boolean {
  const name = address.toLowerCase();
  return everywhere.includes(name) || name === "localhost" || ipv4Bytes(name) !== null ||
    ipv6Bytes(name.replace(/%[\w.-]+$/, "")) !== null;
}

/** Every address, as RFC 4254 section 7.1 and OpenSSH write that. */
const everywhere = ["", "0.0.0.0", "::", "*"];

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127(?:\.\d{1,3}){3}$/.test(address);
}

function isNumeric(address: string): boolean {
  return address.includes(":") || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(address);
}

/**
 * Whether a listener that was asked for at `asked` may have got a connection that came to `connected`. Servers name there what they were
 * asked for (OpenSSH, Dropbear, AsyncSSH), what they made of it, or the address that somebody has connected to, as the RFC has it.
 */
export function covers(asked: string, connected: string): boolean {
  if (asked === connected) return true;
  const from = canonical(asked), to = canonical(connected);
  if (from === to || everywhere.includes(from) || everywhere.includes(to)) return true;
  if (from === "localhost") return isLoopback(to);
  if (to === "localhost") return isLoopback(from);
  // What a name of the far end's stands for, only the far end knows.
  return !isNumeric(from);
}
