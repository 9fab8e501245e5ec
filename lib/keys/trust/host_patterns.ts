/**
 * Host names as known_hosts lists them: patterns with `*`, `?` and `!`, and hashed names. sshd(8), SSH_KNOWN_HOSTS FILE
 * FORMAT. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { HostKeyError, printable } from "../../errors.ts";
import type { Bytes } from "../../wire/types.ts";

/** Port that is not written down. */
const DEFAULT_PORT = 22;

/** A set of host names. */
export interface HostMatcher {
  /** Whether the name, as `lookupName()` writes it, is in the set. */
  matches(name: string): Promise<boolean>;
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

/** HMAC-SHA1 of a name, keyed with the salt. */
async function hostHash(salt: Bytes, name: string): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", salt, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(name)));
}

/**
 * A host name as `ssh-keygen -H` hashes it: `|1|salt|hash`. The salt is random unless 20 bytes are given.
 */
export async function hashHostname(hostname: string, port: number = DEFAULT_PORT, salt?: Uint8Array): Promise<string> {
  const salted = salt?.slice() ?? crypto.getRandomValues(new Uint8Array(20));
  if (salted.length !== 20) {
    throw new RangeError(`Cannot hash host name: a salt of ${salted.length} bytes, 20 are needed`);
  }
  const hash = await hostHash(salted, lookupName(hostname, port));
  return `|1|${salted.toBase64()}|${hash.toBase64()}`;
}

function hashedMatcher(field: string): HostMatcher | null {
  const parts = field.split("|");
  if (parts.length !== 4 || parts[1] !== "1") return null;
  let salt: Bytes, hash: Bytes;
  try {
    salt = Uint8Array.fromBase64(parts[2]!, { lastChunkHandling: "strict" });
    hash = Uint8Array.fromBase64(parts[3]!, { lastChunkHandling: "strict" });
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (salt.length !== 20 || hash.length !== 20) return null;
  return { matches: async (name) => equals(await hostHash(salt, name), hash) };
}

/** The hosts that the first field of a known_hosts line names, or null when it is malformed. */
export function parseHosts(field: string): HostMatcher | null {
  if (field.startsWith("|")) return hashedMatcher(field);
  // deno-lint-ignore no-control-regex
  if (/[\u0000-\u0020\u007f-\u00a0]/.test(field)) return null;
  const patterns = field.toLowerCase().split(",").map((pattern) =>
    pattern.startsWith("!") ? { negated: true, pattern: pattern.slice(1) } : { negated: false, pattern }
  );
  if (patterns.some(({ pattern }) => pattern === "")) return null;
  return {
    matches(name): Promise<boolean> {
      const found = patterns.filter(({ pattern }) => wildcardMatch(name, pattern));
      return Promise.resolve(found.length > 0 && found.every(({ negated }) => !negated));
    },
  };
}
