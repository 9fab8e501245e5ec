import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { defaultAlgorithms, serverDefaultAlgorithms } from "../../lib/crypto/algorithms.ts";
import { DisconnectReason, SshProtocolError } from "../../lib/errors.ts";
import type { KexInitValues } from "../../lib/transport/messages.ts";
import { checkKexInit, makeKexInit, negotiate, peerMarkers } from "../../lib/transport/negotiate.ts";

const cookie = new Uint8Array(16);
const client = makeKexInit(defaultAlgorithms, "client", true, cookie);
const server = makeKexInit(serverDefaultAlgorithms, "server", true, cookie);

function lists(values: Partial<KexInitValues>): KexInitValues {
  return {
    ...client,
    kex: ["a", "b"],
    hostKey: ["h1", "h2"],
    cipherClientToServer: ["aes128-ctr", "aes256-ctr"],
    cipherServerToClient: ["aes128-ctr", "aes256-ctr"],
    macClientToServer: ["m1", "m2"],
    macServerToClient: ["m1", "m2"],
    ...values,
  };
}

Deno.test("makeKexInit() puts pseudo names behind the methods, in the first exchange only", () => {
  const names = ["ext-info-c", "kex-strict-c", "kex-strict-c-v00@openssh.com"];
  assertEquals(client.kex, [...defaultAlgorithms.kex, ...names]);
  assertEquals(
    makeKexInit(serverDefaultAlgorithms, "server", true, cookie).kex.slice(-3),
    ["diffie-hellman-group14-sha256", "ext-info-s", "kex-strict-s-v00@openssh.com"],
  );
  const named = { ...serverDefaultAlgorithms, kex: ["kex-strict-s", ...serverDefaultAlgorithms.kex] };
  assertEquals(
    makeKexInit(named, "server", true, cookie).kex,
    [...serverDefaultAlgorithms.kex, "ext-info-s", "kex-strict-s", "kex-strict-s-v00@openssh.com"],
  );
  assertEquals(makeKexInit(defaultAlgorithms, "client", false, cookie).kex, defaultAlgorithms.kex);
  assertEquals([client.firstKexPacketFollows, client.reserved], [false, 0]);
});

Deno.test("negotiate() takes the client's first name that the server has, list by list", () => {
  const agreed = negotiate(
    lists({
      kex: ["x", "b", "a"],
      hostKey: ["h2", "h1"],
      cipherServerToClient: ["aes256-ctr", "aes128-ctr"],
      macClientToServer: ["m2", "m1"],
    }),
    lists({}),
    "client",
  );
  assertEquals(agreed, {
    kex: "b",
    hostKey: "h2",
    clientToServer: { cipher: "aes128-ctr", mac: "m2", compression: "none" },
    serverToClient: { cipher: "aes256-ctr", mac: "m1", compression: "none" },
    guessWrong: false,
    firstsAgree: false,
  });
});

Deno.test("negotiate() gives what the defaults of both sides agree on", () => {
  const agreed = negotiate(client, server, "client");
  assert(["mlkem768x25519-sha256", "curve25519-sha256"].includes(agreed.kex));
  assertEquals(agreed.hostKey, "ssh-ed25519");
  const direction = { cipher: "chacha20-poly1305@openssh.com", mac: null, compression: "none" };
  assertEquals([agreed.clientToServer, agreed.serverToClient], [direction, direction]);
});

// Row 34.
Deno.test("negotiate() asks for no MAC with a cipher that authenticates, in that direction alone", () => {
  const aead = { cipherClientToServer: ["aes128-gcm@openssh.com"], macClientToServer: ["nothing"] };
  const agreed = negotiate(lists(aead), lists({ cipherClientToServer: aead.cipherClientToServer }), "server");
  assertEquals([agreed.clientToServer.mac, agreed.serverToClient.mac], [null, "m1"]);
  assertThrows(() => negotiate(lists({ macClientToServer: ["nothing"] }), lists({}), "server"), SshProtocolError);
});

