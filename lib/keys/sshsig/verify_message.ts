/**
 * Checking signatures of messages as `ssh-keygen -Y verify`, `check-novalidate` and `find-principals` do. OpenSSH PROTOCOL.sshsig. No I/O of
 * its own.
 *
 * @module
 */
import { printable, SshError } from "../../errors.ts";
import { checkFlag, checkNames, checkObject, checkText, checkWait, wrongKind } from "../../wire/check.ts";
import { withDeadline } from "../../wire/deadline.ts";
import { checkCertificate } from "../certificate.ts";
import { type KeyText, pathHint } from "../key_text.ts";
import { type SignatureProof, verifySignature } from "../public_key.ts";
import { minRsaBits, type RsaKeyOptions } from "../rsa_public.ts";
import type { RevokedKeys } from "../trust/revoked_keys.ts";
import type { PublicKey } from "../types.ts";
import { type AllowedSigner, allowedSigners, certificateRefusal, isFor, refusal, speaksOf } from "./allowed_signers.ts";
import { checkMessage, dropMessage, hashMessage, type Message } from "./message_hash.ts";
import { checkNamespace } from "./sign_message.ts";
import { readSignatureFile, type SignatureFile, signedData } from "./signature_file.ts";

/** What a signature has to be for. */
export interface MessageSignerOptions extends RsaKeyOptions {
  /** What the signature has to be for, as it was signed: `file`, `git`. */
  namespace: string;
  /**
   * Wants a FIDO key to have been touched. As `ssh-keygen` has it, who signs decides by how the key was made. @default {false}
   */
  touchRequired?: boolean | undefined;
  /** Wants a FIDO key's authenticator to have known who touched it, by a PIN or a fingerprint; no other key does. @default {false} */
  verifyRequired?: boolean | undefined;
  /** Aborting cancels the stream, and rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds to wait for the message. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

/** Who may have signed. */
export interface VerifyMessageOptions extends MessageSignerOptions {
  /** Text of an allowed_signers file; its lines are `principals [options] key` (ssh-keygen(1), ALLOWED SIGNERS). */
  allowedSigners: KeyText;
  /** Who is said to have signed, such as an address of mail. */
  principal: string;
  /** When it was signed, or is to be valid. @default {now} */
  at?: Date | undefined;
  /** Keys that may not sign, whoever allows it, as {@linkcode revokedKeys} reads them; a list that cannot be read refuses each. @default {none} */
  revoked?: RevokedKeys | undefined;
}

/** Which allowed signers may be looked for. */
export type FindPrincipalsOptions = Pick<VerifyMessageOptions, "allowedSigners" | "at"> & RsaKeyOptions;

const fail = (why: string): SshError => new SshError(`Cannot verify message: ${why}`, { code: "AUTH_FAILED" });

/**
 * Checks a signature as `ssh-keygen -Y verify` does: that it is one of this message, for this purpose, by a key that the allowed signers
 * have for this principal. Resolves to that key. A stream is hashed as it comes, so that a message of any size takes no memory.
 *
 * ```ts
 * import { generateKey, signMessage, verifyMessage } from "@amiko/ssh";
 *
 * const key = await generateKey(), data = new TextEncoder().encode("hello");
 * const signature = await signMessage(key, data, { namespace: "file" });
 * await verifyMessage(signature, data, {
 *   namespace: "file",
 *   allowedSigners: `alice@example.com namespaces="file" ${key.publicKey}`,
 *   principal: "alice@example.com",
 * });
 * ```
 *
 * Rejects with `SshError` that says why: code `KEY_FORMAT` where the signature's file cannot be read, `AUTH_FAILED` for anything else.
 * Throws `TypeError` for data or options that are none. A stream of which nothing more is needed is cancelled.
 */
export async function verifyMessage(
  signature: KeyText,
  data: Uint8Array | ReadableStream<Uint8Array>,
  options: VerifyMessageOptions,
): Promise<PublicKey> {
  checkOptions("verifyMessage()", options, ["allowedSigners", "principal", "at", "revoked"]);
  const { principal, revoked } = options, at = checkedTime(options.at);
  if (revoked !== undefined && typeof revoked?.revocation !== "function") {
    throw wrongKind("revoked", revoked, "what revokedKeys() gives");
  }
  checkText("principal", principal, "a text, who is said to have signed");
  if (principal === "") throw wrongKind("principal", principal, "a text, who is said to have signed");
  checkMessage(data);
  return await proven(signature, data, options, async (file) => {
    allow(file, options.allowedSigners, principal, at);
    const why = await revoked?.revocation(file.publicKey) ?? null;
    if (why !== null) throw fail(why);
  });
}

/**
 * The key that made a signature of this message, for this purpose, whoever's it is, as `ssh-keygen -Y check-novalidate` tells it: whether it is
 * to be trusted is for the caller to decide. Rejects as {@linkcode verifyMessage} does.
 */
export async function messageSigner(
  signature: KeyText,
  data: Uint8Array | ReadableStream<Uint8Array>,
  options: MessageSignerOptions,
): Promise<PublicKey> {
  checkOptions("messageSigner()", options, []);
  checkMessage(data);
  return await proven(signature, data, options, () => {});
}

/**
 * Those for whom the allowed signers have the key of a signature at that time, as `ssh-keygen -Y find-principals` tells them: the patterns of
 * the first line that has it; none where no line has. The signature is not checked: {@linkcode verifyMessage} does that, with one of them. A
 * certificate that its CA has not signed names nobody: it makes the file one that cannot be read.
 */
export function findPrincipals(signature: KeyText, options: FindPrincipalsOptions): Promise<readonly string[]> {
  return Promise.try(async () => {
    checkObject("options", options, "an object such as `{ allowedSigners }`");
    checkNames("findPrincipals()", options, ["allowedSigners", "at", "insecureMinRsaBits"]);
    minRsaBits(options);
    const at = checkedTime(options.at), { publicKey } = readSignatureFile(signature, options);
    await checkCertificate(publicKey);
    for (const entry of allowedSigners(options.allowedSigners)) {
      if ("reason" in entry || !speaksOf(entry, publicKey) || refusal(entry, null, at) !== null) continue;
      if (!entry.authority) return entry.principals.split(",");
      const certificate = publicKey.certificate!;
      const named = certificate.principals.filter((one) =>
        isFor(entry, one) && certificateRefusal(certificate, one, at) === null
      );
      if (named.length > 0) return named;
    }
    return [];
  });
}

function checkOptions(where: string, options: MessageSignerOptions, more: readonly string[]): void {
  checkObject("options", options, "an object such as `{ namespace }`");
  checkNames(where, options, [
    ...["namespace", "touchRequired", "verifyRequired", "signal", "timeout", "insecureMinRsaBits"],
    ...more,
  ]);
  checkNamespace(options.namespace);
  checkFlag("touchRequired", options.touchRequired);
  checkFlag("verifyRequired", options.verifyRequired);
  checkWait(options);
  minRsaBits(options);
}

function checkedTime(at: unknown): Date {
  if (at === undefined) return new Date();
  if (at instanceof Date && !Number.isNaN(at.getTime())) return at;
  throw wrongKind("at", at, "a valid Date");
}

/** Reads the file, asks whether its key is allowed, and only then looks at the message. */
async function proven(
  signature: KeyText,
  data: Message,
  options: MessageSignerOptions,
  allow: (file: SignatureFile) => void | Promise<void>,
): Promise<PublicKey> {
  let file: SignatureFile;
  try {
    file = readSignatureFile(signature, options);
    if (file.namespace !== options.namespace) {
      throw fail(`the signature is for "${printable(file.namespace)}", and not for "${printable(options.namespace)}"`);
    }
    await checkCertificate(file.publicKey);
    await allow(file);
  } catch (error) {
    dropMessage(data, error);
    throw error;
  }
  const { publicKey, namespace, hash } = file;
  const digest = await withDeadline(options, () => "the message", (signal) => hashMessage(hash, data, signal));
  const proof = await verifySignature(publicKey, signedData(namespace, hash, digest), file.signature);
  if (proof === null) throw fail("the signature is not one of this message by its key");
  checkPresence(proof, options, publicKey.certificate?.criticalOptions.has("verify-required") ?? false);
  return publicKey;
}

function checkPresence({ authenticator }: SignatureProof, options: MessageSignerOptions, always: boolean): void {
  if (options.touchRequired === true && authenticator?.userPresent === false) {
    throw fail("nobody touched the FIDO authenticator that signed it");
  }
  if ((always || options.verifyRequired === true) && authenticator?.userVerified !== true) {
    throw fail(
      authenticator === null
        ? "its key is in no FIDO authenticator, which could verify who signs"
        : "the FIDO authenticator that signed it did not verify who touched it",
    );
  }
}

/** Throws where no line lets the key sign, with what each line that might have says. */
function allow({ publicKey, namespace }: SignatureFile, signers: KeyText, principal: string, at: Date): void {
  const entries = [...allowedSigners(signers)];
  const named = entries.filter((entry): entry is AllowedSigner => !("reason" in entry) && isFor(entry, principal));
  const notes: string[] = [];
  for (const entry of named) {
    if (!speaksOf(entry, publicKey)) continue;
    const why = refusal(entry, namespace, at) ??
      (entry.authority ? certificateRefusal(publicKey.certificate!, principal, at) : null);
    if (why === null) return;
    notes.push(`line ${entry.line} has the ${entry.authority ? "certificate's CA" : "key"}, and ${why}`);
  }
  const who = `"${printable(principal)}"`;
  if (notes.length === 0) {
    notes.push(
      named.length === 0
        ? `no line names ${who}${typeof signers === "string" ? pathHint(signers) : ""}`
        : `${named.length === 1 ? "the line" : "none of the lines"} that names ${who} has ${
          named.length === 1 ? "another key" : "the key"
        }: ${publicKey.toString()}`,
    );
    for (const entry of entries.slice(0, 16)) {
      if ("reason" in entry) notes.push(`line ${entry.line} cannot be read: ${entry.reason}`);
    }
  }
  throw fail(`its signer is not allowed to sign as ${who}: ${notes.join("; ")}`);
}
