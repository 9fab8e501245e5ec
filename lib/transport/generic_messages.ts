/**
 * The messages that mean the same at any time: DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG (RFC 4253 section 11), EXT_INFO (RFC 8308) and
 * PING (OpenSSH PROTOCOL section 1.8); and the round trip that some of them show. No I/O, no timers.
 *
 * @module
 */
import { DisconnectReason, printable, SshDisconnectError } from "../errors.ts";
import { Msg } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import type { End } from "./closing.ts";
import { decodeExtInfo } from "./ext_info.ts";
import { Debug, Disconnect, Unimplemented } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { numberMeant } from "./questions.ts";
import { RoundTrip } from "./round_trip.ts";

/** The largest PONG: what an exchange of any cipher still makes a packet of that peers accept. */
const MAX_PONG = 262_100;

/** What generic messages need of their connection. */
export interface GenericHost {
  /** This side. */
  readonly role: "client" | "server";
  /** Where answers go. */
  readonly outbox: Outbox;
  /** Identification line of the peer. */
  remoteIdent(): string;
  /** When the peer last sent something, by `performance.now()`. */
  lastReceived(): number;
}

/** Answers the peer's generic messages, and keeps what they say. */
export class GenericMessages {
  /** Extensions of the peer's EXT_INFO so far. */
  readonly extensions: Map<string, Bytes> = new Map();
  /** The least round trip seen. */
  readonly roundTrip: RoundTrip = new RoundTrip();
  /** Whether login is done: nothing is echoed or queued for a peer before. */
  authenticated = false;
  readonly #host: GenericHost;
  readonly #told = Promise.withResolvers<void>();
  #extInfoCount = 0;

  /** For one connection. */
  constructor(host: GenericHost) {
    this.#host = host;
  }

  /** Resolves when the peer has told its extensions; never where it has none. */
  get told(): Promise<void> {
    return this.#told.promise;
  }

  /** A message that nobody else takes, but DISCONNECT. */
  receive(type: number, payload: Uint8Array, sequence: number): void {
    switch (type) {
      case Msg.IGNORE:
        return;
      case Msg.UNIMPLEMENTED:
        return this.#unimplemented(payload);
      case Msg.DEBUG:
        Debug.decode(payload);
        return;
      case Msg.EXT_INFO:
        return this.#extInfo(payload, sequence);
      case Msg.PING:
        if (!this.authenticated || payload.length > MAX_PONG) return;
        this.#host.outbox.send(pong(payload), true);
        return;
      case Msg.PONG:
        this.roundTrip.ponged(this.#host.lastReceived());
        return;
      default:
        this.unknown(sequence);
    }
  }

  /** Answers a message that this side does not know. */
  unknown(sequence: number): void {
    this.#host.outbox.send(Unimplemented.encode({ sequence }), true);
  }

  #unimplemented(payload: Uint8Array): void {
    if (payload.length < 5) return;
    const sequence = new Reader(payload, 1).u32();
    this.#host.outbox.questions.unimplemented(numberMeant(sequence, this.#host.remoteIdent()));
  }

  /** Peers send it in other places than RFC 8308 section 2.4 has for it; its number is bounded, and it is never taken in the clear. */
  #extInfo(payload: Uint8Array, sequence: number): void {
    const most = this.#host.role === "server" ? 1 : 2;
    if (++this.#extInfoCount > most) return this.unknown(sequence);
    for (const [name, value] of decodeExtInfo(payload)) this.extensions.set(name, value);
    this.#told.resolve();
  }

  /** The PING to send now; null where none is due, or the peer did not announce that it takes one. */
  ping(): Uint8Array | null {
    if (!this.authenticated || this.#host.outbox.held || !this.#takesPing) return null;
    const now = performance.now();
    if (!this.roundTrip.pingDue(now)) return null;
    this.roundTrip.pinged(now);
    return new Uint8Array([Msg.PING, 0, 0, 0, 0]);
  }

  /** OpenSSH PROTOCOL section 1.8: the value is a version, and 0 is the one there is. */
  get #takesPing(): boolean {
    const value = this.extensions.get("ping@openssh.com");
    return value !== undefined && value.length === 1 && value[0] === 0x30;
  }
}

/** The end that a peer's DISCONNECT makes: clean where it is "by application", and the first key exchange done. */
export function endOf(payload: Uint8Array, firstDone: boolean): End {
  const { reason, description } = Disconnect.decode(payload);
  const text = printable(description);
  return {
    error: new SshDisconnectError(`Peer disconnected: ${text === "" ? "no reason given" : text} (${reason})`, reason),
    clean: reason === DisconnectReason.BY_APPLICATION && firstDone,
  };
}

/** PONG carries what PING carried (OpenSSH PROTOCOL section 1.8). */
function pong(ping: Uint8Array): Uint8Array {
  const reader = new Reader(ping, 1);
  reader.view();
  reader.end();
  const payload = ping.slice();
  payload[0] = Msg.PONG;
  return payload;
}
