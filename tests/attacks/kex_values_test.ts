// Attacks on key exchange values, host keys and signatures: rows 51 to 64. Most are held at the unit already; here the transport is
// shown to close on one of each kind.
//   51  tests/crypto/dh_test.ts          every bad value in every group, both sides
//   52  tests/crypto/group_exchange_test.ts and below
//   53  tests/crypto/group_exchange_test.ts and below
//   54  tests/crypto/x25519_test.ts      every point of low order, lengths
//   55  tests/crypto/nistp_test.ts       off the curve, compressed, lengths
//   56  tests/crypto/mlkem_test.ts       lengths, coefficients, flipped ciphertext, zero half; sntrup761_test.ts likewise
//   57  tests/crypto/shared_secret_test.ts (10,000 awkward secrets), dh_test.ts (2,000 exchanges in a small group)
//   58, 59  tests/keys/public_key_test.ts
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DisconnectReason, HostKeyError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { writeSignature } from "../../lib/keys/signature_blob.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { GexGroup, GexRequest, KexExchangeReply } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Reader } from "../../lib/wire/reader.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { mpintBytes, Writer } from "../../lib/wire/writer.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { fastest, inTime, turns } from "../_support/until.ts";
import {
  concat,
  expectAlive,
  expectClose,
  finish,
  hostKey,
  named,
  type Role,
  roles,
  Victim,
  type VictimOptions,
} from "../_support/attack.ts";

const { KEY_EXCHANGE_FAILED, HOST_KEY_NOT_VERIFIABLE } = DisconnectReason;

const zeros = (length: number) => new Uint8Array(length);
const one = mpintBytes(1n);

/** Values that no honest peer sends, by method and by who sends them. */
function badValues(by: Role): [kex: string, name: string, value: Uint8Array][] {
  const [hybrid, sntrup, nist] = by === "client" ? [1216, 1190, 1249] : [1120, 1071, 1153];
  return [
    ["curve25519-sha256", "zero", zeros(32)],
    ["curve25519-sha256", "31 bytes", zeros(31).fill(9)],
    ["curve25519-sha256", "33 bytes", zeros(33).fill(9)],
    ["curve25519-sha256", "nothing", zeros(0)],
    ["ecdh-sha2-nistp256", "infinity", zeros(1)],
    ["ecdh-sha2-nistp256", "off the curve", zeros(65).fill(4)],
    ["ecdh-sha2-nistp256", "compressed", zeros(33).fill(2)],
    ["ecdh-sha2-nistp384", "of another curve", zeros(65).fill(4)],
    ["ecdh-sha2-nistp521", "off the curve", zeros(133).fill(4)],
    ["diffie-hellman-group14-sha256", "0", zeros(0)],
    ["diffie-hellman-group14-sha256", "1", one],
    ["diffie-hellman-group14-sha256", "negative", zeros(256).fill(0xff)],
    ["diffie-hellman-group14-sha256", "p << 64", concat(one, zeros(264))],
    ["diffie-hellman-group16-sha512", "2 bits set", mpintBytes(5n)],
    ["mlkem768x25519-sha256", "zeros", zeros(hybrid)],
    ["mlkem768x25519-sha256", "a byte less", zeros(hybrid - 1).fill(1)],
    ["mlkem768x25519-sha256", "a byte more", zeros(hybrid + 1).fill(1)],
    ["mlkem768nistp256-sha256", "zeros", zeros(nist)],
    ["mlkem768nistp256-sha256", "a byte less", zeros(nist - 1).fill(4)],
    ["sntrup761x25519-sha512", "zeros", zeros(sntrup)],
    ["sntrup761x25519-sha512", "a byte less", zeros(sntrup - 1).fill(1)],
    ["sntrup761x25519-sha512@openssh.com", "a byte more", zeros(sntrup + 1).fill(1)],
    ["sntrup761x25519-sha512", "nothing", zeros(0)],
    // Every key of sntrup761 can be written in one way; a ciphertext that no encoder wrote gives a secret that nobody knows.
    ...(by === "client"
      ? [
        ["sntrup761x25519-sha512", "numbers that are not reduced", zeros(sntrup).fill(0xff)] as [
          string,
          string,
          Uint8Array,
        ],
      ]
      : []),
  ];
}

