/**
 * A session channel from the server's side: what the client asks for, the handler that serves it, its end.
 * RFC 4254 section 6, RFC 4335. No I/O of its own.
 *
 * @module
 */
import type { Grants } from "../auth/grants.ts";
import type { AuthenticatedUser, AuthInfo } from "../auth/types.ts";
import { BaseChannel, channelCore } from "../connection/channel.ts";
import { SshError, SshProtocolError } from "../errors.ts";
import type { PublicKey } from "../keys/types.ts";
import { callBack, isThenable } from "../wire/callback.ts";
import type { Bytes, MaybePromise, PlainSink, PlainSource } from "../wire/types.ts";
import { granted, type Start } from "./granted.ts";
import { checkObject, checkText, checkWord } from "../wire/check.ts";
import { checkSignalName } from "./check_options.ts";
import { Mailbox } from "./mailbox.ts";
import { AuthAgentReq, Break, Env, Exec, ExitSignal, ExitStatusRequest, PtyReq, Shell, Signal } from "./messages.ts";
import { Subsystem, WindowChange, withoutSig, X11Req } from "./messages.ts";
import { SessionOutput } from "./session_output.ts";
import { decodeTerminalModes } from "./terminal_modes.ts";
import type { ForwardedAgent, ForwardedX11, Terminal, WindowSize } from "./types.ts";
import { writeTo } from "./write.ts";
import { readX11Request, type X11Request } from "./x11_request.ts";

const MAX_VARIABLES = 128;
const MAX_VARIABLE = 32 * 1024;
/** Bytes of all variables of a session together. */
const MAX_ENVIRONMENT = 256 * 1024;
const MAX_COMMAND = 256 * 1024;
const MAX_NAME = 1024;
const MAX_UNREAD_SIGNALS = 32;

/** Serves one session. The returned number is the exit code; nothing returned means 0. */
export type SessionHandler = (session: ServerSession) => MaybePromise<number | void>;

/** One session on the server. */
export interface ServerSession {
  /**
   * Command line, or null for a shell. It is what the client says: nothing in it is quoted or checked. Bytes that are no UTF-8 are kept
   * as {@linkcode decodeText} says, here and in `subsystem`, `env` and `pty.term`.
   */
  readonly command: string | null;
  /** Subsystem name, or null. */
  readonly subsystem: string | null;
  /** Logged-in user and how. */
  readonly user: { readonly name: string; readonly method: string; readonly publicKey: PublicKey | null };
  /** What the login's handlers were told: the peer's address, the handshake, and the methods that the user passed. */
  readonly info: AuthInfo;
  /** Environment asked for, at most 128 variables of 256 KiB together; what may be set is the handler's decision. */
  readonly env: Readonly<Record<string, string>>;
  /** Terminal, or null. */
  readonly pty: Terminal | null;
  /**
   * The terminal's size as it is now, or null without a terminal: a new object after each change, whether or not somebody reads `resizes`.
   * It is what the client says, 0 and 4,294,967,295 included; 0 cells mean that the client does not know.
   */
  readonly window: Readonly<WindowSize> | null;
  /**
   * The client's display, or null where it has lent none or may not. `env` has DISPLAY then. It listens on 127.0.0.1 for as long as the
   * session runs, and whoever connects there has to know the cookie.
   */
  readonly x11: ForwardedX11 | null;
  /** The client's agent, or null where it has lent none or may not. */
  readonly agent: ForwardedAgent | null;
  /** New terminal sizes; only the latest unread one is kept. Ends with the session. */
  readonly resizes: AsyncIterable<WindowSize>;
  /** Signals from the client, by name without `SIG`; the 32 latest unread ones are kept. Ends with the session. */
  readonly signals: AsyncIterable<string>;
  /** BREAKs from the client in milliseconds, 0 for the server's own default (RFC 4335). Refused while nobody iterates. */
  readonly breaks: AsyncIterable<number>;
  /** What the client types, a byte stream. Fails with `SshError` where the client leaves before it has sent EOF. */
  readonly stdin: ReadableStream<Bytes>;
  /** To the client. Closing it sends nothing: the client sees the end when the handler has returned. */
  readonly stdout: WritableStream<Uint8Array>;
  /** To the client. */
  readonly stderr: WritableStream<Uint8Array>;
  /**
   * Writes a text as UTF-8, or bytes, to `stdout`, or to `stderr` where that is said; it stays open. Resolves when the client can be sent
   * more; calls need not wait for each other, and nobody for any of them: a client that leaves makes no rejection that would end the
   * program. Rejects with `TypeError` where the output was closed, or is in use by a writer or a pipe, and with the error that ended the
   * session. Nothing is added: where the client has a terminal, `\r\n` ends a line.
   */
  write(data: string | Uint8Array, output?: "stdout" | "stderr"): Promise<void>;
  /** Aborted when the channel or the connection ends; its reason is the `SshError` that says why. */
  readonly signal: AbortSignal;
  /**
   * Ends the session early: sends what was written, the status, and CLOSE. What the handler returns later counts for nothing.
   * Throws `RangeError` for a code that is no unsigned 32-bit integer, and `TypeError` for a signal that is no name. A message is cut
   * at 32,000 bytes.
   */
  exit(status: number | { signal: string; message?: string | undefined }): Promise<void>;
}

