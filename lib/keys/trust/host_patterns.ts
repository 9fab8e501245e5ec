/**
 * Host names as known_hosts lists them: patterns with `*`, `?` and `!`, and hashed names. sshd(8), SSH_KNOWN_HOSTS FILE
 * FORMAT. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { HostKeyError, printable } from "../../errors.ts";
import { fromBase64, toBase64 } from "../../wire/base_text.ts";
import type { Bytes } from "../../wire/types.ts";
import { HASH_BYTES, hostHash } from "./host_hash.ts";

/** Port that is not written down. */
const DEFAULT_PORT = 22;

/** A set of host names. */
export interface HostMatcher {
  /** Whether the name, as `lookupName()` writes it, is in the set. */
  matches(name: string): boolean;
}

/**
 * The name under which known_hosts lists a host: `host`, or `[host]:port` for another port than 22, in lower case.
 * Throws {@linkcode HostKeyError} for what cannot be a host name.
 */
export function lookupName(hostname: string, port: number): string {
  const bare = (/^\[(.*)\]$/.exec(hostname)?.[1] ?? hostname).toLowerCase();
  // deno-lint-ignore no-control-regex
  if (bare === "" || bare.length > 1024 || /[\u0000-\u0020\u007f-\u00a0,*?!|#@"'`\\\[\]]/.test(bare)) {
    throw new HostKeyError(`Cannot look up host key: "${printable(hostname)}" is not a host name`);
  }
  return port === DEFAULT_PORT ? bare : `[${bare}]:${port}`;
}

/** The name of a host without its port: what certificates are for, and by what CAs and revoked keys may stand there, too. */
export function bareName(name: string): string {
  return /^\[(.*)\]:\d+$/.exec(name)?.[1] ?? name;
}

/** Whether `text` fits a pattern of `*` (any characters) and `?` (one). Linear but for the text's length times the pattern's. */
export function wildcardMatch(text: string, pattern: string): boolean {
  let at = 0, pt = 0, star = -1, resume = 0;
  while (at < text.length) {
    if (pattern[pt] === "*") {
      star = pt++;
      resume = at;
    } else if (pt < pattern.length && (pattern[pt] === "?" || pattern[pt] === text[at])) {
      at++;
      pt++;
    } else if (star >= 0) {
      pt = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[pt] === "*") pt++;
  return pt === pattern.length;
}

/** Whether one of a list of patterns fits, and none behind a `!` does (ssh_config(5), PATTERNS). Capitals count. */
export function listMatch(text: string, list: string): boolean {
  const patterns = list.split(",");
  return patterns.some((one) => !one.startsWith("!") && wildcardMatch(text, one)) &&
    !patterns.some((one) => one.startsWith("!") && wildcardMatch(text, one.slice(1)));
}

/**
 * A host name as `ssh-keygen -H` hashes it: `|1|salt|hash`. The salt is random unless 20 bytes are given.
 */
export async function hashHostname(hostname: string, port: number = DEFAULT_PORT, salt?: Uint8Array): Promise<string> {
  return await Promise.resolve(hashedName(lookupName(hostname, port), salt));
}

/** The same of a name that `lookupName()` has written. */
export function hashedName(
  name: string,
  salt: Uint8Array = crypto.getRandomValues(new Uint8Array(HASH_BYTES)),
): string {
  if (salt.length !== HASH_BYTES) {
    throw new RangeError(`Cannot hash host name: a salt of ${salt.length} bytes, ${HASH_BYTES} are needed`);
  }
  return `|1|${toBase64(salt)}|${toBase64(hostHash(salt, name))}`;
}

/** Whether the first field of a line is a hash. */
export function isHashed(field: string): boolean {
  return field.startsWith("|");
}

function hashedMatcher(field: string): HostMatcher | null {
  const parts = field.split("|");
  if (parts.length !== 4 || parts[1] !== "1") return null;
  let salt: Bytes, hash: Bytes;
  try {
    salt = fromBase64(parts[2]!, { lastChunkHandling: "strict" });
    hash = fromBase64(parts[3]!, { lastChunkHandling: "strict" });
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (salt.length !== HASH_BYTES || hash.length !== HASH_BYTES) return null;
  return { matches: (name) => equals(hostHash(salt, name), hash) };
}

/** Characters of a pattern; a longer one is none, and neither is any other of its line, as for `ssh`. */
const MAX_PATTERN = 1022;

/** The hosts that the first field of a known_hosts line names, or null when it is a malformed hash. */
export function parseHosts(field: string): HostMatcher | null {
  if (isHashed(field)) return hashedMatcher(field);
  return {
    matches(name): boolean {
      let found = false;
      for (const word of field.toLowerCase().split(",")) {
        const negated = word.startsWith("!"), pattern = negated ? word.slice(1) : word;
        if (pattern.length > MAX_PATTERN) return false;
        if (!wildcardMatch(name, pattern)) continue;
        if (negated) return false;
        found = true;
      }
      return found;
    },
  };
}
