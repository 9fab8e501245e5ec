/**
 * Addresses as SOCKS carries them: RFC 1928 section 5. No I/O.
 *
 * @module
 */

/** Where a proxy is asked to connect to. */
export interface ProxyTarget {
  /** Name or address, an IPv6 one without brackets. */
  readonly hostname: string;
  /** TCP port. */
  readonly port: number;
}

/** The four bytes of an IPv4 address, or null. */
export function ipv4Bytes(text: string): Uint8Array | null {
  if (!/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) return null;
  const parts = text.split(".").map(Number);
  return parts.every((part) => part <= 255) ? new Uint8Array(parts) : null;
}

/** The sixteen bytes of an IPv6 address, or null; one with a zone is none that another machine knows. */
export function ipv6Bytes(text: string): Uint8Array | null {
  if (!/^[\da-f:.]+$/i.test(text) || !text.includes(":")) return null;
  let canonical: string;
  try {
    canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  } catch {
    return null;
  }
  const [front, back] = canonical.split("::").map((half) => half === "" ? [] : half.split(":"));
  const gap = back === undefined ? [] : new Array<string>(8 - front!.length - back.length).fill("0");
  const bytes = new Uint8Array(16), view = new DataView(bytes.buffer);
  [...front!, ...gap, ...back ?? []].forEach((group, i) => view.setUint16(2 * i, parseInt(group, 16)));
  return bytes;
}