function kexOptions(kex: string): VictimOptions {
  return { transport: { algorithms: { kex: [kex] } }, peer: { algorithms: { kex: [kex] } } };
}

/** A server's reply, changed before it leaves. */
function changedReply(
  change: (reply: { hostKey: Uint8Array; serverValue: Uint8Array; signature: Uint8Array }) => {
    hostKey?: Uint8Array;
    serverValue?: Uint8Array;
    signature?: Uint8Array;
  },
): (payload: Bytes) => Bytes {
  return (payload) => {
    if (payload[0] !== Msg.KEX_REPLY) return payload;
    const reply = KexExchangeReply.decode(payload);
    return KexExchangeReply.encode({ ...reply, ...change(reply) });
  };
}

/** Plays the server as far as its reply, and wants the client to close on it. */
async function refused(options: VictimOptions, reason: number) {
  const victim = new Victim("client", options);
  return await expectClose(victim, reason, () => victim.play(3));
}

// Rows 51, 54, 55 and 56.
Deno.test("a server closes on a client's value that is not sound", async () => {
  for (const [kex, name, value] of badValues("client")) {
    await named(`${kex}, ${name}`, async () => {
      const victim = new Victim("server", kexOptions(kex));
      await expectClose(victim, KEY_EXCHANGE_FAILED, async (peer) => {
        await victim.play(1);
        await peer.send(new Writer().u8(Msg.KEX_INIT).string(value).bytes());
      });
    });
  }
});

Deno.test("a client closes on a server's value that is not sound", async () => {
  for (const [kex, name, serverValue] of badValues("server")) {
    await named(`${kex}, ${name}`, async () => {
      const { transport, peer } = kexOptions(kex);
      await refused({ transport: transport!, peer: { ...peer, tamper: changedReply(() => ({ serverValue })) } }, 3);
    });
  }
});

// Row 56: ML-KEM and sntrup761 do not notice a flipped ciphertext, the signature does.
Deno.test("a client closes on a flipped ciphertext of ML-KEM or sntrup761 at the host signature", async () => {
  const tamper = changedReply(({ serverValue }) => {
    serverValue[7]! ^= 1;
    return { serverValue };
  });
  for (const kex of ["mlkem768x25519-sha256", "mlkem1024nistp384-sha384", "sntrup761x25519-sha512"]) {
    const { transport, peer } = kexOptions(kex);
    const error = await refused({ transport: transport!, peer: { ...peer, tamper } }, KEY_EXCHANGE_FAILED);
    assertStringIncludes(error.message, "signature");
  }
});

const gex = "diffie-hellman-group-exchange-sha256";

// Row 52.
Deno.test("a server serves groups of 2048 to 8192 bits, and closes on sizes that contradict each other", async () => {
  for (const [min, n, max] of [[8192, 2048, 1024], [512, 1024, 1024], [4096, 2048, 8192]] as const) {
    await named(`${min}, ${n}, ${max}`, async () => {
      const victim = new Victim("server", kexOptions(gex));
      await expectClose(victim, KEY_EXCHANGE_FAILED, async (peer) => {
        await victim.play(1);
        await peer.send(GexRequest.encode({ min, n, max }));
      });
    });
  }
  const victim = new Victim("server", kexOptions(gex));
  await victim.play(1);
  await victim.peer.send(GexRequest.encode({ min: 0, n: 0, max: 0xffff_ffff }));
  const { p } = GexGroup.decode(await victim.peer.receiveType(Msg.KEX_DH_GEX_GROUP));
  assert(p.toString(2).length >= 2048 && p.toString(2).length <= 8192);
  await expectClose(victim, KEY_EXCHANGE_FAILED, (peer) => peer.send(new Writer().u8(32).string(one).bytes()));
});

