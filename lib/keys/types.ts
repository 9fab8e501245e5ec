/**
 * Public keys, signers and agents as the rest of the module sees them.
 *
 * @module
 */
import type { ByteDuplex, Bytes, MaybePromise } from "../wire/types.ts";

export type { ByteDuplex };

/** A public key. */
export interface PublicKey {
  /** Key format name, such as `ssh-ed25519` (RFC 4253 section 6.6). */
  readonly type: string;
  /** SSH wire encoding. */
  readonly blob: Bytes;
  /** `SHA256:…` fingerprint, as `ssh-keygen -l` prints it. */
  fingerprint(): Promise<string>;
  /**
   * Checks a signature blob made with any algorithm this key allows; false for whatever does not fit. Rejects with `TypeError`
   * where the runtime cannot tell.
   */
  verify(data: Uint8Array, signature: Uint8Array): Promise<boolean>;
  /** Its line, `type base64`. */
  toString(): string;
  /** The certificate that the key comes with. Its type and blob are those of the certificate then, its fingerprint that of the key alone. */
  readonly certificate?: Certificate | undefined;
}

/** An OpenSSH certificate: who a CA says that a key belongs to (draft-miller-ssh-cert). */
export interface Certificate {
  /** Whether it is for users or for hosts. */
  readonly kind: "user" | "host";
  /** The key that is certified. */
  readonly publicKey: PublicKey;
  /** The name that the CA gave it, for logs. */
  readonly keyId: string;
  /** The number that the CA gave it; 0 where it did not count. */
  readonly serial: bigint;
  /** Users or hosts; of hosts, patterns with `*` and `?`. An empty list fits nobody, as OpenSSH 10.3 and later have it. */
  readonly principals: readonly string[];
  /** From when it holds, to the second. */
  readonly validAfter: Date;
  /** Until when, to the second; null for ever. */
  readonly validBefore: Date | null;
  /** The CA's key. */
  readonly signedBy: PublicKey;
  /** What whoever accepts it has to enforce, by name; flags have an empty text. */
  readonly criticalOptions: ReadonlyMap<string, string>;
  /** What it allows, by name; flags have an empty text. */
  readonly extensions: ReadonlyMap<string, string>;
}

/** Something that signs: a private key, an agent identity, a hardware token. */
export interface Signer {
  /** The public half. */
  readonly publicKey: PublicKey;
  /** Signature algorithms, most wanted first; never empty. */
  readonly algorithms: readonly string[];
  /** Signs with one of {@linkcode Signer.algorithms}; returns a signature blob (`string` algorithm, `string` signature). */
  sign(data: Uint8Array, algorithm: string): Promise<Bytes>;
}

/** A private key held in memory. */
export interface PrivateKey extends Signer {
  /** Comment stored with it. */
  readonly comment: string;
  /** Type, fingerprint and comment, as `ssh-keygen -l` tells them: nothing secret. */
  toString(): string;
  /**
   * Writes the key's file: in the OpenSSH format unless another is asked for, encrypted when a `passphrase` is given, and in clear when
   * none is. See {@linkcode ExportOptions}.
   *
   * Rejects with `TypeError` for an empty passphrase and for one where the format has no encryption, with `RangeError` for `rounds` out
   * of bounds, and with `KeyFormatError` where the format has no keys of this type.
   */
  export(options?: ExportOptions): Promise<string>;
}

/** The formats that {@linkcode PrivateKey.export} writes. */
export type PrivateKeyFormat = "openssh" | "pkcs8" | "putty" | "jwk";

/** Options of {@linkcode PrivateKey.export}. */
export interface ExportOptions {
  /**
   * `openssh`; PKCS#8 in PEM (`pkcs8`), which OpenSSL and most others take and which holds no comment; PuTTY's format, version 3
   * (`putty`); or a JSON Web Key (`jwk`), which is never encrypted and has the comment as its `kid`. @default {"openssh"}
   */
  format?: PrivateKeyFormat | undefined;
  /** What the file is encrypted with: AES-256, whose key comes from the passphrase. Without it, the file is in clear. */
  passphrase?: string | undefined;
  /**
   * What guessing a passphrase costs: rounds of bcrypt_pbkdf for `openssh`, 1 to 2,048, 24 unless given; iterations of PBKDF2 with
   * HMAC-SHA-256 for `pkcs8`, 1 to 10,000,000, 600,000 unless given; passes of Argon2id over 8 MiB for `putty`, 1 to 128, 8 unless
   * given. Each of these defaults takes about half a second or less.
   */
  rounds?: number | undefined;
}

/** A connection to an SSH agent. */
export interface Agent extends AsyncDisposable {
  /** The identities it holds. */
  signers(): Promise<readonly Signer[]>;
}

/** Decides whether a host key is trusted; anything but `true` refuses it. */
export type HostKeyVerifier = (key: PublicKey, host: { hostname: string; port: number }) => MaybePromise<boolean>;
