/**
 * What known_hosts knows of a host, for the client that dials it. No I/O.
 *
 * `ssh` asks a server for keys of the types that known_hosts has for it. A client that was given `knownHosts()` itself does the same:
 * it asks the verifier beforehand. A program's own function around `knownHosts()` hides that, so that another key of the same host
 * looks like a changed one. Here such a key is watched on its way through the program's function: `knownHosts()` notes on it which
 * types it would rather have seen, and the client dials once more and asks for those.
 *
 * @module
 */
import type { PublicKey } from "../types.ts";

/** Types that known_hosts has for the host, by the key that was shown in their place. */
const watched = new WeakMap<PublicKey, Set<string>>();

/**
 * Marks a key that a server showed without having been asked for the types that known_hosts has for it. What comes back holds those
 * types, once `knownHosts()` has been asked about the key and knows the host by keys of other types only.
 */
export function watchHostKey(key: PublicKey): ReadonlySet<string> {
  const types = new Set<string>();
  watched.set(key, types);
  return types;
}

/** Notes the types that are known, and says whether somebody watches. */
export function noteKnownTypes(key: PublicKey, types: Iterable<string>): boolean {
  const noted = watched.get(key);
  if (noted === undefined) return false;
  for (const type of types) noted.add(type);
  return true;
}
