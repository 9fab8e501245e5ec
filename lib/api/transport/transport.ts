/**
 * One SSH connection step by step: paramiko's `Transport` with promises in the place of events and threads.
 * RFC 4253, RFC 4252, RFC 4254.
 *
 * @module
 */
import { allowedBy, type AttemptOptions, type ClientAuth } from "../../auth/client.ts";
import { Grants } from "../../auth/grants.ts";
import { type AuthMethod, keyboardInteractive, methodNames, none, password, publicKey } from "../../auth/methods.ts";
import type { AuthResult, Prompt } from "../../auth/types.ts";
import type { ChannelOpenRequest, Mux } from "../../connection/mux.ts";
import { printable, SshAuthError, SshError } from "../../errors.ts";
import { checkSigner } from "../../keys/check_key.ts";
import type { PublicKey, Signer } from "../../keys/types.ts";
import { closedError } from "../../transport/closing.ts";
import type { SecureTransport } from "../../transport/secure_transport.ts";
import type { ConnectionInfo } from "../../transport/types.ts";
import { callBack } from "../../wire/callback.ts";
import { checkDuplex, checkFunction, checkText, checkWait } from "../../wire/check.ts";
import { crossing } from "../../wire/crossing.ts";
import { type WaitOptions, withDeadline } from "../../wire/deadline.ts";
import type { ByteDuplex, Bytes, MaybePromise } from "../../wire/types.ts";
import { AcceptQueue } from "./accept_queue.ts";
import { Channel } from "./channel.ts";
import { checkClientHostKeys, checkServerHostKeys } from "../check_options.ts";
import {
  checkGlobalRequest,
  checkOpenChannel,
  checkServerInterface,
  checkTransport,
  checkTransportConnect,
  checkUsername,
} from "./check_transport.ts";
import type { ForwardedAddresses } from "./forwarded_addresses.ts";
import { Connection } from "../connection.ts";
import { checkHostKey } from "./host_key.ts";
import { letGo } from "../let_go.ts";
import { openData } from "../open_data.ts";
import type { TransportLogin, TransportOptions } from "./options.ts";
import { answerPeer, lendingChannels, openByPeer } from "./peer_requests.ts";
import { authOf, type InteractiveQuery, type ServerInterface, withDefaults } from "./server_interface.ts";

export type { Grant } from "../../auth/grants.ts";
export type { AuthResult, Prompt } from "../../auth/types.ts";
export type { BaseChannel } from "../../connection/channel.ts";
export { ChannelOpenError, SshAuthError, SshError, type SshErrorCode, type SshErrorOptions } from "../../errors.ts";
export type { PublicKey, Signer } from "../../keys/types.ts";
export type { ExitStatus, PtyOptions, WindowSize } from "../../session/types.ts";
export type { X11Request } from "../../session/x11_request.ts";
export type {
  AlgorithmOverrides,
  Algorithms,
  ConnectionInfo,
  NegotiatedDirection,
  RekeyLimits,
} from "../../transport/types.ts";
export { decodeText, encodeText } from "../../wire/byte_text.ts";
export type { ByteDuplex, Bytes, MaybePromise } from "../../wire/types.ts";
export { Channel } from "./channel.ts";
export type { ForwardedAddresses } from "./forwarded_addresses.ts";
export type { InteractiveQuery, ServerInterface } from "./server_interface.ts";
export type { TransportLogin, TransportOptions } from "./options.ts";

/** Channels that wait for `accept()`. */
const MAX_UNACCEPTED = 64;

