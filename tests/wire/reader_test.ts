import { assertEquals, assertThrows } from "@std/assert";
import { hexToBytes } from "@noble/curves/utils.js";
import { SshProtocolError } from "../../lib/errors.ts";
import { Reader } from "../../lib/wire/reader.ts";

const read = (hex: string) => new Reader(hexToBytes(hex.replaceAll(" ", "")));
const ascii = (text: string) => new TextEncoder().encode(text);

/** A `string` holding `bytes`. */
function stringOf(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + bytes.length);
  new DataView(out.buffer).setUint32(0, bytes.length);
  out.set(bytes, 4);
  return out;
}
const list = (text: string) => new Reader(stringOf(ascii(text)));

Deno.test("Reader reads the examples of RFC 4251 section 5", () => {
  assertEquals(read("29b7f4aa").u32(), 699_921_578);
  assertEquals(read("00000007 74657374696e67").text(), "testing");
  const mpints: [string, bigint][] = [
    ["00000000", 0n],
    ["00000008 09a378f9b2e332a7", 0x9a378f9b2e332a7n],
    ["00000002 0080", 0x80n],
    ["00000002 edcc", -0x1234n],
    ["00000005 ff21524111", -0xdeadbeefn],
  ];
  for (const [hex, value] of mpints) assertEquals(read(hex).mpint(), value);
  assertEquals(read("00000000").nameList(), []);
  assertEquals(read("00000004 7a6c6962").nameList(), ["zlib"]);
  assertEquals(read("00000009 7a6c69622c6e6f6e65").nameList(), ["zlib", "none"]);
});

Deno.test("Reader reads numbers at their bounds", () => {
  assertEquals(read("00").u8(), 0);
  assertEquals(read("ff").u8(), 255);
  assertEquals(read("00000000").u32(), 0);
  assertEquals(read("80000000").u32(), 0x8000_0000);
  assertEquals(read("ffffffff").u32(), 0xffff_ffff);
  assertEquals(read("ffffffffffffffff").u64(), 0xffff_ffff_ffff_ffffn);
  assertEquals(read("0000000100000002").u64(), 0x1_0000_0002n);
  assertEquals(["00", "01", "02", "ff"].map((hex) => read(hex).bool()), [false, true, true, true]);
});

Deno.test("Reader refuses every read that runs past the end, and consumes nothing of it", () => {
  const reads: [string, number, (r: Reader) => unknown][] = [
    ["u8", 0, (r) => r.u8()],
    ["bool", 0, (r) => r.bool()],
    ["u32", 3, (r) => r.u32()],
    ["u64", 7, (r) => r.u64()],
    ["raw", 4, (r) => r.raw(5)],
    ["rawView", 4, (r) => r.rawView(5)],
  ];
  for (const [name, length, act] of reads) {
    assertThrows(() => act(new Reader(new Uint8Array(length))), SshProtocolError, "bytes wanted", name);
  }
  const reader = new Reader(new Uint8Array(3));
  assertThrows(() => reader.u32(), SshProtocolError);
  assertEquals(reader.remaining, 3);
});

Deno.test("Reader refuses strings longer than the message without allocating for them", () => {
  for (const length of ["00000001", "00000005", "7fffffff", "80000000", "ffffffff"]) {
    const acts = [
      (r: Reader) => r.string(),
      (r: Reader) => r.view(),
      (r: Reader) => r.text(),
      (r: Reader) => r.ascii(),
      (r: Reader) => r.mpint(),
      (r: Reader) => r.nameList(),
    ];
    for (const act of acts) assertThrows(() => act(read(length)), SshProtocolError, "Cannot read");
  }
});

Deno.test("Reader gives the same values for any split into reads", () => {
  const message = hexToBytes("000102030405060708090a0b0c0d0e0f");
  for (let first = 0; first <= 16; first++) {
    for (let second = first; second <= 16; second++) {
      const reader = new Reader(message);
      const parts = [reader.raw(first), reader.rawView(second - first), reader.rest()];
      reader.end();
      assertEquals(parts.flatMap((part) => [...part]), [...message]);
    }
  }
  assertEquals(new Reader(message, 14).rest(), hexToBytes("0e0f"));
});

Deno.test("Reader copies what it hands out, but for views", () => {
  const message = stringOf(ascii("abc"));
  const copy = new Reader(message).string(), view = new Reader(message).view();
  message[4] = 0x78;
  assertEquals(new TextDecoder().decode(copy), "abc");
  assertEquals(new TextDecoder().decode(view), "xbc");
  // A view never reaches past its string.
  assertEquals(new Reader(stringOf(ascii("abc"))).view().byteLength, 3);
});

