/**
 * The low-level channel: byte streams each way, requests, and the methods a server overrides to serve a client's requests.
 * RFC 4254 sections 5 and 6.
 *
 * @module
 */
import { Grants } from "../../auth/grants.ts";
import { BaseChannel, channelCore } from "../../connection/channel.ts";
import { SshError, SshProtocolError } from "../../errors.ts";
import { checkCommand, checkSignalName, checkX11Request } from "../../session/check_options.ts";
import { granted, type Start } from "../../session/granted.ts";
import {
  AuthAgentReq,
  Env,
  Exec,
  ExitSignal,
  ExitStatusRequest,
  PtyReq,
  Shell,
  Signal,
} from "../../session/messages.ts";
import { Subsystem, WindowChange, withoutSig, X11Req } from "../../session/messages.ts";
import { decodeExit, encodePty, encodeSignal, encodeWindowSize } from "../../session/encoding.ts";
import { startOn } from "../../session/start.ts";
import { decodeTerminalModes } from "../../session/terminal_modes.ts";
import type { ExitStatus, PtyOptions, WindowSize } from "../../session/types.ts";
import { readX11Request, type X11Request } from "../../session/x11_request.ts";
import { randomBytes } from "../../crypto/random.ts";
import { toHex } from "../../wire/base_text.ts";
import { isThenable } from "../../wire/callback.ts";
import { checkFunction, checkText } from "../../wire/check.ts";
import type { Bytes, MaybePromise } from "../../wire/types.ts";
import { X11Open } from "../../x11/messages.ts";
import type { ForwardedAddresses } from "./forwarded_addresses.ts";
import type { LentDoors, LentKind } from "./lent_doors.ts";

/** Puts a server's channel under what its user's login may do: its `check…` methods are asked for no more. */
export let putUnder: (channel: Channel, grants: Grants, addresses: ForwardedAddresses | null) => void;

/** Lets a channel of the client's side ask for channels that the server opens. */
export let lendThrough: (channel: Channel, doors: LentDoors<Channel>) => void;

const MAX_VARIABLES = 128;
const MAX_REQUEST = 32 * 1024;

const x11Channels: LentKind<Deno.NetAddr> = {
  type: "x11",
  read: (data) => {
    const { originHost: hostname, originPort: port } = X11Open.decode(data);
    return { transport: "tcp", hostname, port };
  },
};
const agentChannels: LentKind<void> = { type: "auth-agent@openssh.com", read: () => {} };

/**
 * A multiplexed channel: a readable/writable pair with requests.
 * On the server, subclass it and override the `check…` methods to serve a client's requests; each refuses unless overridden.
 *
 * @example A server's channel that answers commands
 * ```ts
 * import { Channel } from "@amiko/ssh/transport";
 *
 * class Greeter extends Channel {
 *   override checkExecRequest(command: string): boolean {
 *     // A client may leave before it has its answer.
 *     this.greet(command).catch(() => {});
 *     return true;
 *   }
 *   async greet(name: string): Promise<void> {
 *     const writer = this.writable.getWriter();
 *     await writer.write(new TextEncoder().encode(`Hello ${name}\n`));
 *     await writer.close();
 *     this.sendExitStatus(0);
 *     await this.close();
 *   }
 * }
 * ```
 */
export class Channel extends BaseChannel {
  #grants = new Grants([]);
  #addresses: ForwardedAddresses | null = null;
  #doors: LentDoors<Channel> | null = null;
  /** What the server may open for this channel. */
  readonly #lent = new DisposableStack();
  /** The peer has started something here, or been asked to. */
  #begun = false;
  #started = false;
  #pty = false;
  #variables = 0;
  #exit: PromiseWithResolvers<ExitStatus> | null = null;
  #lastExit: { readonly status: ExitStatus } | { readonly error: Error } | null = null;

  static {
    putUnder = (channel, grants, addresses) => {
      channel.#grants = grants;
      channel.#addresses = addresses;
    };
    lendThrough = (channel, doors) => {
      channel.#doors = doors;
    };
  }

  /** A server makes one for `checkChannelRequest()`, with the number it was given. */
  constructor(channelId: number) {
    super(channelId);
  }

  /** Where the peer wants a connection to go, of a `direct-tcpip` channel that it has opened; else null. */
  get dest(): Deno.NetAddr | null {
    return this.#addresses?.dest ?? null;
  }

  /** Who has connected, as the peer says, of a `direct-tcpip` channel that it has opened; else null. */
  get origin(): Deno.NetAddr | null {
    return this.#addresses?.origin ?? null;
  }

