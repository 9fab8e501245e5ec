/** ClientAuth and authenticate() against a server under the test's control. */
import { assert, assertEquals, assertFalse, assertRejects } from "@std/assert";
import { authenticate, ClientAuth } from "../../lib/auth/client.ts";
import { decodeInfoResponse, encodeInfoRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { type AuthMethod, keyboardInteractive, none, password, publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError, SshDisconnectError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Agent, Signer } from "../../lib/keys/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import {
  acceptPayload,
  failurePayload,
  fakePair,
  type FakeTransport,
  passwordPayload,
  requestPayload,
  ScriptedPeer,
  serviceRequestPayload,
  successPayload,
} from "./_fake_transport.ts";

const alice = await generateKey("ed25519"), other = await generateKey("ed25519");

interface Started {
  client: FakeTransport;
  peer: ScriptedPeer;
  auth: ClientAuth;
  banners: string[];
  successes: number[];
}

function start(): Started {
  const { client, server } = fakePair(), banners: string[] = [], successes: number[] = [];
  const auth = new ClientAuth(client, {
    onBanner: (text) => void banners.push(text),
    onSuccess: () => void successes.push(client.sent.length),
  });
  return { client, peer: new ScriptedPeer(server), auth, banners, successes };
}

/** Starts an attempt and answers the service request. */
async function attempt(started: Started, method: AuthMethod): Promise<Promise<unknown>> {
  const result = started.auth.attempt("alice", method);
  result.catch(() => {});
  await started.peer.expect(Msg.SERVICE_REQUEST);
  started.peer.send(acceptPayload());
  // A promise in an object, so that it is not awaited here.
  return Object.assign(Promise.resolve(result), {}) && { then: undefined, result } as unknown as Promise<unknown>;
}

function pkOk(algorithm: string, blob: Uint8Array): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_PK_OK).text(algorithm).string(blob).bytes();
}

function banner(text: string): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_BANNER).text(text).text("").bytes();
}
