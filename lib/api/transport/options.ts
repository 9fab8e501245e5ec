/**
 * What `Transport` and its `connect()` may be told.
 *
 * @module
 */
import type { PublicKey, Signer } from "../../keys/types.ts";
import type { WaitOptions } from "../../wire/deadline.ts";
import type { ChannelOptions, ProtocolOptions } from "../options.ts";
import type { ServerLoginOptions } from "../serve_options.ts";

/** Options of `Transport`. Those of the login are a server's. */
export interface TransportOptions extends ProtocolOptions, ChannelOptions, Omit<ServerLoginOptions, "auth"> {
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
export interface TransportLogin extends WaitOptions {
  /** User to log in as. */
  username: string;
  /** The host key that is trusted; any without it. */
  hostKey?: PublicKey | undefined;
  /** Password. */
  password?: string | undefined;
  /** Key to log in with. */
  key?: Signer | undefined;
}
