/**
 * RSA keys that are shorter than usual: 2,047 bits count as 2,048, and from 1,024 on a program may ask for them by an option that is
 * named insecure. C15 of the cases.
 *
 * @module
 */
import { assert, assertEquals, assertFalse, assertRejects, assertThrows } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { HostKeyError, SshAuthError, SshError } from "../../lib/errors.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import { parseAuthorizedKeys } from "../../lib/keys/trust/authorized_keys.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { insecureSha1Signer, inspectPrivateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureVerifySha1, parsePublicKey, verifyWith } from "../../lib/keys/public_key.ts";
import { join } from "../_support/joined.ts";
import { run } from "../_support/child.ts";
import { memoryPair } from "../_support/duplex.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { assertKeyFormat, blobOf, rsaBits, utf8, vectors } from "../_support/key_vectors.ts";

type Format = "PKCS#1" | "PKCS#8" | "OpenSSH" | "PuTTY";
type ShortRsa = { readonly bits: number; readonly public: string } & Readonly<Partial<Record<Format, string>>>;

const formats: readonly Format[] = ["PKCS#1", "PKCS#8", "OpenSSH", "PuTTY"];
const all = vectors<ShortRsa>("short_rsa", 4);
const of = (bits: number) => all.find((vector) => vector.bits === bits)!;
const insecure = { insecureMinRsaBits: 1024 };

// C15
Deno.test("an RSA key of 2,047 bits counts as one of 2,048, in every format, and signs and verifies", async () => {
  const vector = of(2047);
  const known = parsePublicKey(vector.public);
  assertEquals(rsaBits(known), 2047);
  for (const format of formats) {
    const key = await parsePrivateKey(vector[format]!);
    assertEquals(key.publicKey.blob, known.blob, format);
    for (const algorithm of key.algorithms) {
      const signature = await key.sign(utf8("x"), algorithm);
      // The value is as long as the modulus in bytes, behind two lengths and the name.
      assertEquals(signature.length, 8 + algorithm.length + 256, format);
      assert(await verifyWith(known, algorithm, utf8("x"), signature), format);
      assertFalse(await verifyWith(known, algorithm, utf8("y"), signature), format);
    }
    const sha1 = await insecureSha1Signer(key).sign(utf8("x"), "ssh-rsa");
    assert(await insecureVerifySha1(known, utf8("x"), sha1));
    const again = await parsePrivateKey(await key.export());
    assertEquals(again.publicKey.blob, known.blob);
  }
  assertEquals(parseAuthorizedKeys(vector.public).keys.length, 1);
});

Deno.test("RSA keys below 2,047 bits are refused, and the message names the option that takes them", async () => {
  for (const bits of [1024, 2046]) {
    const vector = of(bits);
    for (const format of formats) {
      const says = `${bits} bits, 2048 to 16384 are allowed`;
      await assertKeyFormat(() => parsePrivateKey(vector[format]!), says, format);
      await assertKeyFormat(() => parsePrivateKey(vector[format]!), "insecureMinRsaBits", format);
    }
    await assertKeyFormat(() => parsePublicKey(vector.public), "insecureMinRsaBits");
    assertEquals(parseAuthorizedKeys(vector.public).keys.length, 0);
  }
});

Deno.test("`insecureMinRsaBits` takes RSA keys from so many bits on, and never below 1,024", async () => {
  for (const bits of [1024, 2046]) {
    const vector = of(bits);
    const known = parsePublicKey(vector.public, insecure);
    for (const format of formats) {
      const key = await parsePrivateKey(vector[format]!, insecure);
      assertEquals(key.publicKey.blob, known.blob, format);
      assert(await known.verify(utf8("x"), await key.sign(utf8("x"), "rsa-sha2-512")), format);
    }
    assertEquals(inspectPrivateKey(vector.OpenSSH!, insecure).publicKey?.blob, known.blob);
    assertEquals(parseAuthorizedKeys(vector.public, insecure).keys.length, 1);
    assertEquals(matchAuthorizedKey(vector.public, known)?.line, 1);
  }
  await parsePrivateKey(of(2046).OpenSSH!, { insecureMinRsaBits: 2046 });
  await parsePrivateKey(of(2047).OpenSSH!, { insecureMinRsaBits: 2047 });
  await assertKeyFormat(() => parsePrivateKey(of(1024).OpenSSH!, { insecureMinRsaBits: 1025 }), "1024 bits, 1025 to");
  for (const format of ["PKCS#1", "PKCS#8"] as const) {
    await assertKeyFormat(() => parsePrivateKey(of(1023)[format]!, insecure), "1023 bits, 1024 to 16384");
  }
  const hostKeys = [await parsePrivateKey(of(2047).OpenSSH!)];
  for (const insecureMinRsaBits of [0, 1023, 1024.5, 2049, NaN]) {
    await assertRejects(() => parsePrivateKey(of(2047).OpenSSH!, { insecureMinRsaBits }), RangeError);
    assertThrows(() => parsePublicKey(of(2047).public, { insecureMinRsaBits }), RangeError, "1024 to 2048");
    await assertRejects(
      () => connect({ hostname: "test.invalid", username: "a", transport: memoryPair().client, insecureMinRsaBits }),
      RangeError,
    );
    assertThrows(() => serve({ hostKeys, auth: {}, insecureMinRsaBits }), RangeError);
    assertThrows(() => new Transport(memoryPair().client, { insecureMinRsaBits }), RangeError);
  }
});

