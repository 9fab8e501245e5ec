/**
 * One connection that is served, from its first byte to its end.
 *
 * @module
 */
import type { GrantFlag, Grants } from "../auth/grants.ts";
import { defaultSignatureAlgorithms, serveAuth } from "../auth/server.ts";
import type { AuthenticatedUser, AuthInfo } from "../auth/types.ts";
import { Mux } from "../connection/mux.ts";
import { DisconnectReason, SshAuthError, SshError, SshProtocolError } from "../errors.ts";
import { ForwardedAgents } from "../agent/forwarded_agent.ts";
import { withPlainKeys } from "../keys/with_certificate.ts";
import { announceHostKeys } from "../host_keys/announce.ts";
import { acceptForwards, type Forwards } from "../forward/accept_forwards.ts";
import { systemSockets } from "../forward/sockets.ts";
import { acceptSessions } from "../session/accept_sessions.ts";
import { abortedError } from "../transport/closing.ts";
import { SecureTransport } from "../transport/secure_transport.ts";
import { isThenable } from "../wire/callback.ts";
import { Timer } from "../wire/timer.ts";
import type { ByteDuplex, MaybePromise } from "../wire/types.ts";
import { ServedDisplays } from "../x11/served_displays.ts";
import type { ErrorReports } from "./error_reports.ts";
import { given } from "./options.ts";
import type { Offence } from "./admission/penalties.ts";
import type { AllowLent, ServeConnOptions } from "./serve_options.ts";

const DEFAULT_LOGIN_TIMEOUT = 120_000;
const DEFAULT_MAX_SESSIONS = 10;
const DEFAULT_MAX_CHANNELS = 256;
const DEFAULT_MAX_LISTENERS = 20;
const DEFAULT_FORWARD_TIMEOUT = 30_000;

/** One connection, from its first byte to its end. */
export class ServedConnection {
  readonly #options: ServeConnOptions;
  readonly #reports: ErrorReports;
  readonly #transport: SecureTransport;
  readonly #remoteAddr: Deno.Addr | undefined;
  /** Absolute: neither progress nor chatter moves it. */
  readonly #loginTimer: Timer;
  readonly #expiry = new Timer(() => this.#transport.fail(expired()));
  #mux: Mux | null = null;
  #forwards: Forwards | null = null;
  #displays: ServedDisplays | null = null;
  #agents: ForwardedAgents | null = null;
  #offence: Offence | null = "noAuth";
  #refed = true;

