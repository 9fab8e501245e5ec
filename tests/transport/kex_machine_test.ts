import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { defaultAlgorithms } from "../../lib/crypto/algorithms.ts";
import { kexMethods } from "../../lib/crypto/kex/methods.ts";
import { DisconnectReason, HostKeyError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { publicKeyFromBlob } from "../../lib/keys/public_key.ts";
import { writeSignature } from "../../lib/keys/signature_blob.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { type KexContext, KexMachine, type KexOutcome } from "../../lib/transport/kex_machine.ts";
import { deriveKeys } from "../../lib/transport/key_derivation.ts";
import { GexRequest, KexExchangeInit, KexExchangeReply, KexInit, NewKeys } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Reader } from "../../lib/wire/reader.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";

const ed25519 = await generateKey("ed25519");
const rsa = await generateKey("rsa", { bits: 2048 });
const ecdsa = await generateKey("ecdsa");

const fast = { ...defaultAlgorithms, kex: ["curve25519-sha256"] };

function context(role: "client" | "server", changes: Partial<KexContext> = {}): KexContext {
  return {
    role,
    localIdent: role === "client" ? "SSH-2.0-c" : "SSH-2.0-s",
    remoteIdent: role === "client" ? "SSH-2.0-s" : "SSH-2.0-c",
    algorithms: fast,
    hostKeys: role === "server" ? [ed25519, rsa, ecdsa] : [],
    sessionId: null,
    hostKey: null,
    verifyHostKey: () => true,
    ...changes,
  };
}

/** Runs two machines against each other to the end; somebody in between may change what either of them sends. */
async function run(
  client: KexMachine,
  server: KexMachine,
  tamper: (from: "client" | "server", payload: Bytes) => Bytes = (_, payload) => payload,
): Promise<{ client: KexOutcome; server: KexOutcome }> {
  const outcomes: { client?: KexOutcome; server?: KexOutcome } = {};
  const toServer: Bytes[] = [client.kexInit], toClient: Bytes[] = [server.kexInit];
  for (let i = 0; i < 20 && !(client.done && server.done); i++) {
    for (
      const [side, machine, inbox, outbox] of [
        ["server", server, toServer, toClient],
        ["client", client, toClient, toServer],
      ] as const
    ) {
      const payload = inbox.shift();
      if (payload === undefined) continue;
      const from = side === "server" ? "client" as const : "server" as const;
      const step = await machine.receive(tamper(from, payload));
      outbox.push(...step.send);
      if (step.outcome !== undefined) {
        outcomes[side] = step.outcome;
        outbox.push(NewKeys.encode({}));
      }
      assertEquals(step.newKeys ?? false, machine.done);
    }
  }
  assert(client.done && server.done);
  return outcomes as { client: KexOutcome; server: KexOutcome };
}

function same(a: KexOutcome, b: KexOutcome): void {
  assertEquals(a.source, b.source);
  assertEquals(a.hostKey.blob, b.hostKey.blob);
  assertEquals({ ...a.negotiated, guessWrong: false }, { ...b.negotiated, guessWrong: false });
}

for (const [name, method] of kexMethods) {
  Deno.test(`KexMachine agrees with itself: ${name}`, async () => {
    const algorithms = { ...defaultAlgorithms, kex: [name] };
    const { client, server } = await run(
      new KexMachine(context("client", { algorithms })),
      new KexMachine(context("server", { algorithms })),
    );
    same(client, server);
    assertEquals(client.source.hash, method.hash);
    assertEquals(client.source.exchangeHash, client.source.sessionId);
    assertEquals(
      client.source.exchangeHash.length,
      { "SHA-1": 20, "SHA-256": 32, "SHA-384": 48, "SHA-512": 64 }[method.hash],
    );
    // K is an encoded string or mpint, with its length.
    const { secret } = client.source;
    assertEquals(new DataView(secret.buffer, secret.byteOffset).getUint32(0), secret.length - 4);
  });
}

