/**
 * What runs under a login's grants, of what the client asked for: sshd(8), `command=` of authorized_keys and `ForceCommand`. No I/O.
 *
 * @module
 */
import { type Grants, ORIGINAL_COMMAND } from "../auth/grants.ts";

/** A shell where both are null. */
export interface Start {
  /** Command line. */
  readonly command: string | null;
  /** Subsystem name. */
  readonly subsystem: string | null;
}

/** What runs, and the variables that go with it whatever the client has set. */
export function granted(grants: Grants, asked: Start): Start & { readonly env: Readonly<Record<string, string>> } {
  const { command, environment } = grants;
  if (command === null) return { ...asked, env: environment };
  const original = asked.command ?? asked.subsystem;
  const env = original === null ? environment : { ...environment, [ORIGINAL_COMMAND]: original };
  // What `ForceCommand internal-sftp` is written for: users that may copy files and nothing else.
  if (command === "internal-sftp") return { command: null, subsystem: "sftp", env };
  return { command, subsystem: null, env };
}
