/**
 * What the layers above hand to authentication and get from it. RFC 4252, RFC 4256.
 *
 * @module
 */
import type { AuthenticatorData } from "../keys/key_type.ts";
import type { PublicKey } from "../keys/types.ts";
import type { ConnectionInfo } from "../transport/types.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { Grant } from "./grants.ts";

/** One question of keyboard-interactive (RFC 4256). */
export interface Prompt {
  /** Text shown. */
  text: string;
  /** Whether typing is shown. */
  echo: boolean;
}

/**
 * Outcome of one authentication step: yes, no, yes with what the login may do, or yes but these methods must follow. What every step of
 * a login grants has to allow a thing; two steps that name different commands contradict each other, and the login is refused.
 */
export type AuthResult =
  | boolean
  | { grant: Grant }
  | { partial: readonly string[]; grant?: Grant | undefined };

/**
 * Outcome of a password: as {@linkcode AuthResult}, or right but to be changed first. `change` is the prompt that the client shows
 * (RFC 4252 section 8); it needs {@linkcode ServerAuth.passwordChange}.
 */
export type PasswordResult = AuthResult | { change: string };

/** Who is asking. */
export interface AuthInfo {
  /** User name offered. */
  readonly username: string;
  /** Peer address, where the streams came with one. */
  readonly remoteAddr: Deno.Addr | undefined;
  /** Address here that the peer has connected to, where the streams came with one. */
  readonly localAddr?: Deno.Addr | undefined;
  /** What the handshake agreed on. */
  readonly connection: ConnectionInfo;
  /** Methods already passed on this connection, in order. */
  readonly passed: readonly string[];
  /**
   * What the FIDO authenticator of the key said with its signature, in the call of {@linkcode ServerAuth.publicKey} in which the key has
   * signed; not there while a key is merely offered, and for any other key. A signature without a touch is refused after the call, unless
   * the grant has `touchRequired: false`.
   */
  readonly authenticator?: AuthenticatorData | undefined;
}

/** Authentication handlers. A missing handler means the method is not offered. */
export interface ServerAuth {
  /** No credentials at all. */
  none?: ((info: AuthInfo) => MaybePromise<AuthResult>) | undefined;
  /** Password. */
  password?: ((info: AuthInfo, password: string) => MaybePromise<PasswordResult>) | undefined;
  /** The client changes its password (RFC 4252 section 8). */
  passwordChange?:
    | ((info: AuthInfo, oldPassword: string, newPassword: string) => MaybePromise<PasswordResult>)
    | undefined;
  /**
   * Is this key acceptable? Possession is proven afterwards by the library. `null`, as `matchAuthorizedKey()` has it, is no. A key may come with a
   * certificate, `key.certificate`, which its CA has signed: that lets somebody in only where `trustedUserCAs()`, or `matchAuthorizedKey()` by a line
   * with `cert-authority`, has let it in, and what it does not permit the login may not do, whatever else the handler grants.
   */
  publicKey?: ((info: AuthInfo, key: PublicKey) => MaybePromise<AuthResult | null>) | undefined;
  /**
   * Another machine vouches for its user (RFC 4252 section 9): is `key` that machine's, and may that user of it be this one? The library has
   * proven that whoever asks holds the key, and nothing else: `hostname` and `username` are the client's word, so the handler has to look for
   * the key among those of the host that is named, as `knownHosts()` does, and may compare `info.remoteAddr`.
   */
  hostBased?:
    | ((
      info: AuthInfo,
      key: PublicKey,
      client: { readonly hostname: string; readonly username: string },
    ) => MaybePromise<AuthResult>)
    | undefined;
  /** Asks the user questions. */
  keyboardInteractive?:
    | ((
      info: AuthInfo,
      ask: (
        prompts: readonly Prompt[],
        text?: { name?: string | undefined; instruction?: string | undefined },
      ) => Promise<readonly string[]>,
    ) => MaybePromise<AuthResult>)
    | undefined;
}

/** Who logged in, and how. */
export interface AuthenticatedUser {
  /** User name. */
  readonly name: string;
  /** The method that completed the login. */
  readonly method: string;
  /** The key that was proven, or null. */
  readonly publicKey: PublicKey | null;
}
