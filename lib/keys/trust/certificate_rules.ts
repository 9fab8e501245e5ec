/**
 * Whether a certificate holds: its kind, its time, its principals, and its options as `sshd` reads them. draft-miller-ssh-cert, OpenSSH
 * PROTOCOL.certkeys. No I/O. Whether its CA is trusted is for the caller to know.
 *
 * @module
 */
import { printable } from "../../errors.ts";
import { type CertificateFields, FOREVER, optionValue } from "../certificate.ts";
import { cidrListProblem, listsAddress } from "./address_patterns.ts";

/** Flags of users' certificates: what may be done, and that nobody needs to touch an authenticator. */
const flags: readonly string[] = [
  "permit-X11-forwarding",
  "permit-agent-forwarding",
  "permit-port-forwarding",
  "permit-pty",
  "permit-user-rc",
  "no-touch-required",
];

/** What a user's certificate says that has to be enforced. */
export interface UserRules {
  /** What runs in the place of whatever is asked for, or null. */
  readonly forceCommand: string | null;
  /** Addresses and networks from which alone it may be used, or null. */
  readonly sourceAddress: string | null;
  /** Whether the authenticator has to have verified its user. */
  readonly verifyRequired: boolean;
  /** Flags that are there. */
  readonly flags: ReadonlySet<string>;
}

/** Why a certificate is none of that kind at this time, or null. */
export function kindOrTimeProblem(fields: CertificateFields, kind: "user" | "host"): string | null {
  if (fields.kind !== kind) return `its certificate is for ${fields.kind}s`;
  const now = BigInt(Math.max(0, Math.floor(Date.now() / 1000)));
  if (now < fields.validAfter) return "its certificate is not valid yet";
  if (fields.validBefore !== FOREVER && now >= fields.validBefore) return "its certificate has expired";
  return null;
}

/** What a user's certificate wants to have enforced; or why it cannot be, in a text. */
export function userRules({ criticalOptions, extensions }: CertificateFields): UserRules | string {
  const found = new Set<string>();
  let forceCommand: string | null = null, sourceAddress: string | null = null, verifyRequired = false;
  const malformed = (name: string): string => `the option "${printable(name, 64)}" of its certificate is malformed`;
  for (const [name, data] of criticalOptions) {
    const value = optionValue(data);
    if (name === "verify-required") {
      if (data.length > 0) return malformed(name);
      verifyRequired = true;
    } else if (name === "force-command") {
      if (value === null || value.includes("\0")) return malformed(name);
      forceCommand = value;
    } else if (name === "source-address") {
      if (value === null || cidrListProblem(value) !== null) return malformed(name);
      sourceAddress = value;
    } else return `its certificate has the critical option "${printable(name, 64)}", which is not known`;
  }
  for (const [name, data] of extensions) {
    if (!flags.includes(name)) continue;
    if (data.length > 0) return malformed(name);
    found.add(name);
  }
  return { forceCommand, sourceAddress, verifyRequired, flags: found };
}

/** Why a user may not come with a certificate from an address, an empty text being one that is not known; or null. */
export function userProblem(fields: CertificateFields, address: string): string | null {
  const rules = userRules(fields), problem = kindOrTimeProblem(fields, "user");
  if (problem !== null) return problem;
  if (typeof rules === "string") return rules;
  return rules.sourceAddress === null || listsAddress(rules.sourceAddress, address)
    ? null
    : "the client's address does not stand in the source-address of its certificate";
}
