/**
 * Signing messages as `ssh-keygen -Y sign` does. OpenSSH PROTOCOL.sshsig. No I/O of its own.
 *
 * @module
 */
import { printable, SshError } from "../../errors.ts";
import { abortable } from "../../wire/abortable.ts";
import { checkNames, checkObject, checkWait, wrongKind } from "../../wire/check.ts";
import { withDeadline } from "../../wire/deadline.ts";
import type { Bytes } from "../../wire/types.ts";
import { checkSigner } from "../check_key.ts";
import { isWrongSignature } from "../check_signature.ts";
import { fitsAlgorithm, isInsecure, signatureAlgorithmsOf, signatureLabelOf } from "../key_types.ts";
import { signatureAlgorithm } from "../signature_blob.ts";
import type { Signer } from "../types.ts";
import { checkMessage, dropMessage, hashMessage, type MessageHash } from "./message_hash.ts";
import { signedData, writeSignatureFile } from "./signature_file.ts";

/** How a message is signed. */
export interface SignMessageOptions {
  /**
   * What the signature is for, such as `file`, `git`, or a name with a domain of the program's own: a signature for one purpose is none for
   * another.
   */
  namespace: string;
  /** Hash of the message. @default {"sha512"} */
  hash?: MessageHash | undefined;
  /** Aborting cancels the stream, and rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds to wait for the message and the signer. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

/** Throws `TypeError` for what is no purpose. */
export function checkNamespace(namespace: unknown): asserts namespace is string {
  if (typeof namespace === "string" && namespace !== "" && !namespace.includes("\0") && namespace.isWellFormed()) {
    return;
  }
  throw wrongKind("namespace", namespace, 'a text that says what the signature is for, such as "file", without NUL');
}

/** Throws `TypeError` for what is no hash, where one is given. */
export function checkHash(hash: unknown): asserts hash is MessageHash | undefined {
  if (hash === undefined || hash === "sha256" || hash === "sha512") return;
  throw wrongKind("hash", hash, '"sha256" or "sha512"');
}

/**
 * Signs a message as `ssh-keygen -Y sign` does, and gives the text of the signature's file (SSHSIG), which `ssh-keygen -Y verify` and
 * {@linkcode verifyMessage} check. A stream is hashed as it comes, so that a message of any size takes no memory.
 *
 * ```ts
 * import { generateKey, signMessage } from "@amiko/ssh";
 *
 * const key = await generateKey();
 * const signature = await signMessage(key, new TextEncoder().encode("hello"), { namespace: "file" });
 * console.log(signature.split("\n")[0]); // -----BEGIN SSH SIGNATURE-----
 * ```
 *
 * RSA keys sign with SHA-512, never with SHA-1. A signer with a certificate has it go along. Throws `TypeError` for a signer, data or options
 * that are none, `SshError` where the signer gives something else than its key's signature, and what the signer and the stream throw.
 */
export async function signMessage(
  signer: Signer,
  data: Uint8Array | ReadableStream<Uint8Array>,
  options: SignMessageOptions,
): Promise<string> {
  checkSigner("signer", signer);
  checkObject("options", options, "an object such as `{ namespace }`");
  checkNames("signMessage()", options, ["namespace", "hash", "signal", "timeout"]);
  const { namespace, hash = "sha512" } = options;
  checkNamespace(namespace);
  checkHash(hash);
  checkWait(options);
  checkMessage(data);
  const usable = signer.algorithms.filter((name) => !isInsecure(name));
  const algorithm = signatureAlgorithmsOf(signer.publicKey.type).find((name) => usable.includes(name)) ?? usable[0];
  if (algorithm === undefined) {
    const error = new TypeError("Cannot sign message: the signer signs with SHA-1 alone, which can be forged");
    dropMessage(data, error);
    throw error;
  }
  const [signed, signature] = await withDeadline(options, () => "the message and its signature", async (signal) => {
    const signed = signedData(namespace, hash, await hashMessage(hash, data, signal));
    return [signed, await abortable(Promise.resolve(signer.sign(signed.slice(), algorithm)), signal)] as const;
  });
  checkSignature(signature, algorithm);
  const publicKey = signer.publicKey.certificate?.publicKey ?? signer.publicKey;
  if (await isWrongSignature({ ...signer, publicKey }, signatureLabelOf(algorithm), signed, signature)) {
    throw new SshError("Cannot sign message: what the signer gave is no signature of it by its key", {
      code: "PROTOCOL_ERROR",
    });
  }
  return writeSignatureFile({ publicKey: signer.publicKey, namespace, hash, signature });
}

/** A signer of somebody else may give anything: what nobody would accept is told here. */
function checkSignature(signature: Bytes, algorithm: string): void {
  if (!(signature instanceof Uint8Array)) {
    throw wrongKind("signature", signature, "what the signer's `sign()` resolves to, bytes");
  }
  const label = signatureAlgorithm(signature);
  if (fitsAlgorithm(label, algorithm)) return;
  throw new SshError(
    `Cannot sign message: the signer was asked for "${printable(algorithm, 64)}" and signed with "${
      printable(label, 64)
    }"`,
    { code: "PROTOCOL_ERROR" },
  );
}
