/**
 * Whether a program hands over a key where one belongs, and what to write where it is something else. No I/O.
 *
 * @module
 */
import { wrongKind } from "../wire/check.ts";
import type { PublicKey, Signer } from "./types.ts";

/** Whether `value` has the shape of a public key. */
export function isPublicKey(value: unknown): value is PublicKey {
  const key = value as Partial<PublicKey> | null | undefined;
  return typeof key === "object" && key !== null && typeof key.type === "string" && key.blob instanceof Uint8Array &&
    typeof key.fingerprint === "function";
}

/** Whether `value` has the shape of something that signs. */
export function isSigner(value: unknown): value is Signer {
  const signer = value as Partial<Signer> | null | undefined;
  return typeof signer === "object" && signer !== null && typeof signer.sign === "function" &&
    Array.isArray(signer.algorithms) && signer.algorithms.length > 0 && isPublicKey(signer.publicKey);
}

/** Throws `TypeError` for what cannot sign. */
export function checkSigner(name: string, value: unknown): void {
  if (isSigner(value)) return;
  const advice = typeof value === "string"
    ? ": `await parsePrivateKey(text)` reads one"
    : isPublicKey(value)
    ? ": this is a public key, which cannot sign"
    : Array.isArray(value)
    ? ", and one only"
    : ", as generateKey() and parsePrivateKey() give one";
  throw wrongKind(name, value, `a private key or another signer${advice}`);
}

/** Throws `TypeError` for what is no public key. */
export function checkPublicKey(name: string, value: unknown): void {
  if (isPublicKey(value)) return;
  const advice = typeof value === "string"
    ? ": `parsePublicKey(line)` reads one"
    : isSigner(value)
    ? ": write `key.publicKey`"
    : "";
  throw wrongKind(name, value, `a public key${advice}`);
}
