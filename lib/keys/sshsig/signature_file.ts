/**
 * Files of signatures (SSHSIG): what they say, and their armour. OpenSSH PROTOCOL.sshsig. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable } from "../../errors.ts";
import { fromBase64, toBase64 } from "../../wire/base_text.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { anyKeyFromBlob } from "../certificate.ts";
import { keyFormatError, parsing } from "../format/format_error.ts";
import { keyCharacters, type KeyText, pathHint } from "../key_text.ts";
import { signatureAlgorithm } from "../signature_blob.ts";
import type { RsaKeyOptions } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";
import type { MessageHash } from "./message_hash.ts";

const MAGIC = new TextEncoder().encode("SSHSIG");
const VERSION = 1;
const BEGIN = "-----BEGIN SSH SIGNATURE-----", END = "-----END SSH SIGNATURE-----";
const WHAT = "Cannot read signature";

/** What a file of a signature says. */
export interface SignatureFile {
  /** The key, with its certificate where it has one. */
  readonly publicKey: PublicKey;
  /** What the signature is for. */
  readonly namespace: string;
  /** How the message was hashed. */
  readonly hash: MessageHash;
  /** The signature's blob. */
  readonly signature: Bytes;
}

const fail = (why: string) => keyFormatError(`${WHAT}: ${why}`);

/** What is signed: all but the message's hash could be somebody else's words if it did not begin with the name of the format. */
export function signedData(namespace: string, hash: MessageHash, digest: Uint8Array): Bytes {
  return new Writer().raw(MAGIC).text(namespace).text("").text(hash).string(digest).bytes();
}

/** Writes a file as `ssh-keygen -Y sign` does. */
export function writeSignatureFile({ publicKey, namespace, hash, signature }: SignatureFile): string {
  const bytes = new Writer(512).raw(MAGIC).u32(VERSION).string(publicKey.blob).text(namespace).text("").text(hash)
    .string(signature).bytes();
  return `${BEGIN}\n${toBase64(bytes).match(/.{1,70}/g)!.join("\n")}\n${END}\n`;
}

/**
 * Reads a file as `ssh-keygen` does: the first line begins it, white space in the base64 counts for nothing, and what follows the line that
 * ends it is not looked at. Throws `KEY_FORMAT` for anything else.
 */
export function readSignatureFile(text: KeyText, rsa: RsaKeyOptions): SignatureFile {
  const bytes = decode(keyCharacters(WHAT, text));
  return parsing(WHAT, () => {
    const reader = new Reader(bytes);
    if (reader.remaining < MAGIC.length || !equals(reader.rawView(MAGIC.length), MAGIC)) {
      throw fail('it does not begin with "SSHSIG"');
    }
    const version = reader.u32();
    if (version !== VERSION) throw fail(`it is of version ${version}, and 1 is known`);
    const publicKey = anyKeyFromBlob(reader.view(), rsa);
    const namespace = reader.text();
    // Reserved; nothing that is signed depends on it.
    reader.view();
    const hash = reader.ascii();
    if (hash !== "sha256" && hash !== "sha512") {
      throw fail(`the message is hashed with "${printable(hash, 64)}"; sha256 and sha512 are known`);
    }
    const signature = reader.string();
    reader.end();
    signatureAlgorithm(signature);
    return { publicKey, namespace, hash, signature };
  });
}

function decode(text: string): Bytes {
  const begin = /^-----BEGIN SSH SIGNATURE-----\r?\n/.exec(text);
  if (begin === null) throw fail(`it does not begin with the line "${BEGIN}"${pathHint(text)}`);
  const end = text.indexOf(`\n${END}`, begin[0].length - 1);
  if (end < 0) throw fail(`the line "${END}" is missing`);
  try {
    const base64 = text.slice(begin[0].length, end).replace(/[\t\n\v\f\r ]+/g, "");
    return fromBase64(base64, { lastChunkHandling: "strict" });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw keyFormatError(`${WHAT}: it is not base64`, cause);
  }
}