  /** A command to run; refuses unless overridden. What is true here is answered before anything written meanwhile is read. */
  checkExecRequest(_command: string): MaybePromise<boolean> {
    return false;
  }

  /** A shell; refuses unless overridden. */
  checkShellRequest(): MaybePromise<boolean> {
    return false;
  }

  /** A subsystem; refuses unless overridden. */
  checkSubsystemRequest(_name: string): MaybePromise<boolean> {
    return false;
  }

  /** A terminal; refuses unless overridden. */
  checkPtyRequest(_pty: PtyOptions): MaybePromise<boolean> {
    return false;
  }

  /** An environment variable; refuses unless overridden. */
  checkEnvRequest(_name: string, _value: string): MaybePromise<boolean> {
    return false;
  }

  /** A new terminal size, of a terminal that was granted; does nothing unless overridden. */
  windowChange(_size: WindowSize): void {}

  /** A signal for the process, by name without `SIG`; refuses unless overridden. */
  checkSignalRequest(_signal: string): MaybePromise<boolean> {
    return false;
  }

  /**
   * Windows of the session's programs on the client's display (RFC 4254 section 6.3); refuses unless overridden. Each is a channel that
   * the transport opens: `openChannel("x11", { origin })`.
   */
  checkX11Request(_x11: X11Request): MaybePromise<boolean> {
    return false;
  }

  /**
   * The client's agent for the session; refuses unless overridden. Each connection to it is a channel that the transport opens:
   * `openChannel("auth-agent@openssh.com")`.
   */
  checkForwardAgentRequest(): MaybePromise<boolean> {
    return false;
  }

  /** Any other request, `data` being what follows want_reply; refuses unless overridden. */
  checkOtherRequest(_name: string, _data: Bytes): MaybePromise<boolean> {
    return false;
  }

  /** Tells the client how the command ended, behind the data already written. Throws `RangeError` for what is no uint32. */
  sendExitStatus(code: number): void {
    this.notify(ExitStatusRequest.name, ExitStatusRequest.encode({ code }));
  }

  /** Tells the client that a signal ended the command, by name: `TERM` and `SIGTERM` are the same. A message is cut at 32,000 bytes. */
  sendExitSignal(signal: string, message = ""): void {
    checkSignalName(signal);
    checkText("message", message);
    this.notify(
      ExitSignal.name,
      ExitSignal.encode({ signal: withoutSig(signal), coreDumped: false, message, language: "" }),
    );
  }

  /** Asks for a terminal (RFC 4254 section 6.2). Rejects with `SshError` `REQUEST_DENIED` when refused. */
  async getPty(pty: PtyOptions = {}): Promise<void> {
    await this.#ask(PtyReq.name, encodePty(pty));
  }

  /** Asks for an environment variable, and resolves to whether the server takes it (RFC 4254 section 6.4). */
  async setEnvironmentVariable(name: string, value: string): Promise<boolean> {
    checkText("name", name, "the name of a variable");
    checkText("value", value);
    return await this.request(Env.name, Env.encode({ name, value }));
  }

  /**
   * Runs a command (RFC 4254 section 6.5). Rejects with `SshError` `REQUEST_DENIED` when refused. Output and an exit status count as a
   * yes: there are servers that give no other.
   */
  async execCommand(command: string): Promise<void> {
    checkCommand(command);
    await this.#begin(Exec.name, Exec.encode({ command }));
  }

  /** Starts a shell (RFC 4254 section 6.5); see `execCommand()`. */
  async invokeShell(): Promise<void> {
    await this.#begin(Shell.name, Shell.encode({}));
  }

  /** Starts a subsystem (RFC 4254 section 6.5); see `execCommand()`. */
  async invokeSubsystem(name: string): Promise<void> {
    checkText("name", name, "the name of a subsystem");
    await this.#begin(Subsystem.name, Subsystem.encode({ name }));
  }

  /**
   * Asks that windows of the session's programs come as channels (RFC 4254 section 6.3), which `onChannel` gets, as long as this one is
   * open. Resolves to the cookie that the first packet of each has to be checked for; it is made here unless it is given, and the display's
   * own should never be. Where several channels have asked, the last one gets them. Rejects with `SshError` `REQUEST_DENIED` when refused.
   */
  async requestX11(
    onChannel: (channel: Channel, origin: Deno.NetAddr) => unknown,
    options: {
      screen?: number | undefined;
      protocol?: string | undefined;
      cookie?: string | undefined;
      single?: boolean | undefined;
    } = {},
  ): Promise<string> {
    checkFunction("onChannel", onChannel ?? null);
    checkX11Request(options);
    const { screen = 0, protocol = "MIT-MAGIC-COOKIE-1", single = false } = options;
    const cookie = options.cookie ?? toHex(randomBytes(16));
    const data = X11Req.encode({ single, protocol, cookie, screen });
    await this.#lend(X11Req.name, data, x11Channels, (channel, origin) => onChannel(channel, origin));
    return cookie;
  }

