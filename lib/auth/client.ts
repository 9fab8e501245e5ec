/**
 * Authentication as the client: one attempt at a time, and the loop over methods that makes a login.
 * RFC 4252 sections 4 and 5, RFC 4253 section 10. No timers.
 *
 * @module
 */
import {
  DisconnectReason,
  printable,
  SshAuthError,
  SshDisconnectError,
  SshError,
  SshProtocolError,
} from "../errors.ts";
import type { AgentSession } from "../keys/session_agents.ts";
import { takesHostbound } from "../transport/ext_info.ts";
import { checkSize } from "../transport/message_size.ts";
import { questionOf } from "../transport/questions.ts";
import type { MessageHandler, PacketTransport } from "../transport/types.ts";
import { encodeText } from "../wire/byte_text.ts";
import { callBack } from "../wire/callback.ts";
import { Msg } from "../wire/numbers.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { triesTogether } from "./key_questions.ts";
import {
  CONNECTION_SERVICE,
  displayText,
  serviceAccept,
  serviceRequest,
  USERAUTH_SERVICE,
  userauthBanner,
  userauthFailure,
  userauthRequest,
  userauthSuccess,
} from "./messages.ts";
import {
  allows,
  type AuthExchange,
  type AuthMethod,
  type AuthReply,
  needsNobody,
  none,
  runOf,
  type SendOptions,
} from "./methods.ts";

/** Bytes of banners taken on one connection. */
const MAX_BANNER_BYTES = 131_072;

/** Options of {@linkcode ClientAuth}. */
export interface ClientAuthOptions {
  /**
   * Receives each banner (RFC 4252 section 5.4). It is the server's text, from before the login: control characters other than
   * newline and tab are replaced. More than 128 KiB on one connection end it. What it throws goes to `onError`.
   */
  onBanner?: ((text: string) => void) | undefined;
  /** Told what `onBanner` threw. */
  onError?: ((error: unknown) => void) | undefined;
  /**
   * Called when this side is waited for: a function of the program's, which may ask a person, an agent, a signer. What it returns is called
   * once that has answered.
   */
  onAsking?: (() => () => void) | undefined;
  /**
   * Called while USERAUTH_SUCCESS is handled, before any message behind it: the place to set the transport's next handler. What it
   * throws ends the connection.
   */
  onSuccess: () => void;
}

/** Options of {@linkcode ClientAuth.attempt}. */
export interface AttemptOptions {
  /** Aborting rejects the attempt with the signal's reason and ends the connection: an answer could still come. */
  signal?: AbortSignal | undefined;
  /** Take SUCCESS only for a password, a signature or an answer that was not refused (CVE-2021-36369). @default {false} */
  requireAuth?: boolean | undefined;
  /** Other methods are tried where this one fails: a key asks before it signs, as servers count a refused signature as a failed try. @default {false} */
  othersFollow?: boolean | undefined;
}

/** Outcome of one attempt. */
export interface AttemptResult {
  /** The user is logged in. */
  readonly success: boolean;
  /** The method passed, and another one must follow. */
  readonly partial: boolean;
  /** Methods that the server would go on with; none where it does not say. */
  readonly remaining: readonly string[];
  /** Remarks on what happened, such as which keys were refused. */
  readonly notes: readonly string[];
}

/** What the next message answers. */
interface Waiter {
  readonly query: boolean;
  readonly resolve: (reply: AuthReply) => void;
}

interface Attempt {
  readonly requireAuth: boolean;
  readonly othersFollow: boolean;
  /** Rejects whatever the attempt waits for: the transport, the program's functions, a signer. */
  readonly stop: PromiseWithResolvers<never>;
  /** Aborts when the attempt is over, for what a method opened itself. */
  readonly over: AbortController;
  stopped: boolean;
}

