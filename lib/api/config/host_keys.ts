/**
 * Which host keys ssh_config trusts: UserKnownHostsFile, GlobalKnownHostsFile, StrictHostKeyChecking, RevokedHostKeys. ssh_config(5).
 *
 * @module
 */
import { equals } from "@std/bytes";
import { HostKeyError, HostKeyRevokedError, printable } from "../../errors.ts";
import type { Complete } from "../../config/complete.ts";
import { knownHosts, type KnownHostsVerifier } from "../../keys/trust/known_hosts.ts";
import { revocableBlobs } from "../../keys/trust/host_certificates.ts";
import { parsePublicKey } from "../../keys/public_key.ts";
import type { PublicKey } from "../../keys/types.ts";
import { readIfThere } from "../../keys/user_files.ts";
import type { Notices } from "./notices.ts";

/** The policy, or null where the default one is meant. */
export function hostKeyPolicy(found: Complete, notices: Notices): KnownHostsVerifier | null {
  const names = ["userknownhostsfile", "globalknownhostsfile", "stricthostkeychecking", "revokedhostkeys"];
  if (!names.some((name) => found.isSet(name))) return null;
  const strict = found.get("stricthostkeychecking")!, isAsked = found.isSet("stricthostkeychecking");
  if (strict === "false") {
    notices.tell(
      "StrictHostKeyChecking",
      "hosts that are new are trusted and added; those whose key has changed are refused all the same",
    );
  } else if (strict === "ask" && isAsked) {
    notices.tell("StrictHostKeyChecking", "nobody is asked here: hosts that are new are refused");
  }
  const listed = (name: string): string[] => found.all(name).filter((path) => path.toLowerCase() !== "none");
  const user = listed("userknownhostsfile"), isOwn = found.isSet("userknownhostsfile");
  const known = knownHosts({
    // What is added to no file is forgotten, as it is with `ssh`.
    ...isOwn && { files: user.length === 0 ? ["/dev/null"] : user },
    ...(isOwn || found.isSet("globalknownhostsfile")) && { globalFiles: listed("globalknownhostsfile") },
    ...found.isSet("hashknownhosts") && { hash: found.get("hashknownhosts") === "yes" },
    acceptNew: strict === "false" || strict === "accept-new",
  });
  const revoked = found.get("revokedhostkeys");
  if (revoked === undefined) return known;
  return Object.assign(
    async (key: PublicKey, host: { hostname: string; port: number }): Promise<boolean> => {
      await checkRevoked(key, revoked);
      return await known(key, host);
    },
    { keyTypes: known.keyTypes, wantedTypes: known.wantedTypes },
  );
}

/** UpdateHostKeys, where a line has set it. */
export function updatePolicy(found: Complete, notices: Notices): boolean | null {
  if (!found.isSet("updatehostkeys")) return null;
  if (found.get("updatehostkeys") === "ask") {
    notices.tell(
      "UpdateHostKeys",
      "nobody is asked here: known_hosts stays as it is; hand over `updateHostKeys`, a function, to be asked",
    );
  }
  return found.get("updatehostkeys") === "true";
}

/** Throws `HostKeyError` for a key that the file lists, and where it cannot be read: nobody could tell then. */
async function checkRevoked(key: PublicKey, path: string): Promise<void> {
  const cannot = (why: string, cause?: unknown): HostKeyError =>
    new HostKeyError(`Cannot verify host key: RevokedHostKeys "${printable(path, 256)}" ${why}`, { cause });
  let text: string | null;
  try {
    text = await readIfThere(path);
  } catch (cause) {
    throw cannot("cannot be read", cause);
  }
  if (text === null) throw cannot("is not there");
  for (const [i, line] of text.split("\n").entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    let listed: PublicKey;
    try {
      listed = parsePublicKey(line.trim(), { insecureMinRsaBits: 1024 });
    } catch (cause) {
      throw cannot(`has no public key in line ${i + 1}`, cause);
    }
    if (!revocableBlobs(key).some((blob) => equals(listed.blob, blob))) continue;
    const where = `${printable(path, 256)}:${i + 1}`;
    throw new HostKeyRevokedError(
      `Cannot trust host key: ${printable(key.type, 64)} ${await key.fingerprint()} is revoked at ${where}`,
      [{ file: path, line: i + 1 }],
    );
  }
}
