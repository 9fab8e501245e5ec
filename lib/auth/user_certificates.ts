/**
 * Users who log in with certificates: which are let in, and what each grants. draft-miller-ssh-cert, OpenSSH PROTOCOL.certkeys; sshd_config(5),
 * TrustedUserCAKeys, AuthorizedPrincipalsFile. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { SshError } from "../errors.ts";
import { CertifiedKey } from "../keys/certificate.ts";
import { isPublicKey } from "../keys/check_key.ts";
import { characters, type KeyText } from "../keys/key_text.ts";
import { certificateTypes, isAuthenticators } from "../keys/key_types.ts";
import { parsePublicKey } from "../keys/public_key.ts";
import type { RsaKeyOptions } from "../keys/rsa_public.ts";
import { userProblem, userRules } from "../keys/trust/certificate_rules.ts";
import type { Certificate, PublicKey } from "../keys/types.ts";
import { callBack } from "../wire/callback.ts";
import { checkFunction, checkNames, checkObject, wrongKind } from "../wire/check.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import type { Grant } from "./grants.ts";
import type { AuthInfo } from "./types.ts";

/** Keys whose certificate was looked at, found to hold, and is by a CA that the program trusts. */
const vouched = new WeakSet<PublicKey>();

/**
 * Whether a handler lets a key in whose certificate nobody has looked at: a handler that knows nothing of certificates, and says yes to all
 * that it is shown, says nothing of who signed them.
 */
export function isUnvouched(key: PublicKey): boolean {
  return key.certificate !== undefined && !vouched.has(key);
}

/** The address of a client, or an empty text, which stands in no list. */
export function addressOf({ remoteAddr }: { readonly remoteAddr?: Deno.Addr | undefined }): string {
  return remoteAddr !== undefined && "hostname" in remoteAddr ? remoteAddr.hostname : "";
}

/**
 * Why a key with a certificate by a trusted CA is not let in as one of `names`, or null: then it is vouched for. The names are compared whole,
 * and nobody is let in by a certificate without principals.
 */
export function certificateProblem(key: PublicKey, address: string, names: readonly string[]): string | null {
  if (!(key instanceof CertifiedKey)) return "it is no certificate that was looked at";
  const problem = userProblem(key.fields, address);
  if (problem !== null) return problem;
  if (!key.fields.principals.some((principal) => principal !== "" && names.includes(principal))) {
    return "its certificate has none of the principals that are let in";
  }
  // What a key that is in no authenticator signs does not tell whether anybody was there.
  const rules = userRules(key.fields);
  if (typeof rules === "string" || rules.verifyRequired && !isAuthenticators(key.type)) {
    return "it wants the user verified, which such a key cannot prove";
  }
  vouched.add(key);
  return null;
}

/** The CA's key of a certificate, as its blob; null for any other key. */
export function authorityOf(key: PublicKey): Bytes | null {
  return key.certificate?.signedBy.blob ?? null;
}

/** What stands behind the flags of a certificate. */
const permits = {
  "permit-pty": "pty",
  "permit-agent-forwarding": "agentForwarding",
  "permit-X11-forwarding": "x11Forwarding",
  "permit-port-forwarding": "portForwarding",
} as const satisfies Record<string, keyof Grant>;

/**
 * What a login may do by a handler's grant and by its key's certificate, each of which has to allow it; null where they contradict each other,
 * or the certificate cannot be enforced.
 */
export function certifiedGrant(grant: Grant | null, key: PublicKey): { readonly grant: Grant | null } | null {
  if (!(key instanceof CertifiedKey)) return key.certificate === undefined ? { grant } : null;
  const rules = userRules(key.fields);
  if (typeof rules === "string") return null;
  const { forceCommand, flags } = rules, command = grant?.command;
  // Two commands cannot both run in the place of what is asked for.
  if (forceCommand !== null && command !== undefined && command !== forceCommand) return null;
  const off = Object.entries(permits).filter(([flag]) => !flags.has(flag)).map(([, part]) => [part, false]);
  return {
    grant: {
      ...grant,
      ...Object.fromEntries(off),
      ...forceCommand === null ? {} : { command: forceCommand },
      ...isAuthenticators(key.type)
        ? { touchRequired: grant?.touchRequired === true || !flags.has("no-touch-required") }
        : {},
      ...rules.verifyRequired ? { verifyRequired: true } : {},
    },
  };
}

