import { assertEquals, assertThrows } from "@std/assert";
import { bytesToHex, hexToBytes } from "@noble/curves/utils.js";
import { Reader } from "../../lib/wire/reader.ts";
import { mpintBytes, Writer } from "../../lib/wire/writer.ts";

const hexOf = (writer: Writer) => bytesToHex(writer.bytes());

Deno.test("Writer writes the examples of RFC 4251 section 5", () => {
  assertEquals(hexOf(new Writer().u32(699_921_578)), "29b7f4aa");
  assertEquals(hexOf(new Writer().text("testing")), "0000000774657374696e67");
  assertEquals(hexOf(new Writer().mpint(0n)), "00000000");
  assertEquals(hexOf(new Writer().mpint(0x9a378f9b2e332a7n)), "0000000809a378f9b2e332a7");
  assertEquals(hexOf(new Writer().mpint(0x80n)), "000000020080");
  assertEquals(hexOf(new Writer().nameList([])), "00000000");
  assertEquals(hexOf(new Writer().nameList(["zlib"])), "000000047a6c6962");
  assertEquals(hexOf(new Writer().nameList(["zlib", "none"])), "000000097a6c69622c6e6f6e65");
});

Deno.test("Writer writes numbers at their bounds and refuses those beyond", () => {
  assertEquals(hexOf(new Writer().u8(0).u8(255)), "00ff");
  assertEquals(hexOf(new Writer().u32(0).u32(0x8000_0000).u32(0xffff_ffff)), "0000000080000000ffffffff");
  assertEquals(hexOf(new Writer().u64(0xffff_ffff_ffff_ffffn).u64(1n)), "ffffffffffffffff0000000000000001");
  assertEquals(hexOf(new Writer().bool(true).bool(false)), "0100");
  for (
    const value of [-1, -0.5, 0.5, 1.5, 2 ** 32, 2 ** 32 - 0.5, 2 ** 33, NaN, Infinity, "7", null, undefined, true]
  ) {
    assertThrows(() => new Writer().u32(value as number), RangeError, "Cannot write uint32", `${value}`);
    assertThrows(() => new Writer().u8(value as number), RangeError, "Cannot write byte", `${value}`);
  }
  assertThrows(() => new Writer().u8(256), RangeError, "Cannot write byte");
  for (const value of [-1n, 1n << 64n, -(1n << 64n)]) {
    assertThrows(() => new Writer().u64(value), RangeError, "Cannot write uint64");
  }
  // What throws writes nothing.
  const writer = new Writer().u8(1);
  assertThrows(() => writer.u32(-1), RangeError);
  assertThrows(() => writer.u8(-1), RangeError);
  assertThrows(() => writer.u64(-1n), RangeError);
  assertEquals(hexOf(writer), "01");
  assertThrows(() => new Writer().mpint(-1n), RangeError, "negative");
});

Deno.test("Writer grows wherever its capacity ends, whichever method crosses it", () => {
  const methods: [string, (w: Writer) => Writer, string][] = [
    ["u8", (w) => w.u8(0xab), "ab"],
    ["bool", (w) => w.bool(true), "01"],
    ["u32", (w) => w.u32(0x01020304), "01020304"],
    ["u64", (w) => w.u64(0x0102030405060708n), "0102030405060708"],
    ["raw", (w) => w.raw(hexToBytes("a1b2c3d4e5")), "a1b2c3d4e5"],
    ["string", (w) => w.string(hexToBytes("a1b2c3d4e5")), "00000005a1b2c3d4e5"],
    ["text", (w) => w.text("héé"), "0000000568c3a9c3a9"],
    ["mpint", (w) => w.mpint(0x8001n), "00000003008001"],
    ["nameList", (w) => w.nameList(["a", "b"]), "00000003612c62"],
  ];
  for (const [name, write, hex] of methods) {
    for (const capacity of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16]) {
      for (let before = 0; before <= capacity + 1; before++) {
        const writer = new Writer(capacity);
        for (let i = 0; i < before; i++) writer.u8(0x77);
        assertEquals(hexOf(write(write(writer))), "77".repeat(before) + hex + hex, `${name}, ${capacity}, ${before}`);
        assertEquals(writer.length, before + hex.length);
      }
    }
  }
});

Deno.test("Writer grows past its default capacity", () => {
  for (let before = 100; before < 140; before++) {
    const writer = new Writer().raw(new Uint8Array(before).fill(1)).u8(2).raw(new Uint8Array(300).fill(3)).u32(4);
    const bytes = writer.bytes();
    assertEquals(bytes.length, before + 305);
    assertEquals([bytes[before - 1], bytes[before], bytes[before + 1], bytes.at(-5), bytes.at(-1)], [1, 2, 3, 3, 4]);
  }
});

Deno.test("Writer.bytes() gives a copy that later writes leave alone", () => {
  const writer = new Writer(16).u8(1);
  const before = writer.bytes();
  writer.u8(2);
  before[0] = 9;
  assertEquals(hexOf(writer), "0102");
  assertEquals(before.buffer.byteLength, 1);
});

Deno.test("mpintBytes() is minimal and reads back, at every power of two", () => {
  for (let bits = 0n; bits < 600n; bits++) {
    for (const value of [(1n << bits) - 1n, 1n << bits, (1n << bits) + 1n]) {
      const bytes = mpintBytes(value);
      assertEquals(bytes.length, value === 0n ? 0 : Math.floor(value.toString(2).length / 8) + 1, `${value}`);
      const reader = new Reader(new Writer().mpint(value).bytes());
      assertEquals(reader.mpint(), value);
      reader.end();
    }
  }
});