/** The authentication protocol over one transport, as the client. It makes itself the transport's handler. */
export class ClientAuth implements MessageHandler {
  readonly #transport: PacketTransport;
  readonly #options: ClientAuthOptions;
  readonly #passedKeys = new Set<string>();
  #service: "unasked" | "asked" | "accepted" = "unasked";
  readonly #serviceAccepted = Promise.withResolvers<void>();
  /** Whether a request has been sent. */
  #asked = false;
  /** How many have been, but for `none`. */
  #tries = 0;
  #loggedIn = false;
  /** Whether a proof has been sent that the server has not refused. */
  #proved = false;
  /** Whether a proof has passed as one of several. */
  #passed = false;
  #bannerBytes = 0;
  #remaining: readonly string[] = [];
  /** In the order of what they wait for: the server answers in turn. */
  #waiters: Waiter[] = [];
  #attempt: Attempt | null = null;
  #end: Error | null = null;

  /** Takes over the messages of `transport`. Nothing is sent before the first attempt. */
  constructor(transport: PacketTransport, options: ClientAuthOptions) {
    this.#transport = transport;
    this.#options = options;
    transport.setHandler(this);
  }

  /** Whether a request has been sent: what the server allows, and which signatures it takes from this user, is known from its answer. */
  get hasAsked(): boolean {
    return this.#asked;
  }