/**
 * One SSH connection over any byte streams, step by step: paramiko's `Transport` with promises in the place of events and threads.
 *
 * | paramiko | here |
 * | --- | --- |
 * | `start_client(event)`, `start_server(event)`: return at once, set the event when negotiation ends | return a promise that settles when negotiation ends; on failure `isActive()` is false |
 * | `open_channel()` returns `None` when refused | rejects with {@linkcode ChannelOpenError}, which says why |
 * | `accept(timeout)` returns `None` at the end | resolves to null at the end, when its signal aborts, or when its time is over |
 *
 * @example A client, step by step
 * ```ts
 * import { Transport } from "@amiko/ssh/transport";
 *
 * async function uptime(hostname: string, fingerprint: string): Promise<void> {
 *   const conn = await Deno.connect({ hostname, port: 22 });
 *   conn.setNoDelay(true);
 *   await using transport = new Transport(conn);
 *   await transport.startClient();
 *   if (await transport.getRemoteServerKey().fingerprint() !== fingerprint) throw new Error("Another host");
 *   await transport.authPassword("alice", "wonderland");
 *   await using channel = await transport.openSession();
 *   await channel.execCommand("uptime");
 *   for await (const chunk of channel.readable) await Deno.stdout.write(chunk);
 *   console.log(await channel.exitStatus);
 * }
 * ```
 */
export class Transport implements ServerInterface, AsyncDisposable {
  /** Settles when the connection has ended: resolves on a clean end, rejects with `SshError` otherwise; never unhandled. */
  readonly closed: Promise<void>;
  readonly #conn: ByteDuplex;
  readonly #wire: ReadableWritablePair<Bytes, Uint8Array> | null;
  readonly #options: TransportOptions;
  readonly #hostKeys: Signer[] = [];
  readonly #closed = Promise.withResolvers<void>();
  readonly #accepted = new AcceptQueue<Channel>(MAX_UNACCEPTED);
  #started = false;
  #negotiated = false;
  #connection: Connection | null = null;
  #auth: ClientAuth | null = null;
  #server: ServerInterface = this;
  #makeChannel = (id: number): Channel => new Channel(id);
  #grants = new Grants([]);
  /** Listening forwards that the peer was granted. */
  readonly #forwards = new Set<string>();

  /**
   * Takes over the streams; without them, {@linkcode Transport.wire} is to be piped to and from whatever carries the bytes. Nothing moves
   * before `startClient()`, `startServer()` or `connect()`. Throws `RangeError` for limits that make no sense, and `TypeError` for
   * algorithms that are not known.
   */
  constructor(conn?: ByteDuplex, options: TransportOptions = {}) {
    checkTransport(conn, options);
    const crossed = conn === undefined ? crossing() : null;
    this.#conn = conn ?? crossed!.inner;
    this.#wire = crossed?.outer ?? null;
    this.#options = options;
    this.closed = this.#closed.promise;
    this.closed.catch(() => {});
  }

