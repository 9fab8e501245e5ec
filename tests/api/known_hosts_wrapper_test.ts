/**
 * A program's own function around `knownHosts()`: no false alarm where the host has keys of other types than the one it showed first,
 * and no way in for somebody in between.
 *
 * @module
 */
import { assertEquals, assertFalse, assertRejects, assertThrows } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve, type SshServer } from "../../lib/api/server.ts";
import { HostKeyChangedError, HostKeyError, HostKeyRevokedError, HostKeyUnknownError } from "../../lib/errors.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { verifierAround } from "../../lib/keys/trust/verifier_around.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { HostKeyVerifier, PrivateKey } from "../../lib/keys/types.ts";
import { join, login, serverOptions } from "../_support/joined.ts";

const ed25519 = await generateKey(), rsa = await generateKey("rsa", { bits: 2048 }), ecdsa = await generateKey("ecdsa");

/** A server on loopback, and how many connections it has seen. */
async function listen(...hostKeys: PrivateKey[]): Promise<{ server: SshServer; seen: () => number }> {
  let seen = 0;
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    ...await serverOptions(),
    hostKeys,
    onError: () => {},
    // Events are numbered on each connection.
    trace: ({ number }) => void (number === 0 && seen++),
    maxStartupsPerSource: 1000,
  });
  return { server, seen: () => seen };
}

const line = (server: SshServer, key: PrivateKey) => `[127.0.0.1]:${server.addr.port} ${key.publicKey}\n`;

/** What everybody writes: new hosts are added, everything else is an error. */
function acceptNew(file: { text: string }): HostKeyVerifier {
  return async (key, host) => {
    try {
      return await knownHosts(file.text)(key, host);
    } catch (error) {
      if (!(error instanceof HostKeyUnknownError)) throw error;
      file.text += `[${host.hostname}]:${host.port} ${key}\n`;
      return true;
    }
  };
}

function dial(server: SshServer, verifyHostKey: HostKeyVerifier, more: Parameters<typeof connect>[0] | object = {}) {
  return connect({ hostname: "127.0.0.1", port: server.addr.port, ...login, verifyHostKey, ...more });
}

Deno.test("a function around knownHosts() finds a host that is known by a key of another type", async () => {
  const { server, seen } = await listen(ed25519, ecdsa, rsa);
  await using _ = server;
  const wrappers: ((text: string) => HostKeyVerifier)[] = [
    (text) => acceptNew({ text }),
    (text) => (key, host) => knownHosts(text)(key, host),
    (text) => (key, { hostname, port }) => knownHosts(text)(key, { hostname, port }),
    (text) => async (key, host) => await knownHosts("")(key, host).catch(() => knownHosts(text)(key, host)),
    (text) => (key, host) => knownHosts(text)(key, host).catch(() => false),
    (text) => async (key, host) => {
      try {
        return await knownHosts(text)(key, host);
      } catch {
        throw new Error("an error of the program's own");
      }
    },
  ];
  for (const known of [ed25519, ecdsa, rsa]) {
    for (const wrapper of wrappers) {
      const before = seen();
      await using client = await dial(server, wrapper(line(server, known)));
      assertEquals(client.info.hostKey.type, known.publicKey.type);
      // What the server shows first needs no second question.
      assertEquals(seen() - before, known === ed25519 ? 1 : 2);
    }
    // knownHosts() itself is asked beforehand.
    const before = seen();
    await using client = await dial(server, knownHosts(line(server, known)));
    assertEquals([client.info.hostKey.type, seen() - before], [known.publicKey.type, 1]);
  }
});

Deno.test("a function that accepts new hosts adds a host once, and no key of another type to one that is known", async () => {
  const { server } = await listen(ed25519, rsa);
  await using _ = server;
  const file = { text: "" };
  for (let i = 0; i < 2; i++) await (await dial(server, acceptNew(file))).close();
  assertEquals(file.text, line(server, ed25519));
  const known = { text: line(server, rsa) };
  await (await dial(server, acceptNew(known))).close();
  assertEquals(known.text, line(server, rsa));
});

Deno.test("somebody in between who has no key of a known type is told as a changed host, and nothing is added", async () => {
  for (const known of [rsa, ecdsa]) {
    const { server } = await listen(ed25519);
    await using _ = server;
    const file = { text: line(server, known) };
    await assertRejects(() => dial(server, acceptNew(file)), HostKeyChangedError, "it has changed");
    assertEquals(file.text, line(server, known));
  }
  // A key of the known type that is another one, shown to the second question.
  const { server } = await listen(ed25519, await generateKey("rsa", { bits: 2048 }));
  await using _ = server;
  const file = { text: line(server, rsa) };
  await assertRejects(() => dial(server, acceptNew(file)), HostKeyChangedError, "it has changed");
  assertEquals(file.text, line(server, rsa));
});