// Row 53.
Deno.test("a client closes on a group that is not sound, before any exponentiation", async () => {
  const odd = (bits: number) => (1n << BigInt(bits - 1)) | 0xffff_fff1n;
  for (
    const [name, p, g] of [
      ["1024 bits", odd(1024), 2n],
      ["8193 bits", odd(8193), 2n],
      ["16384 bits", odd(16_384), 2n],
      ["even", odd(2048) + 1n, 2n],
      ["0", 0n, 2n],
      ["1", 1n, 2n],
      ["g of 0", odd(2048), 0n],
      ["g of 1", odd(2048), 1n],
      ["g of p - 1", odd(2048), odd(2048) - 1n],
      ["g of p", odd(2048), odd(2048)],
    ] as const
  ) {
    await named(name, async () => {
      const victim = new Victim("client", kexOptions(gex));
      const error = await expectClose(victim, KEY_EXCHANGE_FAILED, async (peer) => {
        await victim.play(1);
        await peer.receiveType(Msg.KEX_DH_GEX_REQUEST);
        await peer.send(GexGroup.encode({ p, g }));
      });
      // The check of the group says this, and what it throws for is no group to work with: no value was made from it.
      assertStringIncludes(error.message, "Cannot use the server's group: ");
      assert(victim.peer.received.every(([type]) => type !== Msg.KEX_DH_GEX_INIT));
    });
  }
});

// Row 58.
Deno.test("a client closes on a host signature that is wrong in any way", async () => {
  const rsa = await generateKey("rsa", { bits: 2048 });
  const ecdsa = await generateKey("ecdsa");
  const flip = (bytes: Uint8Array, at: number) => {
    const out = bytes.slice();
    out[at < 0 ? out.length + at : at]! ^= 1;
    return out;
  };
  const value = (signature: Uint8Array) => {
    const reader = new Reader(signature);
    reader.ascii();
    return reader.string();
  };
  const relabel = (algorithm: string) => (signature: Uint8Array) => writeSignature(algorithm, value(signature));
  const pair = (r: bigint, s: bigint) => () =>
    writeSignature("ecdsa-sha2-nistp256", new Writer().mpint(r).mpint(s).bytes());
  const n256 = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const negative = new Writer().u32(1).u8(0xff).u32(1).u8(0xff).bytes();
  const cases: [string, Signer, string, (signature: Uint8Array) => Uint8Array][] = [
    ["a bit flipped", hostKey, "ssh-ed25519", (s) => flip(s, -1)],
    ["a bit of the label flipped", hostKey, "ssh-ed25519", (s) => flip(s, 5)],
    ["63 bytes", hostKey, "ssh-ed25519", (s) => writeSignature("ssh-ed25519", value(s).subarray(0, 63))],
    ["65 bytes", hostKey, "ssh-ed25519", (s) => writeSignature("ssh-ed25519", concat(value(s), zeros(1)))],
    ["S past the order", hostKey, "ssh-ed25519", (s) => {
      const bytes = value(s);
      bytes[63]! |= 0xf0;
      return writeSignature("ssh-ed25519", bytes);
    }],
    ["bytes behind it", hostKey, "ssh-ed25519", (s) => concat(s, zeros(1))],
    ["nothing", hostKey, "ssh-ed25519", () => zeros(0)],
    ["another label", hostKey, "ssh-ed25519", relabel("rsa-sha2-512")],
    ["the label ssh-rsa", rsa, "rsa-sha2-512", relabel("ssh-rsa")],
    ["the label rsa-sha2-256", rsa, "rsa-sha2-512", relabel("rsa-sha2-256")],
    ["RSA, a bit flipped", rsa, "rsa-sha2-512", (s) => flip(s, -1)],
    ["RSA, bytes before it", rsa, "rsa-sha2-256", (s) => writeSignature("rsa-sha2-256", concat(zeros(1), value(s)))],
    ["ECDSA, zeros", ecdsa, "ecdsa-sha2-nistp256", pair(0n, 0n)],
    ["ECDSA, r of n", ecdsa, "ecdsa-sha2-nistp256", pair(n256, 1n)],
    ["ECDSA, s of n", ecdsa, "ecdsa-sha2-nistp256", pair(1n, n256)],
    ["ECDSA, negative", ecdsa, "ecdsa-sha2-nistp256", () => writeSignature("ecdsa-sha2-nistp256", negative)],
  ];
  for (const [name, key, algorithm, change] of cases) {
    await named(name, async () => {
      const tamper = changedReply(({ signature }) => ({ signature: change(signature) }));
      const options = { peer: { hostKey: key, algorithms: { hostKey: [algorithm] }, tamper } };
      const error = await refused(options, KEY_EXCHANGE_FAILED);
      assertStringIncludes(error.message, "signature");
    });
  }
});