  /**
   * Tries one method. Rejects with the transport's error when the connection ends meanwhile, with what the program's own
   * functions throw, and with `TypeError` while another attempt runs or after the login.
   */
  async attempt(username: string, method: AuthMethod, options: AttemptOptions = {}): Promise<AttemptResult> {
    const run = runOf(method), { signal } = options;
    if (this.#attempt !== null) throw new TypeError("Cannot start an attempt to log in: another one is running");
    if (this.#loggedIn) throw new TypeError("Cannot start an attempt to log in: the user is logged in");
    if (this.#end !== null) throw this.#end;
    signal?.throwIfAborted();

    const attempt: Attempt = {
      requireAuth: options.requireAuth ?? false,
      othersFollow: options.othersFollow ?? false,
      stop: Promise.withResolvers(),
      over: new AbortController(),
      stopped: false,
    };
    const onAbort = (): void => {
      this.#stop(attempt, signal!.reason);
      this.#transport.fail(new SshError("Login aborted", { code: "CLOSED", cause: signal!.reason }));
    };
    this.#attempt = attempt;
    signal?.addEventListener("abort", onAbort);
    const notes: string[] = [];
    try {
      const work = this.#begin().then(() => {
        return attempt.stopped ? attempt.stop.promise : run(this.#exchange(attempt, username, notes));
      });
      const reply = await Promise.race([work, attempt.stop.promise]);
      if (reply.kind === "success") return { success: true, partial: false, remaining: [], notes };
      return { success: false, partial: reply.partial, remaining: reply.remaining, notes };
    } catch (error) {
      if (error instanceof SshProtocolError && !attempt.stopped) this.#transport.fail(error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      attempt.stopped = true;
      attempt.over.abort();
      this.#attempt = null;
    }
  }

  #stop(attempt: Attempt, reason: unknown): void {
    attempt.stopped = true;
    this.#waiters = [];
    attempt.stop.reject(reason);
    attempt.over.abort(reason);
  }

  /**
   * Asks for the service, once on a connection. What follows need not wait for the answer, only for the extensions, which leave the server
   * before: they say which signatures it takes. A server without any answers first.
   */
  async #begin(): Promise<void> {
    if (this.#service === "unasked") this.#askForService();
    await Promise.race([this.#serviceAccepted.promise, this.#transport.told].filter((one) => one !== undefined));
  }

  #askForService(): void {
    this.#service = "asked";
    const question = questionOf(() => this.#service === "asked", () => {
      throw new SshProtocolError(
        `Cannot log in: the server does not know SERVICE_REQUEST, so it has no service "${USERAUTH_SERVICE}"`,
        DisconnectReason.SERVICE_NOT_AVAILABLE,
      );
    });
    this.#transport.send(serviceRequest.encode({ service: USERAUTH_SERVICE }), false, question);
  }

  #send(attempt: Attempt, payload: Bytes, options: SendOptions): Promise<AuthReply> {
    if (attempt.stopped) return attempt.stop.promise;
    try {
      checkSize(payload, "the authentication request");
    } catch (error) {
      return Promise.reject(error);
    }
    this.#asked = true;
    if (options.proof) this.#proved = true;
    const { promise, resolve } = Promise.withResolvers<AuthReply>();
    const waiter: Waiter = { query: options.query ?? false, resolve };
    this.#waiters.push(waiter);
    // A server that does not know the message (RFC 4253 section 11.4) has refused it, whatever was asked.
    const question = questionOf(() => this.#waiters.includes(waiter), () => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      resolve({ kind: "failure", partial: false, remaining: this.#remaining });
    });
    this.#transport.send(payload, false, question);
    // A method that is left waiting could never let go of what it holds, such as an agent's socket.
    return Promise.race([promise, attempt.stop.promise]);
  }

  #exchange(attempt: Attempt, username: string, notes: string[]): AuthExchange {
    const encoder = new TextEncoder(), user = encodeText(username);
    // deno-lint-ignore no-this-alias
    const auth = this;
    return {
      username,
      get signsAtOnce() {
        return !auth.#asked && !attempt.othersFollow;
      },
      get tries() {
        return auth.#tries;
      },
      triesTogether: triesTogether(this.#transport.info.remoteIdent),
      sessionId: this.#transport.info.sessionId,
      get serverSigAlgs() {
        // The server may tell another list once it knows the user.
        const names = auth.#transport.extensions.get("server-sig-algs");
        return names === undefined ? null : new TextDecoder().decode(names).split(",").filter((name) => name !== "");
      },
      session: sessionOf(this.#transport),
      boundHostKey: takesHostbound(this.#transport.extensions) ? this.#transport.info.hostKey.blob : undefined,
      get remaining() {
        return auth.#remaining;
      },
      passedKeys: this.#passedKeys,
      request: (method, fields, sendOptions = {}) => {
        const service = encoder.encode(CONNECTION_SERVICE);
        if (method !== "none") this.#tries++;
        const payload = userauthRequest.encode({ user, service, method: encoder.encode(method), fields });
        return this.#send(attempt, payload, sendOptions);
      },
      answer: (payload, sendOptions = {}) => this.#send(attempt, payload.slice(), sendOptions),
      ask: (act) => this.#ask(attempt, act),
      wait: (value) => this.#ask(attempt, () => value),
      signal: attempt.over.signal,
      note: (text) => void notes.push(text),
    };
  }

  async #ask<T>(attempt: Attempt, act: () => MaybePromise<T>): Promise<T> {
    const answered = this.#options.onAsking?.();
    try {
      // A race listens to both: what is rejected late is nobody's.
      return await Promise.race([attempt.stop.promise, act()]);
    } finally {
      answered?.();
    }
  }

  /** See {@linkcode MessageHandler}. */
  message(payload: Uint8Array): boolean {
    switch (payload[0]) {
      case Msg.SERVICE_ACCEPT: {
        if (this.#service !== "asked") throw unasked("SERVICE_ACCEPT");
        // Old servers leave the name out.
        if (payload.length > 1 && serviceAccept.decode(payload).service !== USERAUTH_SERVICE) {
          throw new SshProtocolError("Cannot log in: the server accepts a service that was not asked for");
        }
        this.#service = "accepted";
        this.#serviceAccepted.resolve();
        return true;
      }
      case Msg.USERAUTH_BANNER:
        this.#banner(payload);
        return true;
      case Msg.USERAUTH_FAILURE: {
        const waiter = this.#answered("USERAUTH_FAILURE");
        const { methods, partial } = userauthFailure.decode(payload);
        this.#remaining = methods;
        // What was refused proves nothing of what the server may take next. A question may be refused behind a proof.
        if (partial && !waiter.query) this.#passed = this.#proved;
        else if (!waiter.query) this.#proved = this.#passed;
        waiter.resolve({ kind: "failure", partial, remaining: methods });
        return true;
      }
      case Msg.USERAUTH_SUCCESS:
        this.#success(payload);
        return true;
      // PK_OK, PASSWD_CHANGEREQ and INFO_REQUEST share the number: the method knows which it is.
      case Msg.USERAUTH_INFO_REQUEST:
        this.#answered("message 60").resolve({ kind: "message", payload: payload.slice() as Bytes });
        return true;
      case Msg.SERVICE_REQUEST:
      case Msg.USERAUTH_REQUEST:
      case Msg.USERAUTH_INFO_RESPONSE:
        throw new SshProtocolError(`Cannot log in: the server sent message ${payload[0]}, which only clients send`);
    }
    const type = payload[0]!;
    if (type >= 80 && type < 128) {
      throw new SshProtocolError(`Cannot log in: message ${type} of the connection protocol came before the login`);
    }
    return false;
  }

  /** The question that a message answers: exactly one answer to each question, and none without. */
  #answered(name: string): Waiter {
    const waiter = this.#service === "accepted" ? this.#waiters.shift() : undefined;
    if (waiter === undefined) throw unasked(name);
    return waiter;
  }

  #banner(payload: Uint8Array): void {
    this.#bannerBytes += payload.length;
    if (this.#bannerBytes > MAX_BANNER_BYTES) {
      throw new SshProtocolError(`Cannot log in: banners of more than ${MAX_BANNER_BYTES} bytes`);
    }
    const { text } = userauthBanner.decode(payload);
    const { onBanner, onError } = this.#options;
    callBack(() => onBanner?.(displayText(text)), onError);
  }

  #success(payload: Uint8Array): void {
    const waiter = this.#answered("USERAUTH_SUCCESS");
    userauthSuccess.decode(payload);
    if (waiter.query) {
      throw new SshProtocolError("Cannot log in: USERAUTH_SUCCESS answers a question whether a key would do");
    }
    if (this.#attempt?.requireAuth && !this.#proved) {
      throw new SshAuthError("Cannot log in: the server wanted no proof of who the user is, and one is required", []);
    }
    this.#loggedIn = true;
    this.#transport.setAuthenticated();
    this.#options.onSuccess();
    waiter.resolve({ kind: "success" });
  }

  /** See {@linkcode MessageHandler}. */
  ended(error: Error | null): void {
    this.#end ??= error ?? new SshError("Connection closed before the login", { code: "CLOSED" });
    if (this.#attempt !== null) this.#stop(this.#attempt, this.#end);
  }
}