  /**
   * Lends an agent to the session (OpenSSH PROTOCOL.agent section 3): connections to it come as channels, which `onChannel` gets, as long
   * as this one is open. Where several channels have asked, the last one gets them. Rejects with `SshError` `REQUEST_DENIED` when refused.
   */
  async requestForwardAgent(onChannel: (channel: Channel) => unknown): Promise<void> {
    checkFunction("onChannel", onChannel ?? null);
    await this.#lend(AuthAgentReq.name, AuthAgentReq.encode({}), agentChannels, (channel) => onChannel(channel));
  }

  /** The server may open channels as soon as it has granted that, before this hears of it. */
  async #lend<T>(
    name: string,
    data: Bytes,
    kind: LentKind<T>,
    take: (channel: Channel, said: T) => unknown,
  ): Promise<void> {
    if (this.#doors === null) {
      throw new TypeError(`Cannot ask for "${name}": channels that a Transport has opened as a client can`);
    }
    if (this.#lent.disposed) throw new SshError(`Cannot ask for "${name}": the channel is closed`, { code: "CLOSED" });
    const door = this.#lent.use(this.#doors.open(kind, take));
    try {
      await this.#ask(name, data);
    } catch (error) {
      door[Symbol.dispose]();
      throw error;
    }
  }

  /** Reports a new terminal size (RFC 4254 section 6.7). Throws `RangeError` for numbers that are no unsigned 32-bit integers. */
  resizePty(size: WindowSize): void {
    this.notify(WindowChange.name, encodeWindowSize(size));
  }

  /** Sends a signal by name (RFC 4254 section 6.9). */
  sendSignal(signal: string): void {
    this.notify(Signal.name, encodeSignal(signal));
  }

  /**
   * How the command on this channel ended: as soon as the peer says so, and at the latest when the channel closes, with neither code
   * nor signal. Rejects if the connection is lost first.
   */
  get exitStatus(): Promise<ExitStatus> {
    if (this.#exit === null) {
      this.#exit = Promise.withResolvers();
      this.#exit.promise.catch(() => {});
      if (this.#lastExit !== null) this.#settle(this.#lastExit);
    }
    return this.#exit.promise;
  }

  /** Serves the requests of RFC 4254 section 6 through the `check…` methods; overriding those is enough. */
  override onRequest(name: string, data: Bytes, _wantReply: boolean): MaybePromise<boolean> {
    if (data.length > MAX_REQUEST && name !== Exec.name) return false;
    try {
      return this.#serve(name, data);
    } catch (error) {
      // A malformed request is refused, and spoils nothing else.
      if (error instanceof SshProtocolError) return false;
      throw error;
    }
  }

  #serve(name: string, data: Bytes): MaybePromise<boolean> {
    switch (name) {
      case Exec.name:
        return this.#start({ command: Exec.decode(data).command, subsystem: null });
      case Shell.name:
        Shell.decode(data);
        return this.#start({ command: null, subsystem: null });
      case Subsystem.name:
        return this.#start({ command: null, subsystem: Subsystem.decode(data).name });
      case PtyReq.name:
        return this.#onPty(data);
      case Env.name: {
        const { name, value } = Env.decode(data);
        return !this.#started && this.#variables++ < MAX_VARIABLES && this.#grants.allowsVariable(name) &&
          this.checkEnvRequest(name, value);
      }
      case WindowChange.name: {
        const size = WindowChange.decode(data);
        if (!this.#pty) return false;
        // An override may well be async, and what it throws then has to be seen.
        const done: unknown = this.windowChange(size);
        return isThenable(done) ? Promise.resolve(done).then(() => true) : true;
      }
      case Signal.name:
        return this.checkSignalRequest(withoutSig(Signal.decode(data).signal));
      case ExitStatusRequest.name:
      case ExitSignal.name:
        return this.#onExit(name, data);
      case X11Req.name:
        return this.#onX11(data);
      case AuthAgentReq.name:
        return this.#onForwardAgent(data);
      default:
        return this.#mayForward(name) && this.checkOtherRequest(name, data);
    }
  }

  /** A class without a method of its own for it is asked as for any other request. */
  #onX11(data: Bytes): MaybePromise<boolean> {
    if (!this.#mayForward(X11Req.name)) return false;
    if (this.checkX11Request === Channel.prototype.checkX11Request) return this.checkOtherRequest(X11Req.name, data);
    const request = readX11Request(data);
    return request !== null && this.checkX11Request(request);
  }

  #onForwardAgent(data: Bytes): MaybePromise<boolean> {
    if (!this.#mayForward(AuthAgentReq.name)) return false;
    if (this.checkForwardAgentRequest === Channel.prototype.checkForwardAgentRequest) {
      return this.checkOtherRequest(AuthAgentReq.name, data);
    }
    AuthAgentReq.decode(data);
    return this.checkForwardAgentRequest();
  }

  /** The channel has ended; a subclass that overrides this calls `super.onEnded(error)`. */
  override onEnded(error: Error | null): void {
    this.#lent.dispose();
    this.#settle(error === null ? { status: { success: false, code: null, signal: null } } : { error });
  }

  /** Only one exec, shell or subsystem can succeed on a channel (RFC 4254 section 6.5). */
  #start(asked: Start): MaybePromise<boolean> {
    if (this.#started) return false;
    this.#started = true;
    const { command, subsystem, env } = granted(this.#grants, asked);
    const check = (): MaybePromise<boolean> => {
      if (subsystem !== null) return this.checkSubsystemRequest(subsystem);
      return command !== null ? this.checkExecRequest(command) : this.checkShellRequest();
    };
    // What is started finds the grant's variables set, and does not start where setting them fails.
    const prepared = (): MaybePromise<boolean> => {
      const setting = Object.entries(env).map(([name, value]) => this.checkEnvRequest(name, value)).filter(isThenable);
      return setting.length === 0 ? check() : Promise.all(setting).then(check);
    };
    return this.#settled(prepared, (done) => this.#started = done);
  }

  #onPty(data: Bytes): MaybePromise<boolean> {
    const { modes, ...pty } = PtyReq.decode(data);
    if (this.#started || this.#pty || !this.#grants.allow("pty", true)) return false;
    const request = { ...pty, modes: decodeTerminalModes(modes) };
    return this.#settled(() => this.checkPtyRequest(request), (granted) => this.#pty = granted);
  }

  /** Agents and X11 are not forwarded behind a grant's back. */
  #mayForward(name: string): boolean {
    if (name === "auth-agent-req@openssh.com" || name === "auth-agent-req") {
      return this.#grants.allow("agentForwarding", true);
    }
    return name !== "x11-req" || this.#grants.allow("x11Forwarding", true);
  }

  /** An answer given at once goes out at once: ahead of what the method has written. */
  #settled(check: () => MaybePromise<boolean>, done: (granted: boolean) => boolean): MaybePromise<boolean> {
    try {
      const answer = check();
      if (!isThenable(answer)) return done(answer === true);
      return Promise.resolve(answer).then((granted) => done(granted === true), (error) => {
        done(false);
        throw error;
      });
    } catch (error) {
      done(false);
      throw error;
    }
  }

  #onExit(name: string, data: Bytes): boolean {
    try {
      this.#settle({ status: decodeExit(name, data)! });
      channelCore(this).speaks();
      return true;
    } catch (error) {
      // A peer that garbles this request spoils one channel, not the connection.
      if (!(error instanceof SshProtocolError)) throw error;
      this.#settle({ error });
      void this.close();
      return false;
    }
  }

  #settle(exit: { readonly status: ExitStatus } | { readonly error: Error }): void {
    this.#lastExit ??= exit;
    if (this.#exit === null) return;
    if ("status" in this.#lastExit) this.#exit.resolve(this.#lastExit.status);
    else this.#exit.reject(this.#lastExit.error);
  }

  async #ask(name: string, data: Bytes): Promise<void> {
    if (!await this.request(name, data)) throw this.#refused(name);
  }

  /** What the peer sends is the output of the first thing that it starts, and says nothing of a second. */
  async #begin(name: string, data: Bytes): Promise<void> {
    if (this.#begun) return await this.#ask(name, data);
    this.#begun = true;
    await startOn(this, [{ name, data, refused: () => this.#refused(name) }], (error, spoken) => {
      this.#begun = spoken;
      if (!spoken) return;
      this.#settle({ error });
      channelCore(this).abort(error);
    });
  }

  #refused(name: string): SshError {
    return new SshError(`Cannot start on channel ${this.id}: the peer refused the request "${name}"`, {
      code: "REQUEST_DENIED",
    });
  }
}
