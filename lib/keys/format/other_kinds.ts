/**
 * What a text is that is not the kind of key that was asked for: people hand over the wrong file of a pair, and files of other programs.
 * No I/O, no crypto.
 *
 * @module
 */
import { printable } from "../../errors.ts";
import { DerReader, Tag } from "./der.ts";
import { keyFormatError, otherKind, unsupported } from "./format_error.ts";

/** What is told of a text, as the end of "it is …". */
interface Found {
  readonly what: string;
  /** What to do with a format that is not read; without it the text is something else altogether. */
  readonly convert?: string;
}

/** PEM labels, and lines that begin a text. The first that fits is told. */
const kinds: readonly (readonly [pattern: RegExp, found: Found])[] = [
  [/^-----BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY-----/, { what: "a public key" }],
  [/^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/, { what: "an X.509 certificate" }],
  [/^-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----/, { what: "a certificate request" }],
  [/^-----BEGIN X509 CRL-----/, { what: "a list of revoked certificates" }],
  [/^-----BEGIN (?:PKCS7|CMS)-----/, { what: "a PKCS#7 message" }],
  [/^-----BEGIN SSH SIGNATURE-----/, { what: "a signature" }],
  [/^-----BEGIN AGE ENCRYPTED FILE-----/, { what: "a file encrypted with age" }],
  [/^-----BEGIN PGP /, { what: "a PGP key or message" }],
  [/^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/, { what: "a private key" }],
  [/^-----BEGIN [A-Z0-9 ]*PARAMETERS-----/, { what: "a list of parameters" }],
  [/^-----BEGIN /, { what: "a PEM block of another kind" }],
  [/^PuTTY-User-Key-File-/, { what: "a PuTTY private key" }],
  [/^---- ?BEGIN SSH2 PUBLIC KEY/, { what: "a public key" }],
  [/^---- ?BEGIN SSH2 ENCRYPTED PRIVATE KEY/, {
    what: "the ssh.com format",
    convert: 'convert it with "ssh-keygen -i -f FILE"',
  }],
  [/^SSH PRIVATE KEY FILE FORMAT 1\./, { what: "a key for SSH-1", convert: "SSH-2 needs another one" }],
  [/^SSHKRL\n\0/, { what: "a list of revoked keys" }],
  [/^AGE-(?:SECRET-KEY|PLUGIN)-/, { what: "an age key" }],
  [/^age1[a-z0-9]{20,}$/, { what: "an age recipient" }],
  [/^\xfe\xed\xfe\xed/, { what: "a Java key store" }],
  [/^\S+-cert(-v0\d@openssh\.com)? AAAA/, { what: "an OpenSSH certificate" }],
  [/^(?:ssh|ecdsa|sk|webauthn)-\S+ AAAA/, { what: "a public key" }],
  [/(?:^|\s)(?:ssh|ecdsa|sk)-\S+ AAAA/, { what: "a line of authorized keys or known hosts" }],
];

const OID_PKCS7 = "2a864886f70d0107";

/** What DER is, for the error; null where its beginning is none. */
function derKind(text: string): Found | null {
  if (!isDer(text)) return null;
  try {
    const reader = new DerReader(Uint8Array.from(text, (one) => one.charCodeAt(0))).nested();
    if (reader.tag === Tag.INTEGER) {
      const version = reader.integer(1);
      if (version === 3n && reader.nested().oid().startsWith(OID_PKCS7)) return { what: "a PKCS#12 key store" };
      return null;
    }
    const first = reader.nested();
    if (first.tag === Tag.OBJECT_IDENTIFIER) {
      return reader.tag === Tag.BIT_STRING ? { what: "a public key in DER", convert: "write it as PEM" } : null;
    }
    if (first.tag === Tag.CONTEXT_0) return { what: "an X.509 certificate" };
    if (first.tag === Tag.INTEGER) {
      first.integer(66);
      // A name or an algorithm follows the version of a request, and the serial number of an old certificate.
      return { what: "an X.509 certificate or a request for one" };
    }
    return null;
  } catch {
    return null;
  }
}

/** Whether a text of one character a byte is DER by its looks: a SEQUENCE as long as the text is. */
export function isDer(text: string): boolean {
  if (text.charCodeAt(0) !== Tag.SEQUENCE) return false;
  const first = text.charCodeAt(1);
  if (first < 0x80) return first === text.length - 2;
  let length = 0;
  for (let i = 0; i < first - 0x80; i++) length = 256 * length + text.charCodeAt(2 + i);
  return first > 0x80 && first < 0x84 && length === text.length - 2 - (first - 0x80);
}

/** What a text without any of the formats that are read is, or null. */
function kindOfText(text: string): Found | null {
  const der = derKind(text);
  if (der !== null) return der;
  const lines = text.split(/\r\n|\r|\n/, 200).map((line) => line.trim()).filter((line) => line !== "");
  // Text stands before blocks of PEM, and comments before the keys of age and those of authorized keys.
  const first = /^SSHKRL\n\0/.test(text)
    ? text.slice(0, 8)
    : lines.find((line) => /^-{4,5} ?BEGIN /.test(line)) ?? lines.find((line) => !line.startsWith("#")) ?? "";
  for (const [pattern, found] of kinds) if (pattern.test(first)) return found;
  return null;
}

/**
 * The error for a text that holds nothing of what was asked for. `what` begins the message, and `otherwise` ends it where nothing is
 * known of the text either.
 */
export function notTheKind(what: string, text: string, otherwise: string): Error {
  if (text.trim() === "") return keyFormatError(`${what}: the text is empty`);
  const found = kindOfText(text);
  if (found === null) return unsupported(`${what}: ${otherwise}`);
  if (found.convert === undefined) return otherKind(`${what}: it is ${found.what}${labelOf(text)}`);
  return unsupported(`${what}: ${found.what} is not supported; ${found.convert}`);
}

function labelOf(text: string): string {
  const label = /-----BEGIN ([^\r\n]*?)-----/.exec(text)?.[1];
  return label === undefined ? "" : ` ("${printable(label, 40)}")`;
}
