import { assertEquals, assertThrows } from "@std/assert";
import { bytesToHex } from "@noble/curves/utils.js";
import { SshProtocolError } from "../../lib/errors.ts";
import {
  ascii,
  bool,
  bytes,
  looseText,
  message,
  mpint,
  nameList,
  raw,
  rest,
  text,
  u32,
  u64,
  u8,
} from "../../lib/wire/codec.ts";
import { Msg } from "../../lib/wire/numbers.ts";

const all = message("SSH_MSG_TEST", 200, {
  byte: u8,
  flag: bool,
  number: u32,
  large: u64,
  cookie: raw(4),
  blob: bytes,
  utf8: text,
  description: looseText,
  name: ascii,
  integer: mpint,
  names: nameList,
});
const values = {
  byte: 7,
  flag: true,
  number: 0xffff_fffe,
  large: 0x0102030405060708n,
  cookie: new Uint8Array([1, 2, 3, 4]),
  blob: new Uint8Array([0, 255]),
  utf8: "é",
  description: "fine",
  name: "ssh-ed25519",
  integer: 0x80n,
  names: ["a", "b@c"],
};

Deno.test("message() encodes its number and its fields in order", () => {
  const disconnect = message("SSH_MSG_DISCONNECT", Msg.DISCONNECT, { reason: u32, description: text, language: text });
  const payload = disconnect.encode({ reason: 2, description: "no", language: "" });
  assertEquals(bytesToHex(payload), "0100000002000000026e6f00000000");
  assertEquals(disconnect.name, "SSH_MSG_DISCONNECT");
  assertEquals(disconnect.type, 1);
});

Deno.test("message() decodes what it encodes", () => {
  assertEquals(all.decode(all.encode(values)), values);
  const empty = message("SSH_MSG_NEWKEYS", 21, {});
  assertEquals(empty.decode(empty.encode({})), {});
  const tail = message("SSH_MSG_TAIL", 201, { name: ascii, data: rest });
  for (const data of [new Uint8Array(0), new Uint8Array([1, 2, 3])]) {
    assertEquals(tail.decode(tail.encode({ name: "x", data })), { name: "x", data });
  }
});

Deno.test("message() refuses a payload cut at any byte and one with anything after its last field", () => {
  const payload = all.encode(values);
  for (let length = 0; length < payload.length; length++) {
    assertThrows(
      () => all.decode(payload.subarray(0, length)),
      SshProtocolError,
      "Malformed SSH_MSG_TEST",
      `${length}`,
    );
  }
  for (const extra of [1, 4]) {
    const longer = new Uint8Array(payload.length + extra);
    longer.set(payload);
    assertThrows(() => all.decode(longer), SshProtocolError, "Malformed SSH_MSG_TEST");
  }
});

Deno.test("message() refuses another message", () => {
  const payload = all.encode(values);
  payload[0] = 199;
  assertThrows(() => all.decode(payload), SshProtocolError, "another message");
});

Deno.test("message() keeps the reason of the error and its cause", () => {
  const error = assertThrows(() => all.decode(new Uint8Array([200])), SshProtocolError);
  assertEquals(error.reason, 2);
  assertEquals(error.cause instanceof SshProtocolError, true);
});

Deno.test("message() hands out values that share no memory with the payload", () => {
  const payload = all.encode(values);
  const decoded = all.decode(payload);
  payload.fill(0xff);
  assertEquals(decoded, values);
});

Deno.test("looseText reads what is not UTF-8 with replacement characters", () => {
  const debug = message("SSH_MSG_DEBUG", 4, { display: bool, text: looseText });
  assertEquals(debug.decode(new Uint8Array([4, 1, 0, 0, 0, 2, 0x61, 0xff])), { display: true, text: "a\ufffd" });
});

Deno.test("raw() writes exactly its length", () => {
  const cookie = message("SSH_MSG_COOKIE", 202, { cookie: raw(16) });
  for (const length of [0, 15, 17]) {
    assertThrows(() => cookie.encode({ cookie: new Uint8Array(length) }), RangeError, "Cannot write 16 raw bytes");
  }
});
