/**
 * Key files that may be encrypted, as signers: what they sign with is decrypted when it is needed. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { abortable } from "../wire/abortable.ts";
import { checkText, kindOf, wrongKind } from "../wire/check.ts";
import type { Bytes } from "../wire/types.ts";
import { isPublicKey } from "./check_key.ts";
import { keyFormatError } from "./format/format_error.ts";
import { type KeyText, looksLikePath, pathHint } from "./key_text.ts";
import { checkPassphrase, type Passphrase } from "./passphrase.ts";
import { inspectPrivateKey, parsePrivateKey } from "./private_key.ts";
import { parsePublicKey, signatureAlgorithmsOf } from "./public_key.ts";
import type { RsaKeyOptions } from "./rsa_public.ts";
import type { PrivateKey, PublicKey, Signer } from "./types.ts";

/** A key file, for `publicKey()`. */
export interface KeyFile extends RsaKeyOptions {
  /** What is in it, as {@linkcode parsePrivateKey} reads it. */
  readonly text: KeyText;
  /**
   * What it is encrypted with. A function is asked once, and only after the server has said that it would take the key, where its public
   * half is known: files of OpenSSH and PuTTY have it in clear. What it throws ends the login; with null, or a wrong passphrase, the login
   * goes on with the next key.
   */
  readonly passphrase?: Passphrase | undefined;
  /** The public half, or the text of the `.pub` file: for PEM, which encrypts it along with the private one. */
  readonly publicKey?: PublicKey | KeyText | undefined;
  /** What the file is called in the question for its passphrase, such as its path. */
  readonly name?: string | undefined;
}

/** Whether `value` has the shape of a key file. */
export function isKeyFile(value: unknown): value is KeyFile {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array) && Object.hasOwn(value, "text");
}

/** Throws `TypeError` for a key file in which something is of the wrong kind. */
export function checkKeyFile({ text, passphrase, publicKey, name }: KeyFile): void {
  if (typeof text !== "string" && !(text instanceof Uint8Array)) {
    throw wrongKind("text", text, "the text of a key file, or its bytes");
  }
  if (typeof text === "string" && looksLikePath(text)) {
    throw new TypeError(`Cannot use key: no private key is in its text${pathHint(text)}`);
  }
  checkPassphrase(passphrase);
  if (name !== undefined) checkText("name", name);
  if (publicKey === undefined || typeof publicKey === "string" || publicKey instanceof Uint8Array) return;
  if (!isPublicKey(publicKey)) {
    throw new TypeError(
      `Cannot use ${kindOf(publicKey)} as \`publicKey\`: it must be a public key, or the text of its file`,
    );
  }
}

/** A passphrase that is asked for, and who waits for it. */
interface Unlocking {
  readonly key: Promise<PrivateKey>;
  /** Aborts when nobody waits any more. */
  readonly left: AbortController;
  waiting: number;
  settled: boolean;
}

/** A key that is decrypted when it is asked to sign. */
export class LockedKey implements Signer {
  readonly publicKey: PublicKey;
  readonly algorithms: readonly string[];
  #file: KeyFile | null;
  #key: PrivateKey | null = null;
  #unlocking: Unlocking | null = null;

  /** Nothing is asked for yet. */
  constructor(file: KeyFile, publicKey: PublicKey) {
    this.#file = file;
    this.publicKey = publicKey;
    this.algorithms = signatureAlgorithmsOf(publicKey.type);
  }

  /**
   * The key, decrypted: whoever waits for it at once waits for the same answer, and the function that is asked hears when none of them
   * waits any more. After a failure the next one asks anew.
   */
  async unlock(signal?: AbortSignal): Promise<PrivateKey> {
    if (this.#key !== null) return this.#key;
    signal?.throwIfAborted();
    const unlocking = this.#unlocking ??= this.#begin();
    unlocking.waiting++;
    try {
      return await abortable(unlocking.key, signal);
    } finally {
      if (--unlocking.waiting === 0) {
        if (this.#unlocking === unlocking) this.#unlocking = null;
        if (!unlocking.settled) unlocking.left.abort(signal?.reason);
      }
    }
  }

  #begin(): Unlocking {
    const left = new AbortController(), { text, passphrase, name, insecureMinRsaBits } = this.#file!;
    const options = { passphrase, name, insecureMinRsaBits, signal: left.signal };
    const key = parsePrivateKey(text, options).then((key) => {
      if (!equals(key.publicKey.blob, this.publicKey.blob)) {
        throw keyFormatError("Cannot read private key: its public key file is of another key");
      }
      this.#key = key;
      // The passphrase and the file are not needed any more.
      this.#file = null;
      return key;
    });
    const unlocking: Unlocking = { key, left, waiting: 0, settled: false };
    const settle = (): void => void (unlocking.settled = true);
    // Whoever waited may have gone.
    key.then(settle, settle);
    return unlocking;
  }

  async sign(data: Uint8Array, algorithm: string): Promise<Bytes> {
    return await (await this.unlock()).sign(data, algorithm);
  }
}

/**
 * The key of a file: one that is locked where it is encrypted and its public half is known. Where that is not known, the passphrase is
 * asked for at once.
 */
export async function openKeyFile(file: KeyFile, signal: AbortSignal | undefined): Promise<Signer> {
  checkKeyFile(file);
  const { text, passphrase, name, publicKey: given, insecureMinRsaBits } = file, options = { insecureMinRsaBits };
  const { encrypted, publicKey: found } = inspectPrivateKey(text, options);
  const publicKey = found ??
    (typeof given === "string" || given instanceof Uint8Array ? parsePublicKey(given, options) : given);
  if (encrypted && passphrase !== undefined && publicKey !== undefined) return new LockedKey(file, publicKey);
  return await parsePrivateKey(text, { passphrase, name, insecureMinRsaBits, signal });
}
