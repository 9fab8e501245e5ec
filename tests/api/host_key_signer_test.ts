import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { connect, generateKey, serve, serveConn, type Signer, SshError } from "../../mod.ts";
import { signExchange } from "../../lib/transport/host_key_signature.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { until } from "../_support/until.ts";
import { login, serverOptions, text } from "../_support/joined.ts";

const key = await generateKey(), rsa = await generateKey("rsa", { bits: 2048 });
const fingerprint = await key.publicKey.fingerprint();

type Sign = Signer["sign"];

/** Signers that do not what they should, and what is said of each. */
const bad: [what: string, sign: Sign, why: string][] = [
  ["throws", () => {
    throw new Error("the token is gone");
  }, "its signer failed"],
  ["rejects", () => Promise.reject(new Error("the token is gone")), "its signer failed"],
  ["gives nothing", () => Promise.resolve(undefined as unknown as Uint8Array<ArrayBuffer>), "its signer gave no bytes"],
  [
    "gives far too much",
    () => Promise.resolve(new Uint8Array(300_000)),
    "its signer gave 300000 bytes, and at most 16384 can be a signature",
  ],
  [
    "gives no bytes at all",
    () => Promise.resolve(new Uint8Array(0)),
    "what its signer gave is no ssh-ed25519 signature of it",
  ],
  [
    "signs something else",
    (data, algorithm) => key.sign(data.slice(1), algorithm),
    "what its signer gave is no ssh-ed25519 signature of it",
  ],
  [
    "signs with another key",
    (data) => rsa.sign(data, "rsa-sha2-512"),
    "what its signer gave is no ssh-ed25519 signature of it",
  ],
];

function signer(sign: Sign): Signer {
  return { publicKey: key.publicKey, algorithms: key.algorithms, sign };
}

for (const [what, sign, why] of bad) {
  Deno.test(`a host key whose signer ${what} ends its connection, and the server is told which key and why`, async () => {
    const pair = memoryPair();
    const serving = serveConn(pair.server, await serverOptions({ hostKeys: [signer(sign)] })).catch((error) => error);
    const error = await assertRejects(
      () => connect({ hostname: "test.invalid", ...login, transport: pair.client }),
      SshError,
    );
    assert(
      !`${error.message}${error.cause}`.includes("token is gone"),
      "the client learns nothing of the server's inside",
    );
    const served = await serving;
    assertInstanceOf(served, SshError);
    assertEquals(served.message, `Cannot sign the key exchange with the host key ssh-ed25519 ${fingerprint}: ${why}`);
    if (why.endsWith("failed")) assertEquals((served.cause as Error).message, "the token is gone");
  });
}

Deno.test("serve() goes on while a host key's signer fails now and then, and tells onError of each time", async () => {
  let fails = false;
  const errors: unknown[] = [];
  await using server = serve({
    ...await serverOptions(),
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [signer((data, algorithm) => fails ? Promise.reject(new Error("not now")) : key.sign(data, algorithm))],
    onError: (error) => errors.push(error),
  });
  const dial = () => connect({ hostname: "127.0.0.1", port: server.addr.port, ...login });
  await using before = await dial();
  fails = true;
  await assertRejects(dial, SshError);
  await until(() => errors.length > 0, "The error");
  assert(String(errors[0]).includes(`host key ssh-ed25519 ${fingerprint}: its signer failed`), String(errors[0]));
  fails = false;
  await using after = await dial();
  for (const client of [before, after]) assertEquals(text((await client.exec("echo x")).stdout), "x\n");
  assertEquals(errors.length, 1);
});

// A host certificate, say: nothing here can tell whether its signatures are right.
Deno.test("signExchange() takes what a key of the program's own kind signs", async () => {
  const publicKey = { ...key.publicKey, type: "own@example.org", blob: new Writer().text("own@example.org").bytes() };
  const signature = new Uint8Array([1]), hash = new Uint8Array(32);
  const own: Signer = { publicKey, algorithms: ["own@example.org"], sign: () => Promise.resolve(signature) };
  assertEquals(await signExchange(own, hash, "own@example.org"), signature);
  // And a key that is known, but not by this class.
  const same: Signer = {
    publicKey: { ...publicKey, type: "ssh-ed25519", blob: key.publicKey.blob },
    algorithms: key.algorithms,
    sign: (data, algorithm) => key.sign(data, algorithm),
  };
  assertEquals((await signExchange(same, hash, "ssh-ed25519")).length, 83);
});
