/**
 * What `Transport` and its `connect()` may be told.
 *
 * @module
 */
import type { PublicKey, Signer } from "../../keys/types.ts";
import type { AlgorithmOverrides, RekeyLimits } from "../../transport/types.ts";

/** Options of `Transport`. */
export interface TransportOptions {
  /** Lists to use in the place of the role's default ones, the most wanted first. */
  algorithms?: AlgorithmOverrides | undefined;
  /** When to rekey. */
  rekey?: RekeyLimits | undefined;
  /**
   * Receive window that each channel starts with, in bytes. On a path that is fast and long it grows up to eightfold, and
   * to 16 MiB at most; on a short path, channels that receive at once share 4 MiB. @default {2097152}
   */
  window?: number | undefined;
  /** Identification, without `SSH-2.0-`: 1 to 245 characters of printable US-ASCII. @default {"amiko"} */
  ident?: string | undefined;
  /**
   * Takes RSA host keys, and user keys on the server, from so many bits on, 1,024 at least: for devices that have nothing better. Keys
   * of 1,024 bits can be broken by those who spend enough. @default {2048}
   */
  insecureMinRsaBits?: number | undefined;
  /** Server: milliseconds allowed until login; `Infinity` waits without end. @default {120000} */
  loginTimeout?: number | undefined;
  /** Server: failed attempts allowed; the first six questions whether a key would do are none. @default {6} */
  maxAuthTries?: number | undefined;
  /** Server: text sent before the login. */
  banner?: string | undefined;
  /** Client: receives the server's banner. What it throws goes to `onError`. */
  onBanner?: ((text: string) => void) | undefined;
  /**
   * Called for what the `check…` methods and the other methods that a server overrides throw, of the interface and of its channels;
   * the peer sees a refusal. Not told are a `ChannelOpenError`, which says why a channel is refused, and an `SshProtocolError`. What it
   * throws itself is ignored, at once or by a promise.
   */
  onError?: ((error: unknown) => void) | undefined;
}

/** Options of `Transport.connect()`. */
export interface TransportLogin {
  /** User to log in as. */
  username: string;
  /** The host key that is trusted; any without it. */
  hostKey?: PublicKey | undefined;
  /** Password. */
  password?: string | undefined;
  /** Key to log in with. */
  key?: Signer | undefined;
  /** Aborts the handshake and the login. */
  signal?: AbortSignal | undefined;
}
