/**
 * Host certificates, as lines with `@cert-authority` of known_hosts trust them. draft-miller-ssh-cert, OpenSSH PROTOCOL.certkeys; sshd(8),
 * SSH_KNOWN_HOSTS FILE FORMAT. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable } from "../../errors.ts";
import type { Bytes } from "../../wire/types.ts";
import { type CertificateFields, CertifiedKey } from "../certificate.ts";
import { certificateTypes } from "../key_types.ts";
import type { PublicKey } from "../types.ts";
import { kindOrTimeProblem } from "./certificate_rules.ts";
import { wildcardMatch } from "./host_patterns.ts";
import type { KnownHostsEntry } from "./known_hosts_lines.ts";

/** Types of certificates that a host with these entries may show: all there are, where a CA is trusted that is not revoked. */
export function certifiedTypes(entries: readonly KnownHostsEntry[]): readonly string[] {
  const revoked = entries.filter(({ marker }) => marker === "revoked");
  const trusts = entries.some(({ marker, blob }) =>
    marker === "cert-authority" && !revoked.some((other) => equals(other.blob, blob))
  );
  return trusts ? [...certificateTypes.keys()] : [];
}

/** All by which a key may be marked `@revoked`: itself, with a certificate the key in it and its CA's, too. */
export function revocableBlobs(key: PublicKey): readonly Bytes[] {
  const { certificate } = key;
  return certificate === undefined ? [key.blob] : [key.blob, certificate.publicKey.blob, certificate.signedBy.blob];
}

/** Why a certificate does not hold for a host, by the name that was asked for, without a port; or null. */
export function hostProblem(fields: CertificateFields, hostname: string): string | null {
  const problem = kindOrTimeProblem(fields, "host");
  if (problem !== null) return problem;
  if (!fields.principals.some((principal) => wildcardMatch(hostname, principal))) {
    const names = fields.principals.slice(0, 8).map((name) => printable(name, 64)).join(", ");
    return `its certificate is not for this host${names === "" ? "" : `, but for ${names}`}`;
  }
  const critical = fields.criticalOptions[0];
  if (critical !== undefined) {
    return `its certificate has the critical option "${printable(critical[0], 64)}", and none is known for hosts`;
  }
  return null;
}

/** What lines say of a certificate. */
export interface CertificateVerdict {
  /** The line of the CA that has signed it; null where no line of the host has that one's key. */
  readonly authority: KnownHostsEntry | null;
  /** Why it does not hold all the same, or null. */
  readonly problem: string | null;
}

/** What the entries of a host say of a key's certificate; `hostname` is the name that was asked for, without a port. */
export function judgeCertificate(
  key: PublicKey,
  entries: readonly KnownHostsEntry[],
  hostname: string,
): CertificateVerdict {
  const blob = key.certificate?.signedBy.blob;
  const authority = entries.find((entry) =>
    entry.marker === "cert-authority" && blob !== undefined && equals(entry.blob, blob)
  );
  if (authority === undefined || !(key instanceof CertifiedKey)) return { authority: null, problem: null };
  return { authority, problem: hostProblem(key.fields, hostname) };
}
