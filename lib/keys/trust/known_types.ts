/**
 * What known_hosts knows of a host, for the client that dials it. No I/O.
 *
 * `ssh` asks a server for keys of the types that known_hosts has for it. A client that was given `knownHosts()` itself does the same:
 * it asks the verifier beforehand. A program's own function around `knownHosts()` hides that, so that another key of the same host
 * looks like a changed one. Here such a key is watched on its way through the program's function: `knownHosts()` notes on it which
 * types it would rather have seen, and the client dials once more and asks for those. It notes as well which files have trusted the key: those
 * may be told of the host's other keys.
 *
 * @module
 */
import type { PublicKey } from "../types.ts";

/** Files of known_hosts that trust a host's key. */
export interface TrustingFiles {
  /** The name by which they know the host. */
  readonly name: string;
  /** Files to change, keys being added to the first. */
  readonly files: readonly string[];
  /** Files that are only read. */
  readonly globalFiles: readonly string[];
  /** Whether these are the user's files, and not some that the program has named. */
  readonly areUsersOwn: boolean;
  /** Whether names are hashed, where that is said. */
  readonly hash: boolean | undefined;
}

/** What `knownHosts()` has noted on a key. */
export interface KeyNotes {
  /** Types that known_hosts has for the host; none unless the key is not one of them, and the host is known. */
  readonly types: ReadonlySet<string>;
  /** Who trusts the key, by a line of its own that is the user's to change; null for nobody. */
  readonly trustedBy: TrustingFiles | null;
  /** Lists of revoked keys that were asked about the key, each of which says why one is revoked. */
  readonly revocations: readonly Revocation[];
}

/** Why a key is revoked, or null. */
export type Revocation = (key: PublicKey) => Promise<string | null>;

interface Watched {
  readonly types: Set<string>;
  trustedBy: TrustingFiles | null;
  readonly revocations: Revocation[];
  readonly asked: boolean;
}

const watched = new WeakMap<PublicKey, Watched>();

/**
 * Watches a key that a server has shown, `asked` for the types that known_hosts has for it or not. What comes back is filled in by
 * `knownHosts()`, once that has been asked about the key.
 */
export function watchHostKey(key: PublicKey, asked: boolean): KeyNotes {
  const notes: Watched = { types: new Set<string>(), trustedBy: null, revocations: [], asked };
  watched.set(key, notes);
  return notes;
}

/** Notes the types that are known, and says whether somebody wants to know, who has not asked for them. */
export function noteKnownTypes(key: PublicKey, types: Iterable<string>): boolean {
  const notes = watched.get(key);
  if (notes === undefined || notes.asked) return false;
  for (const type of types) notes.types.add(type);
  return true;
}

/** Notes who trusts the key. */
export function noteTrust(key: PublicKey, trustedBy: TrustingFiles): void {
  const notes = watched.get(key);
  if (notes !== undefined) notes.trustedBy = trustedBy;
}

/** Notes a list of revoked keys that does not have the key: none of the host's other keys is to be on it, either. */
export function noteRevocations(key: PublicKey, revocation: Revocation): void {
  watched.get(key)?.revocations.push(revocation);
}