// Rows 59 and 60. Keys out of bounds are refused before anything is verified.
Deno.test("a client closes on a host key that is not sound, or of another type than was agreed", async () => {
  const ecdsa = await generateKey("ecdsa");
  const rsa = (e: bigint, n: bigint) => new Writer().text("ssh-rsa").mpint(e).mpint(n).bytes();
  const odd = (bits: number) => (1n << BigInt(bits - 1)) | 1n;
  const { blob } = hostKey.publicKey;
  const point = ecdsa.publicKey.blob.subarray(-65);
  let nested = new Writer().text("ssh-ed25519-cert-v01@openssh.com").string(zeros(32)).bytes();
  for (let i = 0; i < 1000; i++) nested = new Writer().text("ssh-ed25519-cert-v01@openssh.com").string(nested).bytes();
  const cases: [string, Uint8Array][] = [
    ["RSA of 1023 bits", rsa(65_537n, odd(1023))],
    ["RSA of 2047 bits", rsa(65_537n, odd(2047))],
    ["RSA of 16385 bits", rsa(65_537n, odd(16_385))],
    ["RSA of 10^6 bits", rsa(65_537n, odd(1_000_000))],
    ["RSA, e even", rsa(65_536n, odd(2048))],
    ["RSA, e of 1", rsa(1n, odd(2048))],
    ["RSA, e of 2^64 + 1", rsa((1n << 64n) + 1n, odd(2048))],
    ["DSA", new Writer().text("ssh-dss").mpint(1n).mpint(1n).mpint(1n).mpint(1n).bytes()],
    ["another type", ecdsa.publicKey.blob],
    ["another curve", new Writer().text("ecdsa-sha2-nistp256").text("nistp384").string(point).bytes()],
    ["a certificate in a thousand others", nested],
    ["bytes behind it", concat(blob, zeros(1))],
    ["cut short", blob.subarray(0, -1)],
    ["nothing", zeros(0)],
  ];
  for (const [name, key] of cases) {
    await named(name, async () => {
      // A whole exchange takes some 10 ms; arithmetic with a million bits takes minutes.
      const attack = () => refused({ peer: { tamper: changedReply(() => ({ hostKey: key })) } }, KEY_EXCHANGE_FAILED);
      const time = await fastest(1000, attack);
      assert(time < 1000, `It took ${time} ms`);
    });
  }
  // A sound key of the server's, and another one that somebody puts in its place.
  const other = await generateKey("ed25519");
  const error = await refused(
    { peer: { tamper: changedReply(() => ({ hostKey: other.publicKey.blob })) } },
    KEY_EXCHANGE_FAILED,
  );
  assertStringIncludes(error.message, "signature");
});

