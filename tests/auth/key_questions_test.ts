/**
 * Several keys asked about in one flight: RFC 4252 section 7, and what servers count as tries.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { type AttemptOptions, ClientAuth } from "../../lib/auth/client.ts";
import { triesTogether } from "../../lib/auth/key_questions.ts";
import { userauthRequest } from "../../lib/auth/messages.ts";
import { password, publicKey } from "../../lib/auth/methods.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Agent, Signer } from "../../lib/keys/types.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import type { ConnectionInfo } from "../../lib/transport/types.ts";
import {
  acceptPayload,
  failurePayload,
  fakeInfo,
  fakePair,
  ScriptedPeer,
  successPayload,
} from "../_support/fake_pair.ts";
import { sleep } from "../_support/duplex.ts";
import { until } from "../_support/until.ts";

const keys = await Promise.all(Array.from({ length: 8 }, () => generateKey("ed25519")));

function agentOf(signers: readonly Signer[]): Agent {
  return {
    signers: () => Promise.resolve(signers),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  } as unknown as Agent;
}

/** A client of a server with a line, and what has come from it since it was last looked at: `ask 3`, `sign 3`, `password`. */
function start(ident: string, source: readonly (Signer | Agent)[], options: AttemptOptions = {}) {
  const { client, server } = fakePair();
  (client as { info: ConnectionInfo }).info = { ...fakeInfo, remoteIdent: ident };
  const auth = new ClientAuth(client, { onSuccess: () => {} }), peer = new ScriptedPeer(server);
  const result = auth.attempt("alice", publicKey(...source), { othersFollow: true, ...options });
  result.catch(() => {});
  let seen = 0;
  /** What has come, so many requests at least, once nothing more follows. */
  const heard = async (count = 1): Promise<string[]> => {
    const requests = () => client.sent.slice(seen).filter((payload) => payload[0] === Msg.USERAUTH_REQUEST).length;
    await until(() => requests() >= count, `${count} requests have come`);
    for (let i = 0; i < 10; i++) await sleep(0);
    const fresh = client.sent.slice(seen);
    seen = client.sent.length;
    return fresh.filter((payload) => payload[0] === Msg.USERAUTH_REQUEST).map((payload) => {
      const { method, fields } = userauthRequest.decode(payload);
      if (new TextDecoder().decode(method) === "password") return "password";
      const reader = new Reader(fields, 0), signed = reader.bool();
      reader.string();
      const blob = reader.string();
      return `${signed ? "sign" : "ask"} ${keys.findIndex((key) => key.publicKey.blob.every((b, i) => b === blob[i]))}`;
    });
  };
  peer.send(acceptPayload());
  return { client, peer, auth, result, heard };
}

function pkOk(key: Signer): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_PK_OK).text("ssh-ed25519").string(key.publicKey.blob).bytes();
}
const refusal = () => failurePayload(["publickey", "password"]);

Deno.test("triesTogether() knows servers by their own line, and others one question at a time", () => {
  const idents = [
    "OpenSSH_9.2p1",
    "paramiko_3.5.1",
    "dropbear_2022.83",
    "amiko",
    "amikoserver",
    "AsyncSSH_2.20.0",
    "x OpenSSH_9",
  ];
  assertEquals(idents.map((ident) => triesTogether(`SSH-2.0-${ident}`)), [0, 6, 6, 6, 0, 0, 0]);
});

Deno.test("publicKey() asks about the first key alone, and about further ones together, as far as the server bears it", async () => {
  const flights: Record<string, readonly (readonly number[])[]> = {
    "SSH-2.0-OpenSSH_9.2": keys.map((_, i) => [i]),
    "SSH-2.0-amiko": [[0], [1, 2, 3, 4, 5], [6], [7]],
    "SSH-2.0-AsyncSSH_2.20.0": keys.map((_, i) => [i]),
  };
  for (const [ident, expected] of Object.entries(flights)) {
    for (const source of [[agentOf(keys)], keys]) {
      const { client, peer, result, heard } = start(ident, source);
      for (const flight of expected) {
        assertEquals(await heard(flight.length), flight.map((i) => `ask ${i}`), ident);
        peer.send(...flight.map(refusal));
      }
      const { success, notes } = await result;
      assertEquals([success, notes.length], [false, keys.length]);
      client.close();
    }
  }
});

Deno.test("publicKey() signs by the key that will do among those asked about together, and refusals behind it change nothing", async () => {
  const { peer, result, heard } = start("SSH-2.0-amiko", [agentOf(keys)], { requireAuth: true });
  await heard();
  peer.send(refusal());
  assertEquals((await heard(5)).length, 5);
  peer.send(refusal(), pkOk(keys[2]!));
  assertEquals(await heard(), ["sign 2"]);
  // These answer the questions that left before the signature.
  peer.send(refusal(), pkOk(keys[4]!), refusal(), successPayload());
  assertEquals((await result).success, true);
});

Deno.test("publicKey() goes on with the next key that will do where a signature is refused, and asks no key twice", async () => {
  const { client, peer, auth, result, heard } = start("SSH-2.0-amiko", [agentOf([...keys.slice(0, 4), keys[1]!])]);
  await heard();
  peer.send(refusal());
  assertEquals(await heard(3), ["ask 1", "ask 2", "ask 3"]);
  peer.send(pkOk(keys[1]!), pkOk(keys[2]!), refusal());
  assertEquals(await heard(), ["sign 1"]);
  peer.send(refusal());
  // Its answer is there already.
  assertEquals(await heard(), ["sign 2"]);
  peer.send(refusal());
  const { success, notes } = await result;
  assert(!success && notes.length === 4);
  // Another method counts its own answers.
  const second = auth.attempt("alice", password("x"));
  assertEquals(await heard(), ["password"]);
  peer.send(successPayload());
  assert((await second).success);
  client.close();
});

Deno.test("answers to questions that nobody waits for any more do not answer the next method", async () => {
  const { client, peer, auth, result, heard } = start("SSH-2.0-amiko", [agentOf(keys.slice(0, 4))]);
  await heard();
  peer.send(refusal());
  assertEquals((await heard(3)).length, 3);
  // The server takes no more keys; two questions are on their way.
  peer.send(failurePayload(["password"]));
  assert(!(await result).success);
  const second = auth.attempt("alice", password("x"));
  assertEquals(await heard(), ["password"]);
  peer.send(failurePayload(["password"]), failurePayload(["password"]), successPayload());
  assert((await second).success);
  client.close();
});
