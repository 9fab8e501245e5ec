/**
 * What an authenticated connection can do for a client.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { printable, SshError } from "../errors.ts";
import type { ClientForwards, RemoteAddress } from "../forward/client.ts";
import type { SshConn } from "../forward/conn.ts";
import type { Forward, ForwardOptions } from "../forward/forward.ts";
import type { SshListener } from "../forward/listener.ts";
import type { TcpAddress, TcpListenAddress, UnixAddress } from "../forward/local_sockets.ts";
import type { RemoteTarget } from "../forward/standing.ts";
import type { ClientHttp } from "../http/client.ts";
import type { HttpClientOptions } from "../http/http_client.ts";
import type { HttpHandler } from "../http/serve.ts";
import { checkExec } from "../session/check_options.ts";
import { outputOf, type ProcessServices, type RemoteProcess, startProcess } from "../session/process.ts";
import { terminateAll } from "../session/client_session.ts";
import { commandLine, type ShellValue } from "../session/quote.ts";
import { type CommandTemplate, type RemoteCommand, remoteCommand } from "../session/remote_command.ts";
import type { SudoOptions } from "../session/sudo.ts";
import type { ExecOptions, ExecOutput } from "../session/types.ts";
import type { SftpClient } from "../sftp/client.ts";
import type { ConnectionInfo } from "../transport/types.ts";
import { checkWait } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { checkSignalOption } from "../wire/check.ts";
import type { Bytes } from "../wire/types.ts";
import type { ClientTransport } from "./client_transport.ts";
import { endOnAbort } from "./connection.ts";
import type { Lending } from "./lending.ts";
import { openData } from "./open_data.ts";
import { ownStream } from "./own_streams.ts";
import { ownInput, ownPty } from "./system_terminal.ts";
import { type ScpClient, scpClient } from "./scp.ts";
import type { SftpChannels, SftpOptions } from "./sftp_channels.ts";
import { Channel } from "./transport/channel.ts";
import type { Held } from "./way.ts";
import { checkCarried, checkGlobalRequest } from "./transport/check_transport.ts";

/** What a client is made of, once the login is done. */
interface Parts {
  readonly transport: ClientTransport;
  readonly mux: Mux;
  /** Ends it. */
  readonly signal: AbortSignal | undefined;
  /** What the transport runs over: closed when that has ended, and told of `ref()` and `unref()`. */
  readonly way: Held;
  /** Where it leads, for errors of what runs through it. */
  readonly place: string;
}

/** Makes a client. */
export let clientOver: (parts: Parts) => SshClient;

/** What a client is for those that run through it. */
export interface Whereabouts {
  /** Where it leads. */
  readonly place: string;
  /** Why its connection has ended, or null while it has not. */
  readonly endedBy: Error | null;
  /** When its server last sent something, by `performance.now()`. */
  readonly lastReceived: number;
  /** Asks its server for a sign of life, where that can be asked. */
  askForLife(): void;
}

/** What a client is for those that run through it, as of now. */
export let whereabouts: (client: SshClient) => Whereabouts;

/** What sessions of a client are given unless their options say otherwise; where the server refuses to take it, they go on without. */
export let giveSessions: (client: SshClient, defaults: Pick<ExecOptions, "env" | "agent" | "x11">) => void;

/** An authenticated connection. A server opens no channels to it, but for those that belong to what it was asked to listen on. */
export class SshClient implements AsyncDisposable {
  /** Resolves on a clean end, rejects with {@linkcode SshError} otherwise; never an unhandled rejection. */
  readonly closed: Promise<void>;
  readonly #transport: ClientTransport;
  readonly #mux: Mux;
  readonly #way: Held;
  readonly #place: string;
  #forwards: Promise<ClientForwards> | null = null;
  #lending: Promise<Lending> | null = null;
  #http: Promise<ClientHttp> | null = null;
  #sftp: Promise<SftpChannels> | null = null;
  #sessions: Pick<ExecOptions, "env" | "agent" | "x11"> = {};
  #refed = true;

