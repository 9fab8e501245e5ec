/**
 * What the layers above see of a transport: payloads in, payloads out, one end.
 *
 * @module
 */
export type { AlgorithmOverrides, Algorithms } from "../crypto/algorithms.ts";
import type { PublicKey } from "../keys/types.ts";
import type { Bytes } from "../wire/types.ts";

/** When keys are renewed. */
export interface RekeyLimits {
  /** Bytes in either direction. @default {1073741824, or less where the cipher wants it} */
  bytes?: number | undefined;
  /** Milliseconds since the last exchange. @default {3600000} */
  interval?: number | undefined;
  /** Packets in either direction. @default {2147483648} */
  packets?: number | undefined;
}

/** Algorithms in force in one direction. */
export interface NegotiatedDirection {
  /** Cipher name. */
  readonly cipher: string;
  /** MAC name, or null where the cipher authenticates. */
  readonly mac: string | null;
  /** Compression name. */
  readonly compression: string;
}

/** What a finished handshake agreed on. */
export interface ConnectionInfo {
  /** Identification line of this side. */
  readonly localIdent: string;
  /** Identification line of the peer. */
  readonly remoteIdent: string;
  /** Hash of the first exchange. */
  readonly sessionId: Bytes;
  /** The server's host key. */
  readonly hostKey: PublicKey;
  /** Whether strict key exchange is in force. */
  readonly strictKex: boolean;
  /** Key exchange method of the latest exchange. */
  readonly kex: string;
  /** Host key signature algorithm of the latest exchange. */
  readonly hostKeyAlgorithm: string;
  /** From client to server. */
  readonly clientToServer: NegotiatedDirection;
  /** From server to client. */
  readonly serverToClient: NegotiatedDirection;
}

/** Receives what the transport does not handle itself: service, authentication and connection messages. */
export interface MessageHandler {
  /**
   * One payload, message number included. It is valid only until this returns. It must not wait: whatever takes time is
   * started and answered later. What it throws ends the connection. Returns false for a number that it does not know, and
   * the transport answers UNIMPLEMENTED. With `owned`, the payload's buffer holds nothing else, and the handler may keep it.
   */
  message(payload: Uint8Array, owned?: boolean): boolean;
  /** A batch of payloads has been delivered and nothing more is there right now. */
  batchEnd?(): void;
  /** This side closes: nothing more is taken from the application, and what has been taken goes on leaving. Called once at most. */
  closing?(): void;
  /** Bytes that have been taken from the application and have not left. */
  readonly unsent?: number;
  /** Whether nothing large is expected: a read that waits takes little room then. */
  readonly isQuiet?: boolean;
  /** Ends all that runs over the transport, which stays: the peer is told, and whoever waits sees `reason`. */
  leave?(reason: Error): void;
  /** The transport has ended: cleanly with null, or with the error that every waiter is to see. Called once. */
  ended(error: Error | null): void;
}

/** A message that the peer answers, or does not know at all: then it may say so (RFC 4253 section 11.4). */
export interface Question {
  /** Whether the answer has not come yet. */
  readonly waits: boolean;
  /** The peer does not know the message. */
  unimplemented(): void;
}

/** A transport after its first key exchange, as authentication sees it. */
export interface PacketTransport {
  /** Which side this is. */
  readonly role: "client" | "server";
  /** What the handshake agreed on. */
  readonly info: ConnectionInfo;
  /** The host key's signature of `info.sessionId`, where it is known. */
  readonly hostKeySignature?: Bytes;
  /** Extensions of the peer's EXT_INFO so far (RFC 8308), by name. */
  readonly extensions: ReadonlyMap<string, Bytes>;
  /** Resolves when the peer has told its extensions; never where it has none. */
  readonly told?: Promise<void>;
  /** Takes the place of the handler before. */
  setHandler(handler: MessageHandler): void;
  /**
   * Queues a payload. The bytes belong to the transport from here on. Never waits; does nothing once the end has come. `provoked`
   * says that the peer asked for it: it counts against what a peer may ask for without reading. `question` is told when the peer answers
   UNIMPLEMENTED.
   */
  send(payload: Uint8Array, provoked?: boolean, question?: Question): void;
  /**
   * Login is done: delayed compression starts behind the USERAUTH_SUCCESS (a server calls it right after `send()` of it, a
   * client while it handles it), and limits that hold before login are lifted.
   */
  setAuthenticated(): void;
  /** Ends the connection: a DISCONNECT that fits the error, then the streams are closed. */
  fail(error: Error): void;
}

/**
 * Something that has data to send and makes each packet when its turn comes: a channel. Sources are served round robin, one
 * packet each, so that no channel waits for another's bulk.
 */
export interface OutboundSource {
  /** A small message that goes before data, such as a WINDOW_ADJUST that grew while it waited; null when there is none. */
  takeControl(): Uint8Array | null;
  /** Writes the payload of the next data packet into `out` at `at` and returns its length; 0 when there is nothing to send. */
  writeData(out: Uint8Array, at: number): number;
}

/** A transport as the connection layer sees it: one that asks for data when the socket takes it. */
export interface DataTransport extends PacketTransport {
  /** When the peer last sent something, by `performance.now()`. */
  readonly lastReceived: number;
  /** The least round trip seen, in milliseconds; 0 while none was. */
  readonly roundTrip: number;
  /** What came last cannot have been sent before the peer saw what left at `sent` or later, by `performance.now()`. */
  roundTripAtMost(sent: number): void;
  /** Much is being received: where the peer takes a PING and one is due, the round trip is measured anew. */
  measureRoundTrip(): void;
  /** A source has a small message that goes before data. */
  wantControl(source: OutboundSource): void;
  /** A source has data; it is asked until it has none. */
  wantData(source: OutboundSource): void;
  /** A source has gone. */
  forget(source: OutboundSource): void;
}
