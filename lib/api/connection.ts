/**
 * One connection, from its first byte to its end: a transport, the login over it, and behind that the mux with its channels. `connect()`,
 * `Transport` and a served connection are faces of it. The time that a login may take and may last, what keeps the program alive, and the
 * signal that ends it, stand here once.
 *
 * @module
 */
import { ClientAuth, type ClientAuthOptions } from "../auth/client.ts";
import type { Grants } from "../auth/grants.ts";
import { defaultSignatureAlgorithms, serveAuth, type ServeAuthOptions } from "../auth/server.ts";
import type { AuthenticatedUser } from "../auth/types.ts";
import { Mux, type MuxOptions } from "../connection/mux.ts";
import { DisconnectReason, SshAuthError, SshError, SshProtocolError } from "../errors.ts";
import { abortedError } from "../transport/closing.ts";
import { SecureTransport } from "../transport/secure_transport.ts";
import type { SecureTransportOptions } from "../transport/transport_options.ts";
import { Timer } from "../wire/timer.ts";
import type { ByteDuplex } from "../wire/types.ts";
import type { ClientTransport } from "./client_transport.ts";
import { type ChannelOptions, given, type ProtocolOptions } from "./options.ts";
import { streamsOf } from "./socket_streams.ts";
import type { Held } from "./way.ts";

/** Milliseconds. */
const DEFAULT_LOGIN_TIMEOUT = 120_000;

/** What a program says of a connection. */
type ConnectionOptions =
  & ProtocolOptions
  & ChannelOptions
  & Pick<SecureTransportOptions, "handshakeTimeout" | "requireStrictKex" | "trace">
  & Pick<ServeAuthOptions, "maxAuthTries" | "banner">
  & { readonly loginTimeout?: number | undefined };
/** What can be told whether it keeps the program alive. */
type Refable = Required<Pick<Held, "setRef">>;

/** One connection. */
export class Connection {
  /** Runs from the start to the end. */
  readonly transport: SecureTransport;
  readonly #options: ConnectionOptions;
  readonly #channels: MuxOptions;
  readonly #held: Refable[];
  /** Of a server. Absolute: neither progress nor chatter moves it. */
  readonly #loginTimer = new Timer(() => this.#late());
  readonly #expiry = new Timer(() => this.transport.fail(expired()));
  #onLate = (): void => {};
  #mux: Mux | null = null;
  #refed = true;

  /** Takes over the streams; nothing moves before `start()`. `side` and `channels` are what a face says beside the program's options. */
  constructor(conn: ByteDuplex, side: SecureTransportOptions, options: ConnectionOptions, channels: MuxOptions) {
    this.#options = options;
    this.#channels = channels;
    this.transport = new SecureTransport(streamsOf(conn), {
      signatureAlgorithms: defaultSignatureAlgorithms,
      ...given(options, "algorithms", "rekey", "ident", "insecureMinRsaBits"),
      ...given(options, "handshakeTimeout", "requireStrictKex", "trace"),
      ...side,
    });
    this.#held = [this.transport];
    const stop = (): void => {
      this.#loginTimer.stop();
      this.#expiry.stop();
    };
    this.transport.closed.then(stop, stop);
  }

  /** The channels; null before the login. */
  get mux(): Mux | null {
    return this.#mux;
  }

  /** Exchanges keys. From here on a client's login may take `loginTimeout` on a server; `onLate` is told before that ends the connection. */
  start({ signal, onLate }: { signal?: AbortSignal | undefined; onLate?: () => void } = {}): Promise<void> {
    const { transport } = this, { loginTimeout = DEFAULT_LOGIN_TIMEOUT } = this.#options;
    if (onLate !== undefined) this.#onLate = onLate;
    if (transport.role === "server") this.#loginTimer.start(loginTimeout);
    return transport.start({ signal });
  }

  /** The login, as a client. `onLogin` comes before any message behind it, as with {@linkcode Connection.serveLogin}. */
  login(options: Omit<ClientAuthOptions, "onSuccess">, onLogin: (mux: Mux) => void): ClientAuth {
    return new ClientAuth(this.transport, { ...options, onSuccess: () => this.#loggedIn(onLogin) });
  }

  /** Serves the login. Rejects where nobody logs in, and the connection has ended then; what `onLogin` throws ends it, too. */
  serveLogin(
    options: Omit<ServeAuthOptions, "onSuccess">,
    onLogin: (mux: Mux, user: AuthenticatedUser, passed: readonly string[], grants: Grants) => void,
  ): Promise<AuthenticatedUser> {
    return serveAuth(this.transport, {
      ...options,
      ...given(this.#options, "maxAuthTries", "banner", "insecureMinRsaBits"),
      onSuccess: (user, passed, grants) => {
        this.#loginTimer.stop();
        this.#expiry.start(grants.expires - Date.now());
        this.#loggedIn((mux) => onLogin(mux, user, passed, grants));
      },
    });
  }

  /** What goes with the connection where it is told whether it keeps the program alive. */
  hold(...parts: Refable[]): void {
    this.#held.push(...parts);
    for (const part of parts) part.setRef(this.#refed);
  }

  /** Whether its timers, and what it holds, keep the program alive; its streams have a word of their own. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    for (const part of this.#held) part.setRef(refed);
    for (const timer of [this.#loginTimer, this.#expiry]) refed ? timer.ref() : timer.unref();
  }

  #loggedIn(onLogin: (mux: Mux) => void): void {
    const { idleTimeout } = this.#options;
    const mux = this.#mux = new Mux(this.transport, {
      ...given(this.#options, "window", "keepalive"),
      idleTimeout,
      onIdle: () => void this.transport.close(idleError(idleTimeout!), `Idle for ${idleTimeout} ms`),
      ...this.#channels,
    });
    this.hold(mux);
    onLogin(mux);
    this.transport.setHandler(mux);
  }

  #late(): void {
    if (!this.transport.isActive) return;
    this.#onLate();
    const { loginTimeout = DEFAULT_LOGIN_TIMEOUT } = this.#options;
    this.transport.fail(new SshAuthError(`Client did not log in within ${loginTimeout} ms`, []));
  }
}

/** Ends a connection at once when the signal aborts, behind `first`. */
export function endOnAbort(
  transport: Pick<ClientTransport, "closed" | "end">,
  signal: AbortSignal | undefined,
  first: () => void = () => {},
): void {
  if (signal === undefined) return;
  const onAbort = (): void => {
    first();
    // What waits with the same signal hears of it first, and gives its reason.
    queueMicrotask(() => void transport.end(abortedError(signal)));
  };
  const leave = (): void => signal.removeEventListener("abort", onAbort);
  signal.addEventListener("abort", onAbort);
  transport.closed.then(leave, leave);
  if (signal.aborted) onAbort();
}

function idleError(time: number): SshError {
  const message = `Connection was closed: nobody used it for ${time} ms, which is its \`idleTimeout\``;
  return new SshError(message, { code: "CLOSED", cause: new DOMException(message, "TimeoutError") });
}

function expired(): SshProtocolError {
  return new SshProtocolError("The login has expired", DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE);
}
