/**
 * Authentication as the server: requests strictly one after the other, their limits, and the answers.
 * RFC 4252, RFC 4253 section 10.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { DisconnectReason, SshError, SshProtocolError } from "../errors.ts";
import type { AuthenticatorData } from "../keys/key_type.ts";
import type { PublicKey } from "../keys/types.ts";
import { extInfoInAuth, takesExtInfoInAuth } from "../transport/ext_info.ts";
import { checkSize } from "../transport/message_size.ts";
import type { MessageHandler, PacketTransport } from "../transport/types.ts";
import { callBack } from "../wire/callback.ts";
import { Msg } from "../wire/numbers.ts";
import { remainingDelay } from "./failure_delay.ts";
import { Grants } from "./grants.ts";
import {
  CONNECTION_SERVICE,
  HOSTBOUND_METHOD,
  serviceAccept,
  serviceRequest,
  strictText,
  USERAUTH_SERVICE,
  userauthBanner,
  userauthFailure,
  userauthRequest,
  userauthSuccess,
} from "./messages.ts";
import {
  deadEnd,
  defaultSignatureAlgorithms,
  handledMethods,
  methodTurns,
  type NamedMethod,
  type Outcome,
  refused,
  type Turn,
} from "./server_methods.ts";
import { type AskingRequest, type QuestionText, ServerQuestions, tooLateToAsk } from "./server_questions.ts";
import type { AuthenticatedUser, Prompt, ServerAuth } from "./types.ts";

export { defaultSignatureAlgorithms } from "./server_methods.ts";

/** Requests of one connection, whatever their outcome. */
const MAX_REQUESTS = 128;
/** Questions whether a key would do that count as no failed attempt where it would not, as for OpenSSH 10.6: a user may have many keys. */
const FREE_QUERIES = 6;
/** Requests that wait for the one before. */
const MAX_QUEUE = 64;
/** Bytes of requests that wait. */
const MAX_QUEUE_BYTES = 1_048_576;
/** Bytes of a user name. */
const MAX_USER_BYTES = 1_024;

/** Options of {@linkcode serveAuth}. */
export interface ServeAuthOptions {
  /** Who may log in. */
  auth: ServerAuth;
  /** Peer address that handlers see. */
  remoteAddr?: Deno.Addr | undefined;
  /** Address here that handlers see. */
  localAddr?: Deno.Addr | undefined;
  /**
   * Failed attempts allowed; the last one is answered with DISCONNECT 14. A first `none` is free, and so are the first six questions whether
   * a key would do. @default {6}
   */
  maxAuthTries?: number | undefined;
  /** Text sent before the first answer (RFC 4252 section 5.4); no more than a packet holds. */
  banner?: string | undefined;
  /** Public key signature algorithms accepted. @default {defaultSignatureAlgorithms} */
  algorithms?: readonly string[] | undefined;
  /** RSA keys are taken from so many bits on. @default {2048} */
  insecureMinRsaBits?: number | undefined;
  /** Milliseconds that a refusal takes at least; each user name adds up to 4. @default {5} */
  failureDelay?: number | undefined;
  /**
   * Called right behind USERAUTH_SUCCESS, before any message of the client that follows: the place to set the transport's next
   * handler. `passed` are all methods that the user passed, in order, and `grants` what they allow. What it throws ends the connection.
   */
  onSuccess: (user: AuthenticatedUser, passed: readonly string[], grants: Grants) => void;
  /** Called for each request that was refused, but not for a first `none`. */
  onRefused?: (() => void) | undefined;
  /** Told what a handler threw; the client sees a refusal. What it throws itself is ignored. */
  onError?: ((error: unknown) => void) | undefined;
  /** Aborting ends the connection, with the signal's reason when that is an {@linkcode SshError}. */
  signal?: AbortSignal | undefined;
}

/** A request that waits its turn, or has it. */
interface Request extends AskingRequest {
  /** The method, or null for one that cannot be. */
  readonly method: "none" | NamedMethod | null;
  readonly fields: Uint8Array;
  /** Whether the method is the `publickey` that names the host key. */
  readonly hostbound: boolean;
  /** Bytes of the whole message, which it holds while it waits. */
  readonly size: number;
  /** User name as it came. */
  readonly user: Uint8Array;
  /** User name, or null for one that nobody can have. */
  readonly name: string | null;
}

/**
 * Serves the authentication protocol until the user is logged in. Makes itself the transport's handler at once. Rejects, and
 * the connection has ended then, with the error of the transport or the one that ended it here; never while it is still open.
 */