// Row 32.
Deno.test("negotiate() never chooses a pseudo name", () => {
  const pseudo = ["ext-info-c", "ext-info-s"];
  for (const side of ["c", "s"]) pseudo.push(`kex-strict-${side}`, `kex-strict-${side}-v00@openssh.com`);
  for (const name of pseudo) {
    for (const list of ["kex", "hostKey"] as const) {
      assertThrows(() => negotiate(lists({ [list]: [name] }), lists({ [list]: [name] }), "client"), SshProtocolError);
    }
    assertEquals(negotiate(lists({ kex: [name, "b"] }), lists({ kex: [name, "a", "b"] }), "client").kex, "b");
  }
});

// Row 33.
Deno.test("negotiate() says which list has nothing in common, and what each side offers", () => {
  const error = assertThrows(
    () => negotiate(lists({ hostKey: ["mine", "ext-info-c"] }), lists({ hostKey: ["theirs\u202e"] }), "server"),
    SshProtocolError,
  );
  assertEquals([error.reason, error.code], [DisconnectReason.KEY_EXCHANGE_FAILED, "NO_COMMON_ALGORITHM"]);
  assertStringIncludes(error.message, "host key algorithm: the client offers mine; the server offers theirs\ufffd");
  const long = Array.from({ length: 256 }, (_, i) => `${i}`.padStart(64, "x"));
  const { message } = assertThrows(
    () => negotiate(lists({ kex: long }), lists({ kex: [] }), "client"),
    SshProtocolError,
  );
  assertStringIncludes(message, "the server offers nothing");
  assert(message.length < 1000);
});

// Row 35.
Deno.test("negotiate() finds the peer's guess wrong unless both first names are the same on both sides", () => {
  const guess = { firstKexPacketFollows: true };
  const cases: [Partial<KexInitValues>, Partial<KexInitValues>, boolean][] = [
    [{}, {}, false],
    [{ kex: ["b", "a"] }, {}, true],
    [{}, { kex: ["b", "a"] }, true],
    [{ hostKey: ["h2", "h1"] }, {}, true],
    [{ cipherClientToServer: ["aes256-ctr"] }, {}, false],
  ];
  for (const [ours, theirs, wrong] of cases) {
    assertEquals(negotiate(lists({ ...ours, ...guess }), lists(theirs), "client").guessWrong, wrong);
    assertEquals(negotiate(lists(theirs), lists({ ...ours, ...guess }), "server").guessWrong, wrong);
    // This side's own guess is nothing to drop.
    assertEquals(negotiate(lists({ ...ours, ...guess }), lists(theirs), "server").guessWrong, false);
  }
});

// Row 45.
Deno.test("peerMarkers() reads the names of the peer's side only, and wants strict key exchange named by both", () => {
  const all = (side: string) =>
    lists({ kex: ["a", `ext-info-${side}`, `kex-strict-${side}`, `kex-strict-${side}-v00@openssh.com`] });
  const both = (
    kex: string[],
  ) => [peerMarkers(all("s"), lists({ kex }), "client"), peerMarkers(all("c"), lists({ kex }), "server")];
  const openssh = lists({ kex: ["a", "kex-strict-s-v00@openssh.com"] });
  assertEquals(peerMarkers(openssh, lists({ kex: ["a", "kex-strict-c"] }), "client").strict, false);
  assertEquals(peerMarkers(openssh, lists({ kex: ["a", "kex-strict-c-v00@openssh.com"] }), "client").strict, true);
  const none = { extInfo: false, strict: false }, strict = { extInfo: false, strict: true };
  assertEquals(both(["a"]), [none, none]);
  assertEquals(both(["kex-strict-c-v00@openssh.com"]), [strict, none]);
  assertEquals(both(["kex-strict-c"]), [strict, none]);
  assertEquals(both(["kex-strict-s-v00@openssh.com"]), [none, strict]);
  assertEquals(both(["kex-strict-s"]), [none, strict]);
  assertEquals(both(["ext-info-c"]), [{ extInfo: true, strict: false }, none]);
  assertEquals(both(["kex-strict-c-v00@openssh.co", "xkex-strict-c"]), [none, none]);
});

Deno.test("checkKexInit() wants 0 in the reserved field", () => {
  checkKexInit(client);
  for (const reserved of [1, 0x8000_0000]) {
    assertThrows(() => checkKexInit({ ...client, reserved }), SshProtocolError);
  }
});