// Row 61.
Deno.test("a client closes on another host key in a rekey, and does not ask again for the same", async () => {
  let asked = 0;
  const verifyHostKey = () => ++asked > 0;
  const victim = new Victim("client", { transport: { verifyHostKey } });
  await victim.handshake();
  for (let i = 0; i < 3; i++) await Promise.all([victim.transport.rekey(), victim.peer.rekey()]);
  assertEquals(asked, 1);
  await expectAlive(victim);

  const other = await generateKey("ed25519");
  const changing: Signer = {
    publicKey: hostKey.publicKey,
    algorithms: hostKey.algorithms,
    sign: (data, algorithm) => hostKey.sign(data, algorithm),
  };
  const changed = new Victim("client", { transport: { verifyHostKey }, peer: { hostKey: changing } });
  await changed.handshake();
  Object.assign(changing, {
    publicKey: other.publicKey,
    sign: (data: Uint8Array, algorithm: string) => other.sign(data, algorithm),
  });
  const error = await expectClose(changed, HOST_KEY_NOT_VERIFIABLE, async (peer) => {
    await peer.send(await peer.kexInit());
    await changed.takeKexInit();
    for (const payload of await changed.takeValue()) await peer.send(payload);
  });
  assert(error instanceof HostKeyError);
  assertEquals(asked, 2);
});

// Row 62.
Deno.test("a client refuses a host key unless its verifier says true, and sends nothing of a login", async () => {
  const verifiers: [string, (() => unknown) | undefined][] = [
    ["none", undefined],
    ["undefined", () => undefined],
    ["false", () => false],
    ["1", () => 1],
    ["a string", () => "true"],
    ["an object", () => ({})],
    ["a promise of undefined", () => Promise.resolve()],
    ["throws", () => {
      throw new Error("MARKERINPAYLOAD");
    }],
    ["rejects", () => Promise.reject(new Error("MARKERINPAYLOAD"))],
  ];
  for (const [name, verifier] of verifiers) {
    await named(name, async () => {
      const victim = new Victim("client", { transport: { verifyHostKey: verifier as () => boolean } });
      victim.transport.send(new Uint8Array([5, 1, 2, 3]));
      const error = await expectClose(victim, HOST_KEY_NOT_VERIFIABLE, () => victim.play(3));
      assert(error instanceof HostKeyError);
      assertEquals(error.code, "HOST_KEY_REJECTED");
      assert(victim.peer.received.every(([type]) => type === 1 || type! >= 20 && type! <= 49));
    });
  }
  // One that never answers holds the login up, whatever the time: a person is being asked. The end of the connection ends it, too.
  let asked = () => {};
  const asking = new Promise<void>((resolve) => asked = resolve);
  const verifyHostKey = () => {
    asked();
    return new Promise<boolean>(() => {});
  };
  let victim: Victim;
  {
    using time = new FakeTime();
    victim = new Victim("client", { transport: { handshakeTimeout: 100, verifyHostKey } });
    victim.transport.send(new Uint8Array([5, 1, 2, 3]));
    await victim.play(3);
    await asking;
    time.tick(200);
    await turns();
    assert(victim.transport.isActive);
    assert(victim.peer.received.every(([type]) => type === 1 || type! >= 20 && type! <= 49));
  }
  await victim.peer.close();
  const error = await inTime(victim.transport.closed.then(() => null, (error) => error), "The end");
  assertEquals(error.code, "CONNECTION_LOST");
});

