/**
 * Keys as JSON Web Keys. RFC 7517, RFC 7518 section 6, RFC 8037. No I/O, no crypto.
 *
 * @module
 */
import { printable } from "../../errors.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Writer } from "../../wire/writer.ts";
import { JwkMembers } from "../jwk_members.ts";
import type { ForeignForm, KeyType } from "../key_type.ts";
import { type KeyMaterial, keyTypes, typeOfMaterial } from "../key_types.ts";
import { keyFormatError, otherKind, parsing, unsupported } from "./format_error.ts";

/** Room for any public key. */
const MAX_PUBLIC = 2304;

/** Whether a text is JSON by its first character. */
export function isJson(text: string): boolean {
  return /^\s*[[{]/.test(text.slice(0, 1000));
}

/** The components of a private key, and its comment, which stands in `kid`. They are not checked yet. */
export function readPrivateJwk(text: string): { material: KeyMaterial; comment: string } {
  const what = "Cannot read private key";
  const members = membersOf(text, what), { foreign } = rowOf(members, what);
  if (!members.has("d")) throw otherKind(`${what}: it is a public key`);
  checkUse(members, "sign", what);
  return { material: foreign.readPrivateJwk(members), comment: members.text("kid") ?? "" };
}

/** The wire encoding of a public key. It is not checked yet. */
export function readPublicJwk(text: string): Bytes {
  const what = "Cannot read public key";
  const members = membersOf(text, what), { name, foreign } = rowOf(members, what);
  if (members.has("d")) throw otherKind(`${what}: it is a private key`);
  checkUse(members, "verify", what);
  const writer = new Writer(MAX_PUBLIC).text(name);
  foreign.readPublicJwk(members, writer);
  return writer.bytes();
}

/** A public key's text, given its wire encoding. */
export function writePublicJwk(blob: Uint8Array, comment: string): string {
  return textOf(publicMembers(blob, "Cannot write public key"), comment);
}

/** A private key's text, given the wire encoding of its public half. */
export function writePrivateJwk(material: KeyMaterial, blob: Uint8Array, comment: string): string {
  const what = "Cannot write private key", type = typeOfMaterial(material);
  const foreign = foreignFormOf(type.name, what);
  return textOf({ ...publicMembers(blob, what), ...foreign.writePrivateJwk(material) }, comment);
}

function publicMembers(blob: Uint8Array, what: string): Record<string, string> {
  return parsing(what, () => {
    const half = new Reader(blob), foreign = foreignFormOf(half.ascii(), what);
    return { ...foreign.writePublicJwk(half) };
  });
}

function textOf(members: Record<string, string>, comment: string): string {
  return `${JSON.stringify(comment === "" ? members : { ...members, kid: comment }, null, 2)}\n`;
}

/** How keys of a type look elsewhere; throws where no other format has them. */
export function foreignFormOf(type: string, what: string): ForeignForm<KeyMaterial> {
  const foreign = keyTypes.get(type)?.foreign;
  if (foreign !== undefined) return foreign;
  throw unsupported(`${what}: the type "${printable(type, 64)}" exists in no format but OpenSSH's`);
}

function membersOf(text: string, what: string): JwkMembers {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The exception shows a part of the text.
    throw keyFormatError(`${what}: it is not sound JSON`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unsupported(`${what}: it is JSON, and no JSON Web Key`);
  }
  if (Object.hasOwn(value, "keys")) {
    throw unsupported(`${what}: it is a set of JSON Web Keys; give the text of one of them`);
  }
  return new JwkMembers(value as Record<string, unknown>, what);
}

type ForeignRow = KeyType<KeyMaterial> & { readonly foreign: ForeignForm<KeyMaterial> };

function rowOf(members: JwkMembers, what: string): ForeignRow {
  const kty = members.text("kty"), crv = members.text("crv");
  if (kty === null) throw unsupported(`${what}: it is JSON, and no JSON Web Key: it has no "kty"`);
  if (kty === "oct") throw otherKind(`${what}: it is a symmetric key`);
  for (const row of keyTypes.values()) {
    const jwk = row.foreign?.jwk;
    if (jwk?.kty === kty && (jwk.crv === undefined || jwk.crv === crv)) return row as ForeignRow;
  }
  const type = `${kty}${crv === null ? "" : ` ${crv}`}`;
  throw unsupported(`${what}: the JSON Web Key type "${printable(type, 64)}" is not supported`);
}

/** Refuses a key whose owner says that it is for something else (RFC 7517 sections 4.2 and 4.3). */
function checkUse(members: JwkMembers, operation: string, what: string): void {
  const use = members.value("use"), operations = members.value("key_ops");
  const fits = (use === undefined || use === "sig") &&
    (operations === undefined || Array.isArray(operations) && operations.includes(operation));
  if (!fits) throw otherKind(`${what}: by its "use" or "key_ops" it is not for signatures`);
}