/** Who serves the requests of a session. */
export interface SessionServices {
  /** Logged-in user. */
  readonly user: AuthenticatedUser;
  /** What the login's handlers were told. */
  readonly info: AuthInfo;
  /** What the login may do. */
  readonly grants: Grants;
  /** Shell and exec sessions; both are refused without it. */
  readonly handler?: SessionHandler | undefined;
  /** Subsystems by name. */
  readonly subsystems?: Readonly<Record<string, SessionHandler>> | undefined;
  /** Makes the client's display reachable, or null where it may not be; nobody's is without it. */
  readonly forwardX11?: ((request: X11Request) => MaybePromise<(ForwardedX11 & Disposable) | null>) | undefined;
  /** Makes the client's agent reachable, or null where it may not be; nobody's is without it. */
  readonly forwardAgent?: (() => MaybePromise<(ForwardedAgent & Disposable) | null>) | undefined;
  /** Told of what a handler throws. */
  readonly onError: (error: unknown) => void;
  /** Told once that the channel has ended. */
  readonly onEnded: () => void;
}

type Exit = number | { readonly signal: string; readonly message?: string | undefined };

/** A session channel that a client opened. One exec, shell or subsystem runs on it. */
export class ServerSessionChannel extends BaseChannel {
  readonly #services: SessionServices;
  readonly #env: Record<string, string> = Object.create(null);
  #variables = 0;
  #environmentBytes = 0;
  #pty: Terminal | null = null;
  #x11: (ForwardedX11 & Disposable) | null = null;
  #agent: (ForwardedAgent & Disposable) | null = null;
  #session: Session | null = null;
  #ended: { readonly error: Error | null } | null = null;

  /** Makes the channel; `services` answers its requests. */
  constructor(channelId: number, services: SessionServices) {
    super(channelId);
    this.#services = services;
  }

