/**
 * What a peer may do, decided method by method: paramiko's `ServerInterface`. RFC 4252, RFC 4254.
 *
 * @module
 */
import type { AuthInfo, AuthResult, Prompt, ServerAuth } from "../../auth/types.ts";
import type { PublicKey } from "../../keys/types.ts";
import type { Bytes, MaybePromise } from "../../wire/types.ts";
import type { Channel } from "./channel.ts";
import type { ForwardedAddresses } from "./forwarded_addresses.ts";
import { given } from "../options.ts";

/** More questions for the user (RFC 4256). */
export interface InteractiveQuery {
  /** The questions; may be empty, to show the texts only. */
  prompts: readonly Prompt[];
  /** Shown above the questions. */
  name?: string | undefined;
  /** Shown below the name. */
  instruction?: string | undefined;
}

/**
 * Decides what a peer may do. Every method denies unless overridden, so a useful server overrides some.
 * `Transport` implements it too: a server is either a subclass of `Transport`, or an object handed to `startServer()`.
 */
export interface ServerInterface {
  /**
   * May the peer open this channel? Returns the channel object that will serve its requests, or null to reject. With `direct-tcpip` come
   * the addresses, which the channel has as `dest` and `origin` later on; ports and hosts that are none are refused unasked.
   */
  checkChannelRequest(kind: string, channelId: number, addresses?: ForwardedAddresses): MaybePromise<Channel | null>;
  /**
   * Methods to offer this user; others are refused without being asked for. Asked before and after each attempt, so it may change its
   * mind. Unless overridden: those whose `checkAuth…` is there.
   */
  getAllowedAuths(username: string): MaybePromise<readonly string[]>;
  /** Login without credentials. */
  checkAuthNone(username: string): MaybePromise<AuthResult>;
  /** Login with a password. */
  checkAuthPassword(username: string, password: string): MaybePromise<AuthResult>;
  /** Is this key acceptable? Possession is proven afterwards by the library. `null`, as `matchAuthorizedKey()` has it, is no. */
  checkAuthPublickey(username: string, key: PublicKey): MaybePromise<AuthResult | null>;
  /** Answers to the questions asked so far; returns more questions, or the outcome. */
  checkAuthInteractive(
    username: string,
    answers: readonly string[] | null,
  ): MaybePromise<AuthResult | InteractiveQuery>;
  /** A listening forward; the bound port, or false. An address that is listened at already is refused unasked. */
  checkPortForwardRequest(hostname: string, port: number): MaybePromise<number | false>;
  /**
   * A listening forward that was granted ends, by its bound port. False leaves it to `checkGlobalRequest()`. Nobody is asked for a forward
   * that was not granted.
   */
  cancelPortForwardRequest?(hostname: string, port: number): MaybePromise<boolean>;
  /** A global request this library does not know; the reply's payload, or false. */
  checkGlobalRequest(name: string, data: Bytes): MaybePromise<Bytes | boolean>;
}

/** Rounds of questions in one attempt. */
const MAX_ROUNDS = 20;

/** `server` with what it lacks taken from `base`. */
export function withDefaults(server: Partial<ServerInterface>, base: ServerInterface): ServerInterface {
  if (server === base) return base;
  const checks = {
    publickey: server.checkAuthPublickey,
    password: server.checkAuthPassword,
    "keyboard-interactive": server.checkAuthInteractive,
  };
  const made = Object.keys(checks).filter((name) => checks[name as keyof typeof checks] !== undefined);
  return {
    checkChannelRequest: (kind, id, addresses) =>
      (server.checkChannelRequest ? server : base).checkChannelRequest!(kind, id, addresses),
    getAllowedAuths: async (username) =>
      server.getAllowedAuths === undefined
        ? [...new Set([...made, ...await base.getAllowedAuths(username)])]
        : await server.getAllowedAuths(username),
    checkAuthNone: (username) => (server.checkAuthNone ? server : base).checkAuthNone!(username),
    checkAuthPassword: (username, password) =>
      (server.checkAuthPassword ? server : base).checkAuthPassword!(username, password),
    checkAuthPublickey: (username, key) =>
      (server.checkAuthPublickey ? server : base).checkAuthPublickey!(username, key),
    checkAuthInteractive: (username, answers) =>
      (server.checkAuthInteractive ? server : base).checkAuthInteractive!(username, answers),
    checkPortForwardRequest: (hostname, port) =>
      (server.checkPortForwardRequest ? server : base).checkPortForwardRequest!(hostname, port),
    cancelPortForwardRequest: (hostname, port) =>
      (server.cancelPortForwardRequest ? server : base).cancelPortForwardRequest?.(hostname, port) ?? false,
    checkGlobalRequest: (name, data) => (server.checkGlobalRequest ? server : base).checkGlobalRequest!(name, data),
  };
}

/**
 * The authentication handlers of one connection, which ask `server`, and only for what `getAllowedAuths()` offers. A handler that is
 * not offered is not there, so a refusal names what is left.
 */
export function authOf(server: ServerInterface): ServerAuth {
  let offered: readonly string[] | null = null;
  const allowed = async (username: string): Promise<readonly string[]> => {
    const methods = await server.getAllowedAuths(username);
    if (Array.isArray(methods)) return methods;
    throw new TypeError("Cannot offer methods: getAllowedAuths() gave no array of names");
  };
  const offers = (method: string): boolean => offered === null || offered.includes(method);

  /** Asks for one attempt. The first attempt comes before anybody could be asked what is offered. */
  const attempt = async (
    { username }: AuthInfo,
    method: string,
    check: () => MaybePromise<AuthResult | null>,
  ): Promise<AuthResult | null> => {
    try {
      offered = await allowed(username);
      return offers(method) && await check();
    } finally {
      offered = await allowed(username);
    }
  };

  const handlers = {
    none: async (info: AuthInfo) => {
      const result = await server.checkAuthNone(info.username);
      offered = await allowed(info.username);
      return result;
    },
    password: (info: AuthInfo, password: string) =>
      attempt(info, "password", () => server.checkAuthPassword(info.username, password)),
    publicKey: (info: AuthInfo, key: PublicKey) =>
      attempt(info, "publickey", () => server.checkAuthPublickey(info.username, key)),
    keyboardInteractive: (info: AuthInfo, ask: Parameters<NonNullable<ServerAuth["keyboardInteractive"]>>[1]) =>
      attempt(info, "keyboard-interactive", () => askAll(server, info.username, ask)),
  };
  return {
    // `none` is how clients ask for the methods, and is no method to offer.
    none: handlers.none,
    get password() {
      return offers("password") ? handlers.password : undefined;
    },
    get publicKey() {
      return offers("publickey") ? handlers.publicKey : undefined;
    },
    get keyboardInteractive() {
      return offers("keyboard-interactive") ? handlers.keyboardInteractive : undefined;
    },
  } as ServerAuth;
}

async function askAll(
  server: ServerInterface,
  username: string,
  ask: Parameters<NonNullable<ServerAuth["keyboardInteractive"]>>[1],
): Promise<AuthResult> {
  let answers: readonly string[] | null = null;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const result: AuthResult | InteractiveQuery = await server.checkAuthInteractive(username, answers);
    if (typeof result === "boolean" || !("prompts" in result)) return result;
    answers = await ask(result.prompts, given(result, "name", "instruction"));
  }
  return false;
}
