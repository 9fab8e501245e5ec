/**
 * Test support for attacks on the transport: a victim of either role with a scripted peer, and the one check of what CLOSE means
 * (the text above the tables of attacks): DISCONNECT with the right reason, an end at once, no callback after the bad
 * message, one typed error that holds nothing of it, no unhandled rejection (Deno fails a test that has one).
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createOpener } from "../../lib/crypto/cipher/ciphers.ts";
import type { PacketOpener } from "../../lib/crypto/types.ts";
import { DisconnectReason, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { deriveKeys } from "../../lib/transport/key_derivation.ts";
import type { KexOutcome } from "../../lib/transport/kex_machine.ts";
import { Disconnect, KexInit, type KexInitValues } from "../../lib/transport/messages.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import type { SecureTransportOptions } from "../../lib/transport/transport_options.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { type MemoryPair, memoryPair, type MemoryPairOptions } from "./duplex.ts";
import { RawPeer, type RawPeerOptions } from "./raw_peer.ts";
import { collectGarbage } from "./resources.ts";
import { inTime, until } from "./until.ts";

export const hostKey = await generateKey("ed25519");
export const roles = ["server", "client"] as const;
export type Role = typeof roles[number];

/** Text that attacks carry, and that no error may repeat. */
export const MARKER = "MARKERINPAYLOAD";

export interface VictimOptions {
  transport?: Partial<SecureTransportOptions>;
  peer?: Partial<RawPeerOptions>;
  pair?: MemoryPairOptions;
  /** What the victim's handler says to a message. @default {true: known} */
  known?: (type: number) => boolean;
}

/** A transport under attack, and who attacks it. */
export class Victim {
  readonly role: Role;
  readonly pair: MemoryPair;
  readonly transport: SecureTransport;
  readonly peer: RawPeer;
  /** What the peer works by; read again at each of its exchanges. */
  readonly peerOptions: RawPeerOptions;
  /** Messages that the victim's handler got. */
  readonly messages: Bytes[] = [];
  readonly endings: (Error | null)[] = [];
  /** What `start()` gave: null, or its error. */
  readonly started: Promise<Error | null>;
  #nextOpener: PacketOpener | null = null;

  constructor(role: Role, options: VictimOptions = {}) {
    this.role = role;
    this.pair = memoryPair(options.pair);
    const client = role === "client";
    this.transport = new SecureTransport(client ? this.pair.client : this.pair.server, {
      role,
      ...(client ? { verifyHostKey: () => true } : { hostKeys: [hostKey] }),
      ...options.transport,
    });
    this.transport.setHandler({
      message: (payload) => {
        this.messages.push(payload.slice() as Bytes);
        return options.known?.(payload[0]!) ?? true;
      },
      ended: (error) => void this.endings.push(error),
    });
    this.peerOptions = {
      role: client ? "server" : "client",
      hostKey,
      ...options.peer,
      // One fast exchange unless a test asks for another.
      algorithms: { kex: ["curve25519-sha256"], ...options.peer?.algorithms },
    };
    this.peer = new RawPeer(client ? this.pair.server : this.pair.client, this.peerOptions);
    this.started = this.transport.start().then(() => null, (error) => error);
  }

  /** The whole handshake, and login where it is wanted. */
  async handshake(login = true): Promise<void> {
    await this.peer.handshake();
    const error = await this.started;
    if (error !== null) throw error;
    if (login) this.transport.setAuthenticated();
  }

  // The peer's part of an exchange, one step at a time; each returns what would be sent next.

  /** Sends this side's KEXINIT, changed by `change`. */
  async sendKexInit(change?: (values: KexInitValues) => KexInitValues): Promise<void> {
    await this.peer.kexInit();
    await this.peer.send(change === undefined ? this.peer.machine!.kexInit : this.changeKexInit(change));
  }

  /** Changes the KEXINIT that `peer.kexInit()` has made; what is hashed changes with it. */
  changeKexInit(change: (values: KexInitValues) => KexInitValues): Bytes {
    const machine = this.peer.machine!;
    const kexInit = KexInit.encode(change(KexInit.decode(machine.kexInit)));
    Object.defineProperty(machine, "kexInit", { value: kexInit });
    return kexInit;
  }

  /** Takes the victim's KEXINIT. A peer that is a client has its value to send then. */
  async takeKexInit(): Promise<readonly Bytes[]> {
    return (await this.peer.machine!.receive(await this.peer.receiveType(Msg.KEXINIT))).send;
  }

  /** Takes the victim's value. A peer that is a server has its reply to send then. */
  async takeValue(type: number = this.role === "client" ? Msg.KEX_INIT : Msg.KEX_REPLY): Promise<readonly Bytes[]> {
    const step = await this.peer.machine!.receive(await this.peer.receiveType(type));
    if (step.outcome !== undefined) await this.prepare(step.outcome);
    return step.send;
  }

  /** Takes the victim's NEWKEYS and reads under its new keys from there on. */
  async takeNewKeys(): Promise<void> {
    await this.peer.receiveType(Msg.NEWKEYS);
    this.#switch();
  }

  /** Plays the first exchange up to a place between two of its messages (0 is before KEXINIT, 4 before NEWKEYS), or all of it. */
  async play(
    upTo: 0 | 1 | 2 | 3 | 4 | 5,
    at: (place: number) => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { peer } = this, server = this.role === "client";
    let next: readonly Bytes[] = [];
    const steps = [
      () => this.sendKexInit(),
      async () => {
        next = await this.takeKexInit();
        if (server) next = await this.takeValue();
        else await this.#sendAll(next);
      },
      async () => {
        if (server) await this.#sendAll(next);
        else await this.takeValue();
      },
      () => this.takeNewKeys(),
      () => peer.newKeys(peer.outcome!),
    ];
    await peer.identify();
    await at(0);
    for (let i = 0; i < upTo; i++) {
      await steps[i]!();
      await at(i + 1);
    }
  }