/** Options of {@linkcode trustedUserCAs}. */
export interface TrustedUserCAsOptions extends RsaKeyOptions {
  /**
   * The principals that let somebody in as the user who is asked for, as AuthorizedPrincipalsFile lists them: one of the certificate's has to
   * be one of these. @default {the user name itself}
   */
  principals?: ((info: AuthInfo, certificate: Certificate) => MaybePromise<readonly string[]>) | undefined;
  /** Told why a certificate by one of the CAs was refused. What it throws is ignored. @default {nobody is told} */
  onRejected?: ((reason: string, certificate: Certificate, info: AuthInfo) => void) | undefined;
}

/** The keys in what stands for CAs: one, or a text with one on each line. */
function authorities(source: unknown, rsa: RsaKeyOptions): PublicKey[] {
  if (isPublicKey(source)) return [source];
  if (typeof source !== "string" && !(source instanceof Uint8Array)) {
    throw wrongKind("cas", source, "public keys, or the text of a file that lists them");
  }
  const lines = characters("Cannot trust CA", source).split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#")).map((line) => {
    try {
      return parsePublicKey(line, rsa);
    } catch (cause) {
      if (!(cause instanceof SshError)) throw cause;
      throw new TypeError(`Cannot trust CA: ${cause.message}`, { cause });
    }
  });
}

/**
 * A handler for `auth.publicKey` that lets in users with certificates by these CAs, as TrustedUserCAKeys of `sshd` does: keys, or the text of a file
 * that lists them. The user name has to be one of the certificate's principals, and the certificate a user's that holds at this time and for the
 * client's address. What it does not permit the login may not do, and its forced command takes the place of any other. A certificate with a
 * critical option that is not known here is refused. Plain keys are refused, and so are certificates without principals.
 *
 * ```ts
 * import { authorizedKeys, serve, type Signer, trustedUserCAs } from "@amiko/ssh";
 *
 * const start = async (hostKeys: Signer[]) => {
 *   const byCertificate = trustedUserCAs(await Deno.readTextFile("/etc/ssh/user_ca.pub"));
 *   const byKey = authorizedKeys("/etc/ssh/authorized_keys");
 *   return serve({
 *     hostKeys,
 *     auth: { publicKey: async (info, key) => await byCertificate(info, key) || byKey(info, key) },
 *   });
 * };
 * ```
 *
 * What a handler of the program's own says of a certificate, `key.certificate`, counts only where this function, or
 * {@linkcode matchAuthorizedKey} by a line with `cert-authority`, has let it in besides: a certificate that nobody has looked at lets nobody in,
 * whatever the handler answers. When a certificate ends, a login that is there goes on, as at `sshd`.
 *
 * Throws `TypeError` where no CA is given, or one is no public key.
 */
export function trustedUserCAs(
  cas: PublicKey | KeyText | readonly (PublicKey | KeyText)[],
  options: TrustedUserCAsOptions = {},
): (info: AuthInfo, key: PublicKey) => Promise<boolean> {
  checkObject("options", options, "an object such as `{ principals }`");
  checkNames("trustedUserCAs()", options, ["principals", "onRejected", "insecureMinRsaBits"]);
  const { principals, onRejected } = options;
  checkFunction("principals", principals, "a function that gives the names that are let in");
  checkFunction("onRejected", onRejected);
  const sources: readonly unknown[] = Array.isArray(cas) ? cas : [cas];
  const trusted = sources.flatMap((source) => authorities(source, options)).map(({ type, blob }) => {
    if (certificateTypes.has(type)) throw new TypeError("Cannot trust CA: it is itself a certificate");
    return blob;
  });
  if (trusted.length === 0) throw new TypeError("Cannot trust CAs: no key is given");
  return async (info, key) => {
    const { certificate } = key, authority = authorityOf(key);
    if (certificate === undefined || !trusted.some((blob) => equals(blob, authority!))) return false;
    const names: unknown = principals === undefined ? [info.username] : await principals(info, certificate);
    if (!Array.isArray(names) || names.some((name) => typeof name !== "string")) {
      throw wrongKind("principals()", names, "a list of names");
    }
    const reason = certificateProblem(key, addressOf(info), names);
    if (reason !== null) callBack(() => onRejected?.(reason, certificate, info));
    return reason === null;
  };
}
