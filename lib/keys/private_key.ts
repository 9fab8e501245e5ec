/**
 * Private keys: reading, making, signing, writing. OpenSSH PROTOCOL.key, RFC 5915, RFC 5958, RFC 7517, RFC 8017. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkObject, checkSignal, checkText, checkTime, checkWord } from "../wire/check.ts";
import { withDeadline } from "../wire/deadline.ts";
import { requireWebCrypto } from "../wire/system.ts";
import type { Bytes } from "../wire/types.ts";
import { generateEcdsa } from "./ecdsa.ts";
import { generateEd25519 } from "./ed25519.ts";
import { bytesOfString, byteString, type KeyText } from "./key_text.ts";
import { checkMaterial, publicBlobOf } from "./key_material.ts";
import type { Sign } from "./key_type.ts";
import {
  insecureAlgorithmsOf,
  type KeyMaterial,
  privateFormOf,
  signatureAlgorithmsOf,
  typeOfMaterial,
} from "./key_types.ts";
import {
  DEFAULT_ROUNDS,
  MAX_ROUNDS,
  readEnvelope,
  readPrivatePart,
  writeEncrypted,
  writePlain,
} from "./format/openssh.ts";
import { isJson, readPrivateJwk, writePrivateJwk } from "./format/jwk.ts";
import { DEFAULT_ITERATIONS, MAX_ITERATIONS } from "./format/pbes2.ts";
import { isEncryptedPem, readPem } from "./format/pem.ts";
import { DEFAULT_PASSES, isPpk, MAX_PASSES, readPpk, readPpkMaterial } from "./format/ppk.ts";
import { privateDer } from "./format/private_der.ts";
import { generateMldsa44Ed25519 } from "./mldsa44_ed25519.ts";
import { askerOf, type AskPassphrase, checkPassphrase, type Passphrase } from "./passphrase.ts";
import { publicKeyFromBlob } from "./public_key.ts";
import { generateRsa } from "./rsa.ts";
import { minRsaBits, RSA_BITS, type RsaKeyOptions } from "./rsa_public.ts";
import { writeSignature } from "./signature_blob.ts";
import type { ExportOptions, PrivateKey, PrivateKeyFormat, PublicKey, Signer } from "./types.ts";

/** What encryption costs in each format, and what is read at most; null where there is none. */
const costs: Readonly<Record<PrivateKeyFormat, { readonly initial: number; readonly most: number } | null>> = {
  openssh: { initial: DEFAULT_ROUNDS, most: MAX_ROUNDS },
  pkcs8: { initial: DEFAULT_ITERATIONS, most: MAX_ITERATIONS },
  putty: { initial: DEFAULT_PASSES, most: MAX_PASSES },
  jwk: null,
};

class SshPrivateKey implements PrivateKey {
  readonly publicKey: PublicKey;
  readonly algorithms: readonly string[];
  readonly comment: string;
  readonly #material: KeyMaterial;
  readonly #sign: Sign;

  /** Type and fingerprint: what may be seen of it. */
  readonly #shown: string;

  /** A key object, once the fingerprint is known. */
  static async of(material: KeyMaterial, comment: string): Promise<SshPrivateKey> {
    // Whether its size is enough has been decided where the material came from.
    const publicKey = publicKeyFromBlob(publicBlobOf(material), { insecureMinRsaBits: RSA_BITS.insecureMin });
    return new SshPrivateKey(material, comment, publicKey, await publicKey.fingerprint());
  }

  private constructor(material: KeyMaterial, comment: string, publicKey: PublicKey, fingerprint: string) {
    this.#material = material;
    this.#sign = typeOfMaterial(material).private.signer(material);
    this.publicKey = publicKey;
    this.#shown = `${publicKey.type} ${fingerprint}`;
    this.algorithms = Object.freeze([...signatureAlgorithmsOf(this.publicKey.type)]);
    this.comment = comment;
  }

