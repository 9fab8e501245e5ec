/**
 * PuTTY's private key files, version 3: writing. PuTTY manual, appendix C. No I/O.
 *
 * @module
 */
import { toHex } from "../../wire/base_text.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { type KeyMaterial, typeOfMaterial } from "../key_types.ts";
import { cbcEncrypt } from "./file_ciphers.ts";
import { unsupported } from "./format_error.ts";
import { base64Lines } from "./pem.ts";
import { argon2Keys, type Argon2Parameters, coveredByMac, WRITTEN_MEMORY } from "./ppk.ts";

/** Room for the private half of any key. */
const MAX_PRIVATE = 8_192;

/** Writes a key, encrypted where there is a passphrase. */
export async function writePpk(
  material: KeyMaterial,
  blob: Bytes,
  comment: string,
  passphrase: string | undefined,
  passes: number,
): Promise<string> {
  // deno-lint-ignore no-control-regex
  if (/[\u0000-\u001f]/.test(comment)) {
    throw new TypeError("Cannot write PuTTY private key: the comment holds a control character");
  }
  const { name, private: form } = typeOfMaterial(material);
  if (form.writePutty === undefined) {
    throw unsupported(`Cannot write PuTTY private key: PuTTY has no keys of type ${name}`);
  }
  const writer = new Writer(MAX_PRIVATE);
  form.writePutty(writer, material);
  const encryption = passphrase === undefined ? "none" : "aes256-cbc";
  // The MAC covers the padding, so it may be anything.
  const padding = passphrase === undefined ? 0 : (16 - writer.length % 16) % 16;
  const plain = writer.raw(crypto.getRandomValues(new Uint8Array(padding))).bytes();
  try {
    const parameters: Argon2Parameters | null = passphrase === undefined ? null : {
      kdf: "Argon2id",
      memory: WRITTEN_MEMORY,
      passes,
      parallelism: 1,
      salt: crypto.getRandomValues(new Uint8Array(16)),
    };
    const { key, iv, macKey } = await argon2Keys(parameters, new TextEncoder().encode(passphrase ?? ""));
    const body = passphrase === undefined ? plain : await cbcEncrypt(key, iv, plain);
    const hmac = await crypto.subtle.importKey("raw", macKey, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const covered = coveredByMac(name, encryption, new TextEncoder().encode(comment), blob, plain);
    const mac = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, covered));
    covered.fill(0);
    return [
      `PuTTY-User-Key-File-3: ${name}`,
      `Encryption: ${encryption}`,
      `Comment: ${comment}`,
      ...block("Public-Lines", blob),
      ...parameters === null ? [] : [
        `Key-Derivation: ${parameters.kdf}`,
        `Argon2-Memory: ${parameters.memory}`,
        `Argon2-Passes: ${parameters.passes}`,
        `Argon2-Parallelism: ${parameters.parallelism}`,
        `Argon2-Salt: ${toHex(parameters.salt)}`,
      ],
      ...block("Private-Lines", body),
      `Private-MAC: ${toHex(mac)}`,
      "",
    ].join("\n");
  } finally {
    plain.fill(0);
  }
}

function block(name: string, bytes: Bytes): string[] {
  const lines = base64Lines(bytes, 64);
  return [`${name}: ${lines.length}`, ...lines];
}