function unasked(name: string): SshProtocolError {
  return new SshProtocolError(`Cannot log in: ${name} came where nothing asked for it`);
}

/** The connection as agents may have it proven, where it can be. */
function sessionOf({ info, hostKeySignature: signature }: PacketTransport): AgentSession | null {
  if (signature === undefined) return null;
  return { hostKey: info.hostKey.blob, sessionId: info.sessionId, signature };
}

/** Options of {@linkcode authenticate}. */
export interface AuthenticateOptions extends AttemptOptions {
  /** Methods that may pass in turn (partial success) before the login is given up. @default {10} */
  maxRounds?: number | undefined;
}

/** What to try, by the method that the server still allows. */
const hints: Readonly<Record<string, string>> = {
  "password": "password()",
  "publickey": "publicKey()",
  "keyboard-interactive": "keyboardInteractive()",
  "hostbased": "hostBased()",
};

/**
 * Logs in: tries `methods` in order as far as they are allowed, and again after each partial success. Which are allowed is asked first, with
 * `none`, so that no password goes to a server that takes none and nobody is asked in vain. A key that is there is tried at once, and signs where it is all that there is, which saves
 * round trips; `none` comes last then, where nothing else has helped. A server that answers with an empty list does not say what it allows: everything is tried once, as `ssh`
 * does. Rejects with {@linkcode SshAuthError}, which says what was tried with what result and what the server still allows, and else
 * as {@linkcode ClientAuth.attempt} does.
 */