  async sign(data: Uint8Array, algorithm: string): Promise<Bytes> {
    if (!this.algorithms.includes(algorithm)) {
      throw new TypeError(
        `Cannot sign with "${algorithm}": a key of type ${this.publicKey.type} has ${this.algorithms.join(", ")}`,
      );
    }
    return writeSignature(algorithm, await this.#sign(data.slice(), algorithm));
  }

  toString(): string {
    return this.comment === "" ? this.#shown : `${this.#shown} ${printable(this.comment)}`;
  }

  async export(options: ExportOptions = {}): Promise<string> {
    checkObject("options", options, "an object such as `{ format, passphrase }`");
    const { format = "openssh", passphrase, rounds } = options;
    checkWord("format", format, Object.keys(costs));
    if (passphrase !== undefined && typeof passphrase !== "string") {
      throw new TypeError("Cannot encrypt private key: its passphrase is not a string");
    }
    // ssh-keygen takes an empty passphrase for none; here it would be a key in clear that somebody believes is not.
    if (passphrase === "") throw new TypeError("Cannot encrypt private key: the passphrase is empty");
    const cost = costs[format];
    if (cost === null && (passphrase ?? rounds) !== undefined) {
      throw new TypeError(`Cannot encrypt private key: the format "${format}" has no encryption`);
    }
    const { initial, most } = cost ?? { initial: 1, most: 1 }, times = rounds ?? initial;
    if (!Number.isInteger(times) || times < 1 || times > most) {
      throw new RangeError(`Cannot encrypt private key: ${times} rounds given, 1 to ${most} are allowed`);
    }
    const material = this.#material, comment = this.comment;
    switch (format) {
      case "openssh":
        if (passphrase === undefined) return writePlain(material, comment);
        return await writeEncrypted(material, comment, passphrase, times);
      case "pkcs8": {
        const { writePkcs8 } = await import("./format/pkcs8.ts");
        return await writePkcs8(material, passphrase, times);
      }
      case "putty": {
        const { writePpk } = await import("./format/ppk_write.ts");
        return await writePpk(material, publicBlobOf(material), comment, passphrase, times);
      }
      case "jwk":
        return writePrivateJwk(material, publicBlobOf(material), comment);
    }
  }

  /** What it is made of. */
  static material(key: PrivateKey): KeyMaterial | null {
    return key instanceof SshPrivateKey ? key.#material : null;
  }

  static async insecureSign(key: PrivateKey, data: Uint8Array, algorithm: string): Promise<Bytes> {
    if (!(key instanceof SshPrivateKey)) {
      throw new TypeError("Cannot sign with SHA-1: the key was not made by this module");
    }
    return writeSignature(algorithm, await key.#sign(data.slice(), algorithm));
  }
}

/** Whether a signer is a private key that this module has read or made. */
export function isOwnKey(signer: Signer): signer is PrivateKey {
  return signer instanceof SshPrivateKey;
}

/** What a private key is made of, for those who write it; null for one that keeps that to itself: a token's, another program's object. */
export function materialOf(key: PrivateKey): KeyMaterial | null {
  return SshPrivateKey.material(key);
}

/** A private key object for components from a file or an agent's client, after they were found to belong together. */
export async function privateKeyFromMaterial(
  material: KeyMaterial,
  comment: string,
  options: RsaKeyOptions,
): Promise<PrivateKey> {
  await checkMaterial(material, minRsaBits(options));
  return await SshPrivateKey.of(material, comment);
}

/**
 * An RSA key that also signs with `ssh-rsa`, which is SHA-1: only for peers that know nothing better. Its
 * {@linkcode Signer.algorithms} name `ssh-rsa` last.
 */
export function insecureSha1Signer(key: PrivateKey): Signer {
  const insecure = insecureAlgorithmsOf(key.publicKey.type);
  if (insecure.length === 0) throw new TypeError(`Cannot sign with SHA-1: the key is ${key.publicKey.type}`);
  const algorithms = Object.freeze([...key.algorithms, ...insecure]);
  return {
    publicKey: key.publicKey,
    algorithms,
    async sign(data, algorithm): Promise<Bytes> {
      return insecure.includes(algorithm)
        ? await SshPrivateKey.insecureSign(key, data, algorithm)
        : await key.sign(data, algorithm);
    },
  };
}

/** Options of {@linkcode parsePrivateKey}. */
export interface PrivateKeyOptions extends RsaKeyOptions {
  /** What the file is encrypted with: a text, or a function that is asked once, and only where the file can be read and is encrypted. */
  passphrase?: Passphrase | undefined;
  /** What the file is called in the question for its passphrase, such as its path. */
  name?: string | undefined;
  /** Aborting rejects with the signal's reason while a passphrase is waited for. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds to wait for a passphrase. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

/**
 * Reads a private key, from text or from the bytes of a file: the OpenSSH format, PEM (PKCS#1, PKCS#8, SEC1),
 * PuTTY (versions 2 and 3) or a JSON Web Key, encrypted or not; the bytes may also be the DER that PEM has inside.
 *
 * Throws `KeyFormatError`, whose code is `KEY_FORMAT`, for anything else. Its `reason` tells a missing passphrase from a wrong one, a
 * damaged file, a format that is not supported, and another kind of file, such as a public key or a certificate; the message says what
 * was found, and how to convert it. It never holds any of the text.
 */
export async function parsePrivateKey(text: KeyText, options: PrivateKeyOptions = {}): Promise<PrivateKey> {
  minRsaBits(options);
  const { passphrase, name, signal, timeout } = options;
  checkPassphrase(passphrase);
  if (name !== undefined) checkText("name", name);
  checkSignal(signal);
  checkTime("timeout", timeout);
  signal?.throwIfAborted();
  const bytes = bytesOf(text);
  requireWebCrypto("read private key");
  const what = (): string => name === undefined ? "a passphrase" : `the passphrase of "${printable(name)}"`;
  const ask: AskPassphrase = (key) =>
    withDeadline(options, what, (signal) => askerOf(passphrase, name ?? null, signal)(key));
  if (isPpk(bytes)) {
    const { material, comment } = await readPpkMaterial(readPpk(bytes, options), ask);
    return await privateKeyFromMaterial(material, comment, options);
  }
  if (isJson(bytes)) {
    // One character a byte, and JSON is UTF-8.
    const { material, comment } = readPrivateJwk(new TextDecoder().decode(bytesOfString(bytes)));
    return await privateKeyFromMaterial(material, comment, options);
  }
  const { label, headers, bytes: content } = privateDer(bytes) ?? readPem(bytes);
  if (label === "OPENSSH PRIVATE KEY") {
    const envelope = readEnvelope(content, options);
    // Nobody is asked for a passphrase of a key that cannot be used.
    privateFormOf(envelope.publicKey.type);
    const { material, comment } = await readPrivatePart(envelope, ask);
    return await privateKeyFromMaterial(material, comment, options);
  }
  const { readPemMaterial } = await import("./format/pem_format.ts");
  return await privateKeyFromMaterial(await readPemMaterial(label, headers, content, ask), "", options);
}

function bytesOf(text: KeyText): string {
  return byteString(`Cannot read ${typeof text === "string" && isPpk(text) ? "PuTTY " : ""}private key`, text);
}

/** What a private key's text says without its passphrase; the public key is null where only the passphrase reveals it. */
export function inspectPrivateKey(
  text: KeyText,
  options: RsaKeyOptions = {},
): { encrypted: boolean; publicKey: PublicKey | null } {
  const bytes = bytesOf(text);
  if (isPpk(bytes)) {
    const { encryption, publicKey } = readPpk(bytes, options);
    return { encrypted: encryption !== "none", publicKey };
  }
  if (isJson(bytes)) {
    const { material } = readPrivateJwk(new TextDecoder().decode(bytesOfString(bytes)));
    return { encrypted: false, publicKey: publicKeyFromBlob(publicBlobOf(material), options) };
  }
  const { label, headers, bytes: content } = privateDer(bytes) ?? readPem(bytes);
  if (label === "OPENSSH PRIVATE KEY") return readEnvelope(content, options);
  return { encrypted: label === "ENCRYPTED PRIVATE KEY" || isEncryptedPem(headers), publicKey: null };
}

const makers = {
  ed25519: generateEd25519,
  ecdsa: generateEcdsa,
  rsa: generateRsa,
  "mldsa44-ed25519": generateMldsa44Ed25519,
};

/**
 * Makes a key pair from the runtime's random numbers: Ed25519 unless another type is asked for. `mldsa44-ed25519` is OpenSSH's
 * post-quantum type, which its versions from 10.6 on know: a signature holds as long as either ML-DSA-44 or Ed25519 does.
 *
 * `bits` is 256 (the default), 384 or 521 for `ecdsa`, 2,048 to 16,384 for `rsa` (3,072 unless given), and nothing but 256
 * for `ed25519` and 512 for `mldsa44-ed25519`. Throws `RangeError` for other sizes.
 */
export async function generateKey(
  type: "ed25519" | "ecdsa" | "rsa" | "mldsa44-ed25519" = "ed25519",
  options: { bits?: number | undefined; comment?: string | undefined } = {},
): Promise<PrivateKey> {
  const make = Object.hasOwn(makers, type) ? makers[type] : undefined;
  if (make === undefined) throw new TypeError(`Cannot make key: the type "${type}" is not known`);
  requireWebCrypto("make key");
  return await SshPrivateKey.of(await make(options.bits), options.comment ?? "");
}
