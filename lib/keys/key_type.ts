/**
 * What a type of key is to the rest of the module: a row of the table in `key_types.ts`. No I/O.
 *
 * @module
 */
import type { Reader } from "../wire/reader.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import type { Writer } from "../wire/writer.ts";
import type { JwkMembers, JwkText } from "./jwk_members.ts";

/** A signature algorithm of a key type. */
export interface SignatureAlgorithm {
  /** Name on the wire. */
  readonly name: string;
  /** Whether nothing may name it by itself: it is reached through functions named insecure, and through lists that a program wrote. */
  readonly insecure?: true;
  /** Flags that ask an agent for it (draft-ietf-sshm-ssh-agent section 6.3); none unless given. */
  readonly agentFlags?: number;
  /** Whether it is made by a FIDO authenticator, and has what that says behind its value. */
  readonly authenticator?: true;
  /**
   * Another algorithm of the type in the place of which it stands on signatures: nobody asks a signer for it, and the signer decides.
   */
  readonly inPlaceOf?: string;
}

/** What a FIDO authenticator said with a signature, which covers it (OpenSSH PROTOCOL.u2f). */
export interface AuthenticatorData {
  /** Whether somebody touched the authenticator, or showed in another way to be there (UP). */
  readonly userPresent: boolean;
  /** Whether the authenticator knew who that was, by a PIN or a fingerprint (UV). */
  readonly userVerified: boolean;
  /** All flags as they came, a byte. */
  readonly flags: number;
  /** How many signatures it has made, by its own account: some count for each key, some for all, and some always say 0. */
  readonly counter: number;
}

/**
 * Checks a signature's value, which is what stands behind the algorithm's name. The algorithm is one of the key type's. A value that is
 * malformed does not fit: it may be told by an `SshError`, too. `more` is what stands behind the value, where the algorithm has that; a
 * signature that fits is then answered with what the authenticator said.
 */
export type Verify = (
  value: Uint8Array,
  data: Bytes,
  algorithm: string,
  more: Uint8Array,
) => Promise<boolean | AuthenticatorData>;
/** Makes a signature's value with one of the key type's algorithms. */
export type Sign = (data: Bytes, algorithm: string) => Promise<Uint8Array>;

/** What a public key says, once it was read. */
export interface PublicPart {
  /** Keys of the runtime are imported on first use. */
  readonly verify: Verify;
}

/** Private keys of a type, whose components are `M`. */
export interface PrivateForm<M> {
  /** Whether `material` is of this type. */
  holds(material: { readonly kind: string }): boolean;
  /** Reads the components in OpenSSH's private key format, behind the type's name. They are not checked yet. */
  read(reader: Reader): M;
  /** Writes them that way. */
  write(writer: Writer, material: M): void;
  /**
   * How they stand behind a certificate, which has the public ones already, where an agent is given both; as `read()` and `write()` have
   * them unless given. draft-ietf-sshm-ssh-agent section 3.2.
   */
  readonly behindCertificate?: {
    /** Reads them; `half` is the certificate's public key, from behind the nonce. They are not checked yet. */
    read(half: Reader, reader: Reader): M;
    /** Writes them. */
    write(writer: Writer, material: M): void;
  };
  /** Reads the components from PuTTY's two halves, the public one behind the type's name. They are not checked yet. */
  readPutty(half: Reader, secret: Reader): M;
  /** Writes PuTTY's private half; missing where PuTTY has no such keys. */
  writePutty?(writer: Writer, material: M): void;
  /** Writes the public key in wire encoding, behind the type's name. */
  writePublic(writer: Writer, material: M): void;
  /**
   * Refuses components whose private part does not belong to their public part: signing with a wrong public half would give the
   * secret away.
   */
  check(material: M, minRsaBits: number): MaybePromise<void>;
  /** Signs with components that were checked. Keys of the runtime are imported on first use. */
  signer(material: M): Sign;
}

/** How keys of a type look outside of SSH: in PKCS#8 and SubjectPublicKeyInfo, and as JSON Web Keys. */
export interface ForeignForm<M> {
  /** Content of the AlgorithmIdentifier: the object identifier and its parameters, in DER (RFC 5280 section 4.1.1.2). */
  readonly algorithm: Bytes;
  /** What a JSON Web Key names as its type, and as its curve where there are several. */
  readonly jwk: { readonly kty: string; readonly crv?: string };
  /** The subject public key (RFC 5280 section 4.1.2.7) of what stands behind the type's name in a public key's wire encoding. */
  writePublic(half: Reader): Bytes;
  /** The other way. The key is not checked yet. */
  readPublic(bits: Uint8Array, writer: Writer): void;
  /** The members of a JSON Web Key, as {@linkcode ForeignForm.writePublic}. */
  writePublicJwk(half: Reader): JwkText;
  /** The other way. The key is not checked yet. */
  readPublicJwk(members: JwkMembers, writer: Writer): void;
  /** What PKCS#8 holds as the private key (RFC 5958 section 2). */
  writePrivate(material: M): Bytes;
  /** The members that a private JSON Web Key has besides those of the public one. */
  writePrivateJwk(material: M): JwkText;
  /** The components in a private JSON Web Key. They are not checked yet. */
  readPrivateJwk(members: JwkMembers): M;
}

/** Keys of a type in WebCrypto. */
export interface WebCryptoForm {
  /**
   * The signature algorithms of a key with this algorithm of WebCrypto's, most wanted first; none where the key cannot sign with any, and
   * null where it is of another type.
   */
  algorithmsOf(algorithm: KeyAlgorithm): readonly string[] | null;
  /** Makes a signature's value. */
  sign(key: CryptoKey, data: Bytes, algorithm: string): Promise<Uint8Array>;
}

/** A type of key. */
export interface KeyType<M> {
  /** Name of the key format (RFC 4253 section 6.6). */
  readonly name: string;
  /**
   * Name of its certificates, where that is not its own with OpenSSH's suffix; a type that says so has one algorithm, of its own name.
   */
  readonly certificate?: string;
  /** Its signature algorithms, most wanted first. */
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Reads what stands behind the name in the wire encoding of a public key, and refuses what is no sound key. */
  readPublic(reader: Reader, minRsaBits: number): PublicPart;
  /** How its keys look elsewhere; missing where no other format has them. */
  readonly foreign?: ForeignForm<M>;
  /** Its keys in WebCrypto; missing where that has none. */
  readonly webCrypto?: WebCryptoForm;
  /** Its private keys; null where only signatures are verified. */
  readonly private: PrivateForm<M> | null;
  /** Where its private keys are, if not in files: ends the error of whoever reads one. */
  readonly elsewhere?: string;
}