// Row 63: the nonce k of each signature is worked out from the known key; its top bits must be as random as any others. PuTTY's had
// 9 bits of zeros with P-521.
for (
  const [curveBits, hash, order] of [
    [256, "SHA-256", 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n],
    [
      384,
      "SHA-384",
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    ],
    [
      521,
      "SHA-512",
      (1n << 521n) - 0x5ae79787c40d069948033feb708f65a2fc44a36477663b851449048e16ec79bf7n,
    ],
  ] as const
) {
  Deno.test(`signatures of ECDSA with ${curveBits} bits have nonces without bias`, async () => {
    const key = await generateKey("ecdsa", { bits: curveBits });
    const secret = privateScalar(await key.export());
    assert(secret > 0n && secret < order);
    const bits = order.toString(2).length;
    // One cell for each of the 8 highest values of the top 3 bits, and a count of zeros in each of the top 9 bits.
    const cells = new Array<number>(8).fill(0), zeroBits = new Array<number>(9).fill(0);
    const count = 512;
    for (let i = 0; i < count; i++) {
      const data = new Writer().u32(i).bytes();
      const reader = new Reader(await key.sign(data, key.algorithms[0]!));
      reader.ascii();
      const value = new Reader(reader.string());
      const r = value.mpint(), s = value.mpint();
      const digest = new Uint8Array(await crypto.subtle.digest(hash, data));
      const k = (BigInt("0x" + digest.toHex()) + r * secret) * inverse(s, order) % order;
      cells[Number(k >> BigInt(bits - 3))]!++;
      for (let b = 0; b < 9; b++) if ((k >> BigInt(bits - 1 - b) & 1n) === 0n) zeroBits[b]!++;
    }
    const expected = count / 8;
    const chiSquare = cells.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    // 7 degrees of freedom: 60 is passed once in some billion times; 7 standard deviations of 11.3, for each bit, less often still.
    assert(chiSquare < 60, `chi-square ${chiSquare}`);
    for (const zeros of zeroBits) assert(Math.abs(zeros - count / 2) < 79, `${zeroBits}`);
  });
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value, modulus, 1n, 0n];
  while (b > 0n) {
    const q = a / b;
    [a, b] = [b, a % b];
    [x, y] = [y, x - q * y];
  }
  return (x % modulus + modulus) % modulus;
}

/** The scalar in an OpenSSH private key that is not encrypted (PROTOCOL.key). */
function privateScalar(text: string): bigint {
  const bytes = Uint8Array.fromBase64(text.replace(/-----[^-]+-----|\s/g, ""));
  const reader = new Reader(bytes, "openssh-key-v1\0".length);
  for (let i = 0; i < 3; i++) reader.view();
  reader.u32();
  reader.view();
  const key = new Reader(reader.string());
  key.u32();
  key.u32();
  key.ascii();
  key.ascii();
  key.view();
  return key.mpint();
}

// Row 64; the unit test of it is in tests/crypto/random_test.ts.
Deno.test("no key exchange and no packet needs Math.random(), and no file of lib/ names it", async () => {
  const { random } = Math;
  Math.random = () => {
    throw new Error("Math.random() was called");
  };
  try {
    for (const role of roles) {
      const victim = new Victim(role);
      await victim.handshake();
      await Promise.all([victim.transport.rekey(), victim.peer.rekey()]);
      await finish(victim);
    }
  } finally {
    Math.random = random;
  }
  const walk = async (dir: URL): Promise<void> => {
    for await (const entry of Deno.readDir(dir)) {
      const url = new URL(entry.name + (entry.isDirectory ? "/" : ""), dir);
      if (entry.isDirectory) await walk(url);
      else if (entry.name.endsWith(".ts")) assert(!(await Deno.readTextFile(url)).includes("Math.random"), url.href);
    }
  };
  await walk(new URL("../../lib/", import.meta.url));
});

// Row 64: cookies and ephemeral keys are new each time.
Deno.test("no two cookies or ephemeral keys are the same", async () => {
  const seen = new Set<string>();
  for (let i = 0; i < 8; i++) {
    const victim = new Victim("client");
    await victim.play(5);
    const [kexInit, value] = victim.peer.received;
    seen.add(kexInit!.subarray(1, 17).toHex());
    seen.add(value!.subarray(5).toHex());
    assertEquals(await victim.started, null);
    await finish(victim);
  }
  assertEquals(seen.size, 16);
});
