/**
 * Signing certificates, as `ssh-keygen -s` does. draft-miller-ssh-cert, OpenSSH PROTOCOL.certkeys. No I/O.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { randomBytes } from "../crypto/random.ts";
import { toHex } from "../wire/base_text.ts";
import { encodeText, isEncodable } from "../wire/byte_text.ts";
import { checkNames, checkObject, checkText, kindOf, wrongKind } from "../wire/check.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { anyKeyFromBlob, checkCertificate, FOREVER, KINDS, MAX_CERTIFICATE, MAX_PRINCIPALS } from "./certificate.ts";
import { checkPublicKey, checkSigner } from "./check_key.ts";
import { certificateTypes, isInsecure, signatureAlgorithmsOf } from "./key_types.ts";
import { publicKeyLine } from "./public_key.ts";
import { cidrListProblem } from "./trust/address_patterns.ts";
import type { PublicKey, Signer } from "./types.ts";

/** What a certificate is to say; see {@linkcode Certificate}. */
export interface CertificateOptions {
  /** Whether it is for users or for hosts. */
  kind: "user" | "host";
  /** A name for logs. @default {""} */
  keyId?: string | undefined;
  /** A number, 0 to 2^64 - 1. @default {0n} */
  serial?: bigint | undefined;
  /** Users or hosts, 256 at most. Without any it fits nobody, but at an OpenSSH before 10.3, where it fits many. @default {[]} */
  principals?: readonly string[] | undefined;
  /** From when it holds; parts of a second are cut off. @default {always} */
  validAfter?: Date | undefined;
  /** Until when; parts of a second are cut off, and null is for ever. @default {null} */
  validBefore?: Date | null | undefined;
  /** `force-command` and `source-address` with their text, `verify-required` with an empty one. @default {none} */
  criticalOptions?: ReadonlyMap<string, string> | undefined;
  /**
   * What users may do, each with an empty text. @default {for users all that there is: permit-X11-forwarding, permit-agent-forwarding,
   * permit-port-forwarding, permit-pty, permit-user-rc; for hosts none}
   */
  extensions?: ReadonlyMap<string, string> | undefined;
}

/** What users may do, unless somebody says otherwise. */
const permitted: readonly string[] = [
  "permit-X11-forwarding",
  "permit-agent-forwarding",
  "permit-port-forwarding",
  "permit-pty",
  "permit-user-rc",
];

/** Options whose text stands there even where it is empty. */
const valued: readonly string[] = ["force-command", "source-address"];

/** Names of options; one that is left out does not compile. */
const names: Readonly<Record<keyof CertificateOptions, true>> = {
  kind: true,
  keyId: true,
  serial: true,
  principals: true,
  validAfter: true,
  validBefore: true,
  criticalOptions: true,
  extensions: true,
};

function checkCertificateText(name: string, value: unknown): asserts value is string {
  checkText(name, value);
  if ((value as string).includes("\0") || !isEncodable(value as string)) {
    throw new TypeError(`Cannot sign certificate: \`${name}\` holds a NUL, or what is no character`);
  }
}

/** A time in whole seconds since 1970. */
function seconds(name: string, value: unknown): bigint {
  if (!(value instanceof Date)) throw wrongKind(name, value, "a Date");
  const time = value.getTime();
  if (!(time >= 0)) throw new RangeError(`Cannot sign certificate: \`${name}\` is no time since 1970`);
  return BigInt(Math.floor(time / 1000));
}

function checkOptionMap(name: string, value: unknown): asserts value is ReadonlyMap<string, string> {
  if (!(value instanceof Map)) {
    throw wrongKind(name, value, 'a Map of texts, such as `new Map([["force-command", "uptime"]])`');
  }
  for (const [key, text] of value) {
    checkCertificateText(`${name}: a name`, key);
    if (key === "") throw new TypeError(`Cannot sign certificate: a name of \`${name}\` is empty`);
    checkCertificateText(`${name}: ${printable(key, 64)}`, text);
  }
}

function checkOptions(options: CertificateOptions): void {
  checkObject("options", options, 'an object such as `{ kind: "user", principals: ["alice"] }`');
  checkNames("signCertificate()", options, Object.keys(names));
  const { kind, keyId = "", serial = 0n, principals = [], criticalOptions, extensions } = options;
  if (kind !== "user" && kind !== "host") throw wrongKind("kind", kind, '"user" or "host"');
  checkCertificateText("keyId", keyId);
  if (typeof serial !== "bigint") throw wrongKind("serial", serial, "a bigint, such as `1n`");
  if (serial < 0n || serial > FOREVER) {
    throw new RangeError("Cannot sign certificate: `serial` must be 0 to 2^64 - 1");
  }
  if (!Array.isArray(principals)) throw wrongKind("principals", principals, "a list of names");
  if (principals.length > MAX_PRINCIPALS) {
    throw new RangeError(
      `Cannot sign certificate: ${principals.length} principals, at most ${MAX_PRINCIPALS} are taken`,
    );
  }
  for (const principal of Array.from(principals)) {
    checkCertificateText("principals", principal);
    if (principal === "") throw new TypeError("Cannot sign certificate: a principal is empty");
  }
  if (criticalOptions !== undefined) checkOptionMap("criticalOptions", criticalOptions);
  if (extensions !== undefined) checkOptionMap("extensions", extensions);
  // An empty list says that no address will do.
  const from = criticalOptions?.get("source-address") ?? "", problem = from === "" ? null : cidrListProblem(from);
  if (problem !== null) throw new TypeError(`Cannot sign certificate: source-address: ${problem}`);
}

