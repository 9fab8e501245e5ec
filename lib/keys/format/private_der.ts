/**
 * Which of the private keys that PEM holds stands in bytes without its armour. RFC 8017, RFC 5958, RFC 5915. No I/O, no crypto.
 *
 * @module
 */
import { bytesOfString } from "../key_text.ts";
import { DerReader, Tag } from "./der.ts";
import { isDer } from "./other_kinds.ts";
import type { Pem } from "./pem.ts";

/** DER, given as a text of one character a byte, as if it had been in PEM; null for what is no private key. */
export function privateDer(text: string): Pem | null {
  if (!isDer(text)) return null;
  const bytes = bytesOfString(text), label = labelOf(bytes);
  return label === null ? null : { label, headers: new Map(), bytes };
}

function labelOf(bytes: Uint8Array): string | null {
  try {
    const reader = new DerReader(bytes).nested();
    const kind = reader.tag;
    if (kind === Tag.SEQUENCE) {
      const first = reader.nested().tag;
      return first === Tag.OBJECT_IDENTIFIER && reader.tag === Tag.OCTET_STRING ? "ENCRYPTED PRIVATE KEY" : null;
    }
    const version = reader.integer(1), next = reader.tag;
    if (next === Tag.INTEGER) return "RSA PRIVATE KEY";
    if (next === Tag.OCTET_STRING) return "EC PRIVATE KEY";
    return next === Tag.SEQUENCE && version < 3n ? "PRIVATE KEY" : null;
  } catch {
    return null;
  }
}