Deno.test("a revoked key is revoked behind a function too, and its type is not asked for", async () => {
  const { server } = await listen(ed25519, rsa);
  await using _ = server;
  const revoked = `@revoked * ${ed25519.publicKey}\n${line(server, rsa)}`;
  await assertRejects(() => dial(server, acceptNew({ text: revoked })), HostKeyRevokedError);
  const only = `@revoked * ${rsa.publicKey}\n${line(server, rsa)}`;
  const error = await assertRejects(() => dial(server, acceptNew({ text: only })), HostKeyError);
  assertFalse(error instanceof HostKeyUnknownError);
});

Deno.test("where the streams are given, the error says that the known types were not asked for", async () => {
  const file = { text: `test.invalid ${rsa.publicKey}\n` };
  const error = await assertRejects(
    () => join({ hostKeys: [ed25519, rsa] }, { verifyHostKey: acceptNew(file) }),
    HostKeyError,
    "is known by its keys of other types (ssh-rsa at known_hosts text:1), which it was not asked for",
  );
  assertFalse(error instanceof HostKeyChangedError || error instanceof HostKeyUnknownError);
  assertEquals(file.text, `test.invalid ${rsa.publicKey}\n`);
  // With what the error advises it works.
  await using direct = await join({ hostKeys: [ed25519, rsa] }, { verifyHostKey: knownHosts(file.text) });
  assertEquals(direct.client.info.hostKey.type, "ssh-rsa");
  await using asked = await join({ hostKeys: [ed25519, rsa] }, {
    verifyHostKey: acceptNew(file),
    algorithms: { hostKey: ["rsa-sha2-512", "ssh-ed25519"] },
  });
  assertEquals(asked.client.info.hostKey.type, "ssh-rsa");
});

Deno.test("a program that says itself which host keys to ask for is not asked again", async () => {
  const { server, seen } = await listen(ed25519, rsa);
  await using _ = server;
  const error = await assertRejects(
    () => dial(server, acceptNew({ text: line(server, rsa) }), { algorithms: { hostKey: ["ssh-ed25519"] } }),
    HostKeyError,
    "which it was not asked for",
  );
  assertFalse(error instanceof HostKeyChangedError);
  assertEquals(seen(), 1);
});

Deno.test("a second connection ends with the signal, too", async () => {
  const { server } = await listen(ed25519, rsa);
  await using _ = server;
  const controller = new AbortController();
  let calls = 0;
  const verify: HostKeyVerifier = (key, host) => {
    if (calls++ > 0) controller.abort(new Error("enough"));
    return knownHosts(line(server, rsa))(key, host);
  };
  const error = await assertRejects(() => dial(server, verify, { signal: controller.signal }), Error);
  assertEquals([error.message, calls], ["enough", 2]);
});

Deno.test("verifierAround() keeps the types that are known: one connection is enough, and streams that are given will do", async () => {
  const { server, seen } = await listen(ed25519, ecdsa, rsa);
  await using _ = server;
  const around = (text: string, calls: string[] = []) =>
    verifierAround(verifierAround(knownHosts(text), (key, host, inner) => inner(key, host)), (key, host, inner) => {
      calls.push(key.type);
      return key.type !== "ecdsa-sha2-nistp256" && inner(key, host);
    });
  for (const known of [ed25519, rsa]) {
    const before = seen(), calls: string[] = [];
    await using client = await dial(server, around(line(server, known), calls));
    assertEquals([client.info.hostKey.type, seen() - before], [known.publicKey.type, 1]);
    assertEquals(calls, [known.publicKey.type]);
  }
  // The program's own word is the last, and so is that of what it is around.
  const before = seen();
  await assertRejects(() => dial(server, around(line(server, ecdsa))), HostKeyError, "is not trusted by the verifier");
  await assertRejects(() => dial(server, around("")), HostKeyUnknownError);
  assertEquals(seen() - before, 2);
  const text = `test.invalid ${rsa.publicKey}\n`;
  await using joined = await join({ hostKeys: [ed25519, rsa] }, { verifyHostKey: around(text) });
  assertEquals(joined.client.info.hostKey.type, "ssh-rsa");
  // Around what knows nothing beforehand it is a plain function.
  assertEquals("keyTypes" in verifierAround(() => true, () => true), false);
  for (const wrong of [[undefined, () => true], [knownHosts(""), undefined], ["x", () => true], [() => true, true]]) {
    assertThrows(() => (verifierAround as (...args: unknown[]) => unknown)(...wrong), TypeError);
  }
});
