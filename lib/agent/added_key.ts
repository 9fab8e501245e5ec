/**
 * Private keys as they are handed to an agent, with a certificate or without. draft-ietf-sshm-ssh-agent section 3.2. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable, SshError } from "../errors.ts";
import { commentText } from "../keys/key_text.ts";
import { certifiedTypeOf, privateFormOf, typeOfMaterial } from "../keys/key_types.ts";
import { publicBlobOf } from "../keys/key_material.ts";
import { isOwnKey, materialOf, privateKeyFromMaterial } from "../keys/private_key.ts";
import type { Signer } from "../keys/types.ts";
import { withoutCertificate } from "../keys/with_certificate.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";

/** Room for the components of any key, with their lengths: a buffer that grows would leave copies of the secret behind. */
const MAX_MATERIAL = 12_288;

/** What is in a certificate in front of what its CA says: its type, and from where on its public key stands. */
function readCertificate(blob: Uint8Array): { type: string; plain: string; half: Reader } {
  const half = new Reader(blob), type = half.ascii();
  half.view();
  return { type, plain: certifiedTypeOf(type) ?? "", half };
}

/** Whether a public key is a certificate. */
function isCertificate({ type }: { readonly type: string }): boolean {
  return certifiedTypeOf(type) !== null;
}

/** Whether a certificate, which has been told as one, is one of the key with this blob: behind its nonce stands what stands in the blob behind the type. */
export function certifies(certificate: Uint8Array, blob: Uint8Array): boolean {
  try {
    const { plain, half } = readCertificate(certificate), key = new Reader(blob), type = key.ascii();
    return plain === type && half.remaining >= key.remaining && equals(half.rawView(key.remaining), key.rest());
  } catch (error) {
    if (error instanceof SshError) return false;
    throw error;
  }
}

/** What a program gave, as it is handed over, with its certificate where it has one. Throws `TypeError` for a key that gives nothing away. */
export function writeAddedKey(key: Signer, comment: string | undefined): Writer {
  const plain = withoutCertificate(key) ?? key;
  const material = isOwnKey(plain) ? materialOf(plain) : null;
  if (!isOwnKey(plain) || material === null) {
    throw new TypeError(
      "Cannot add key: it keeps its private part to itself, or was not made by this module; an agent of this program takes it: createAgent()",
    );
  }
  const { name, private: form } = typeOfMaterial(material), text = new TextEncoder().encode(comment ?? plain.comment);
  const { type, blob } = key.publicKey;
  const writer = new Writer(MAX_MATERIAL + text.length + blob.length);
  if (plain === key) form.write(writer.text(name), material);
  else (form.behindCertificate ?? form).write(writer.text(type).string(blob), material);
  return writer.string(text);
}

/** A key that somebody has handed over. */
export interface AddedKey {
  /** What it is known by: the public key, or the certificate. */
  readonly blob: Bytes;
  readonly comment: string;
  /** Signs, without a certificate. */
  readonly key: Signer;
}

/** Reads the same. Throws `SshError` for what is no sound key, and for a certificate of another one. */
export async function readAddedKey(reader: Reader, minRsaBits: number): Promise<AddedKey> {
  const type = reader.ascii();
  if (!isCertificate({ type })) {
    const material = privateFormOf(type).read(reader), comment = commentText(reader.view());
    const key = await privateKeyFromMaterial(material, comment, { insecureMinRsaBits: minRsaBits });
    return { blob: publicBlobOf(material), comment, key };
  }
  const blob = reader.string(), { type: named, plain, half } = readCertificate(blob), form = privateFormOf(plain);
  const material = form.behindCertificate?.read(half, reader) ?? form.read(reader);
  const comment = commentText(reader.view());
  const key = await privateKeyFromMaterial(material, comment, { insecureMinRsaBits: minRsaBits });
  if (named !== type || !certifies(blob, key.publicKey.blob)) {
    throw new SshError(`Cannot take key: its certificate (${printable(named, 64)}) is for another one`, {
      code: "KEY_FORMAT",
    });
  }
  return { blob, comment, key };
}