export function serveAuth(transport: PacketTransport, options: ServeAuthOptions): Promise<AuthenticatedUser> {
  return new ServerAuthSession(transport, options).done;
}

class ServerAuthSession implements MessageHandler {
  readonly #transport: PacketTransport;
  readonly #options: ServeAuthOptions;
  readonly #done = Promise.withResolvers<AuthenticatedUser>();
  readonly #queue: Request[] = [];
  readonly #passed: string[] = [];
  readonly #maxFailures: number;
  readonly #failureDelay: number;
  #queueBytes = 0;
  #running: Request | null = null;
  #draining = false;
  #over = false;
  #served = false;
  #bannerSent = false;
  #services = 0;
  #requests = 0;
  #failures = 0;
  #queries = 0;
  #firstNone = true;
  /** User of this connection: the first that can be one. */
  #user: Uint8Array | null = null;
  /** Methods that must follow a partial success. */
  #following: readonly string[] | null = null;
  /** What the steps so far allow. */
  #grants = new Grants([]);
  /** The key that passed. */
  #key: PublicKey | null = null;
  /** What the FIDO authenticator of the key that passed said, or null for any other key; undefined where none has passed. */
  #authenticator: AuthenticatorData | null | undefined;
  readonly #questions: ServerQuestions;
  /** Ends the wait before a refusal. */
  #wake: (() => void) | null = null;
  readonly #onAbort = (): void => {
    const reason: unknown = this.#options.signal!.reason;
    this.#fail(reason instanceof SshError ? reason : new SshError("Login aborted", { code: "CLOSED", cause: reason }));
  };

  constructor(transport: PacketTransport, options: ServeAuthOptions) {
    this.#maxFailures = options.maxAuthTries ?? 6;
    this.#failureDelay = options.failureDelay ?? 5;
    if (!Number.isInteger(this.#maxFailures) && this.#maxFailures !== Infinity || this.#maxFailures < 1) {
      throw new RangeError(`Cannot serve logins: maxAuthTries is ${this.#maxFailures}, and at least 1 is needed`);
    }
    if (!(this.#failureDelay >= 0)) throw new RangeError(`Cannot serve logins: failureDelay is ${this.#failureDelay}`);
    if (options.banner !== undefined) checkBanner(options.banner);
    this.#transport = transport;
    this.#questions = new ServerQuestions(transport);
    this.#options = options;
    transport.setHandler(this);
    if (options.signal?.aborted) this.#onAbort();
    else options.signal?.addEventListener("abort", this.#onAbort);
  }

  get done(): Promise<AuthenticatedUser> {
    return this.#done.promise;
  }

  // ------------------------------------------------------------ from the transport

  message(payload: Uint8Array): boolean {
    // Requests behind the success are ignored (RFC 4252 section 5.1), and so is all that comes behind the end.
    if (this.#over) return true;
    try {
      return this.#receive(payload);
    } catch (error) {
      this.#end(error);
      throw error;
    }
  }

  ended(error: Error | null): void {
    this.#end(error ?? new SshError("Connection closed before the login", { code: "CLOSED" }));
  }

  #receive(payload: Uint8Array): boolean {
    const type = payload[0]!;
    switch (type) {
      case Msg.SERVICE_REQUEST:
        this.#service(payload);
        return true;
      case Msg.USERAUTH_REQUEST:
        this.#request(payload);
        return true;
      case Msg.USERAUTH_INFO_RESPONSE:
        this.#questions.answered(payload, this.#running);
        return true;
      case Msg.SERVICE_ACCEPT:
      case Msg.USERAUTH_FAILURE:
      case Msg.USERAUTH_SUCCESS:
      case Msg.USERAUTH_BANNER:
        throw new SshProtocolError(`Message ${type} is one that only servers send`);
    }
    if (type >= 60 && type < 80) throw new SshProtocolError(`Message ${type} belongs to no authentication in progress`);
    // RFC 4252 section 6: an error that must be answered by disconnecting.
    if (type >= 80) throw new SshProtocolError(`Message ${type} is not allowed before the login`);
    return false;
  }

  #service(payload: Uint8Array): void {
    if (serviceRequest.decode(payload).service !== USERAUTH_SERVICE) {
      throw new SshProtocolError("This service is not available here", DisconnectReason.SERVICE_NOT_AVAILABLE);
    }
    // Some clients ask anew before each attempt.
    if (++this.#services > MAX_REQUESTS) throw new SshProtocolError("Too many service requests");
    this.#served = true;
    this.#transport.send(serviceAccept.encode({ service: USERAUTH_SERVICE }));
  }

  #request(payload: Uint8Array): void {
    if (!this.#served) throw new SshProtocolError("Authentication was not asked for as a service");
    if (++this.#requests > MAX_REQUESTS) throw tooMany("Too many authentication requests");
    const { user, service, method, fields } = userauthRequest.decode(payload);
    const name = user.length > MAX_USER_BYTES || user.includes(0) ? null : strictText(user);
    if (this.#user !== null && !equals(this.#user, user)) {
      throw new SshProtocolError("The user must not change between authentication requests");
    }
    if (strictText(service) !== CONNECTION_SERVICE) {
      if (this.#requests > 1) throw new SshProtocolError("The service must not change between authentication requests");
      throw new SshProtocolError("This service is not available here", DisconnectReason.SERVICE_NOT_AVAILABLE);
    }
    if (name !== null) this.#user = user;
    if (this.#requests === 1 && takesExtInfoInAuth(this.#transport.extensions)) {
      this.#transport.send(extInfoInAuth(this.#options.algorithms ?? defaultSignatureAlgorithms));
    }
    if (this.#queue.length === MAX_QUEUE || this.#queueBytes + payload.length > MAX_QUEUE_BYTES) {
      throw new SshProtocolError("Too many authentication requests at once");
    }
    this.#queueBytes += payload.length;
    this.#queue.push({
      ...methodOf(method),
      fields,
      size: payload.length,
      name,
      user,
      heardAt: performance.now(),
      called: false,
      abandoned: false,
      spoilt: false,
    });
    this.#questions.abandon(this.#running);
    if (!this.#draining) void this.#drain();
  }

  // ------------------------------------------------------------ one request after the other

  async #drain(): Promise<void> {
    this.#draining = true;
    try {
      // No handler of the program runs while the transport delivers.
      await null;
      while (!this.#over && this.#queue.length > 0) {
        const request = this.#running = this.#queue.shift()!;
        this.#queueBytes -= request.size;
        request.heardAt = performance.now();
        await this.#handle(request);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = null;
      this.#draining = false;
    }
  }

  async #handle(request: Request): Promise<void> {
    if (!this.#bannerSent && this.#options.banner !== undefined) {
      this.#transport.send(encodeBanner(this.#options.banner));
    }
    this.#bannerSent = true;
    const { method } = request, isAllowed = this.#allows(request);
    const isQuery = method === "publickey" && isAllowed && request.fields[0] === 0;
    const free = method === "none" && this.#firstNone || isQuery && ++this.#queries <= FREE_QUERIES;
    if (method === "none") this.#firstNone = false;

    const outcome = method !== null && isAllowed ? await methodTurns[method](this.#turn(request)) : refused;
    if (this.#over) return;
    if (outcome.kind === "reply" && this.#fits(outcome.payload)) return this.#transport.send(outcome.payload);
    if (
      outcome.kind === "reply" || outcome.kind === "refused" || method === null || request.abandoned || request.spoilt
    ) {
      return await this.#refuse(request, free);
    }
    const grants = this.#grants.and(outcome.grant);
    // Another step than the key's may want whoever signed to have been there, before it or behind it.
    const { authenticator = this.#authenticator } = outcome;
    const isUnattended = authenticator !== undefined && !grants.areAttended(authenticator);
    // A grant may expire while a later step is under way.
    if (grants.contradict || grants.expires <= Date.now() || isUnattended) return await this.#refuse(request, free);
    this.#grants = grants;
    this.#authenticator = authenticator;
    // A name that is none has no turn.
    if (outcome.kind === "accepted") return this.#succeed(request.name!, method, outcome.key);
    this.#partial(method, outcome);
  }

  async #refuse(request: Request, free: boolean): Promise<void> {
    const last = !free && ++this.#failures >= this.#maxFailures;
    // Whoever asks for keys alone, and goes away, has tried to log in all the same.
    if (!free || request.method !== "none") this.#options.onRefused?.();
    if (request.abandoned && !last) return;
    // A `none` that nobody looked at tells nothing by its time.
    if (request.method !== "none" || this.#options.auth.none !== undefined) await this.#floor(request);
    if (this.#over) return;
    if (last) return this.#fail(tooMany("Too many authentication failures"));
    this.#transport.send(userauthFailure.encode({ methods: this.#offered(), partial: false }));
  }

  #succeed(name: string, method: string, key: PublicKey | null): void {
    const passed = Object.freeze([...this.#passed, method]);
    const user: AuthenticatedUser = Object.freeze({ name, method, publicKey: key ?? this.#key });
    this.#settle();
    this.#transport.send(userauthSuccess.encode({}));
    this.#transport.setAuthenticated();
    try {
      this.#options.onSuccess(user, passed, this.#grants);
    } catch (error) {
      this.#done.reject(error);
      this.#transport.fail(asError(error));
      return;
    }
    this.#done.resolve(user);
  }

  #partial(method: string, { following, key }: Outcome & { kind: "partial" }): void {
    this.#passed.push(method);
    if (key !== null) this.#key = key;
    this.#following = following;
    const methods = this.#offered();
    if (methods.length === 0) this.#report(deadEnd(following, method));
    this.#transport.send(userauthFailure.encode({ methods, partial: true }));
  }

  /** Waits until a refusal has taken as long as any other. */
  async #floor(request: Request): Promise<void> {
    const elapsed = performance.now() - request.heardAt;
    const delay = await remainingDelay(request.name ?? "", this.#failureDelay, elapsed);
    if (delay === 0 || this.#over) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  /** Methods that the client may go on with. */
  #offered(): NamedMethod[] {
    return handledMethods(this.#options.auth).filter((name) =>
      !this.#passed.includes(name) && (this.#following?.includes(name) ?? true)
    );
  }

  #allows({ method, name }: Request): boolean {
    if (method === null || name === null) return false;
    if (method === "none") return this.#options.auth.none !== undefined && this.#following === null;
    return this.#offered().includes(method);
  }

  #turn(request: Request): Turn {
    return {
      auth: this.#options.auth,
      info: Object.freeze({
        username: request.name!,
        remoteAddr: this.#options.remoteAddr,
        localAddr: this.#options.localAddr,
        connection: this.#transport.info,
        passed: Object.freeze([...this.#passed]),
      }),
      user: request.user,
      fields: request.fields,
      hostbound: request.hostbound,
      algorithms: this.#options.algorithms ?? defaultSignatureAlgorithms,
      rsaKeys: this.#options,
      call: (handler) => this.#call(request, handler),
      ask: (prompts, text = {}) => this.#ask(request, prompts, text),
    };
  }

  async #call(request: Request, handler: () => unknown): Promise<unknown> {
    if (this.#over) return false;
    try {
      return await handler();
    } catch (error) {
      if (!this.#over && !request.abandoned && !request.spoilt) this.#report(error);
      return false;
    } finally {
      request.called = true;
      this.#questions.decided();
    }
  }

  #report(error: unknown): void {
    callBack(() => this.#options.onError?.(error));
  }

  /** Whether a reply of the program's making can be sent; where not, the program is told. */
  #fits(payload: Uint8Array): boolean {
    try {
      checkSize(payload, "the reply to an authentication request");
      return true;
    } catch (error) {
      this.#report(error);
      return false;
    }
  }

  #ask(request: Request, prompts: readonly Prompt[], text: QuestionText): Promise<readonly string[]> {
    if (this.#over || request.called || request.spoilt) return Promise.reject(tooLateToAsk());
    return this.#questions.ask(request, prompts, text, this.#queue.length === 0);
  }

  // ------------------------------------------------------------ the end

  /** Nothing of the client is looked at from here on. */
  #settle(): void {
    this.#over = true;
    this.#queue.length = 0;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }

  #end(error: unknown): void {
    if (this.#over) return;
    this.#settle();
    this.#done.reject(error);
    this.#questions.end(error);
    this.#wake?.();
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#end(error);
    this.#transport.fail(asError(error));
  }
}

function encodeBanner(text: string): Uint8Array {
  return userauthBanner.encode({ text, language: "" });
}

/** Throws `RangeError` for a banner that no packet holds. */
export function checkBanner(text: string): void {
  checkSize(encodeBanner(text), "the banner");
}

function tooMany(message: string): SshProtocolError {
  return new SshProtocolError(message, DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE, { code: "AUTH_FAILED" });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new SshError("Internal error", { code: "CLOSED", cause: error });
}

function methodOf(bytes: Uint8Array): Pick<Request, "method" | "hostbound"> {
  const name = bytes.length > 64 ? null : strictText(bytes);
  if (name === HOSTBOUND_METHOD) return { method: "publickey", hostbound: true };
  const known = name !== null && Object.hasOwn(methodTurns, name);
  return { method: known ? name as Request["method"] : null, hostbound: false };
}
