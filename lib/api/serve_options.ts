/**
 * What `serve()` and `serveConn()` take, and what `serve()` gives.
 *
 * @module
 */
import type { AuthInfo, ServerAuth } from "../auth/types.ts";
import type { AllowForward, OnForward } from "../forward/accept_forwards.ts";
import type { Signer } from "../keys/types.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { SessionHandler } from "../session/server_session.ts";
import type { TraceEvent } from "../transport/transport_options.ts";
import type { MaxStartups } from "./admission/admission.ts";
import type { ChannelOptions, ProtocolOptions } from "./options.ts";
import type { SourcePenalties } from "./admission/penalties.ts";

/** Whether a user may have something: the same for all, or asked for each session; anything but true is no. */
export type AllowLent = boolean | ((info: AuthInfo) => MaybePromise<boolean>);

/** Where a server listens. */
export interface ListenOptions {
  /** Address to bind. @default {"0.0.0.0"} */
  hostname?: string | undefined;
  /** TCP port; 0 takes a free one. @default {22} */
  port?: number | undefined;
  /**
   * Lets others listen at the same address and port, as `Deno.listen()` does: other processes of the same user, and other servers and
   * workers of this one. All of them have to ask for it, the first included. On Linux each connection goes to one of those who listen,
   * by its addresses and ports; other systems spread nothing, or do not know it. Deno wants its flag `--unstable-net` for this; without
   * it `serve()` throws `TypeError`. @default {false}
   */
  reusePort?: boolean | undefined;
  /** Connections that the system keeps until they are accepted, at most; it may take less. @default {511} */
  tcpBacklog?: number | undefined;
  /**
   * Limits that this server keeps together with others, in the place of its own: a port of `sharedAdmission()`, for this server alone.
   * `maxStartups`, `maxStartupsPerSource` and `penalties` are told to that then, and have no place beside it. The port is closed when the
   * server has stopped, and keeps the program alive until then.
   */
  admission?: MessagePort | undefined;
  /** Called when the server listens. What it throws goes to `onError`. */
  onListen?: ((addr: Deno.NetAddr) => void) | undefined;
}

/** Whom a server talks to at all, before their logins. */
export interface AdmissionOptions {
  /** Connections without a login from which some, and at `full` all, are turned away. @default {{ begin: 60, rate: 30, full: 100 }} */
  maxStartups?: MaxStartups | undefined;
  /**
   * Connections without a login that one source may hold at a time; a source is an IPv4 address or an IPv6 /64. Who has logged in does
   * not count. At the limit a new one takes the place of the source's oldest, if that has had a second. In each second ten connections
   * of a source may end without a login, or a sixth of this where that is more; with more than that behind it, a source is turned away
   * until as much time has passed. @default {60}
   */
  maxStartupsPerSource?: number | undefined;
  /**
   * For how long a source is refused whose logins fail again and again, as by OpenSSH's PerSourcePenalties: by default for a minute
   * and more, once a dozen of its connections have failed in one minute. The client reads why, and `onError` is told when it begins.
   * `false` refuses nobody: for servers behind a proxy, to which all clients have one address, and for tests that fail on purpose.
   * @default {{ authFail: 5000, noAuth: 0, graceExceeded: 0, min: 60000, max: 600000, maxSources: 65536 }}
   */
  penalties?: SourcePenalties | false | undefined;
}

/** How a server shows who it is, and what the two encrypt with. */
export interface ServerHandshakeOptions extends ProtocolOptions {
  /**
   * At least one; no key is ever made up. Of keys of one type the first is shown; one with a certificate, as `withCertificate()` makes it, shows
   * that to clients that ask for certificates, and its key alone to all others. Clients are told of all of them once they have logged in, and have
   * them proved (`hostkeys-00@openssh.com`): a key that is to be replaced is followed by the new one for some time, and then left out.
   */
  hostKeys: readonly Signer[];
  /** Told of what happens on connections, for whoever debugs: never a payload, never a secret. */
  trace?: ((event: TraceEvent) => void) | undefined;
}

/** How a server has clients log in. */
export interface ServerLoginOptions {
  /** Who may log in; required, so that an open server is a written decision. Without a handler in it nobody gets in. */
  auth: ServerAuth;
  /** Milliseconds allowed until login; `Infinity` waits without end. @default {120000} */
  loginTimeout?: number | undefined;
  /** Failed attempts allowed; the first six questions whether a key would do are none. @default {6} */
  maxAuthTries?: number | undefined;
  /** Text sent before the login. */
  banner?: string | undefined;
}

