import { assertEquals } from "@std/assert";
import { bytesToHex } from "@noble/curves/utils.js";
import { digest } from "../../lib/crypto/hash.ts";
import type { HashName } from "../../lib/crypto/types.ts";

const utf8 = new TextEncoder();

// FIPS 180-4 examples: "abc".
const abc: Record<HashName, string> = {
  "SHA-1": "a9993e364706816aba3e25717850c26c9cd0d89d",
  "SHA-256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  "SHA-384": "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
  "SHA-512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
};

Deno.test("digest() hashes its parts one after the other", async () => {
  for (const [hash, hex] of Object.entries(abc) as [HashName, string][]) {
    assertEquals(bytesToHex(await digest(hash, utf8.encode("abc"))), hex);
    assertEquals(bytesToHex(await digest(hash, utf8.encode("a"), new Uint8Array(0), utf8.encode("bc"))), hex);
  }
});

Deno.test("digest() of nothing is the hash of the empty string", async () => {
  assertEquals(bytesToHex(await digest("SHA-256")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});
