/** A pair of transports in memory: payloads arrive later, in batches, and are overwritten once they were handled. */
import { disconnectOf, SshDisconnectError, SshError } from "../../lib/errors.ts";
import type { PublicKey } from "../../lib/keys/types.ts";
import type { ConnectionInfo, MessageHandler, PacketTransport } from "../../lib/transport/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import type { Bytes } from "../../lib/wire/types.ts";

const hostKey: PublicKey = {
  type: "ssh-ed25519",
  blob: new Uint8Array(51),
  fingerprint: () => Promise.resolve("SHA256:host"),
  verify: () => Promise.resolve(false),
};

const direction = { cipher: "aes128-ctr", mac: "hmac-sha2-256", compression: "none" };

/** What both sides agreed on in these tests. */
export const fakeInfo: ConnectionInfo = {
  localIdent: "SSH-2.0-here",
  remoteIdent: "SSH-2.0-there",
  sessionId: Uint8Array.from({ length: 32 }, (_, i) => i),
  hostKey,
  strictKex: true,
  kex: "curve25519-sha256",
  hostKeyAlgorithm: "ssh-ed25519",
  clientToServer: direction,
  serverToClient: direction,
};

/** One side of a pair. */
export class FakeTransport implements PacketTransport {
  readonly info = fakeInfo;
  readonly extensions: Map<string, Bytes> = new Map();
  told?: Promise<void>;
  /** Payloads that this side sent. */
  readonly sent: Bytes[] = [];
  /** Numbers of messages that this side's handler did not know. */
  readonly unknown: number[] = [];
  /** What ended this side: an error, null for a clean end, undefined while it is up. */
  end: Error | null | undefined = undefined;
  /** The error that this side's own `fail()` was called with first. */
  failure: Error | undefined = undefined;
  authenticated = false;
  peer!: FakeTransport;
  #handler: MessageHandler | null = null;
  #inbox: (Bytes | { end: Error | null })[] = [];
  #scheduled = false;

  constructor(readonly role: "client" | "server") {}

  get handler(): MessageHandler | null {
    return this.#handler;
  }

  setHandler(handler: MessageHandler): void {
    this.#handler = handler;
    this.#schedule();
  }

  send(payload: Uint8Array): void {
    if (this.end !== undefined) return;
    this.sent.push(payload.slice());
    this.peer.#arrive(payload.slice());
  }

  setAuthenticated(): void {
    if (this.authenticated) throw new Error("setAuthenticated() twice");
    this.authenticated = true;
  }

  fail(error: Error): void {
    if (this.end !== undefined) return;
    this.failure = error;
    const disconnect = disconnectOf(error);
    this.peer.#arrive({
      end: disconnect === null
        ? new SshError("Connection lost", { code: "CONNECTION_LOST" })
        : new SshDisconnectError(`The peer disconnected: ${disconnect.description}`, disconnect.reason),
    });
    this.#ended(error);
  }

  /** Ends both sides without an error. */
  close(): void {
    this.peer.#arrive({ end: null });
    this.#ended(null);
  }

  #ended(error: Error | null): void {
    if (this.end !== undefined) return;
    this.end = error;
    this.#handler?.ended(error);
  }

  #arrive(what: Bytes | { end: Error | null }): void {
    this.#inbox.push(what);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#handler === null) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      for (let what; this.end === undefined && (what = this.#inbox.shift()) !== undefined;) this.#deliver(what);
      if (this.end === undefined) this.#handler?.batchEnd?.();
    });
  }

  #deliver(what: Bytes | { end: Error | null }): void {
    if (!(what instanceof Uint8Array)) return this.#ended(what.end);
    const type = what[0]!;
    try {
      if (!this.#handler!.message(what)) this.unknown.push(type);
    } catch (error) {
      this.fail(error as Error);
    }
    what.fill(0xaa);
  }
}

/** A client and a server that talk to each other. */
export function fakePair(): { client: FakeTransport; server: FakeTransport } {
  const client = new FakeTransport("client"), server = new FakeTransport("server");
  client.peer = server;
  server.peer = client;
  return { client, server };
}

/** A peer under the test's own control: it keeps what arrives. */
export class ScriptedPeer implements MessageHandler {
  /** Payloads that arrived. */
  readonly received: Bytes[] = [];
  readonly transport: FakeTransport;
  #read = 0;
  #wake: (() => void) | null = null;

  constructor(transport: FakeTransport) {
    this.transport = transport;
    transport.setHandler(this);
  }

  message(payload: Uint8Array): boolean {
    this.received.push(payload.slice() as Bytes);
    this.#wake?.();
    return true;
  }

  ended(): void {
    this.#wake?.();
  }

  send(...payloads: Uint8Array[]): void {
    for (const payload of payloads) this.transport.send(payload);
  }

  /** The next payload that arrives, or null once the connection has ended. */
  async next(): Promise<Bytes | null> {
    while (this.#read === this.received.length) {
      if (this.transport.end !== undefined) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.received[this.#read++]!;
  }

  /** The next payload, which must have this number. */
  async expect(type: number): Promise<Bytes> {
    const payload = await this.next();
    if (payload?.[0] !== type) {
      throw new Error(`Message ${type} expected, got ${payload?.[0]} (${this.transport.end})`);
    }
    return payload;
  }

  /** DISCONNECT reason that the peer gave, once the connection has ended. */
  async disconnect(): Promise<number> {
    while (await this.next() !== null);
    const { end } = this.transport;
    if (!(end instanceof SshDisconnectError)) throw new Error(`DISCONNECT expected, got ${end}`);
    return end.reason;
  }
}

/** A server that has a client's SERVICE_REQUEST answered already. */
export async function scriptedClient(transport: FakeTransport): Promise<ScriptedPeer> {
  const peer = new ScriptedPeer(transport);
  peer.send(serviceRequestPayload());
  await peer.expect(Msg.SERVICE_ACCEPT);
  return peer;
}

export function serviceRequestPayload(name = "ssh-userauth"): Bytes {
  return new Writer().u8(Msg.SERVICE_REQUEST).text(name).bytes();
}

export function requestPayload(
  user: string | Uint8Array,
  method: string,
  fields: Uint8Array = new Uint8Array(0),
  service = "ssh-connection",
): Bytes {
  const name = typeof user === "string" ? new TextEncoder().encode(user) : user;
  return new Writer().u8(Msg.USERAUTH_REQUEST).string(name).text(service).text(method).raw(fields).bytes();
}

export function passwordPayload(user: string | Uint8Array, secret: string): Bytes {
  return requestPayload(user, "password", new Writer().bool(false).text(secret).bytes());
}

export function publicKeyPayload(
  user: string,
  algorithm: string,
  blob: Uint8Array,
  signature: Uint8Array | null = null,
): Bytes {
  const fields = new Writer().bool(signature !== null).text(algorithm).string(blob);
  if (signature !== null) fields.string(signature);
  return requestPayload(user, "publickey", fields.bytes());
}

export function failurePayload(methods: readonly string[], partial = false): Bytes {
  return new Writer().u8(Msg.USERAUTH_FAILURE).nameList(methods).bool(partial).bytes();
}

export const successPayload: () => Bytes = () => new Uint8Array([Msg.USERAUTH_SUCCESS]);

export function acceptPayload(): Bytes {
  return new Writer().u8(Msg.SERVICE_ACCEPT).text("ssh-userauth").bytes();
}
