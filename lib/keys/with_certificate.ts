/**
 * Signers that present a certificate. draft-miller-ssh-cert, OpenSSH PROTOCOL.certkeys. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";
import { certifiedKeyFromText, checkCertificate } from "./certificate.ts";
import { checkSigner } from "./check_key.ts";
import type { KeyText } from "./key_text.ts";
import { signatureAlgorithmsOf, signatureLabelOf } from "./key_types.ts";
import type { RsaKeyOptions } from "./rsa_public.ts";
import type { Signer } from "./types.ts";

/** What signs, by the signer that presents a certificate with it, or that has fewer algorithms. */
const plainSigners = new WeakMap<Signer, Signer>();

/** What a signer made by {@linkcode withCertificate} signs with, or null for any other signer. */
export function withoutCertificate(signer: Signer): Signer | null {
  return plainSigners.get(signer) ?? null;
}

/** Host keys as a server shows them: behind each certificate its key alone, for clients that ask for that. */
export function withPlainKeys(signers: readonly Signer[]): readonly Signer[] {
  return signers.flatMap((signer) => [signer, plainSigners.get(signer)].filter((one) => one !== undefined));
}

/** A signer that has no algorithms but these of its own. What it signs with is known as before: it may be a key that has to be unlocked. */
export function withAlgorithms(signer: Signer, algorithms: readonly string[]): Signer {
  const fewer: Signer = {
    publicKey: signer.publicKey,
    algorithms,
    sign: (data, algorithm) => signer.sign(data, algorithm),
  };
  plainSigners.set(fewer, plainSigners.get(signer) ?? signer);
  return fewer;
}

/**
 * A signer that presents a certificate: what `signer` signs with is the key that is certified. As one of `publicKey()`'s keys it logs in, as
 * one of `serve()`'s `hostKeys` it shows a host certificate to clients that ask for one, and the plain key to all others.
 *
 * ```ts
 * import { connect, parsePrivateKey, publicKey, withCertificate } from "@amiko/ssh";
 *
 * async function login(hostname: string): Promise<void> {
 *   const key = await parsePrivateKey(await Deno.readTextFile("id_ed25519"));
 *   const certified = withCertificate(key, await Deno.readTextFile("id_ed25519-cert.pub"));
 *   await using client = await connect({ hostname, username: "alice", auth: [publicKey(certified, key)] });
 * }
 * ```
 *
 * Throws `SshError` with code `KEY_FORMAT` for what is no certificate's line, and `TypeError` for the certificate of another key. Whether its
 * CA has signed it is looked at when it signs for the first time.
 */
export function withCertificate(signer: Signer, certificate: KeyText, options: RsaKeyOptions = {}): Signer {
  checkSigner("signer", signer);
  const key = certifiedKeyFromText(certificate, options), plain = plainSigners.get(signer) ?? signer;
  if (!equals(key.fields.publicKey.blob, plain.publicKey.blob)) {
    throw new TypeError(
      `Cannot use certificate: it belongs to another key, of type ${
        printable(key.fields.publicKey.type, 64)
      }, and not to the signer's`,
    );
  }
  const own = signatureAlgorithmsOf(key.type);
  const algorithms = Object.freeze(
    plain.algorithms.flatMap((label) => own.filter((name) => signatureLabelOf(name) === label)),
  );
  if (algorithms.length === 0) {
    throw new TypeError(
      `Cannot use certificate: the signer has no algorithm that goes with one, only ${plain.algorithms.join(", ")}`,
    );
  }
  const certified: Signer = {
    publicKey: key,
    algorithms,
    async sign(data, algorithm): Promise<Bytes> {
      if (!algorithms.includes(algorithm)) {
        throw new TypeError(`Cannot sign with "${algorithm}": a certificate of this key has ${algorithms.join(", ")}`);
      }
      await checkCertificate(key);
      return await plain.sign(data, signatureLabelOf(algorithm));
    },
  };
  plainSigners.set(certified, plain);
  return certified;
}
