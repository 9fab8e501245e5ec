import { assert, assertEquals, assertThrows } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { decodeTerminalModes, encodeTerminalModes, TerminalModes } from "../../lib/session/terminal_modes.ts";
import { fuzz, fuzzBytes } from "../_support/fuzz.ts";

Deno.test("encodeTerminalModes() writes opcode, uint32 and the end", () => {
  assertEquals(encodeTerminalModes({}), new Uint8Array([0]));
  assertEquals(
    encodeTerminalModes({ ECHO: 0, TTY_OP_ISPEED: 38400 }),
    new Uint8Array([53, 0, 0, 0, 0, 128, 0, 0, 0x96, 0, 0]),
  );
});

Deno.test("encodeTerminalModes() refuses names and values that RFC 4254 does not have", () => {
  assertThrows(() => encodeTerminalModes({ NOPE: 1 }), TypeError, '"NOPE"');
  assertThrows(() => encodeTerminalModes({ constructor: 1 } as Record<string, number>), TypeError, '"constructor"');
  for (const value of [-1, 1.5, 2 ** 32, NaN]) {
    assertThrows(() => encodeTerminalModes({ ECHO: value }), RangeError, '"ECHO"');
  }
});

Deno.test("decodeTerminalModes() reads back every opcode", () => {
  const names = Object.keys(TerminalModes);
  assertEquals(names.length, 56);
  assertEquals(new Set(Object.values(TerminalModes)).size, names.length);
  const all = Object.fromEntries(names.map((name, i) => [name, i * 70_000_000]));
  assertEquals(decodeTerminalModes(encodeTerminalModes(all)), all);
});

Deno.test("decodeTerminalModes() stops at the end and at undefined opcodes, and leaves out unknown ones", () => {
  assertEquals(decodeTerminalModes(new Uint8Array(0)), {});
  assertEquals(decodeTerminalModes(new Uint8Array([53, 0, 0, 0, 1, 0, 50, 0])), { ECHO: 1 });
  assertEquals(decodeTerminalModes(new Uint8Array([53, 0, 0, 0, 1])), { ECHO: 1 });
  assertEquals(decodeTerminalModes(new Uint8Array([160, 53, 0, 0, 0, 1])), {});
  assertEquals(decodeTerminalModes(new Uint8Array([19, 9, 9, 9, 9, 53, 0, 0, 0, 1, 53, 0, 0, 0, 2, 0])), { ECHO: 2 });
});

Deno.test("decodeTerminalModes() refuses what is cut short or too long", () => {
  assertThrows(() => decodeTerminalModes(new Uint8Array([53, 0, 0, 0])), SshProtocolError);
  assertThrows(() => decodeTerminalModes(new Uint8Array(2049)), SshProtocolError, "2049 bytes");
});

Deno.test("decodeTerminalModes() takes any bytes without another error than its own", () => {
  const { accepted } = fuzz((seed) => {
    try {
      decodeTerminalModes(fuzzBytes(seed));
      return true;
    } catch (error) {
      if (!(error instanceof SshProtocolError)) throw error;
      return false;
    }
  }, { count: 20_000, share: 11 });
  assert(accepted > 0);
});
