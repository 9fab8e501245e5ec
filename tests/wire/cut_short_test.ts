/** Messages that end in front of the language tag that nobody reads, or go on behind it. */
import { assertEquals, assertThrows } from "@std/assert";
import { passwdChangereq, userauthBanner } from "../../lib/auth/messages.ts";
import { ChannelOpenFailure } from "../../lib/connection/messages.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import { ExitSignal } from "../../lib/session/messages.ts";
import { decodeExit } from "../../lib/session/encoding.ts";
import { Debug, Disconnect } from "../../lib/transport/messages.ts";

// C3 of the cases.
const language = "en-GB", tag = 4 + language.length;
const messages: [name: string, whole: Uint8Array, decode: (payload: Uint8Array) => { readonly language: string }][] = [
  ["DISCONNECT", Disconnect.encode({ reason: 11, description: "bye", language }), Disconnect.decode],
  ["DEBUG", Debug.encode({ display: true, message: "hm", language }), Debug.decode],
  [
    "CHANNEL_OPEN_FAILURE",
    ChannelOpenFailure.encode({ recipient: 1, reason: 2, description: "no", language }),
    ChannelOpenFailure.decode,
  ],
  ["USERAUTH_BANNER", userauthBanner.encode({ text: "hello", language }), userauthBanner.decode],
  ["USERAUTH_PASSWD_CHANGEREQ", passwdChangereq.encode({ prompt: "new?", language }), passwdChangereq.decode],
];

for (const [name, whole, decode] of messages) {
  Deno.test(`${name} may end in front of its language tag, and go on behind it, and is itself all the same`, () => {
    const read = decode(whole);
    assertEquals(read.language, language);
    assertEquals(decode(whole.subarray(0, -tag)), { ...read, language: "" });
    for (const more of [1, 4, 300]) {
      const longer = new Uint8Array(whole.length + more);
      longer.set(whole);
      assertEquals(decode(longer), read);
    }
    // What is not whole in front of it is malformed as ever.
    assertThrows(() => decode(whole.subarray(0, -tag - 1)), SshProtocolError, "Malformed");
  });
}

Deno.test("DISCONNECT counts once its description is there, whatever follows, and without any description", () => {
  const whole = Disconnect.encode({ reason: 11, description: "bye", language });
  for (let cut = 1; cut < tag; cut++) {
    assertEquals(Disconnect.decode(whole.subarray(0, -cut)), { reason: 11, description: "bye", language: "" });
  }
  assertEquals(Disconnect.decode(whole.subarray(0, 5)), { reason: 11, description: "", language: "" });
  for (const length of [1, 2, 4, 6, 8, 11]) {
    assertThrows(() => Disconnect.decode(whole.subarray(0, length)), SshProtocolError, "Malformed");
  }
});

Deno.test("CHANNEL_OPEN_FAILURE may end behind its reason", () => {
  const whole = ChannelOpenFailure.encode({ recipient: 1, reason: 2, description: "no", language });
  assertEquals(ChannelOpenFailure.decode(whole.subarray(0, 9)), {
    recipient: 1,
    reason: 2,
    description: "",
    language: "",
  });
  for (const length of [1, 4, 8, 10, 14]) {
    assertThrows(() => ChannelOpenFailure.decode(whole.subarray(0, length)), SshProtocolError, "Malformed");
  }
});

// C23 of the cases.
Deno.test("exit-signal counts as far as it is there, at any length", () => {
  const whole = ExitSignal.encode({ signal: "SEGV", coreDumped: true, message: "dumped", language });
  for (let length = 0; length <= whole.length; length++) {
    const signal = length < 8 ? null : "SEGV";
    assertEquals(decodeExit("exit-signal", whole.subarray(0, length)), { success: false, code: null, signal });
  }
  assertEquals(ExitSignal.decode(whole.subarray(0, 9)), {
    signal: "SEGV",
    coreDumped: true,
    message: "",
    language: "",
  });
  assertEquals(ExitSignal.decode(new Uint8Array([...whole, 0])).message, "dumped");
  // A name that is there is a name.
  for (const name of ["K\x1bIL", "", "../", "x".repeat(65)]) {
    const bytes = new TextEncoder().encode(name);
    const request = new Uint8Array([0, 0, 0, bytes.length, ...bytes, 0]);
    assertThrows(() => decodeExit("exit-signal", request), SshProtocolError, "Malformed");
  }
});
