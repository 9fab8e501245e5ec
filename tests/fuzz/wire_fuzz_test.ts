import { assert, assertEquals } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { ascii, bool, bytes, message, mpint, nameList, raw, text, u32, u64, u8 } from "../../lib/wire/codec.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { fuzz, fuzzBytes, mutate, Prng } from "../_support/fuzz.ts";

const SHARE = 4;

/** Runs `act`; true when it succeeds, false when it fails as a parser may. Anything else is a finding. */
function parses(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof SshProtocolError) return false;
    throw error;
  }
}

const kexinit = message("SSH_MSG_KEXINIT", 20, {
  cookie: raw(16),
  kex: nameList,
  hostKey: nameList,
  cipher: nameList,
  mac: nameList,
  follows: bool,
  reserved: u32,
});
const mixed = message("SSH_MSG_MIXED", 90, { a: u8, b: u64, c: bytes, d: text, e: ascii, f: mpint, g: bool });

const valid = [
  kexinit.encode({
    cookie: new Uint8Array(16).fill(5),
    kex: ["curve25519-sha256", "ext-info-c"],
    hostKey: ["ssh-ed25519"],
    cipher: ["chacha20-poly1305@openssh.com", "aes128-ctr"],
    mac: [],
    follows: false,
    reserved: 0,
  }),
  mixed.encode({ a: 1, b: 2n ** 63n, c: new Uint8Array([0, 1]), d: "héllo", e: "session", f: 2n ** 127n, g: true }),
];

Deno.test("fuzz: Reader does any sequence of reads on any bytes and fails only with SshProtocolError", () => {
  const run = fuzz((seed) => {
    const input = fuzzBytes(seed), prng = new Prng(~seed);
    const before = new Uint8Array(input);
    const accepted = parses(() => {
      const reader = new Reader(input);
      for (let n = prng.below(12); n > 0; n--) {
        const left = reader.remaining;
        prng.pick([
          () => reader.u8(),
          () => reader.bool(),
          () => reader.u32(),
          () => reader.u64(),
          () => reader.raw(prng.below(9)),
          () => reader.rawView(prng.below(9)),
          () => reader.view(),
          () => reader.string(),
          () => reader.text(),
          () => reader.ascii(),
          () => reader.mpint(),
          () => reader.nameList(),
        ])();
        assert(reader.remaining <= left && reader.remaining >= 0, "the cursor went backwards");
      }
      reader.rest();
      reader.end();
    });
    assertEquals(input, before, "the input was changed");
    return accepted;
  }, { count: 40_000, share: SHARE });
  assert(run.accepted > run.count / 100, "hardly any input gets through: the fuzzer is blind");
});

Deno.test("fuzz: message() takes a damaged message only when it encodes to the same bytes again", () => {
  fuzz((seed) => {
    const original = valid[seed % valid.length]!;
    const input = mutate(original, seed);
    return parses(() => {
      // What is read and written again is the same but for booleans, which have many values that are true.
      if (input[0] === 20) {
        const values = kexinit.decode(input), again = kexinit.encode(values);
        // Stray commas are not kept, and nothing else is lost.
        if (again.length < input.length) assertEquals(kexinit.decode(again), values);
        else assertEquals(normal(again), normal(input));
        return;
      }
      const values = mixed.decode(input);
      // The writer refuses what SSH never sends.
      if (values.f < 0n) return;
      assertEquals(mixed.encode(values).subarray(0, -1), input.subarray(0, -1));
    });
  }, { count: 40_000, share: SHARE });
});

/** The boolean of a KEXINIT made 0, which stands five bytes before its end. */
function normal(payload: Uint8Array): Uint8Array {
  const copy = new Uint8Array(payload);
  copy[copy.length - 5] = 0;
  return copy;
}

Deno.test("fuzz: message() takes random bytes only when they are a message", () => {
  fuzz((seed) => {
    const input = fuzzBytes(seed);
    if (input.length > 0) input[0] = seed % 2 === 0 ? 20 : 90;
    return parses(() => void (seed % 2 === 0 ? kexinit : mixed).decode(input));
  }, { count: 20_000, share: SHARE });
});

Deno.test("fuzz: what Writer writes Reader reads, in any order and at any capacity", () => {
  const run = fuzz((seed) => {
    const prng = new Prng(seed);
    const writer = new Writer(prng.below(64));
    const checks: ((reader: Reader) => void)[] = [];
    for (let n = prng.below(10); n > 0; n--) {
      switch (prng.below(7)) {
        case 0: {
          const value = prng.below(256);
          writer.u8(value);
          checks.push((reader) => assertEquals(reader.u8(), value));
          break;
        }
        case 1: {
          const value = prng.u32();
          writer.u32(value);
          checks.push((reader) => assertEquals(reader.u32(), value));
          break;
        }
        case 2: {
          const value = (BigInt(prng.u32()) << 32n) | BigInt(prng.u32());
          writer.u64(value);
          checks.push((reader) => assertEquals(reader.u64(), value));
          break;
        }
        case 3: {
          const value = prng.bytes(prng.below(200));
          writer.string(value);
          checks.push((reader) => assertEquals(reader.string(), value));
          break;
        }
        case 4: {
          const value = BigInt("0x0" + Array.from(prng.bytes(prng.below(40)), (b) => b.toString(16)).join(""));
          writer.mpint(value);
          checks.push((reader) => assertEquals(reader.mpint(), value));
          break;
        }
        case 5: {
          const value = Array.from({ length: prng.below(5) }, () => "x".repeat(1 + prng.below(64)));
          writer.nameList(value);
          checks.push((reader) => assertEquals(reader.nameList(), value));
          break;
        }
        default: {
          const value = prng.bytes(prng.below(30));
          writer.raw(value);
          checks.push((reader) => assertEquals(reader.raw(value.length), value));
        }
      }
    }
    const reader = new Reader(writer.bytes());
    for (const check of checks) check(reader);
    reader.end();
    return true;
  }, { count: 5_000, share: SHARE });
  assertEquals(run.accepted, run.count);
});