// C15
Deno.test("host keys and user keys of 2,047 bits log in by default, those of 1,024 only where both sides ask for it", async () => {
  for (const bits of [2047, 1024]) {
    const options = bits === 1024 ? insecure : {};
    const key = await parsePrivateKey(of(bits).OpenSSH!, options);
    const server = { hostKeys: [key], auth: { publicKey: () => true } };
    const client = { auth: [publicKey(key)], verifyHostKey: pinnedHostKey(of(bits).public) };
    {
      await using joined = await join({ ...server, ...options }, { ...client, ...options });
      assertEquals(rsaBits(joined.client.info.hostKey), bits);
    }
    if (bits !== 1024) continue;
    await assertRejects(() => join({ ...server, ...options }, client), SshError, "Host key cannot be used");
    await assertRejects(() => join(server, { ...client, ...options }), SshAuthError, "was refused");
    await assertRejects(
      () => join({ ...server, ...options }, { ...client, ...options, verifyHostKey: pinnedHostKey(of(2047).public) }),
      HostKeyError,
    );
  }
});

Deno.test("Transport takes short host and user keys where `insecureMinRsaBits` says so", async () => {
  const key = await parsePrivateKey(of(1024).OpenSSH!, insecure);
  const pair = memoryPair();
  await using server = new Transport(pair.server, insecure);
  await using client = new Transport(pair.client, insecure);
  server.addServerKey(key);
  const started = server.startServer({
    getAllowedAuths: () => ["publickey"],
    checkAuthPublickey: () => true,
  });
  await client.connect({ username: "alice", hostKey: key.publicKey, key });
  await started;
  assert(client.isAuthenticated());
});

Deno.test("connectAgent() lists short RSA keys where `insecureMinRsaBits` says so", async () => {
  const blobs = [1024, 2047].map((bits) => blobOf(of(bits).public));
  for (const [options, expected] of [[{}, [blobs[1]]], [insecure, blobs]] as const) {
    const { client, server } = memoryPair({ highWaterMark: 65_536 });
    await using agent = await connectAgent(client, options);
    const listed = agent.signers();
    const writer = server.writable.getWriter();
    const body = [
      12,
      0,
      0,
      0,
      2,
      ...blobs.flatMap((blob) => [0, 0, blob.length >> 8, blob.length & 255, ...blob, 0, 0, 0, 0]),
    ];
    await writer.write(new Uint8Array([0, 0, body.length >> 8, body.length & 255, ...body]));
    assertEquals((await listed).map((signer) => signer.publicKey.blob), [...expected] as typeof blobs);
    writer.releaseLock();
  }
});

peerTest(
  "openssh",
  "ssh and sshd take what RSA keys of 2,047 and 1,024 bits sign here, and the other way round",
  async () => {
    const dir = scratchDir();
    for (const bits of [2047, 1024]) {
      const options = bits === 1024 ? insecure : {};
      const vector = of(bits);
      const key = await parsePrivateKey(vector.OpenSSH!, options);
      await Deno.writeTextFile(`${dir}/${bits}`, vector.OpenSSH!, { mode: 0o600 });
      await Deno.writeTextFile(`${dir}/${bits}.keys`, vector.public + "\n");

      await using server = serve({
        hostname: "127.0.0.1",
        port: 0,
        hostKeys: [key],
        auth: { publicKey: (_info, offered) => offered.blob.toBase64() === key.publicKey.blob.toBase64() },
        handler: () => 7,
        ...options,
      });
      const config = [
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "IdentityAgent=none",
        "IdentitiesOnly=yes",
        `IdentityFile=${dir}/${bits}`,
      ].flatMap((line) => ["-o", line]);
      const where = ["-p", `${server.addr.port}`, "alice@127.0.0.1", "x"];
      const { code, stderr } = await run(["/usr/bin/ssh", "-F", "/dev/null", ...config, ...where]);
      assertEquals(code, 7, stderr);

      await using sshd = await startOpenSshd({ config: [`AuthorizedKeysFile=${dir}/${bits}.keys`] });
      await using client = await connect({
        hostname: sshd.hostname,
        port: sshd.port,
        username: sshd.username,
        auth: [publicKey(key)],
        verifyHostKey: pinnedHostKey(...sshd.hostKeys),
      });
      assertEquals((await client.exec("exit 5")).code, 5);
    }
  },
);