/** Options in the order of their names, byte by byte. */
function writeOptions(options: ReadonlyMap<string, string>): Bytes {
  const writer = new Writer();
  const sorted = [...options].map(([name, text]) => ({ name: encodeText(name), text, bare: !valued.includes(name) }));
  sorted.sort((a, b) => toHex(a.name) < toHex(b.name) ? -1 : 1);
  for (const { name, text, bare } of sorted) {
    writer.string(name);
    writer.string(bare && text === "" ? new Uint8Array(0) : new Writer().string(encodeText(text)).bytes());
  }
  return writer.bytes();
}

/** The algorithm that the CA signs with. */
function algorithmOf({ algorithms, publicKey }: Signer): string {
  const own = signatureAlgorithmsOf(publicKey.type);
  const found = algorithms.find((name) => own.includes(name) && !isInsecure(name));
  if (found !== undefined) return found;
  throw new TypeError(
    `Cannot sign certificate: the CA's key of type ${
      printable(publicKey.type, 64)
    } has no algorithm that a certificate may be signed with`,
  );
}

/**
 * Signs a certificate for a public key, as `ssh-keygen -s` does, and gives its line, as it belongs in a file `…-cert.pub`. An RSA key signs with
 * SHA-512, or with what its signer has of SHA-2. The CA may be any signer: a key here, an agent's, one in a KMS.
 *
 * ```ts
 * import { generateKey, signCertificate } from "@amiko/ssh";
 *
 * const ca = await generateKey(), user = await generateKey();
 * const line = await signCertificate(ca, user.publicKey, {
 *   kind: "user",
 *   keyId: "alice's laptop",
 *   principals: ["alice"],
 *   validBefore: new Date(Date.now() + 3_600_000),
 * });
 * console.log(line); // ssh-ed25519-cert-v01@openssh.com AAAA…
 * ```
 *
 * Throws `TypeError` and `RangeError` for options that make no sense, a key or a CA that is itself a certificate included, what the CA's
 * signer throws, and `SshError` with code `KEY_FORMAT` where that gave no signature of the CA's.
 */
export async function signCertificate(ca: Signer, publicKey: PublicKey, options: CertificateOptions): Promise<string> {
  checkSigner("ca", ca);
  checkPublicKey("publicKey", publicKey);
  checkOptions(options);
  for (const [what, key] of [["the CA", ca.publicKey], ["what is to be certified", publicKey]] as const) {
    if (certificateTypes.has(key.type)) throw new TypeError(`Cannot sign certificate: ${what} is itself a certificate`);
  }
  const { kind, keyId = "", serial = 0n, principals = [], criticalOptions = new Map<string, string>() } = options;
  const extensions = options.extensions ?? new Map(kind === "user" ? permitted.map((name) => [name, ""]) : []);
  const validAfter = options.validAfter === undefined ? 0n : seconds("validAfter", options.validAfter);
  const { validBefore: end = null } = options, validBefore = end === null ? FOREVER : seconds("validBefore", end);
  if (validBefore <= validAfter) {
    throw new RangeError("Cannot sign certificate: `validBefore` is not later than `validAfter`");
  }
  const algorithm = algorithmOf(ca),
    type = [...certificateTypes.values()].find(({ plain }) => plain.name === publicKey.type);
  if (type === undefined) {
    throw new TypeError(
      `Cannot sign certificate: there is none for ${kindOf(publicKey)} of type ${printable(publicKey.type, 64)}`,
    );
  }
  const writer = new Writer(2048).text(type.name).string(randomBytes(32));
  const { blob } = publicKey, plain = new Reader(blob);
  plain.view();
  writer.raw(plain.rest()).u64(serial).u32(KINDS[kind]).string(encodeText(keyId));
  const listed = new Writer();
  for (const principal of principals) listed.string(encodeText(principal));
  writer.string(listed.bytes()).u64(validAfter).u64(validBefore);
  writer.string(writeOptions(criticalOptions)).string(writeOptions(extensions)).string(new Uint8Array(0));
  const signed = writer.string(ca.publicKey.blob).bytes();
  if (signed.length > MAX_CERTIFICATE / 2) {
    throw new RangeError(`Cannot sign certificate: it would have more than ${MAX_CERTIFICATE / 2} bytes`);
  }
  const signature: unknown = await ca.sign(signed, algorithm);
  if (!(signature instanceof Uint8Array)) throw wrongKind("ca.sign()", signature, "a signature's bytes");
  const certificate = anyKeyFromBlob(new Writer().raw(signed).string(signature).bytes());
  try {
    await checkCertificate(certificate);
  } catch (cause) {
    if (!(cause instanceof SshError)) throw cause;
    throw new SshError(`Cannot sign certificate: the CA's signer gave no ${algorithm} signature of its key`, {
      code: "KEY_FORMAT",
      cause,
    });
  }
  return publicKeyLine(certificate);
}
