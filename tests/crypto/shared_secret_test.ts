import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { hexToBytes } from "@noble/curves/utils.js";
import { bigIntOf, encodeMpint, encodeString, isAllZero, kexFailed } from "../../lib/crypto/kex/shared_secret.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { randomBytes } from "../../lib/crypto/random.ts";

Deno.test("encodeMpint() gives the examples of RFC 4251 section 5", () => {
  const examples: [string, string][] = [
    ["", "00000000"],
    ["09a378f9b2e332a7", "0000000809a378f9b2e332a7"],
    ["80", "000000020080"],
    ["000080", "000000020080"],
    ["00007f", "000000017f"],
    ["0000", "00000000"],
  ];
  for (const [bytes, encoded] of examples) assertEquals(encodeMpint(hexToBytes(bytes)), hexToBytes(encoded));
});

// Row 57 of the list of attacks: secrets with the top bit set and with leading zero bytes.
Deno.test("encodeMpint() agrees with the writer and the reader for 10,000 secrets of every awkward shape", () => {
  const heads = ["", "00", "0000", "0080", "00007f", "000080", "7f", "80", "ff", "ffff", "00ff"].map((head) =>
    hexToBytes(head)
  );
  for (let i = 0; i < 10_000; i++) {
    const head = heads[i % heads.length]!;
    const secret = concat([head, randomBytes(32 - head.length)]);
    const encoded = encodeMpint(secret);
    const value = bigIntOf(secret);
    assertEquals(encoded, new Writer().mpint(value).bytes());
    assertEquals(new Reader(encoded).mpint(), value);
  }
});

Deno.test("encodeString() puts the length in front and keeps leading zeros", () => {
  assertEquals(encodeString(new Uint8Array([0, 0, 1])), new Uint8Array([0, 0, 0, 3, 0, 0, 1]));
  assertEquals(encodeString(new Uint8Array(0)), new Uint8Array(4));
});

Deno.test("isAllZero() sees any bit", () => {
  assert(isAllZero(new Uint8Array(32)));
  for (let bit = 0; bit < 256; bit++) {
    const bytes = new Uint8Array(32);
    bytes[bit >> 3] = 1 << (bit & 7);
    assert(!isAllZero(bytes));
  }
});

Deno.test("kexFailed() carries reason 3", () => {
  assertEquals(kexFailed("x").reason, 3);
});