export async function authenticate(
  auth: ClientAuth,
  username: string,
  methods: readonly AuthMethod[],
  options: AuthenticateOptions = {},
): Promise<void> {
  const maxRounds = options.maxRounds ?? 10, tried: string[] = [];
  const given = methods.filter((method) => method.name !== "none");
  const failure = (why: string, remaining: readonly string[], cause?: unknown): SshAuthError => {
    return new SshAuthError(
      `Cannot log in as "${printable(username, 64)}": ${why}; tried ${tried.join("; ")}; ${allowedBy(remaining)}`,
      remaining,
      cause === undefined ? undefined : { cause },
    );
  };
  let remaining: readonly string[] = [];
  const attempt = async (method: AuthMethod): Promise<AttemptResult> => {
    try {
      const result = await auth.attempt(username, method, { ...options, othersFollow: given.length > 1 });
      const outcome = result.success ? "accepted" : result.partial ? "accepted, more is needed" : "refused";
      tried.push(`${method.name} (${outcome}${result.notes.length === 0 ? "" : `: ${result.notes.join(", ")}`})`);
      remaining = result.remaining;
      return result;
    } catch (error) {
      // Reason 2 is what OpenSSH sends after too many failures.
      if (
        !(error instanceof SshDisconnectError) || error.reason !== DisconnectReason.PROTOCOL_ERROR &&
          error.reason !== DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE
      ) throw error;
      tried.push(`${method.name} (disconnected)`);
      throw failure(`the server ended the connection: ${printable(error.message)}`, remaining, error);
    }
  };

  const passed = new Set<AuthMethod>();
  let left = given, asked = !needsNobody(methods[0]);
  if (asked && (await attempt(none())).success) return;
  /** Asks with `none` behind all else, where that was not asked first and its success would do. */
  const asksForNothing = async (): Promise<boolean> => {
    if (asked || options.requireAuth) return false;
    try {
      return (await attempt(none())).success;
    } catch (error) {
      // A server that has heard enough, and is gone, has refused it: what came before says more.
      if (error instanceof SshAuthError || error instanceof SshError && error.code === "CONNECTION_LOST") return false;
      throw error;
    }
  };
  for (let rounds = 0;;) {
    const method = left.find(({ name }) => allows(remaining, name));
    if (method === undefined) {
      const allowed = remaining;
      if (await asksForNothing()) return;
      // A key that was tried at once may be of a method that the server does not take.
      const isBarred = passed.size === 0 && given.every(({ name }) => !allows(allowed, name));
      throw failure(whyNot(methods, isBarred ? given : left, allowed), allowed);
    }
    left = left.filter((other) => other !== method);
    const { success, partial } = await attempt(method);
    if (success) return;
    if (!auth.hasAsked) {
      // It had nothing to begin with, as far as is known before the server has heard of the user: what it allows is asked now.
      asked = true;
      tried.length = 0;
      left = given;
      if ((await attempt(none())).success) return;
      continue;
    }
    if (!partial) continue;
    asked = true;
    if (++rounds === maxRounds) throw failure(`no end after ${rounds} partial successes`, remaining);
    passed.add(method);
    // Where the server does not say what must follow, it is hardly what has passed.
    left = remaining.length > 0 ? given : given.toSorted((a, b) => Number(passed.has(a)) - Number(passed.has(b)));
  }
}

/** What the server allows, for an error. */
export function allowedBy(remaining: readonly string[]): string {
  if (remaining.length === 0) return "the server does not say what it allows";
  return `the server allows ${remaining.map((name) => printable(name, 64)).join(", ")}`;
}

/** Why no method is left, and what to try. */
function whyNot(methods: readonly AuthMethod[], left: readonly AuthMethod[], remaining: readonly string[]): string {
  const given = new Set(methods.map(({ name }) => name)), known = Object.keys(hints);
  // Few servers take hostbased: one that does not say what it takes is no reason to try it.
  const advised = remaining.length > 0 ? known : known.filter((name) => name !== "hostbased");
  const missing = advised.filter((name) => allows(remaining, name) && !given.has(name)).map((name) => hints[name]!);
  const check = "check the user name and the credentials", add = `add ${missing.join(" or ")}`;
  const advice = missing.length > 0
    ? remaining.length > 0 || given.size === 0 ? add : `${check}, or ${add}`
    : known.some((name) => allows(remaining, name))
    ? check
    : "this module has none of the methods that it allows";
  if (left.length > 0) {
    const names = [...new Set(left.map(({ name }) => name))].join(", ");
    return `the server does not allow ${names}; ${advice}`;
  }
  return `no method is left; ${advice}`;
}