Deno.test("KexMachine uses the host key that the agreed algorithm belongs to", async () => {
  for (
    const [algorithm, key] of [
      ["ssh-ed25519", ed25519],
      ["rsa-sha2-512", rsa],
      ["rsa-sha2-256", rsa],
      ["ecdsa-sha2-nistp256", ecdsa],
    ] as const
  ) {
    const algorithms = { ...fast, hostKey: [algorithm] };
    const { client } = await run(
      new KexMachine(context("client", { algorithms })),
      new KexMachine(context("server", { algorithms })),
    );
    assertEquals([client.negotiated.hostKey, client.hostKey.blob], [algorithm, key.publicKey.blob]);
  }
});

Deno.test("KexMachine takes SHA-1 signatures of a host key only where ssh-rsa was named", async () => {
  const pair = await crypto.subtle.generateKey(
    { name: "RSASSA-PKCS1-v1_5", hash: "SHA-1", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
    true,
    ["sign", "verify"],
  );
  const { n } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const modulus = Uint8Array.fromBase64(n!, { alphabet: "base64url" });
  const blob = new Writer().text("ssh-rsa").mpint(65_537n).mpint(BigInt("0x" + modulus.toHex())).bytes();
  const sha512 = await crypto.subtle.importKey(
    "pkcs8",
    await crypto.subtle.exportKey("pkcs8", pair.privateKey),
    { name: "RSASSA-PKCS1-v1_5", hash: "SHA-512" },
    false,
    ["sign"],
  );
  // The server signs as agreed, and somebody puts a SHA-1 signature in the place of that.
  const attempt = (algorithm: string, label: string) => {
    let put: Bytes;
    const signer: Signer = {
      publicKey: publicKeyFromBlob(blob),
      algorithms: ["ssh-rsa", "rsa-sha2-512"],
      sign: async (data, algorithm) => {
        const by = async (key: CryptoKey) =>
          new Uint8Array(await crypto.subtle.sign("RSASSA-PKCS1-v1_5", key, new Uint8Array(data)));
        put = writeSignature(label, await by(pair.privateKey));
        return writeSignature(algorithm, await by(algorithm === "ssh-rsa" ? pair.privateKey : sha512));
      },
    };
    const algorithms = { ...fast, hostKey: [algorithm] };
    return run(
      new KexMachine(context("client", { algorithms })),
      new KexMachine(context("server", { algorithms, hostKeys: [signer] })),
      (from, payload) =>
        from === "server" && payload[0] === Msg.KEX_REPLY
          ? KexExchangeReply.encode({ ...KexExchangeReply.decode(payload), signature: put })
          : payload,
    );
  };
  assertEquals((await attempt("ssh-rsa", "ssh-rsa")).client.negotiated.hostKey, "ssh-rsa");
  for (
    const [algorithm, label] of [["rsa-sha2-512", "ssh-rsa"], ["rsa-sha2-512", "rsa-sha2-512"], [
      "ssh-rsa",
      "rsa-sha2-512",
    ]]
  ) {
    await assertRejects(() => attempt(algorithm!, label!), SshProtocolError, "Host key signature is wrong");
  }
  assert(!defaultAlgorithms.hostKey.includes("ssh-rsa"));
});

Deno.test("KexMachine keeps the session identifier, and asks about the host key in the first exchange only", async () => {
  let asked = 0;
  const verifyHostKey = () => ++asked > 0;
  const first = await run(
    new KexMachine(context("client", { verifyHostKey })),
    new KexMachine(context("server")),
  );
  const { sessionId } = first.client.source as { sessionId: Bytes };
  const again = { sessionId, hostKey: first.client.hostKey };
  const second = await run(
    new KexMachine(context("client", { ...again, verifyHostKey })),
    new KexMachine(context("server", again)),
  );
  same(second.client, second.server);
  assertEquals(second.client.source.sessionId, sessionId);
  assert(second.client.source.exchangeHash.toHex() !== first.client.source.exchangeHash.toHex());
  assertEquals(asked, 1);
  // Row 61.
  const other: Signer[] = [await generateKey("ed25519")];
  await assertRejects(
    () =>
      run(
        new KexMachine(context("client", { ...again, verifyHostKey })),
        new KexMachine(context("server", { ...again, hostKeys: other })),
      ),
    HostKeyError,
    "changed",
  );
  assertEquals(asked, 1);
});

// Row 62.
Deno.test("KexMachine trusts a host key when its verifier says true, and passes on the verifier's own error", async () => {
  for (const answer of [false, undefined, null, 1, "true", {}]) {
    await assertRejects(
      () =>
        run(
          new KexMachine(context("client", { verifyHostKey: () => answer as boolean })),
          new KexMachine(context("server")),
        ),
      HostKeyError,
      "SHA256:",
    );
  }
  const own = new HostKeyError("Its own words");
  const failing: [() => boolean | Promise<boolean>, (error: Error) => boolean][] = [
    [() => {
      throw own;
    }, (error) => error === own],
    [() => Promise.reject(own), (error) => error === own],
    [
      () => Promise.reject(new Error("secret")),
      (error) => !error.message.includes("secret") && error.cause instanceof Error,
    ],
  ];
  for (const [verifyHostKey, check] of failing) {
    const error = await assertRejects(
      () => run(new KexMachine(context("client", { verifyHostKey })), new KexMachine(context("server"))),
      HostKeyError,
    );
    assert(check(error));
  }
});

// The exchange hash covers everything that was said in clear: whoever changes any of it fails at the signature.
Deno.test("KexMachine covers identification, KEXINITs, values and host key by the signature", async () => {
  const fresh = await kexMethods.get("curve25519-sha256")!.agreement!.start();
  const changes: [name: string, type: number | null, from: "client" | "server", change: (payload: Bytes) => Bytes][] = [
    ["the client's identification", null, "client", (payload) => payload],
    ["the server's identification", null, "server", (payload) => payload],
    ["the client's cookie", Msg.KEXINIT, "client", flip],
    ["the server's cookie", Msg.KEXINIT, "server", flip],
    ["the client's list of languages", Msg.KEXINIT, "client", (payload) => {
      return KexInit.encode({ ...KexInit.decode(payload), languageClientToServer: ["x"] });
    }],
    ["the server's list of MACs", Msg.KEXINIT, "server", (payload) => {
      return KexInit.encode({ ...KexInit.decode(payload), macServerToClient: ["hmac-sha2-256"] });
    }],
    ["the client's value", Msg.KEX_INIT, "client", () => KexExchangeInit.encode({ clientValue: fresh.publicValue })],
    ["the server's value", Msg.KEX_REPLY, "server", (payload) => {
      return KexExchangeReply.encode({ ...KexExchangeReply.decode(payload), serverValue: fresh.publicValue });
    }],
    ["the host key", Msg.KEX_REPLY, "server", (payload) => {
      return KexExchangeReply.encode({ ...KexExchangeReply.decode(payload), hostKey: other.publicKey.blob });
    }],
  ];
  const other = await generateKey("ed25519");
  for (const [name, type, from, change] of changes) {
    const heard = type !== null ? {} : from === "client" ? { remoteIdent: "SSH-2.0-x" } : { localIdent: "SSH-2.0-x" };
    const client = new KexMachine(context("client")), server = new KexMachine(context("server", heard));
    const tamper = (side: "client" | "server", payload: Bytes) =>
      side === from && payload[0] === type ? change(payload) : payload;
    const error = await assertRejects(() => run(client, server, tamper), SshProtocolError, "signature", name);
    assertEquals(error.reason, DisconnectReason.KEY_EXCHANGE_FAILED);
  }
});

/** A KEXINIT with a bit of its cookie flipped. */
function flip(kexInit: Bytes): Bytes {
  const changed = kexInit.slice();
  changed[3]! ^= 1;
  return changed;
}

// Row 36.
Deno.test("KexMachine.receive() refuses everything out of order, in every state of both sides", async () => {
  const all = Array.from({ length: 30 }, (_, i) => 20 + i);
  const gex = { ...defaultAlgorithms, kex: ["diffie-hellman-group-exchange-sha256"] };
  const gexRequest = GexRequest.encode({ min: 2048, n: 2048, max: 8192 });
  // How to bring a machine into a state, and the one type that fits there.
  const states: [name: string, role: "client" | "server", fits: number, enter: () => Promise<KexMachine>][] = [
    ["before KEXINIT", "server", Msg.KEXINIT, () => Promise.resolve(new KexMachine(context("server")))],
    ["waiting for a value", "server", Msg.KEX_INIT, async () => {
      const machine = new KexMachine(context("server"));
      await machine.receive(new KexMachine(context("client")).kexInit);
      return machine;
    }],
    ["waiting for NEWKEYS", "server", Msg.NEWKEYS, async () => {
      const client = new KexMachine(context("client")), server = new KexMachine(context("server"));
      await server.receive(client.kexInit);
      await server.receive((await client.receive(server.kexInit)).send[0]!);
      return server;
    }],
    ["done", "server", 0, async () => {
      const client = new KexMachine(context("client")), server = new KexMachine(context("server"));
      await run(client, server);
      return server;
    }],
    ["waiting for a reply", "client", Msg.KEX_REPLY, async () => {
      const client = new KexMachine(context("client"));
      await client.receive(new KexMachine(context("server")).kexInit);
      return client;
    }],
    ["waiting for GEX_REQUEST", "server", Msg.KEX_DH_GEX_REQUEST, async () => {
      const server = new KexMachine(context("server", { algorithms: gex }));
      await server.receive(new KexMachine(context("client", { algorithms: gex })).kexInit);
      return server;
    }],
    ["waiting for GEX_INIT", "server", Msg.KEX_DH_GEX_INIT, async () => {
      const server = new KexMachine(context("server", { algorithms: gex }));
      await server.receive(new KexMachine(context("client", { algorithms: gex })).kexInit);
      await server.receive(gexRequest);
      return server;
    }],
    ["waiting for GEX_GROUP", "client", Msg.KEX_DH_GEX_GROUP, async () => {
      const client = new KexMachine(context("client", { algorithms: gex }));
      const step = await client.receive(new KexMachine(context("server", { algorithms: gex })).kexInit);
      assertEquals(step.send[0]![0], Msg.KEX_DH_GEX_REQUEST);
      return client;
    }],
  ];
  for (const [name, , fits, enter] of states) {
    const machine = await enter();
    for (const type of all) {
      if (type === fits) continue;
      const payload = new Writer().u8(type).string(new Uint8Array(32)).bytes();
      const error = await assertRejects(
        () => machine.receive(payload),
        SshProtocolError,
        undefined,
        `${name}: ${type}`,
      );
      assertEquals(error.reason, DisconnectReason.KEY_EXCHANGE_FAILED);
    }
  }
});

// Row 30.
Deno.test("KexMachine.receive() refuses a KEXINIT of more than 32 KiB before it reads it", async () => {
  const names = Array.from({ length: 28_000 }, (_, i) => `n${i}`).join(",");
  const large = new Writer().u8(Msg.KEXINIT).raw(new Uint8Array(16)).text(names).bytes();
  // The second one cannot be read, which nobody finds who does not try.
  for (const payload of [large, new Uint8Array(200_000).fill(0xff).fill(Msg.KEXINIT, 0, 1)]) {
    const error = await assertRejects(
      () => new KexMachine(context("server")).receive(payload),
      SshProtocolError,
      "at most 32768",
    );
    assertEquals(error.reason, DisconnectReason.KEY_EXCHANGE_FAILED);
  }
});

// Row 35.
Deno.test("KexMachine.guessed() comes before all that follows a wrong guess, however long it takes to make", async () => {
  const guess = "sntrup761x25519-sha512";
  for (const [kex, type] of [["diffie-hellman-group-exchange-sha256", 34], ["curve25519-sha256", 30]] as const) {
    const algorithms = { ...fast, kex: [guess, kex] }, order: number[] = [];
    const client = new KexMachine(context("client", { algorithms, guesses: true }));
    const server = new KexMachine(context("server", { algorithms: { ...fast, kex: [kex] } }));
    await Promise.all([
      client.guessed().then((packet) => order.push(packet.length)),
      client.receive(server.kexInit).then(({ send }) => order.push(send[0]![0]!)),
    ]);
    assertEquals(order, [1 + 4 + 1158 + 32, type], kex);
  }
});

Deno.test("KexMachine.receive() drops the packet of a wrong guess, and never NEWKEYS", async () => {
  const client = new KexMachine(context("client")), server = new KexMachine(context("server"));
  const values = KexInit.decode(client.kexInit);
  const guessed = KexInit.encode({ ...values, kex: ["wrong", ...values.kex], firstKexPacketFollows: true });
  Object.defineProperty(client, "kexInit", { value: guessed });
  await server.receive(guessed);
  assertEquals(await server.receive(new Uint8Array([Msg.KEX_INIT, 1, 2, 3])), { send: [] });
  const step = await server.receive((await client.receive(server.kexInit)).send[0]!);
  assert((await client.receive(step.send[0]!)).outcome !== undefined);

  const other = new KexMachine(context("server"));
  await other.receive(guessed);
  await assertRejects(() => other.receive(NewKeys.encode({})), SshProtocolError);
});

// Row 30, at the byte.
Deno.test("KexMachine.receive() takes a KEXINIT of 32 KiB, and none that is a byte longer", async () => {
  for (const role of ["client", "server"] as const) {
    const values = KexInit.decode(new KexMachine(context(role === "client" ? "server" : "client")).kexInit);
    const names = Array.from({ length: 256 }, (_, i) => `${i}`.padEnd(60, "x"));
    const sized = (length: number): Bytes => {
      const whole = { ...values, languageClientToServer: names, languageServerToClient: names };
      let left = length - KexInit.encode(whole).length;
      const padded: string[] = [];
      for (; left > 0; left -= padded.at(-1)!.length + 1) padded.push("y".repeat(Math.min(left - 1, 60)));
      return KexInit.encode({ ...whole, macClientToServer: [...values.macClientToServer, ...padded] });
    };
    assertEquals(sized(32_768).length, 32_768);
    await new KexMachine(context(role)).receive(sized(32_768));
    await assertRejects(
      () => new KexMachine(context(role)).receive(sized(32_769)),
      SshProtocolError,
      "KEXINIT of 32769 bytes: at most 32768 are accepted",
    );
  }
});

// RFC 4253 section 8 and RFC 4419 section 3, from what went over the wire. Two sides that leave out the same would still agree.
Deno.test("KexMachine hashes what its RFC says, in its order, with a group exchange, too", async () => {
  for (const kex of ["curve25519-sha256", "diffie-hellman-group14-sha256", "diffie-hellman-group-exchange-sha256"]) {
    const changes = { algorithms: { ...defaultAlgorithms, kex: [kex] } };
    const client = new KexMachine(context("client", changes)), server = new KexMachine(context("server", changes));
    const sent = new Map<number, Uint8Array>();
    const outcome = await run(client, server, (_, payload) => {
      sent.set(payload[0]!, payload);
      return payload;
    });
    const gex = kex.includes("group-exchange"), fields = (type: number) => new Reader(sent.get(type)!, 1);
    const reply = fields(gex ? Msg.KEX_DH_GEX_REPLY : Msg.KEX_REPLY);
    const hashed = new Writer().text("SSH-2.0-c").text("SSH-2.0-s").string(client.kexInit).string(server.kexInit);
    hashed.string(reply.view());
    if (gex) {
      const request = fields(Msg.KEX_DH_GEX_REQUEST), group = fields(Msg.KEX_DH_GEX_GROUP);
      hashed.u32(request.u32()).u32(request.u32()).u32(request.u32()).string(group.view()).string(group.view());
    }
    hashed.string(fields(gex ? Msg.KEX_DH_GEX_INIT : Msg.KEX_INIT).view()).string(reply.view());
    hashed.raw(outcome.client.source.secret);
    const expected = new Uint8Array(await crypto.subtle.digest("SHA-256", hashed.bytes()));
    assertEquals([outcome.client.source.exchangeHash, outcome.server.source.exchangeHash], [expected, expected], kex);
  }
});

Deno.test("KexMachine tells what the peer's KEXINIT marks, and has a cookie of its own each time", async () => {
  const server = new KexMachine(context("server")), client = new KexMachine(context("client"));
  assertEquals([server.peerStarted, server.peerMarkers], [false, { extInfo: false, strict: false }]);
  await server.receive(client.kexInit);
  assertEquals([server.peerStarted, server.peerMarkers], [true, { extInfo: true, strict: true }]);
  const cookies = new Set(
    Array.from({ length: 50 }, () => new KexMachine(context("client")).kexInit.subarray(1, 17).toHex()),
  );
  assertEquals(cookies.size, 50);
});

Deno.test("KexMachine says which key the server has where it does not fit", async () => {
  const client = new KexMachine(context("client"));
  const server = new KexMachine(context("server"));
  await server.receive(client.kexInit);
  const step = await client.receive(server.kexInit);
  const reply = (await server.receive(step.send[0]!)).send[0]!;
  // The reply with another key in place of the right one.
  const body = reply.subarray(1 + 4 + ed25519.publicKey.blob.length);
  const w = new Writer().u8(Msg.KEX_REPLY).string(ecdsa.publicKey.blob).raw(body);
  const error = await assertRejects(() => client.receive(w.bytes()), SshProtocolError);
  assertStringIncludes(error.message, "ecdsa-sha2-nistp256");
  assertStringIncludes(error.message, "ssh-ed25519");
});

// RFC 4253 section 7.2: keys longer than the hash come from hashing on. Worked out here by hand with WebCrypto alone.
Deno.test("deriveKeys() computes RFC 4253 section 7.2, for keys longer than the hash, too", async () => {
  const source = {
    hash: "SHA-256",
    secret: new Writer().mpint(0x1234_5678_9abc_def0n).bytes(),
    exchangeHash: new Uint8Array(32).fill(7),
    sessionId: new Uint8Array(32).fill(9),
  } as const;
  const sha = async (...parts: Uint8Array[]) => {
    const w = new Writer();
    for (const part of parts) w.raw(part);
    return new Uint8Array(await crypto.subtle.digest("SHA-256", w.bytes()));
  };
  const letter = (x: string) => new TextEncoder().encode(x);
  const first = (x: string) => sha(source.secret, source.exchangeHash, letter(x), source.sessionId);
  const chacha = { cipher: "chacha20-poly1305@openssh.com", mac: null, compression: "none" };
  const k1 = await first("C"), k2 = await sha(source.secret, source.exchangeHash, k1);
  const keys = await deriveKeys(source, "clientToServer", chacha);
  assertEquals(keys.key.toHex(), k1.toHex() + k2.toHex());
  assertEquals([keys.iv.length, keys.macKey.length], [0, 0]);
  const ctr = { cipher: "aes128-ctr", mac: "hmac-sha2-512", compression: "none" };
  const down = await deriveKeys(source, "serverToClient", ctr);
  const m1 = await first("F"), m2 = await sha(source.secret, source.exchangeHash, m1);
  assertEquals(down.iv.toHex(), (await first("B")).subarray(0, 16).toHex());
  assertEquals(down.key.toHex(), (await first("D")).subarray(0, 16).toHex());
  assertEquals(down.macKey.toHex(), m1.toHex() + m2.toHex());
});
