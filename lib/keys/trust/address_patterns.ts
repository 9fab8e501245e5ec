/**
 * Patterns of client addresses, as `from=` of authorized_keys lists them: addresses, networks, `*`, `?` and `!`. sshd(8), ssh_config(5)
 * PATTERNS. Names of hosts are not looked up: whoever owns an address says what its name is. No I/O.
 *
 * @module
 */
import { wildcardMatch } from "./host_patterns.ts";

/** The bytes of an IPv4 or IPv6 address, or null for what is none. */
function addressBytes(text: string): Uint8Array | null {
  if (!text.includes(":")) {
    const bytes = text.split(".").map((part) => /^(0|[1-9]\d{0,2})$/.test(part) ? Number(part) : 256);
    return bytes.length === 4 && bytes.every((byte) => byte < 256) ? Uint8Array.from(bytes) : null;
  }
  const canonical = /^[\da-f:.]{2,45}$/i.test(text) ? URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1) : undefined;
  if (canonical === undefined) return null;
  const [head, tail] = canonical.split("::").map((half) => half === "" ? [] : half.split(":"));
  const groups = [...head!, ...new Array(8 - head!.length - (tail?.length ?? 0)).fill("0"), ...tail ?? []];
  return Uint8Array.from(groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]));
}

/** Whether an address is IPv4 as a socket of both families shows it. */
function isMapped(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes.every((byte, i) => i > 11 || byte === (i > 9 ? 255 : 0));
}

/** An address as patterns see it, or null for what is none. */
function clientAddress(address: string): { readonly bytes: Uint8Array; readonly text: string } | null {
  const bare = address.replace(/%.*$/s, ""), bytes = addressBytes(bare);
  if (bytes === null) return null;
  if (bytes.length === 4) return { bytes, text: bare };
  if (isMapped(bytes)) return { bytes: bytes.slice(12), text: bytes.slice(12).join(".") };
  return { bytes, text: URL.parse(`http://[${bare}]/`)!.hostname.slice(1, -1) };
}

/** A network: its first bits. Null for what is none, and for one with bits beyond its mask, of which nobody knows which half is meant. */
function network(pattern: string): { readonly bytes: Uint8Array; readonly bits: number } | null {
  const [, address, mask] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(pattern) ?? [];
  const bytes = addressBytes(address ?? "");
  if (bytes === null) return null;
  const bits = mask === undefined ? bytes.length * 8 : Number(mask);
  if (bits > bytes.length * 8 || bytes.some((byte, i) => (byte & ~maskOf(bits, i)) !== 0)) return null;
  return isMapped(bytes) && bits >= 96 ? { bytes: bytes.slice(12), bits: bits - 96 } : { bytes, bits };
}

/** The bits of the byte at `i` that belong to a network of so many bits. */
function maskOf(bits: number, i: number): number {
  return 0xff00 >> Math.min(8, Math.max(0, bits - i * 8)) & 0xff;
}

/** Whether a pattern stands for addresses, and not for names: with wildcards, it is made of what those are made of. */
function speaksOfAddresses(pattern: string): boolean {
  return network(pattern) !== null || /[*?]/.test(pattern) && /^([\d.*?]+|[\da-f:*?]+)$/i.test(pattern);
}

/** What is amiss with a list of patterns, or null. */
export function addressListProblem(list: string): string | null {
  for (const pattern of list.split(",").map((one) => one.replace(/^!/, ""))) {
    if (pattern === "") return "a pattern is empty";
    if (pattern.includes("/") && network(pattern) === null) return "a network is none";
  }
  // A host that is to be kept out would come in.
  const out = list.split(",").filter((one) => one.startsWith("!")).map((one) => one.slice(1));
  return out.every(speaksOfAddresses) ? null : "it shuts out a host by its name, and names are not looked up";
}

/** Whether a list without problems names an address: one pattern fits, and none with `!` does. */
export function listsAddress(list: string, address: string): boolean {
  const client = clientAddress(address);
  if (client === null) return false;
  const fits = (pattern: string): boolean => {
    const net = network(pattern);
    if (net === null) return wildcardMatch(client.text, pattern.toLowerCase());
    return net.bytes.length === client.bytes.length &&
      net.bytes.every((byte, i) => ((byte ^ client.bytes[i]!) & maskOf(net.bits, i)) === 0);
  };
  const patterns = list.split(",");
  return patterns.some((one) => !one.startsWith("!") && fits(one)) &&
    !patterns.some((one) => one.startsWith("!") && fits(one.slice(1)));
}

/** What is amiss with a list of addresses and networks alone, as source-address of a certificate is one; null for nothing. */
export function cidrListProblem(list: string): string | null {
  return list.split(",").every((one) => network(one) !== null) ? null : "it is no list of addresses and networks";
}