  /**
   * The wire side as a pair of streams, so that a connection runs over whatever gives and takes bytes:
   * `socket.readable.pipeThrough(transport.wire).pipeTo(socket.writable)`. Backpressure goes through it both ways. When the connection ends
   * the pipe does, behind the last byte, and an error of either side ends both. Throws `TypeError` where the constructor was given streams.
   */
  get wire(): ReadableWritablePair<Bytes, Uint8Array> {
    if (this.#wire !== null) return this.#wire;
    throw new TypeError("Cannot pipe transport: it reads and writes the streams it was made with");
  }

  /** What the handshake agreed on. Throws `SshError` before that. */
  get info(): ConnectionInfo {
    return this.#live().info;
  }

  /**
   * Key exchange as client; does not check the host key: `getRemoteServerKey()` is there for that, before any secret is sent. Where the
   * signal or the time ends the wait, the connection has ended.
   */
  async startClient(options: WaitOptions = {}): Promise<void> {
    checkWait(options);
    await withDeadline(options, () => "the key exchange", (signal) => this.#startClient(() => true, signal));
  }

  /**
   * Key exchange as server. It resolves when negotiation has ended; authentication through the interface goes on behind it, and
   * `accept()` gives the channels of a client that got in. Where the signal or the time ends the wait, the connection has ended.
   */
  async startServer(
    server: Partial<ServerInterface> = this,
    options: WaitOptions = {},
  ): Promise<void> {
    checkServerInterface(server, Transport.prototype);
    checkWait(options);
    if (this.#hostKeys.length === 0) throw new TypeError("Cannot start server without a host key: call addServerKey()");
    checkServerHostKeys(this.#hostKeys, this.#options.algorithms);
    this.#server = withDefaults(server, this);
    const connection = this.#begin({ role: "server", hostKeys: this.#hostKeys });
    await withDeadline(options, () => "the key exchange", (signal) => connection.start({ signal }));
    this.#negotiated = true;
    connection.serveLogin({
      auth: authOf(this.#server),
      onError: (error) => this.#report(error),
    }, (_mux, _user, _passed, grants) => this.#grants = grants).catch(() => {
      // `closed` tells why.
    });
  }

  /** Adds a host key; before startServer. */
  addServerKey(key: Signer): void {
    checkSigner("key", key);
    if (this.#started) throw new TypeError("Cannot add a host key: negotiation has begun");
    this.#hostKeys.push(key);
  }

  /**
   * startClient, host key check and login in one; without `hostKey` any host key will do. With a key and a password, the key is tried
   * first and the password where the server wants more or else; with neither, nobody is logged in. Rejects with `HostKeyError` before any
   * secret is sent, or with `SshAuthError`, and the connection has ended then.
   */
  async connect(options: TransportLogin): Promise<void> {
    checkTransportConnect(options);
    const what = (): string => `the key exchange and the login as "${printable(options.username, 64)}"`;
    await withDeadline(options, what, (signal) => this.#connect(options, signal));
  }

  async #connect(options: TransportLogin, signal: AbortSignal | undefined): Promise<void> {
    const { username, hostKey } = options;
    await this.#startClient(hostKey === undefined ? () => true : (key) => checkHostKey(key, hostKey), signal);
    const methods: AuthMethod[] = [];
    if (options.key !== undefined) methods.push(publicKey(options.key));
    if (options.password !== undefined) methods.push(password(options.password));
    try {
      for (const [i, method] of methods.entries()) {
        const last = i === methods.length - 1;
        const needed = await this.#attempt(username, method, { signal, othersFollow: !last }).catch((error) => {
          if (last || !(error instanceof SshAuthError) || !this.isActive()) throw error;
          return error.remaining;
        });
        if (this.#mux !== null) return;
        if (last) {
          throw new SshAuthError(
            `Cannot log in as "${printable(username, 64)}": the server wants ${
              needed.map((name) => printable(name, 64)).join(" or ")
            } as well`,
            needed,
          );
        }
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** The key the server proved in the key exchange. Throws `SshError` before that. */
  getRemoteServerKey(): PublicKey {
    return this.#live().info.hostKey;
  }

  /**
   * Tries no credentials; resolves to the methods still needed. A refusal rejects with {@linkcode SshAuthError}, whose `remaining` are
   * the methods that the server allows. A server that names none does not say: after a refusal any method may do, and after a partial
   * success what is needed are all methods but the one that passed. Where the signal or the time ends the wait, here as with the other
   * methods, the connection has ended: an answer could still come.
   */
  async authNone(username: string, options: WaitOptions = {}): Promise<readonly string[]> {
    return await this.#try(username, none(), options);
  }

  /** Tries a password; resolves to the methods still needed, none after a login. A refusal rejects with {@linkcode SshAuthError}. */
  async authPassword(username: string, secret: string, options: WaitOptions = {}): Promise<readonly string[]> {
    checkText("password", secret);
    return await this.#try(username, password(secret), options);
  }

  /** Tries a key; resolves to the methods still needed, none after a login. A refusal rejects with {@linkcode SshAuthError}. */
  async authPublickey(username: string, key: Signer, options: WaitOptions = {}): Promise<readonly string[]> {
    checkSigner("key", key);
    return await this.#try(username, publicKey(key), options);
  }

  /** Answers questions; resolves to the methods still needed, none after a login. A refusal rejects with {@linkcode SshAuthError}. */
  async authInteractive(
    username: string,
    answer: (title: string, text: string, prompts: readonly Prompt[]) => MaybePromise<readonly string[]>,
    options: WaitOptions = {},
  ): Promise<readonly string[]> {
    checkFunction("answer", answer ?? null, "a function that gives a list of answers");
    const method = keyboardInteractive(({ name, instruction, prompts }) => answer(name, instruction, prompts));
    return await this.#try(username, method, options);
  }

  /** See {@linkcode ServerInterface}; rejects unless overridden. */
  checkChannelRequest(
    _kind: string,
    _channelId: number,
    _addresses?: ForwardedAddresses,
  ): MaybePromise<Channel | null> {
    return null;
  }

  /** See {@linkcode ServerInterface}; unless overridden: the methods whose `checkAuth…` is overridden. */
  getAllowedAuths(_username: string): MaybePromise<readonly string[]> {
    const base = Transport.prototype, methods: string[] = [];
    if (this.checkAuthPublickey !== base.checkAuthPublickey) methods.push("publickey");
    if (this.checkAuthPassword !== base.checkAuthPassword) methods.push("password");
    if (this.checkAuthInteractive !== base.checkAuthInteractive) methods.push("keyboard-interactive");
    return methods;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  checkAuthNone(_username: string): MaybePromise<AuthResult> {
    return false;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  checkAuthPassword(_username: string, _password: string): MaybePromise<AuthResult> {
    return false;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  checkAuthPublickey(_username: string, _key: PublicKey): MaybePromise<AuthResult | null> {
    return false;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  checkAuthInteractive(
    _username: string,
    _answers: readonly string[] | null,
  ): MaybePromise<AuthResult | InteractiveQuery> {
    return false;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  checkPortForwardRequest(_hostname: string, _port: number): MaybePromise<number | false> {
    return false;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  cancelPortForwardRequest(_hostname: string, _port: number): MaybePromise<boolean> {
    return false;
  }

  /** See {@linkcode ServerInterface}; refuses unless overridden. */
  checkGlobalRequest(_name: string, _data: Bytes): MaybePromise<Bytes | boolean> {
    return false;
  }

  /** Whether the connection is up: negotiated, and not ended. */
  isActive(): boolean {
    return this.#negotiated && this.#connection!.transport.isActive;
  }

  /** Whether login is done and the connection is up. */
  isAuthenticated(): boolean {
    return this.#mux !== null && this.isActive();
  }

  /** Opens a session channel. Rejects with {@linkcode ChannelOpenError}. */
  async openSession(options: WaitOptions = {}): Promise<Channel> {
    return await this.openChannel("session", options);
  }

  /**
   * Opens any channel. `dest` and `origin` are the addresses that `direct-tcpip`, `forwarded-tcpip` and `x11` carry (RFC 4254 sections
   * 6.3.2 and 7.2); `data` is what follows the fixed fields of any other. Rejects with {@linkcode ChannelOpenError}.
   */
  async openChannel(
    kind: string,
    options: {
      dest?: Deno.NetAddr | undefined;
      origin?: Deno.NetAddr | undefined;
      data?: Uint8Array | undefined;
    } & WaitOptions = {},
  ): Promise<Channel> {
    checkOpenChannel(kind, options);
    const mux = this.#loggedInMux(), data = openData(kind, options);
    const what = (): string => `the peer to open a ${printable(kind, 64)} channel`;
    return await withDeadline(options, what, (signal) => mux.openChannel(kind, data, this.#makeChannel, { signal }));
  }

  /** Next channel the peer opened, or null at the end, when the signal aborts, or when the time is over. */
  async accept(options: WaitOptions = {}): Promise<Channel | null> {
    checkWait(options);
    return await withDeadline(options, () => "a channel", (signal) => this.#accepted.next(signal));
  }

  /** Sends a global request; resolves to its reply's payload, or to null when the peer refused it. */
  async globalRequest(name: string, data?: Uint8Array, options: WaitOptions = {}): Promise<Bytes | null> {
    checkGlobalRequest(name, data);
    checkWait(options);
    const mux = this.#loggedInMux(), what = (): string => `the peer to answer global request "${printable(name, 64)}"`;
    return await withDeadline(options, what, (signal) => mux.globalRequest(name, data, { signal }));
  }

  /** Renews the keys now. */
  async renegotiateKeys(): Promise<void> {
    await this.#live().rekey();
  }

  /**
   * Disconnects, and resolves when the streams are released. What has been written leaves first; where the peer takes nothing of it for
   * 3 seconds, or not all in 30, the rest is lost, and `closed` rejects and says how much. Never rejects.
   */
  async close(): Promise<void> {
    if (this.#connection !== null) await this.#connection.transport.close().catch(() => {});
    else if (!this.#started) {
      this.#started = true;
      await letGo(this.#conn, closedError(null));
      this.#accepted.end();
      this.#closed.resolve();
    }
  }

  /** Same as {@linkcode Transport.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ------------------------------------------------------------ negotiation and login

  async #startClient(
    verifyHostKey: (key: PublicKey) => MaybePromise<boolean>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    checkClientHostKeys(this.#options.algorithms);
    const connection = this.#begin({ role: "client", verifyHostKey });
    await connection.start({ signal });
    this.#negotiated = true;
    this.#auth = connection.login({
      onBanner: this.#options.onBanner,
      onError: (error) => this.#report(error),
    }, (mux) => this.#makeChannel = lendingChannels(mux, (error) => this.#report(error)));
  }

  #begin(
    side: { role: "server"; hostKeys: readonly Signer[] } | {
      role: "client";
      verifyHostKey: (key: PublicKey) => MaybePromise<boolean>;
    },
  ): Connection {
    if (this.#started) throw new TypeError("Cannot start transport: it has been started or closed already");
    checkDuplex("conn", this.#conn);
    const connection = new Connection(this.#conn, side, this.#options, {
      onError: (error) => this.#report(error),
      ...side.role === "server" && {
        onOpen: (request: ChannelOpenRequest) => openByPeer(this.#server, request, this.#accepted, () => this.#grants),
        onGlobalRequest: (name: string, data: Bytes) =>
          answerPeer(this.#server, name, data, this.#grants, this.#forwards),
      },
    });
    this.#started = true;
    this.#connection = connection;
    const { closed } = connection.transport, ended = (): void => this.#accepted.end();
    closed.then(ended, ended);
    this.#closed.resolve(closed);
    return connection;
  }

  async #try(username: string, method: AuthMethod, options: WaitOptions): Promise<readonly string[]> {
    checkUsername(username);
    checkWait(options);
    const what = (): string => `the login as "${printable(username, 64)}" with ${method.name}`;
    return await withDeadline(options, what, (signal) => this.#attempt(username, method, { signal }));
  }

  async #attempt(username: string, method: AuthMethod, options: AttemptOptions): Promise<readonly string[]> {
    if (this.#auth === null) throw new TypeError("Cannot log in: startClient() has not been called, or not ended");
    const { success, partial, remaining, notes } = await this.#auth.attempt(username, method, options);
    if (success) return [];
    // An empty list would say that nothing is needed.
    if (partial) return remaining.length > 0 ? remaining : methodNames.filter((name) => name !== method.name);
    const why = notes.length === 0 ? "" : `: ${notes.join("; ")}`;
    throw new SshAuthError(
      `Cannot log in as "${printable(username, 64)}" with ${method.name}: the server refused${why}; ${
        allowedBy(remaining)
      }`,
      remaining,
    );
  }

  /** An error of the error handler has nowhere to go, and must not end anything. */
  #report(error: unknown): void {
    callBack(() => this.#options.onError?.(error));
  }

  get #mux(): Mux | null {
    return this.#connection?.mux ?? null;
  }

  #live(): SecureTransport {
    if (this.#connection === null) throw new SshError("Transport has not negotiated yet", { code: "CLOSED" });
    return this.#connection.transport;
  }

  #loggedInMux(): Mux {
    if (this.#mux !== null) return this.#mux;
    throw new SshError("Cannot use connection: nobody is logged in yet", { code: "CLOSED" });
  }
}