  static {
    giveSessions = (client, defaults) => void (client.#sessions = defaults);
    clientOver = (parts) => new SshClient(parts);
    whereabouts = (client) => {
      const mux = client.#mux, isLent = client.#transport.lender !== undefined;
      return {
        place: client.#place,
        endedBy: mux.endedBy,
        // Of a connection that is somebody else's nobody can tell.
        lastReceived: isLent ? Infinity : mux.lastReceived,
        askForLife: () => isLent ? undefined : mux.askForLife(),
      };
    };
  }

  private constructor({ transport, mux, signal, way, place }: Parts) {
    this.#transport = transport;
    this.#mux = mux;
    this.#way = way;
    this.#place = place;
    this.closed = way.close === undefined ? transport.closed : transport.closed.finally(way.close);
    this.closed.catch(() => {});
    endOnAbort(transport, signal, () => terminateAll(mux));
  }

  /** What the handshake agreed on. Throws `SshError` through a control socket: it was the master's, who does not tell. */
  get info(): ConnectionInfo {
    return this.#transport.info;
  }

  /**
   * Runs a command to its end and collects its output, like `Deno.Command.output()`. Standard input is empty, and ends at once unless
   * it is `"open"` or says what is sent. A command that is no UTF-8 is given as {@linkcode decodeText} says. An exit code other than 0 is no
   * error unless `check` says so, as `run()` does. Rejects with `SshError` when the server refuses, or with the reason of the signal.
   */
  async exec(command: string, options: ExecOptions = {}): Promise<ExecOutput> {
    checkExec(options);
    if (options.stdin === "piped") {
      throw new TypeError('Cannot execute command with "piped" stdin: nobody could write to it, use spawn()');
    }
    const process = await this.spawn(command, { ...options, stdin: options.stdin ?? "null" });
    return await outputOf(process);
  }

  /** Runs a command as `exec()` does, and rejects with {@linkcode SshCommandError} unless its exit code is 0. */
  async run(command: string, options: ExecOptions = {}): Promise<ExecOutput> {
    checkExec(options);
    return await this.exec(command, { ...options, check: true });
  }

  /**
   * Runs a command whose values are quoted for a POSIX shell, as {@linkcode quote} does; an array becomes words. It runs once it is
   * awaited or asked for its `text()`, `lines()` or `json()`, and rejects with {@linkcode SshCommandError} unless its exit code is 0.
   * Throws `TypeError` for a value that stands where quoting does not hold: within quotes, behind a backslash, `$` or `<<`.
   *
   * @example A tree of files
   * ```ts
   * import type { SshClient } from "@amiko/ssh";
   *
   * async function names(client: SshClient, dir: string): Promise<string> {
   *   return await client.$`ls -- ${dir}`.text();
   * }
   * ```
   */
  $(strings: TemplateStringsArray, ...values: readonly ShellValue[]): RemoteCommand;
  /**
   * A template whose commands run with options: `` client.$({ timeout: 5000, cwd: "src" })`make ${target}` ``. The exit code is checked
   * unless `check` is false. Throws `TypeError` and `RangeError` for options that make no sense.
   */
  $(options: ExecOptions): CommandTemplate;
  $(first: TemplateStringsArray | ExecOptions, ...values: readonly ShellValue[]): RemoteCommand | CommandTemplate {
    if (Array.isArray(first)) return remoteCommand(this, commandLine(first, values));
    if (typeof first !== "object" || first === null) {
      throw new TypeError("Cannot run command: `$` goes before a template, without parentheses; run() takes a text");
    }
    const options = first as ExecOptions;
    checkExec(options);
    if (options.stdin === "piped") {
      throw new TypeError('Cannot run command with "piped" stdin: nobody could write to it');
    }
    return (strings, ...values) => remoteCommand(this, commandLine(strings, values), options);
  }

  /**
   * Runs a command as root, or as `user`, by `sudo`, through `sh -c`; otherwise as `exec()` does. The password goes to sudo's standard
   * input, or to its terminal with `pty`, when sudo asks, once; it is in no command line, environment, output or error, and never goes to
   * the command, whose input comes behind it. `cwd` and `env` are set behind sudo, where the command line shows them. What sudo itself
   * says is no output. It is `sh` that sudoers must allow. sudo runs as root, and no signal of the user reaches it: where `signal` or
   * `timeout` ends the wait, a terminal ends the command, and without one it goes on until it next reads or writes.
   *
   * Rejects with `SshError` `AUTH_FAILED` for a wrong password, which is not tried again, `REQUEST_DENIED` with sudo's words where it
   * refuses, is missing, or wants a terminal or a password that was not given, and `TypeError` for a password that sudo would not read as
   * one.
   *
   * @example Into a file of root's
   * ```ts
   * import type { SshClient } from "@amiko/ssh";
   *
   * async function greet(client: SshClient, password: string): Promise<void> {
   *   await client.sudo("cat > /etc/motd", { password, stdin: { text: "Welcome\n" }, check: true });
   * }
   * ```
   */
  async sudo(command: string, options: SudoOptions = {}): Promise<ExecOutput> {
    checkSignalOption(options);
    const { runBySudo } = await import("../session/sudo.ts");
    const { password, user, ...rest } = options;
    return await runBySudo(this.#mux, command, { ...this.#given(rest), password, user }, this.#here());
  }

  /** Starts a command, like `Deno.Command.spawn()`; resolves when the server has accepted it. */
  spawn(command: string, options: ExecOptions = {}): Promise<RemoteProcess> {
    return startProcess(this.#mux, { kind: "exec", command }, this.#given(options), this.#here());
  }

  /** Starts a login shell. Without `pty` it is one without prompt and job control. */
  shell(options: ExecOptions = {}): Promise<RemoteProcess> {
    return startProcess(this.#mux, { kind: "shell" }, this.#given(options), this.#here());
  }

  /** Starts a subsystem such as `netconf`. */
  subsystem(name: string, options: ExecOptions = {}): Promise<RemoteProcess> {
    return startProcess(this.#mux, { kind: "subsystem", name }, this.#given(options), this.#here());
  }

  /**
   * Opens an SFTP session; the signal and the time end the opening, and not what was opened. Rejects with `SshError` `REQUEST_DENIED` where the
   * server has no such subsystem, and with `RangeError` for a number of channels that cannot be.
   */
  async sftp(options: SftpOptions = {}): Promise<SftpClient> {
    checkWait(options);
    return await (await this.#sftps()).open(options);
  }

  #sftps(): Promise<SftpChannels> {
    return this.#sftp ??= import("./sftp_channels.ts").then(({ SftpChannels }) => {
      if (this.#transport.lender !== undefined) return new SftpChannels(this.#mux, null);
      const { remoteIdent: peer, localIdent: own } = this.info;
      return new SftpChannels(this.#mux, { peer, own });
    });
  }

  /** Copies by SCP, for servers without SFTP. */
  get scp(): ScpClient {
    return scpClient(this.#mux, { giveRoom: this.#giveRoom });
  }

  /**
   * Opens a TCP connection from the server's side (`direct-tcpip`, RFC 4254 section 7.2), like `Deno.connect()`. The server looks the
   * name up. The signal and the time end the opening, and not what was opened. Rejects with `ChannelOpenError` where the server does not allow it,
   * or cannot connect, and with `TypeError` or `RangeError` for what is no host or port.
   */
  async dial(
    options: { hostname: string; port: number } & WaitOptions,
  ): Promise<SshConn<Deno.NetAddr>> {
    return await (await this.#paths()).dial(options);
  }

  /** As {@linkcode SshClient.dial} to a Unix socket on the server's side (`direct-streamlocal@openssh.com`). */
  async dialUnix(path: string, options?: WaitOptions): Promise<SshConn<Deno.UnixAddr>> {
    return await (await this.#paths()).dialUnix(path, options);
  }

  /**
   * Has the server listen (`tcpip-forward`, RFC 4254 section 7.1), like `Deno.listen()`. `hostname` is an address of the server's, ""
   * for all of them, and `"localhost"`, which is the default, for its loopback addresses. With port 0 the server chooses one, which
   * `addr` tells. 256 connections wait to be accepted; more are refused. The signal ends the listening,
   * and the time the asking for it. Rejects with `SshError`
   * `REQUEST_DENIED` where the server refuses, and with `TypeError` or `RangeError` for what is no host or port.
   */
  async listen(
    options: { hostname?: string | undefined; port: number } & WaitOptions,
  ): Promise<SshListener<Deno.NetAddr>> {
    return await (await this.#paths()).listen(options);
  }

  /** As {@linkcode SshClient.listen} on a Unix socket on the server's side (`streamlocal-forward@openssh.com`). */
  async listenUnix(path: string, options?: WaitOptions): Promise<SshListener<Deno.UnixAddr>> {
    return await (await this.#paths()).listenUnix(path, options);
  }

  /**
   * `ssh -L`: accepts here, connects from the server's side. `from` and `to` are `{ hostname, port }` or `{ path }` of a Unix socket.
   * Listens on 127.0.0.1 unless `from` says otherwise, unlike `Deno.listen()`. A connection that cannot be made is closed, and told to
   * `onError`; the forward goes on. Throws what `Deno.listen()` throws.
   */
  async forwardLocal(
    from: TcpListenAddress | UnixAddress,
    to: RemoteTarget,
    options: ForwardOptions = {},
  ): Promise<Forward> {
    return await (await this.#paths()).forwardLocal(from, to, options);
  }

  /**
   * `ssh -R`: the server accepts, as with {@linkcode SshClient.listen}, and connections are made here. `from` and `to` are `{ hostname,
   * port }` or `{ path }` of a Unix socket; the hostname of `to` is 127.0.0.1 by default. A connection that cannot be made is refused, and
   * told to `onError`; the forward goes on.
   */
  async forwardRemote(
    from: RemoteAddress,
    to: TcpAddress | UnixAddress,
    options: ForwardOptions = {},
  ): Promise<Forward> {
    return await (await this.#paths()).forwardRemote(from, to, options);
  }

  /**
   * `ssh -D`: a server of SOCKS4, 4A and 5 without login here, whose connections are made from the server's side, where names are looked
   * up, too. Listens on 127.0.0.1 unless `from` says otherwise. A client gets 30 seconds to say what it wants.
   */
  async forwardDynamic(from: TcpListenAddress | UnixAddress, options: ForwardOptions = {}): Promise<Forward> {
    return await (await this.#paths()).forwardDynamic(from, options);
  }

  /** Options of a session, with what all of them are lent. */
  #given(options: ExecOptions): ExecOptions {
    const { env: _env, ...lent } = this.#sessions;
    if (Object.keys(lent).length === 0) return options;
    checkExec(options);
    const { agent = lent.agent, x11 = lent.x11 } = options;
    return { ...options, agent, x11 };
  }

  readonly #giveRoom = async (): Promise<boolean> => await (await this.#sftp)?.giveRoom() ?? false;

  readonly #here = (): ProcessServices => ({
    env: this.#sessions.env,
    giveRoom: this.#giveRoom,
    lend: async (options) => {
      this.#lending ??= import("./lending.ts").then(({ Lending }) => new Lending(this.#mux, this.#transport));
      return await (await this.#lending).lend(options, this.#sessions);
    },
    own: ownStream,
    ownInput,
    ownPty,
  });
  /**
   * Fetches from a host that the server reaches, and looks up, with Deno's `fetch()`: `http:` and `https:`, HTTP/1.1 with connections that
   * are kept, HTTP/2 where a server of HTTPS offers it. Certificates are checked here, against the host of the URL. `client` is one of
   * {@linkcode SshClient.createHttpClient}. Rejects with `ChannelOpenError` where the server does not allow or cannot make the
   * connection, with the error of an SSH connection that is lost, which fails a body in the midst, too, and else as `fetch()` does, with
   * `TypeError` or the signal's reason. A body whose end nothing announces fails as well where a far end that runs this module has cut it.
   *
   * Takes `--allow-net` for 127.0.0.1, where a socket that lets in nobody but this program is between Deno's HTTP client and the
   * connection, and for the host of the URL, as `fetch()` wants. It refuses the ports that `fetch()` does, 22 and 6000 among them. Where
   * `NO_PROXY` names the host, takes `--allow-env=NO_PROXY,no_proxy`, and rejects with `TypeError` without: it never connects from here.
   * Deno has this machine's resolver look names up as well, and makes no use of what that says.
   *
   * @example A host that only the server reaches, and a Unix socket there
   * ```ts
   * import type { SshClient } from "@amiko/ssh";
   *
   * async function version(client: SshClient): Promise<string> {
   *   const page = await client.fetch("http://intranet.example/");
   *   console.log(await page.text());
   *   using docker = await client.createHttpClient({ path: "/var/run/docker.sock" });
   *   const response = await client.fetch("http://localhost/version", { client: docker });
   *   return (await response.json()).Version;
   * }
   * ```
   */
  async fetch(
    input: string | URL | Request,
    init?: RequestInit & { client?: Deno.HttpClient | undefined },
  ): Promise<Response> {
    return await (await this.#web()).fetch(input, init);
  }

  /**
   * Makes a client for {@linkcode SshClient.fetch}, or for `new WebSocket(url, { client })`, whose connections lead through the server:
   * with certificates of its own, or to a Unix socket there, as in `fetch("http://localhost/info", { client })` with `{ path:
   * "/var/run/docker.sock" }`. It ends with the connection, or with `close()`. Takes the permissions that `fetch()` does.
   */
  async createHttpClient(options: HttpClientOptions = {}): Promise<Deno.HttpClient> {
    return (await this.#web()).createHttpClient(options);
  }

  /**
   * Serves HTTP where the server listens, as with {@linkcode SshClient.listen}, or on a Unix socket there, with Deno's HTTP server:
   * bodies are streams, and `Deno.upgradeWebSocket()` works. The `remoteAddr` of `info` is who has connected there. What the handler
   * throws answers 500; it is told to `onError`, and printed without one, as with `Deno.serve()`. `shutdown()` lets requests be
   * answered, `close()` cuts them. Takes `--allow-net=127.0.0.1`, where a socket that answers only what comes through the connection is
   * between the two. Rejects as `listen()` does.
   */
  async serve(options: RemoteAddress & ForwardOptions, handler: HttpHandler): Promise<Forward> {
    return await (await this.#web()).serve(options, handler);
  }

  #web(): Promise<ClientHttp> {
    return this.#http ??= Promise.all([import("../http/client.ts"), this.#paths()])
      .then(([{ ClientHttp }, paths]) => new ClientHttp(paths));
  }

  #paths(): Promise<ClientForwards> {
    return this.#forwards ??= import("../forward/client.ts").then(({ ClientForwards }) => {
      const forwards = new ClientForwards(this.#mux, this.#transport.closed, this.#transport.lender);
      forwards.host.refs.setRef(this.#refed);
      return forwards;
    });
  }

  /**
   * Opens a channel of any type, `data` being what follows the fixed fields of CHANNEL_OPEN (RFC 4254 section 5.1), or the addresses
   * that `direct-tcpip`, `forwarded-tcpip` and `x11` carry there. The signal and the time end the opening, and not what was opened.
   * Rejects with `ChannelOpenError`.
   */
  async openChannel(
    type: string,
    data?: Uint8Array | { dest?: Deno.NetAddr | undefined; origin?: Deno.NetAddr | undefined },
    options: WaitOptions = {},
  ): Promise<Channel> {
    checkWait(options);
    const carried = openData(type, checkCarried(type, data)),
      what = `the server to open a ${printable(type, 64)} channel`;
    const open = (signal: AbortSignal | undefined): Promise<Channel> =>
      this.#mux.openChannel(type, carried, (id) => new Channel(id), { signal });
    return await withDeadline(options, () => what, open);
  }

  /** Sends a global request (RFC 4254 section 4) and resolves to its reply's payload. Rejects with `SshError` `REQUEST_DENIED`. */
  async request(name: string, data?: Uint8Array, options: WaitOptions = {}): Promise<Bytes> {
    checkGlobalRequest(name, data);
    checkWait(options);
    const what = (): string => `the server to answer global request "${printable(name, 64)}"`;
    const ask = (signal: AbortSignal | undefined): Promise<Bytes | null> =>
      this.#mux.globalRequest(name, data, { signal });
    const reply = await withDeadline(options, what, ask);
    if (reply !== null) return reply;
    throw new SshError(`Cannot make global request "${name}": the server refused it`, { code: "REQUEST_DENIED" });
  }

  /** The connection keeps the program alive, as it does unless {@linkcode SshClient.unref} was called. */
  ref(): void {
    this.#setRef(true);
  }

  /**
   * Lets the program end while the connection is open, as `unref()` of `Deno.Conn` does: the server then sees it break, and nothing says
   * goodbye. What is to be heard to its end, `close()` among it, wants `ref()` again. What was opened for the connection, hops, a program and the
   * sockets of its forwards, is meant with it; streams that were given as `transport`, and a hop that was open before, are the program's own to unref.
   */
  unref(): void {
    this.#setRef(false);
  }

  #setRef(refed: boolean): void {
    this.#transport.setRef(refed);
    this.#mux.setRef(refed);
    this.#way.setRef?.(refed);
    this.#refed = refed;
    void this.#forwards?.then(({ host }) => host.refs.setRef(this.#refed), () => {});
  }

  /** Renews the keys now. */
  rekey(): Promise<void> {
    return this.#transport.rekey();
  }

  /**
   * Disconnects: what has been written leaves first, and nothing new begins. Where the server takes nothing of it for 3 seconds, or not
   * all in 30, the rest is lost, and `closed` rejects and says how much. What still runs rejects with `SshError` `CLOSED`. Never rejects.
   */
  async close(): Promise<void> {
    await this.#way.settle?.();
    // A connection that is lost is closed; `closed` says why.
    await this.#transport.close().catch(() => {});
    await this.closed.catch(() => {});
  }

  /** Same as {@linkcode SshClient.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
