/** What the tests of keys share. */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { bitLength } from "../../lib/wire/integers.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";

/** Bits of an RSA key's modulus, which stands last in its blob. */
export function rsaBits({ blob }: { readonly blob: Uint8Array }): number {
  const reader = new Reader(blob);
  reader.string();
  reader.mpint();
  return bitLength(reader.mpint());
}

/** A file of vectors. */
interface Vectors<T> {
  readonly source: string;
  readonly vectors: readonly T[];
}

/** Reads a file of tests/vectors/keys and holds that it has `count` vectors. */
export function vectors<T>(name: string, count: number): readonly T[] {
  const url = new URL(`../vectors/keys/${name}.json`, import.meta.url);
  const file: Vectors<T> = JSON.parse(Deno.readTextFileSync(url));
  assertEquals(file.vectors.length, count, `vectors in ${name}.json`);
  return file.vectors;
}

/** A vector of openssh_keys.json. */
export interface OpensshKey {
  readonly command: string;
  readonly passphrase: string | null;
  readonly comment: string;
  readonly private: string;
  readonly public: string;
  readonly bits: number;
  readonly fingerprint: string;
}

/** Keys by ssh-keygen: ed25519, ecdsa 256, 384, 521, rsa 2048 and 3072 in clear, then ten encrypted ones. */
export const opensshKeys = (): readonly OpensshKey[] => vectors<OpensshKey>("openssh_keys", 16);

/** Holds that `action` throws, or rejects with, `SshError` of code KEY_FORMAT whose message holds `text`. */
export async function assertKeyFormat(action: () => unknown, text = "", what?: string): Promise<void> {
  let thrown: unknown;
  try {
    await action();
  } catch (error) {
    thrown = error;
  }
  assertInstanceOf(thrown, SshError, `${what ?? ""}: ${thrown}`);
  assertEquals(thrown.code, "KEY_FORMAT", what);
  assertEquals(thrown.message.includes(text), true, `${what ?? ""}: "${thrown.message}" holds "${text}"`);
}

/** `string`s, one after the other: text, bytes, or an mpint. */
export function strings(...parts: readonly (string | Uint8Array | bigint)[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer(65_536);
  for (const part of parts) {
    if (typeof part === "string") writer.text(part);
    else if (typeof part === "bigint") writer.mpint(part);
    else writer.string(part);
  }
  return writer.bytes();
}

/** The blob of a public key line. */
export function blobOf(line: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(line.split(" ")[1]!);
}

/** Text as bytes. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