  constructor(conn: ByteDuplex, options: ServeConnOptions, reports: ErrorReports, isSocket = false) {
    this.#options = options;
    this.#reports = reports;
    this.#remoteAddr = "remoteAddr" in conn ? conn.remoteAddr as Deno.Addr : undefined;
    this.#transport = new SecureTransport(conn, {
      role: "server",
      copyingWritable: isSocket,
      hostKeys: options.hostKeys,
      signatureAlgorithms: defaultSignatureAlgorithms,
      ...given(options, "algorithms", "rekey", "ident", "trace"),
    });
    const { loginTimeout = DEFAULT_LOGIN_TIMEOUT } = options;
    this.#loginTimer = new Timer(() => {
      if (this.#offence === "noAuth") this.#offence = "graceExceeded";
      this.#transport.fail(tooSlow(loginTimeout));
    });
  }

  /** What the client has done that others would be punished for; null once it has logged in. */
  get offence(): Offence | null {
    return this.#offence;
  }

  /** Whether the connection's timers keep the program alive; its socket has a word of its own. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    this.#transport.setRef(refed);
    for (const part of [this.#mux, this.#forwards, this.#displays, this.#agents]) part?.setRef(refed);
    for (const timer of [this.#loginTimer, this.#expiry]) refed ? timer.ref() : timer.unref();
  }

  /** Serves until the end; `onLogin` is called once when the user has logged in. */
  async run(onLogin: () => void): Promise<void> {
    const { auth, loginTimeout = DEFAULT_LOGIN_TIMEOUT, signal } = this.#options;
    const onAbort = (): void => void this.#transport.end(abortedError(signal!));
    this.#loginTimer.start(loginTimeout);
    signal?.addEventListener("abort", onAbort);
    try {
      if (signal?.aborted) onAbort();
      await this.#transport.start();
      await serveAuth(this.#transport, {
        auth,
        remoteAddr: this.#remoteAddr,
        onError: this.#reports.program,
        ...given(this.#options, "maxAuthTries", "banner", "insecureMinRsaBits"),
        onRefused: () => this.#offence = "authFail",
        onSuccess: (user, passed, grants) => {
          this.#offence = null;
          this.#loginTimer.stop();
          this.#mux = this.#makeMux(user, passed, grants);
          this.#expiry.start(grants.expires - Date.now());
          if (!this.#refed) this.setRef(false);
          this.#transport.setHandler(this.#mux);
          onLogin();
        },
      });
    } catch (error) {
      // Both have ended the connection already; `closed` tells why, and whether the end was clean.
      this.#transport.fail(error instanceof Error ? error : new SshError("Connection failed", { code: "CLOSED" }));
    } finally {
      this.#loginTimer.stop();
      try {
        await this.#transport.closed;
      } finally {
        this.#expiry.stop();
        signal?.removeEventListener("abort", onAbort);
      }
    }
  }

  /** Disconnects, behind what has been written. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  /** Makes room for a client from elsewhere. */
  dismiss(): void {
    this.#transport.fail(
      new SshProtocolError("Too many connections without a login", DisconnectReason.TOO_MANY_CONNECTIONS),
    );
  }

  #makeMux(user: AuthenticatedUser, passed: readonly string[], grants: Grants): Mux {
    const { handler, subsystems, maxSessions = DEFAULT_MAX_SESSIONS } = this.#options;
    const onError = this.#reports.program;
    const { maxChannels = DEFAULT_MAX_CHANNELS, maxListeners = DEFAULT_MAX_LISTENERS } = this.#options;
    const { forwardTimeout = DEFAULT_FORWARD_TIMEOUT } = this.#options;
    const onEnded = (error: Error | null): void => {
      this.#forwards?.end(error);
      this.#displays?.end(error);
    };
    // Strangers who connect to a listener leave room for the sessions of its user.
    const maxForwarded = maxChannels === Infinity ? Infinity : Math.max(1, maxChannels - maxSessions);
    const mux = new Mux(this.#transport, {
      ...given(this.#options, "window", "keepalive"),
      maxChannels,
      onError,
      onEnded,
    });
    announceHostKeys(mux, { hostKeys: withPlainKeys(this.#options.hostKeys), info: this.#transport.info, onError });
    const info = { username: user.name, remoteAddr: this.#remoteAddr, connection: this.#transport.info, passed };
    const displays = this.#displays = new ServedDisplays(mux, { sockets: systemSockets, maxForwarded, onError });
    const agents = this.#agents = new ForwardedAgents(mux, { sockets: systemSockets, onError });
    const { allowX11, allowAgent } = this.#options;
    acceptSessions(mux, {
      ...{ user, info, grants, handler, subsystems, maxSessions, onError },
      forwardX11: (request) => ifAllowed(grants, "x11Forwarding", allowX11, info, () => displays.open(request)),
      forwardAgent: () => ifAllowed(grants, "agentForwarding", allowAgent, info, () => agents.open()),
    });
    this.#forwards = acceptForwards(mux, {
      ...given(this.#options, "allowForward", "onForward"),
      info,
      grants,
      sockets: systemSockets,
      maxListeners,
      maxForwarded,
      forwardTimeout,
      onError,
    });
    return mux;
  }
}

/** What `open` gives, where both the grants and the program allow it that say something. Nobody's word is a no. */
function ifAllowed<T>(
  grants: Grants,
  flag: GrantFlag,
  allow: AllowLent | undefined,
  info: AuthInfo,
  open: () => T,
): MaybePromise<T | null> {
  if (!grants.allow(flag, allow !== undefined && allow !== false)) return null;
  if (typeof allow !== "function") return allow === false ? null : open();
  const allowed = allow(info);
  return isThenable(allowed) ? allowed.then((said) => said === true ? open() : null) : allowed === true ? open() : null;
}

function expired(): SshError {
  return new SshProtocolError("The login has expired", DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE);
}

function tooSlow(limit: number): SshAuthError {
  return new SshAuthError(`Client did not log in within ${limit} ms`, []);
}