  /** See {@linkcode BaseChannel}. */
  override onRequest(name: string, data: Bytes, _wantReply: boolean): MaybePromise<boolean> {
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
      case PtyReq.name:
        return this.#onPty(data);
      case Env.name:
        return this.#onEnv(data);
      case X11Req.name:
        return this.#onX11(data);
      case AuthAgentReq.name:
        return this.#onAgent(data);
      case Shell.name:
        Shell.decode(data);
        return this.#start({ command: null, subsystem: null });
      case Exec.name:
        if (data.length > 4 + MAX_COMMAND) return false;
        return this.#start({ command: Exec.decode(data).command, subsystem: null });
      case Subsystem.name:
        if (data.length > 4 + MAX_NAME) return false;
        return this.#start({ command: null, subsystem: Subsystem.decode(data).name });
      case WindowChange.name:
        return this.#onWindowChange(data);
      case Signal.name:
        return this.#session?.onSignal(Signal.decode(data).signal) ?? false;
      case Break.name:
        return this.#session?.onBreak(Break.decode(data).length) ?? false;
      default:
        return false;
    }
  }

  /** See {@linkcode BaseChannel}. A client that goes leaves its input cut, which must not look whole to what stores it. */
  override onUnended(): Error {
    return new SshError("Client closed the session before the end of its input", { code: "CLOSED" });
  }

  /** See {@linkcode BaseChannel}. */
  override onEnded(error: Error | null): void {
    this.#ended = { error };
    this.#x11?.[Symbol.dispose]();
    this.#agent?.[Symbol.dispose]();
    this.#session?.onEnded(error);
    this.#services.onEnded();
  }

  #onPty(data: Bytes): boolean {
    if (this.#session !== null || this.#pty !== null || !this.#services.grants.allow("pty", true)) return false;
    const { term, modes, ...size } = PtyReq.decode(data);
    if (term.length > MAX_NAME) return false;
    this.#pty = { term, ...size, modes: Object.freeze(decodeTerminalModes(modes)) };
    return true;
  }

  #onX11(data: Bytes): MaybePromise<boolean> {
    if (this.#session !== null || this.#x11 !== null) return false;
    const request = readX11Request(data);
    if (request === null) return false;
    return this.#take(this.#services.forwardX11?.(request) ?? null, (x11) => this.#x11 = x11);
  }

  #onAgent(data: Bytes): MaybePromise<boolean> {
    AuthAgentReq.decode(data);
    if (this.#session !== null || this.#agent !== null) return false;
    return this.#take(this.#services.forwardAgent?.() ?? null, (agent) => this.#agent = agent);
  }

  /** Keeps what the client has lent, until the end. Other requests wait meanwhile. */
  #take<T extends Disposable>(asked: MaybePromise<T | null>, keep: (lent: T) => void): MaybePromise<boolean> {
    if (isThenable(asked)) return asked.then((lent) => this.#take(lent, keep));
    if (asked === null) return false;
    keep(asked);
    if (this.#ended !== null) asked[Symbol.dispose]();
    return true;
  }

  #onEnv(data: Bytes): boolean {
    if (this.#session !== null || data.length > MAX_VARIABLE) return false;
    const { name, value } = Env.decode(data);
    if (!this.#services.grants.allowsVariable(name)) return false;
    // Values that are replaced count as well.
    if ((this.#environmentBytes += data.length) > MAX_ENVIRONMENT) return false;
    if (!(name in this.#env) && ++this.#variables > MAX_VARIABLES) return false;
    this.#env[name] = value;
    return true;
  }

  #onWindowChange(data: Bytes): boolean {
    const size = WindowChange.decode(data);
    if (this.#pty === null) return false;
    // Before the start there is no reader, and the terminal is made with the latest size.
    if (this.#session === null) this.#pty = { ...this.#pty, ...size };
    else this.#session.onResize(size);
    return true;
  }

  #start(asked: Start): boolean {
    const { command, subsystem, env } = granted(this.#services.grants, asked);
    const { subsystems = {} } = this.#services;
    const handler = subsystem === null
      ? this.#services.handler
      : Object.hasOwn(subsystems, subsystem)
      ? subsystems[subsystem]
      : undefined;
    if (this.#session !== null || handler === undefined) return false;
    // What the client says of its own display means nothing here.
    const ownEnv = { ...env, ...this.#x11 !== null && { DISPLAY: this.#x11.display } };
    const session = new Session(this, {
      command,
      subsystem,
      user: this.#services.user,
      info: this.#services.info,
      env: Object.freeze(Object.assign(this.#env, ownEnv)),
      ownEnv: Object.freeze(ownEnv),
      x11: this.#x11,
      agent: this.#agent,
      pty: this.#pty === null ? null : Object.freeze(this.#pty),
      onError: this.#services.onError,
    });
    this.#session = session;
    // The client may have gone while a request before this one was decided on.
    if (this.#ended !== null) session.onEnded(this.#ended.error);
    this.discard("stderr");
    // The answer goes out before anything that the handler writes, and the handler begins when what came with the request has been taken.
    channelCore(this).behindAnswer(() => queueMicrotask(() => void this.#run(session, handler)));
    return true;
  }

  async #run(session: Session, handler: SessionHandler): Promise<void> {
    let status = 1;
    try {
      status = exitCode(await handler(session) ?? 0);
    } catch (error) {
      // A client that leaves breaks the handler's streams, and that is no news.
      if (this.#ended === null || !isEnd(error, session)) callBack(() => this.#services.onError(error));
    }
    await session.finish(status);
  }
}

function exitCode(code: number): number {
  if (Number.isInteger(code) && code >= 0 && code <= 0xffff_ffff) return code;
  throw new RangeError(`Cannot end session: exit code ${code} is not an unsigned 32-bit integer`);
}

function isEnd(error: unknown, session: ServerSession): boolean {
  return error instanceof SshError || error === session.signal.reason;
}

interface SessionStart {
  readonly command: string | null;
  readonly subsystem: string | null;
  readonly user: AuthenticatedUser;
  readonly info: AuthInfo;
  readonly env: Readonly<Record<string, string>>;
  readonly ownEnv: Readonly<Record<string, string>>;
  readonly pty: Terminal | null;
  readonly x11: ForwardedX11 | null;
  readonly agent: ForwardedAgent | null;
  readonly onError: (error: unknown) => void;
}

/**
 * Where a handler of this module tells of an error that does not end its session: the server's `onError`. Nowhere for a session
 * that somebody else made.
 */
export function errorReporter(session: ServerSession): (error: unknown) => void {
  return session instanceof Session ? session.onError : () => {};
}

/** Those of `session.env` that the login's grants and this server have set, and no client. None for a session that somebody else made. */
export function ownEnvironment(session: ServerSession): Readonly<Record<string, string>> {
  return session instanceof Session ? session.ownEnv : {};
}

/**
 * Both directions of a session without streams, for a handler of this module that carries all of its bytes; null where somebody has asked
 * for a stream, and for a session that somebody else made. As with `stdout`, ending the output or giving it up leaves the channel as it is.
 */
export function plainOf(session: ServerSession): { readonly received: PlainSource; readonly sent: PlainSink } | null {
  return Session.plain(session);
}

/** What a handler sees of the channel. */
class Session implements ServerSession {
  readonly command: string | null;
  readonly subsystem: string | null;
  readonly user: AuthenticatedUser;
  readonly info: AuthInfo;
  readonly env: Readonly<Record<string, string>>;
  readonly ownEnv: Readonly<Record<string, string>>;
  readonly pty: Terminal | null;
  readonly x11: ForwardedX11 | null;
  readonly agent: ForwardedAgent | null;
  readonly resizes: Mailbox<WindowSize> = new Mailbox(1);
  readonly signals: Mailbox<string> = new Mailbox(MAX_UNREAD_SIGNALS);
  readonly breaks: Mailbox<number> = new Mailbox(1);
  readonly onError: (error: unknown) => void;
  /** Handlers take the session apart. */
  readonly write = (data: string | Uint8Array, output: "stdout" | "stderr" = "stdout"): Promise<void> => {
    const find = (): WritableStream<Uint8Array> => {
      checkWord("output", output, ["stdout", "stderr"]);
      return this[output];
    };
    return writeTo(find, data, output);
  };
  readonly #channel: ServerSessionChannel;
  #window: Readonly<WindowSize> | null = null;
  #stdout: SessionOutput | null = null;
  #stderr: SessionOutput | null = null;
  /** What was written without a stream, and is to be ended: not before standard error, as with streams. */
  #plain: PlainSink | null = null;
  #abort: AbortController | null = null;
  #end: { readonly reason: unknown } | null = null;
  #finished: Promise<void> | null = null;

  constructor(channel: ServerSessionChannel, start: SessionStart) {
    this.#channel = channel;
    this.command = start.command;
    this.subsystem = start.subsystem;
    this.user = start.user;
    this.info = start.info;
    this.env = start.env;
    this.ownEnv = start.ownEnv;
    this.pty = start.pty;
    if (start.pty !== null) {
      const { columns, rows, width, height } = start.pty;
      this.#window = Object.freeze({ columns, rows, width, height });
    }
    this.x11 = start.x11;
    this.agent = start.agent;
    this.onError = start.onError;
  }

  get window(): Readonly<WindowSize> | null {
    return this.#window;
  }

  get stdin(): ReadableStream<Bytes> {
    return this.#channel.readable;
  }

  get stdout(): WritableStream<Uint8Array> {
    return (this.#stdout ??= new SessionOutput(this.#channel.writable)).writable;
  }

  get stderr(): WritableStream<Uint8Array> {
    return (this.#stderr ??= new SessionOutput(this.#channel.stderrWritable)).writable;
  }

  /** See {@linkcode plainOf}. One that stands in for a session, or has streams of its own, is taken at its word. */
  static plain(session: ServerSession): { received: PlainSource; sent: PlainSink } | null {
    if (!(#channel in session) || Object.hasOwn(session, "stdin") || Object.hasOwn(session, "stdout")) return null;
    const { received, sent } = channelCore(session.#channel);
    if (received.isStream || sent.isStream) return null;
    // From here on there is no stream any more.
    void sent.gone;
    let given: { readonly reason: unknown } | null = null;
    return {
      received,
      sent: {
        async write(chunk) {
          if (given !== null) throw given.reason;
          await sent.write(chunk);
        },
        end: () => {
          session.#plain = sent;
          return Promise.resolve();
        },
        abort: (reason) => void (given ??= { reason }),
      },
    };
  }

  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#end !== null) this.#abort.abort(this.#end.reason);
    }
    return this.#abort.signal;
  }

  exit(status: Exit): Promise<void> {
    // Encoded here so that a caller's mistake throws before anything is sent.
    if (typeof status === "number") exitCode(status);
    else {
      checkObject("status", status, 'an exit code, or an object such as `{ signal: "TERM" }`');
      checkSignalName(status.signal);
      if (status.message !== undefined) checkText("message", status.message);
      encodeExit(status);
    }
    return this.finish(status);
  }

  /** Sends all output, EOF, the status and CLOSE, in this order; only the first call does. Never rejects. */
  finish(status: Exit): Promise<void> {
    return this.#finished ??= this.#finish(status);
  }

  async #finish(status: Exit): Promise<void> {
    // Standard error first: the end of standard output is the EOF of both.
    await this.#stderr?.end();
    await this.#stdout?.end();
    await this.#plain?.end().catch(() => {});
    this.#channel.sendEof();
    this.#channel.notify(...encodeExit(status));
    // Who still reads is the handler itself, and has said that it is done.
    this.#channel.discard("readable");
    await this.#channel.close();
    await this.#channel.closed.catch(() => {});
  }

  onSignal(signal: string): boolean {
    this.signals.push(withoutSig(signal));
    return true;
  }

  onBreak(milliseconds: number): boolean {
    if (!this.breaks.hasReader) return false;
    this.breaks.push(milliseconds);
    return true;
  }

  onResize(size: WindowSize): void {
    this.#window = Object.freeze({ ...size });
    this.resizes.push(size);
  }

  onEnded(error: Error | null): void {
    this.#end = { reason: error ?? new SshError("Session has ended: its channel is closed", { code: "CLOSED" }) };
    this.#abort?.abort(this.#end.reason);
    this.resizes.end();
    this.signals.end();
    this.breaks.end();
  }
}

function encodeExit(status: Exit): [name: string, data: Bytes] {
  if (typeof status === "number") return [ExitStatusRequest.name, ExitStatusRequest.encode({ code: status })];
  return [
    ExitSignal.name,
    ExitSignal.encode({
      signal: withoutSig(status.signal),
      coreDumped: false,
      message: status.message ?? "",
      language: "",
    }),
  ];
}
