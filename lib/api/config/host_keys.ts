/**
 * Which host keys ssh_config trusts: UserKnownHostsFile, GlobalKnownHostsFile, StrictHostKeyChecking, RevokedHostKeys. ssh_config(5).
 *
 * @module
 */
import type { Complete } from "../../config/complete.ts";
import { knownHosts, type KnownHostsVerifier } from "../../keys/trust/known_hosts.ts";
import { revokedKeys } from "../../keys/trust/revoked_keys.ts";
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
  return revokedKeys(revoked).hosts(known);
}

/** UpdateHostKeys, where a line has set it; with VerifyHostKeyDNS, `ssh` leaves known_hosts as it is unless it is told otherwise. */
export function updatePolicy(found: Complete, notices: Notices): boolean | null {
  if (!found.isSet("updatehostkeys")) {
    return found.isSet("verifyhostkeydns") && found.get("verifyhostkeydns") !== "false" ? false : null;
  }
  if (found.get("updatehostkeys") === "ask") {
    notices.tell(
      "UpdateHostKeys",
      "nobody is asked here: known_hosts stays as it is; hand over `updateHostKeys`, a function, to be asked",
    );
  }
  return found.get("updatehostkeys") === "true";
}
