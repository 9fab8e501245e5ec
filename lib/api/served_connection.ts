/**
 * One connection that is served, from its first byte to its end.
 *
 * @module
 */
import type { GrantFlag, Grants } from "../auth/grants.ts";
import type { AuthenticatedUser, AuthInfo } from "../auth/types.ts";
import type { Mux } from "../connection/mux.ts";
import { DisconnectReason, SshError, SshProtocolError } from "../errors.ts";
import { ForwardedAgents } from "../agent/forwarded_agent.ts";
import { withPlainKeys } from "../keys/with_certificate.ts";
import { announceHostKeys } from "../host_keys/announce.ts";
import { acceptForwards, type Forwards } from "../forward/accept_forwards.ts";
import { systemSockets } from "../forward/sockets.ts";
import { acceptSessions } from "../session/accept_sessions.ts";
import { isThenable } from "../wire/callback.ts";
import type { ByteDuplex, MaybePromise } from "../wire/types.ts";
import { ServedDisplays } from "../x11/served_displays.ts";
import { Connection, endOnAbort } from "./connection.ts";
import { type ErrorReports, errorReports } from "./error_reports.ts";
import { given } from "./options.ts";
import type { Offence } from "./admission/penalties.ts";
import type { AllowLent, ServeConnOptions } from "./serve_options.ts";

const DEFAULT_MAX_SESSIONS = 10;
const DEFAULT_MAX_CHANNELS = 256;
const DEFAULT_MAX_LISTENERS = 20;
const DEFAULT_FORWARD_TIMEOUT = 30_000;

/** One connection, from its first byte to its end. */
export class ServedConnection {
  readonly #options: ServeConnOptions;
  /** Where its errors go. */
  readonly reports: ErrorReports;
  readonly #connection: Connection;
  readonly #remoteAddr: Deno.Addr | undefined;
  readonly #localAddr: Deno.Addr | undefined;
  #forwards: Forwards | null = null;
  #displays: ServedDisplays | null = null;
  #offence: Offence | null = "noAuth";

  constructor(conn: ByteDuplex, options: ServeConnOptions, isSocket = false) {
    this.#options = options;
    this.#remoteAddr = "remoteAddr" in conn ? conn.remoteAddr as Deno.Addr : undefined;
    this.#localAddr = "localAddr" in conn ? conn.localAddr as Deno.Addr : undefined;
    this.reports = errorReports(options.onError, { remoteAddr: this.#remoteAddr });
    const { hostKeys, maxChannels = DEFAULT_MAX_CHANNELS } = options, onError = this.reports.program;
    this.#connection = new Connection(conn, { role: "server", copyingWritable: isSocket, hostKeys }, options, {
      ...{ maxChannels, onError },
      onEnded: (error) => {
        this.#forwards?.end(error);
        this.#displays?.end(error);
      },
    });
  }

  /** What the client has done that others would be punished for; null once it has logged in. */
  get offence(): Offence | null {
    return this.#offence;
  }

  /** Whether the connection's timers keep the program alive; its socket has a word of its own. */
  setRef(refed: boolean): void {
    this.#connection.setRef(refed);
  }

  /** Serves until the end; `onLogin` is called once when the user has logged in. */
  async run(onLogin: () => void): Promise<void> {
    const { auth, signal } = this.#options, { transport } = this.#connection;
    endOnAbort(transport, signal);
    try {
      const onLate = (): void => {
        if (this.#offence === "noAuth") this.#offence = "graceExceeded";
      };
      await this.#connection.start({ onLate });
      await this.#connection.serveLogin({
        auth,
        remoteAddr: this.#remoteAddr,
        localAddr: this.#localAddr,
        onError: this.reports.program,
        onRefused: () => this.#offence = "authFail",
      }, (mux, user, passed, grants) => {
        this.#offence = null;
        this.#accept(mux, user, passed, grants);
        onLogin();
      });
    } catch (error) {
      // Both have ended the connection already; `closed` tells why, and whether the end was clean.
      transport.fail(error instanceof Error ? error : new SshError("Connection failed", { code: "CLOSED" }));
    }
    await transport.closed;
  }

  /** Disconnects, behind what has been written. */
  close(): Promise<void> {
    return this.#connection.transport.close();
  }

  /** Makes room for a client from elsewhere. */
  dismiss(): void {
    this.#connection.transport.fail(
      new SshProtocolError("Too many connections without a login", DisconnectReason.TOO_MANY_CONNECTIONS),
    );
  }

  /** What the user may do from here on. */
  #accept(mux: Mux, user: AuthenticatedUser, passed: readonly string[], grants: Grants): void {
    const { handler, subsystems, maxSessions = DEFAULT_MAX_SESSIONS } = this.#options;
    const onError = this.reports.program, connection = this.#connection.transport.info;
    const { maxChannels = DEFAULT_MAX_CHANNELS, maxListeners = DEFAULT_MAX_LISTENERS } = this.#options;
    const { forwardTimeout = DEFAULT_FORWARD_TIMEOUT } = this.#options;
    // Strangers who connect to a listener leave room for the sessions of its user.
    const maxForwarded = maxChannels === Infinity ? Infinity : Math.max(1, maxChannels - maxSessions);
    announceHostKeys(mux, { hostKeys: withPlainKeys(this.#options.hostKeys), info: connection, onError });
    const addrs = { remoteAddr: this.#remoteAddr, localAddr: this.#localAddr };
    const info = { username: user.name, ...addrs, connection, passed };
    const displays = this.#displays = new ServedDisplays(mux, { sockets: systemSockets, maxForwarded, onError });
    const agents = new ForwardedAgents(mux, { sockets: systemSockets, onError });
    const { allowX11, allowAgent } = this.#options;
    acceptSessions(mux, {
      ...{ user, info, grants, handler, subsystems, maxSessions, onError },
      forwardX11: (request) => ifAllowed(grants, "x11Forwarding", allowX11, info, () => displays.open(request)),
      forwardAgent: () => ifAllowed(grants, "agentForwarding", allowAgent, info, () => agents.open()),
    });
    const forwards = this.#forwards = acceptForwards(mux, {
      ...given(this.#options, "allowForward", "onForward"),
      info,
      grants,
      sockets: systemSockets,
      maxListeners,
      maxForwarded,
      forwardTimeout,
      onError,
    });
    this.#connection.hold(forwards, displays, agents);
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
