/**
 * Lines of known_hosts: what is in one, and which of them name a host. sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. No I/O.
 *
 * Whoever looks a host up wants entries: lines whose key can be read. Whoever changes a file wants to know of each line what `ssh-keygen` takes it
 * for, and nothing more, as it keeps what it does not understand.
 *
 * @module
 */
import { type KnownHostsPlace, SshError } from "../../errors.ts";
import { fromBase64 } from "../../wire/base_text.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { type HostMatcher, parseHosts } from "./host_patterns.ts";

/** What a line is for: a host's key, a key never to be accepted, or a certificate authority's key. */
export type KnownHostsMarker = "host" | "revoked" | "cert-authority";

/** A line of known_hosts. */
export interface KnownHostsEntry {
  /** Where it stands. */
  readonly place: KnownHostsPlace;
  /** What the line is for. */
  readonly marker: KnownHostsMarker;
  /** The first field as it stands there. */
  readonly names: string;
  /** The hosts it names. */
  readonly hosts: HostMatcher;
  /** Key type. */
  readonly type: string;
  /** Key in wire encoding. */
  readonly blob: Bytes;
}

/** The fields of a line. */
export interface LineFields {
  readonly marker: KnownHostsMarker;
  /** The first field, of hosts. */
  readonly names: string;
  /** What the line calls the key's type. */
  readonly type: string;
  /** The key in base64, or what stands in its place. */
  readonly base64: string;
  /** Where the key's type begins. */
  readonly typeAt: number;
}

const markers: ReadonlyMap<string, KnownHostsMarker> = new Map([
  ["@revoked", "revoked"],
  ["@cert-authority", "cert-authority"],
]);

/**
 * The fields of a line, or null where it is empty, a comment, or malformed before its key. Blanks and tabs separate, nothing else: a no-break
 * space is part of the word it stands in, and spoils it. As for `ssh`, a line ends at a NUL.
 */
export function lineFields(line: string): LineFields | null {
  const nul = line.indexOf("\0");
  const words = (nul < 0 ? line : line.slice(0, nul)).replace(/\r$/, "");
  // One look at most at each character, however long the line is.
  const match = /^[ \t]*(?:(@[^ \t]*)[ \t]+)?([^@# \t][^ \t]*)[ \t]+(([^# \t][^ \t]*)[ \t]+([^# \t][^ \t]*).*)$/s.exec(
    words,
  );
  if (match === null) return null;
  const [, word, names, rest, type, base64] = match;
  const marker = word === undefined ? "host" : markers.get(word);
  if (marker === undefined) return null;
  return { marker, names: names!, type: type!, base64: base64!, typeAt: words.length - rest!.length };
}

/** The blob, when its own type is the one on the line. Types that this module cannot verify count too: they name the host. */
function decodeBlob(type: string, base64: string): Bytes | null {
  try {
    const blob = fromBase64(base64, { lastChunkHandling: "strict" });
    return new Reader(blob).ascii() === type ? blob : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof SshError) return null;
    throw error;
  }
}

/** The entries of known_hosts text, in order, of those lines that name `host`, or of all. Comments and malformed lines are passed over, as `ssh` does. */
export function parseKnownHosts(text: string, file = "known_hosts", host?: string): KnownHostsEntry[] {
  const entries: KnownHostsEntry[] = [];
  text.split("\n").forEach((line, index) => {
    const fields = lineFields(line), hosts = fields === null ? null : parseHosts(fields.names);
    if (fields === null || hosts === null || host !== undefined && !hosts.matches(host)) return;
    const { marker, names, type } = fields, blob = decodeBlob(type, fields.base64);
    if (blob !== null) entries.push({ place: { file, line: index + 1 }, marker, names, hosts, type, blob });
  });
  return entries;
}
