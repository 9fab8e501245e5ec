/**
 * What `connect()` may be told.
 *
 * @module
 */
import type { AuthMethod } from "../auth/methods.ts";
import type { UpdateHostKeys } from "../host_keys/learn.ts";
import type { HostKeyVerifier } from "../keys/types.ts";
import type { TraceEvent } from "../transport/transport_options.ts";
import type { ByteDuplex } from "../wire/types.ts";
import type { ChannelOptions, ProtocolOptions } from "./options.ts";
import type { SshClient } from "./ssh_client.ts";

/** How a client gets to its server. */
export interface DialOptions {
  /** Host to dial; also the name checked in known hosts. */
  hostname: string;
  /** TCP port. @default {22} */
  port?: number | undefined;
  /** Use these streams instead of dialling: a WebSocket, a channel, a test pipe. A page cannot do without. */
  transport?: ByteDuplex | undefined;
  /**
   * Servers to go through, first to last (`ProxyJump`), 16 at most: each with options as `connect()` takes them, its own login and host key
   * check; or a client that is open, as the first one. What was opened for this connection closes with it; a client that was open stays open.
   * Only the first hop may have a `transport`, a `proxy` or a `proxyCommand`; a hop with a `jump` of its own is reached through that.
   *
   * A text is what `ssh -J` takes, `"alice@bastion:2222"` or several with commas between: login, host key check and the first one's way are those
   * that ssh_config has for it, which is read as {@linkcode loadSshConfig} says. `"none"` is no hop.
   */
  jump?: string | ConnectOptions | SshClient | readonly (string | ConnectOptions | SshClient)[] | undefined;
  /**
   * A program whose standard streams are the connection (`ProxyCommand`), as words, which no shell takes apart. `%h`, `%p` and `%r` stand for
   * host, port and user, `%%` for a percent sign. What it writes to standard error is told where it ends. It is told to end (TERM) with the
   * connection, and made to (KILL) 3 seconds later.
   */
  proxyCommand?: readonly string[] | undefined;
  /**
   * A proxy to go through, which looks up the host's name: `socks5://user:password@host:1080`, `socks4a://host` or `http://host:3128`
   * (CONNECT, with Basic authentication). `"environment"` takes it from `ALL_PROXY` or `HTTPS_PROXY`, unless `NO_PROXY` names the
   * host, and dials without one where none is set. @default {no proxy, whatever the environment says}
   */
  proxy?: string | URL | undefined;
  /**
   * Milliseconds that the server may take for dialling, proxies included, and for the first key exchange, each; the time that `verifyHostKey` takes does
   * not count. `Infinity` waits without end. @default {30000}
   */
  handshakeTimeout?: number | undefined;
}

/** How a client makes sure of its server, and what the two encrypt with. */
export interface HandshakeOptions extends ProtocolOptions {
  /** Host key policy of this server alone: hops of `jump`, and of ProxyJump in ssh_config, have their own. @default {knownHosts()} */
  verifyHostKey?: HostKeyVerifier | undefined;
  /**
   * The name that known_hosts has for the host, in the place of `hostname` and `port` (`HostKeyAlias`): for hosts behind one address, and for
   * one host at many. `verifyHostKey` gets it as the hostname, with port 22. @default {the hostname}
   */
  hostKeyAlias?: string | undefined;
  /**
   * Whether known_hosts learns the server's other host keys after the login, and forgets those that it has no more (`UpdateHostKeys`), where
   * files of `knownHosts()` trust the server by a line of its own: not by a certificate, a pattern or a file of the system. New keys are proved
   * first, and nothing changes where a key is known by another name as well. A function is asked before anything is written, and anything but true
   * keeps the files as they are. The session waits for none of it; what fails is told by `onNotice`. By default it is done where the user's own
   * files are used, and may be written without a question of the runtime, and not where `knownHosts()` was given `files`.
   */
  updateHostKeys?: UpdateHostKeys | undefined;
  /**
   * Told of what a user may want to know and what is no error, such as host keys that a server did not prove. What it throws is ignored.
   * @default {nobody is told}
   */
  onNotice?: ((notice: string) => void) | undefined;
  /** Refuse a server without strict key exchange (CVE-2023-48795). @default {false} */
  requireStrictKex?: boolean | undefined;
  /** Told of what happens, for whoever debugs a connection: never a payload, never a secret. */
  trace?: ((event: TraceEvent) => void) | undefined;
}

/** Who logs in, and by what. */
export interface LoginOptions {
  /** User to log in as. */
  username: string;
  /** Tried in order, as far as the server allows. @default {the agent at `SSH_AUTH_SOCK` and the user's default key files, as `ssh` does} */
  auth?: readonly AuthMethod[] | undefined;
  /** Receives the server's banner. What it throws is ignored. */
  onBanner?: ((text: string) => void) | undefined;
  /** Refuse a server that lets the user in without any proof (CVE-2021-36369). @default {false} */
  requireAuth?: boolean | undefined;
  /**
   * Milliseconds that the whole login may take, with dialling, proxies and the hops of `jump`, each of which has such a limit of its own
   * besides. The clock stands still while `verifyHostKey` or a function, agent or key of `auth` is asked. `Infinity` waits without end.
   * @default {120000}
   */
  loginTimeout?: number | undefined;
}

/** Options of `connect()`. */
export interface ConnectOptions extends DialOptions, HandshakeOptions, LoginOptions, ChannelOptions {
  /**
   * Aborts dialling, handshake and login. After that it sends TERM to what runs and ends the connection at once, without what has been
   * written and has not left; whatever waits then rejects with `SshError` `CLOSED`, whose `cause` is the signal's reason.
   */
  signal?: AbortSignal | undefined;
}