  async #sendAll(payloads: readonly Bytes[]): Promise<void> {
    for (const payload of payloads) await this.peer.send(payload);
  }

  async prepare(outcome: KexOutcome): Promise<void> {
    this.peer.outcome = outcome;
    const way = this.role === "client" ? "clientToServer" as const : "serverToClient" as const;
    const algorithms = outcome.negotiated[way];
    this.#nextOpener = await createOpener(
      algorithms.cipher,
      algorithms.mac,
      await deriveKeys(outcome.source, way, algorithms),
    );
  }

  #switch(): void {
    this.peer.opener.close?.();
    this.peer.opener = this.#nextOpener!;
    this.#nextOpener = null;
    if (this.peer.strict) this.peer.receiveSequence = 0;
  }

  /** Reads until DISCONNECT or the end, following the victim's change of keys; returns the reason. */
  async readReason(): Promise<number | null> {
    const { peer } = this;
    for (;;) {
      let payload: Bytes | null;
      try {
        payload = await peer.receive();
      } catch (error) {
        throw new Error("The victim sent something that its peer cannot open", { cause: error });
      }
      if (payload === null) return null;
      if (payload[0] === Msg.DISCONNECT) return Disconnect.decode(payload).reason;
      if (payload[0] === Msg.NEWKEYS && this.#nextOpener !== null) this.#switch();
      if (payload[0] === Msg.KEXINIT && this.role === "server") await peer.machine?.receive(payload).catch(() => {});
      if (payload[0] === Msg.KEX_REPLY && this.role === "server") {
        const step = await peer.machine!.receive(payload).catch(() => null);
        if (step?.outcome !== undefined) await this.prepare(step.outcome);
      }
    }
  }
}

/** Reason codes that are right, `null` for none at all. */
export type Reason = number | null | readonly (number | null)[];

/** Sends what `attack` sends, and checks that the victim closes as the tables of attacks want it. Returns the error. */
export async function expectClose(
  victim: Victim,
  reason: Reason,
  attack: (peer: RawPeer) => Promise<unknown>,
): Promise<SshError> {
  const { peer, transport, messages, endings } = victim;
  const seen = messages.length;
  await attack(peer);
  // At once, that is: not when some time limit ends it.
  const told = await inTime(victim.readReason(), "DISCONNECT or the end of the stream");
  await peer.close();
  const error = await inTime(transport.closed.then(() => null, (error) => error), "The end of the connection");
  assert(error instanceof SshError, `closed gave ${error}`);
  const right = Array.isArray(reason) ? reason : [reason];
  assert(right.includes(told), `DISCONNECT has reason ${told}, not ${right}: ${error.message}`);
  assertEquals(messages.length, seen, "A message was delivered after the bad one");
  assertEquals(endings.length, 1, "ended() is called once");
  assert(endings[0] === error, "ended() got another error");
  const started = await inTime(victim.started, "start()");
  assert(started === null || started === error, `start() gave another error: ${started}`);
  assert(!transport.isActive);
  assertEquals(transport.provoked.messages, 0);
  // deno-lint-ignore no-control-regex
  assertMatch(error.message, /^[^\x00-\x1f\x7f-\x9f]{10,700}$/);
  assert(!error.message.includes(MARKER), "The error repeats what the peer sent");
  await assertStays(() => transport.send(new Uint8Array([80])), () => messages.length === seen);
  return error;
}

async function assertStays(act: () => void, check: () => boolean): Promise<void> {
  act();
  await Promise.resolve();
  assert(check(), "Something was delivered after the end");
}

/** Ends a victim that lived on as it should. */
export async function expectAlive(victim: Victim): Promise<void> {
  const { peer, transport, messages } = victim;
  const seen = messages.length;
  await peer.send(new Uint8Array([90, 1, 2, 3]));
  // What came before may not have been handed on when this began.
  const isLast = () => messages.length > seen && messages.at(-1)!.join() === "90,1,2,3";
  await until(isLast, "The victim takes no messages any more");
  assert(transport.isActive);
  await finish(victim);
}

/** Closes a victim in order. */
export async function finish(victim: Victim): Promise<void> {
  const closed = victim.transport.close();
  assertEquals(await inTime(victim.readReason(), "DISCONNECT"), DisconnectReason.BY_APPLICATION);
  await victim.peer.close();
  await closed;
}

/** Says which case of a table a failure belongs to. */
export async function named<T>(name: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    throw new Error(`${name}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);

/** Bytes one after the other. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const out = new Writer();
  for (const part of parts) out.raw(part);
  return out.bytes();
}

/** A packet as it stands on the wire without encryption; every field may lie. */
export function plainPacket(length: number, padding: number, rest: Uint8Array): Bytes {
  return new Writer().u32(length >>> 0).u8(padding).raw(rest).bytes();
}

export const ignoreMessage = new Writer().u8(Msg.IGNORE).text(MARKER).bytes();
export const debugMessage = new Writer().u8(Msg.DEBUG).bool(true).text(MARKER).text("").bytes();
export const unimplementedMessage = new Writer().u8(Msg.UNIMPLEMENTED).u32(0).bytes();

/** Collects garbage and returns the bytes in use, buffers included. */
export async function memoryInUse(): Promise<number> {
  await collectGarbage();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
