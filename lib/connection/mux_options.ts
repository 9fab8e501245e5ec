/**
 * What a mux is told, and who answers where a peer opens channels. RFC 4254 section 5.
 *
 * @module
 */
import type { SshError } from "../errors.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import type { BaseChannel } from "./channel.ts";
import type { AnyRequestAnswerer } from "./global_requests.ts";
import type { KeepaliveLimits } from "./keepalive.ts";

/** What a peer asks for with CHANNEL_OPEN (RFC 4254 section 5.1). */
export interface ChannelOpenRequest {
  /** Channel type. */
  readonly type: string;
  /** What follows the fixed fields. */
  readonly data: Bytes;
  /** Local number that the channel will have. */
  readonly id: number;
}

/**
 * Returns a channel made with `request.id` to accept, or null to refuse (administratively prohibited); throw a `ChannelOpenError`
 * for another reason. `opened` runs right after the confirmation is queued.
 */
export type ChannelAcceptor = (
  request: ChannelOpenRequest,
) => MaybePromise<{ channel: BaseChannel; opened?: () => void } | null>;

/** How a {@linkcode Mux} answers its peer. Everything is refused unless a function allows it. */
export interface MuxOptions {
  /** Receive window a channel starts with, in bytes. @default {2097152} */
  window?: number | undefined;
  /** Channels open at once, whoever opened them. @default {256} */
  maxChannels?: number | undefined;
  /** Ask the peer after `interval` milliseconds of silence, and end after `maxMissed` without an answer. @default {off; 3} */
  keepalive?: KeepaliveLimits | undefined;
  /** Milliseconds of silence behind which `onIdle` is told, once; see `Idle`. @default {Infinity} */
  idleTimeout?: number | undefined;
  /** Told that nobody has used the connection for that long. */
  onIdle?: (() => void) | undefined;
  /**
   * Told when `keepalive` asks the peer, for the first time in a silence or again, and gives the error of a peer that stays silent: for
   * connections that run through others, which may be silent themselves.
   */
  onSilence?: { asked(first: boolean): void; gone(error: SshError): SshError } | undefined;
  /** The peer opens a channel of a type that nobody has registered with `onChannel()`. */
  onOpen?: ChannelAcceptor | undefined;
  /** The peer sends a global request of a name that nobody has registered with `onRequest()`: as there, behind the name. */
  onGlobalRequest?: AnyRequestAnswerer | undefined;
  /**
   * Told of what the functions here and the methods of channels throw, but for the `ChannelOpenError` and `SshProtocolError` that they
   * mean for the peer. Without it, what a channel's `onEof()` or `onEnded()` throws ends the connection: it must not go unseen.
   */
  onError?: ((error: unknown) => void) | undefined;
  /**
   * Why this side cannot do what others can, as the connection is lent to it: make global requests, take channels of the peer. It gets
   * the end of "Cannot …".
   */
  cannot?: ((what: string) => Error) | undefined;
  /** The connection has ended; called once, after every channel and waiter has been told. */
  onEnded?: ((error: Error | null) => void) | undefined;
}