/** What a server does for those who have logged in. */
export interface ServiceOptions extends ChannelOptions {
  /** Shell and exec sessions; both are refused without it. */
  handler?: SessionHandler | undefined;
  /** Subsystems by name. */
  subsystems?: Readonly<Record<string, SessionHandler>> | undefined;
  /** Sessions at a time on one connection. @default {10} */
  maxSessions?: number | undefined;
  /** Channels at a time on one connection. @default {256} */
  maxChannels?: number | undefined;
  /**
   * May this user forward? Asked for each port and Unix socket that a client wants to reach (`direct`, `direct-unix`) or to listen at
   * (`listen`, `listen-unix`); anything but true is no, and so is what it throws, which goes to `onError`. Without it only the grant of a
   * login allows forwards, by `portForwarding`; with it, a grant has to allow them as well where it says something. To listen, the address
   * is bound as the client names it: an empty one or `*` is all addresses, and `localhost` the loopback of both families; other names, and
   * paths with `..` in them, are refused unasked. Hosts to connect to are looked up here, behind this question: allow by a list of what is
   * wanted, as there are many names for the same address.
   * @default {nothing is allowed}
   */
  allowForward?: AllowForward | undefined;
  /**
   * Answers allowed direct forwards to ports in the place of a socket: a proxy, a broker, a web server. The connection is the function's
   * until either side closes it; what the function throws resets it, and goes to `onError`. Unix sockets are opened as without it.
   */
  onForward?: OnForward | undefined;
  /**
   * May programs of a session show windows on the client's display, where the client wants that (`ssh -X`)? It opens a port from 6010 on at
   * 127.0.0.1 for the session, and `session.x11` says how it is used. Without it only the grant of a login allows that, by `x11Forwarding`;
   * with it, a grant has to allow it as well where it says something. What a function throws is no, and goes to `onError`.
   * @default {nobody may}
   */
  allowX11?: AllowLent | undefined;
  /**
   * May a session use the client's agent, where the client lends it (`ssh -A`)? The handler finds it as `session.agent`. With a grant's
   * `agentForwarding` it goes as with `allowX11`. @default {nobody may}
   */
  allowAgent?: AllowLent | undefined;
  /** Addresses and Unix sockets at which one connection may have the server listen. @default {20} */
  maxListeners?: number | undefined;
  /** Milliseconds that connecting to where a client wants to go may take; `Infinity` leaves that to the system. @default {30000} */
  forwardTimeout?: number | undefined;
}

/** Where an error of a server comes from. */
export interface ServeErrorInfo {
  /** Who had connected; undefined for errors of listening, and where the connection does not say. */
  readonly remoteAddr: Deno.Addr | undefined;
}

/** Options of {@linkcode serveConn}. */
export interface ServeConnOptions extends AdmissionOptions, ServerHandshakeOptions, ServerLoginOptions, ServiceOptions {
  /** Stops listening and ends every connection at once; the server's own dispose lets what was written leave first. */
  signal?: AbortSignal | undefined;
  /**
   * Called for connection and handler errors, with the address of who had connected. What it throws is ignored, at once or by a promise.
   * Without it what handlers throw goes to `console.error`, as with `Deno.serve`, and with it errors of accepting connections and of host
   * keys; not what clients do wrong, nor connections that are lost. @default {prints}
   */
  onError?: ((error: unknown, info: ServeErrorInfo) => void) | undefined;
}

/** Options of {@linkcode serve}; names follow `Deno.serve`. */
export interface ServeOptions extends ListenOptions, ServeConnOptions {}

/** A running server: the shape of `Deno.HttpServer`. */
export interface SshServer extends AsyncDisposable {
  /** Where it listens. */
  readonly addr: Deno.NetAddr;
  /** Settles when the server has stopped and its connections have ended; never rejects. */
  readonly finished: Promise<void>;
  /** Accepts no more, drops who has not logged in, waits for the open connections. */
  shutdown(): Promise<void>;
  /** Keeps the event loop alive. */
  ref(): void;
  /** Lets the event loop end. */
  unref(): void;
  /**
   * Stops listening, closes every connection, and waits for that. What handlers have written leaves first; where a client takes nothing
   * of it for 3 seconds, or not all in 30, `onError` is told how much was lost.
   */
  [Symbol.asyncDispose](): Promise<void>;
}