Deno.test("Reader.text() refuses what is not UTF-8 and keeps a byte order mark", () => {
  for (const hex of ["80", "c0af", "eda080", "f4908080", "ff", "e282"]) {
    assertThrows(() => new Reader(stringOf(hexToBytes(hex))).text(), SshProtocolError, "not UTF-8");
  }
  assertEquals(new Reader(stringOf(hexToBytes("efbbbf61"))).text(), "\ufeffa");
  assertEquals(new Reader(stringOf(hexToBytes("c3a9f09f98800a00"))).text(), "é😀\n\0");
});

Deno.test("Reader.ascii() takes printable US-ASCII only", () => {
  assertEquals(new Reader(stringOf(ascii("ssh-ed25519 ~"))).ascii(), "ssh-ed25519 ~");
  for (const byte of [0x00, 0x0a, 0x1b, 0x1f, 0x7f, 0x80, 0xff]) {
    assertThrows(() => new Reader(stringOf(new Uint8Array([0x61, byte]))).ascii(), SshProtocolError, "printable");
  }
});

Deno.test("Reader.mpint() refuses needless leading bytes", () => {
  for (const hex of ["007f", "0000", "00000080"]) {
    assertThrows(() => new Reader(stringOf(hexToBytes(hex))).mpint(), SshProtocolError, "needless");
  }
  for (const hex of ["ffff", "ff80", "ffffff7f"]) {
    assertThrows(() => new Reader(stringOf(hexToBytes(hex))).mpint(), SshProtocolError, "needless");
  }
  assertEquals(new Reader(stringOf(hexToBytes("ff7f"))).mpint(), -129n);
  assertEquals(new Reader(stringOf(hexToBytes("ff"))).mpint(), -1n);
  assertEquals(new Reader(stringOf(hexToBytes("80"))).mpint(), -128n);
});

Deno.test("Reader.mpint() refuses a zero that is written as a byte", () => {
  assertThrows(() => new Reader(stringOf(hexToBytes("00"))).mpint(), SshProtocolError, "needless");
});

// C1 of the cases.
Deno.test("Reader.nameList() reads the names between stray commas, which count", () => {
  const cases: [string, string[]][] = [
    [",", []],
    [",,,", []],
    ["a,,b", ["a", "b"]],
    [",a", ["a"]],
    ["a,", ["a"]],
    ["a,b,", ["a", "b"]],
    [",,a,,,b,,", ["a", "b"]],
  ];
  for (const [text, names] of cases) {
    assertEquals(list(text).nameList(), names, text);
    // What follows the list is not touched.
    const reader = new Reader(new Uint8Array([...stringOf(ascii(text)), 7]));
    reader.nameList();
    assertEquals([reader.u8(), reader.remaining], [7, 0]);
  }
  // 255 commas make 256 names.
  assertEquals(list(",".repeat(255)).nameList(), []);
  assertThrows(() => list(",".repeat(256)).nameList(), SshProtocolError, "more than 256 names");
  assertThrows(() => list(",".repeat(32_769)).nameList(), SshProtocolError, "at most 32768");
});

// Row 31 of the list of attacks.
Deno.test("Reader.nameList() refuses long names, and what is not printable", () => {
  assertEquals(list("a".repeat(64)).nameList(), ["a".repeat(64)]);
  assertThrows(() => list("a".repeat(65)).nameList(), SshProtocolError, "longer than 64");
  assertThrows(() => list("b," + "a".repeat(65)).nameList(), SshProtocolError, "longer than 64");
  for (const byte of [0x00, 0x09, 0x0a, 0x20, 0x7f, 0x80, 0xff]) {
    const bytes = new Uint8Array([0x61, byte, 0x62]);
    assertThrows(() => new Reader(stringOf(bytes)).nameList(), SshProtocolError, "printable");
  }
});

// Row 30 of the list of attacks.
Deno.test("Reader.nameList() holds its limits of names and bytes", () => {
  const names = (n: number) => Array.from({ length: n }, (_, i) => `n${i}`);
  assertEquals(list(names(256).join()).nameList(), names(256));
  assertThrows(() => list(names(257).join()).nameList(), SshProtocolError, "more than 256 names");
  assertEquals(list("a,b,c").nameList(3).length, 3);
  assertThrows(() => list("a,b,c,d").nameList(3), SshProtocolError, "more than 3 names");
  assertEquals(list("abcde").nameList(256, 5), ["abcde"]);
  assertThrows(() => list("abcdef").nameList(256, 5), SshProtocolError, "at most 5");
  assertThrows(() => list("a".repeat(200 * 1024)).nameList(), SshProtocolError, "at most 32768");
  assertThrows(() => list("a,".repeat(28_000) + "a").nameList(), SshProtocolError);
});

Deno.test("Reader.end() refuses bytes that are left", () => {
  new Reader(new Uint8Array(0)).end();
  assertThrows(() => new Reader(new Uint8Array(3)).end(), SshProtocolError, "3 bytes follow");
});
