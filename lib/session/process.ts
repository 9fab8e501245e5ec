/**
 * A session channel from the client's side: starting a command, its streams, its end.
 * RFC 4254 section 6. No I/O of its own.
 *
 * @module
 */
import { type BaseChannel, channelCore } from "../connection/channel.ts";
import type { Mux } from "../connection/mux.ts";
import { ChannelOpenError, printable, SshError } from "../errors.ts";
import type { Bytes } from "../wire/types.ts";
import { checkText } from "../wire/check.ts";
import { abortable } from "../wire/abortable.ts";
import { startDeadline } from "../wire/deadline.ts";
import { checkCommand, checkExec, checkU32 } from "./check_options.ts";
import { expectOn, type ExpectOptions } from "./expect.ts";
import { feed, type HeldInput, heldInput, isInput } from "./input.ts";
import { ClientSession, type Lent, nothingLent } from "./client_session.ts";
import { Break, Env, Exec, PtyReq, Shell, Signal, Subsystem, WindowChange } from "./messages.ts";
import { collect, collectPlain, finished, linesOf, type Room, SshCommandError } from "./output.ts";
import type { OutputMatch } from "./pattern.ts";
import { exported, inDirectory } from "./quote.ts";
import { converse, type Gate } from "./respond.ts";
import { Secrets } from "./secrets.ts";
import { startOn, type StartRequest } from "./start.ts";
import { encodePty, encodeSignal, encodeWindowSize } from "./encoding.ts";
import { writeTo } from "./write.ts";
import type { ExecOptions, ExecOutput, ExitStatus, PtyOptions, WindowSize } from "./types.ts";
import { askVariables, tellVariables, type Variables } from "./variables.ts";

/** What a session is opened for; one per channel (RFC 4254 section 6.5). */
export type ProcessStart =
  | { readonly kind: "exec"; readonly command: string }
  | { readonly kind: "shell" }
  | { readonly kind: "subsystem"; readonly name: string };

const EMPTY: Bytes = new Uint8Array(0);

/** What a process may use of this side, for those who have any. */
export interface ProcessServices {
  /** What the options want lent; rejects with its own errors. */
  readonly lend?: (options: ExecOptions) => Promise<Lent>;
  /** This program's own output, for `"inherit"`. */
  readonly own?: (name: "stdout" | "stderr") => WritableStream<Uint8Array>;
  /** The channel is open and has been asked to start: what is written from here on leaves with that. */
  readonly asked?: (streams: BaseChannel) => void;
  /** Its own input. */
  readonly ownInput?: () => ReadableStream<Uint8Array>;
  /** A terminal like its own; null where it has none. */
  readonly ownPty?: () => PtyOptions | null;
  /** Gives up sessions that nobody asked for, where the server refuses one more; false where there are none. */
  readonly giveRoom?: () => Promise<boolean>;
  /** Variables that it is given where the server takes them. */
  readonly env?: Variables | undefined;
  /** What stands before its output. */
  readonly gate?: Gate | undefined;
}

let construct: (
  channel: ClientSession,
  start: ProcessStart,
  options: ExecOptions,
  inherited: Promise<void>,
  window: WindowSize | null,
) => RemoteProcess;

/** The size that a process was last told its terminal has; null where it has none. */
export let windowOf: (process: RemoteProcess) => WindowSize | null;

/** A text of a process without what no error may show. */
export let hiddenIn: (process: RemoteProcess, text: string) => string;

/** What `output()` gives, of a process that nobody else has: no streams are made for it. */
export let outputOf: (process: RemoteProcess) => Promise<ExecOutput>;

/**
 * A running remote process: the shape of `Deno.ChildProcess`, and a readable/writable pair.
 *
 * @example Through a remote filter
 * ```ts
 * import type { SshClient } from "@amiko/ssh";
 *
 * async function sorted(client: SshClient, lines: string[]): Promise<string> {
 *   await using sort = await client.spawn("sort");
 *   const input = ReadableStream.from(lines).pipeThrough(new TextEncoderStream());
 *   return await new Response(input.pipeThrough(sort)).text();
 * }
 * ```
 */
export class RemoteProcess implements AsyncDisposable {
  readonly #channel: ClientSession;
  readonly #options: ExecOptions;
  /** What ran, where its exit code is to be checked. */
  readonly #checked: string | null;
  /** Outputs that go to this program's own. */
  readonly #inherited: Promise<void>;
  #window: WindowSize | null;

  static {
    construct = (...parts) => new RemoteProcess(...parts);
    windowOf = (process) => process.#window;
    hiddenIn = (process, text) => process.#hide(text);
    outputOf = (process) => process.#output(process.#options.respond === undefined);
  }

  private constructor(
    channel: ClientSession,
    start: ProcessStart,
    options: ExecOptions,
    inherited: Promise<void>,
    window: WindowSize | null,
  ) {
    this.#channel = channel;
    this.#options = options;
    this.#checked = options.check === true ? commandOf(start) : null;
    this.#inherited = inherited;
    this.#window = window;
  }

  /**
   * Standard input; closing it sends end of file. Closed from the start when `stdin` is `"null"`, and in use where `stdin` says what is
   * sent.
   */
  get stdin(): WritableStream<Uint8Array> {
    return this.#channel.writable;
  }

  /**
   * Writes a text as UTF-8, or bytes, to standard input, which stays open; resolves when the process can be sent more. Calls need not wait
   * for each other. Rejects with `TypeError` where `stdin` was closed, or is in use by a writer or a pipe, and with the error that ended the
   * process.
   */
  write(data: string | Uint8Array): Promise<void> {
    return writeTo(() => this.stdin, data, "stdin");
  }

  /** Standard output, a byte stream. What is not read holds the process up, and its standard error with it. */
  get stdout(): ReadableStream<Bytes> {
    return this.#channel.readable;
  }

  /** Standard error, a byte stream. What is not read holds the process up, and its standard output with it. */
  get stderr(): ReadableStream<Bytes> {
    return this.#channel.stderr;
  }

  /** Alias of stdout, so that `source.pipeThrough(process)` works. */
  get readable(): ReadableStream<Bytes> {
    return this.#channel.readable;
  }

  /** Alias of stdin. */
  get writable(): WritableStream<Uint8Array> {
    return this.#channel.writable;
  }

  /**
   * How it ended, as soon as the server says so; output may still be on its way. Where the server closes the channel without a word,
   * code and signal are null. Rejects with the signal's reason, and if the connection is lost first or the server's word cannot be read.
   */
  get status(): Promise<ExitStatus> {
    return this.#channel.status;
  }

  /**
   * Collects everything until both outputs end and the status is there, then closes the channel. It does not close stdin.
   * Rejects with the reason of the signal that aborts the process.
   */
  output(): Promise<ExecOutput> {
    return this.#output(false);
  }

  /** Without streams in between where the process is nobody's but ours. */
  async #output(isOurs: boolean): Promise<ExecOutput> {
    const { stdout = "piped", stderr = "piped", maxOutput = Infinity } = this.#options;
    const room: Room = { left: maxOutput },
      words = `Command wrote more than \`maxOutput\`, ${maxOutput} bytes: it was ended`;
    const full = (): void => this.#channel.abort(new SshError(words, { code: "CLOSED" }));
    const { received, receivedStderr } = channelCore(this.#channel);
    const [out, err, status] = await Promise.all([
      stdout !== "piped" ? EMPTY : isOurs ? collectPlain(received, room, full) : collect(this.stdout, room, full),
      stderr !== "piped" ? EMPTY : isOurs ? collectPlain(receivedStderr, room, full) : collect(this.stderr, room, full),
      this.status,
      this.#inherited,
    ]);
    void this.#channel.close();
    // What had all come by then could not be ended any more.
    if (room.left < 0) throw new SshError(words, { code: "CLOSED" });
    return finished(status, out, err, this.#checked, this.#hide);
  }

  /** Takes out of a text what no error may show. */
  readonly #hide = (text: string): string => this.#channel.secrets?.hide(text) ?? text;

  /**
   * Lines of standard output as they come, decoded as UTF-8 and without their ends. Leaving the loop early cancels `stdout`. Standard
   * error is to be read as well, or `"null"`, `"stdout"` or `"inherit"`: one that nobody reads holds the process up in the end. With
   * `check`, the loop ends with {@linkcode SshCommandError} where the exit code is not 0. Throws `TypeError` where `stdout` is in use.
   */
  lines(): AsyncIterable<string> {
    const lines = linesOf(this.stdout), checked = this.#checked, { status } = this;
    return (async function* () {
      yield* lines;
      if (checked === null) return;
      const ended = await status;
      if (!ended.success) throw new SshCommandError(checked, ended, "");
    })();
  }

  /**
   * Waits until standard output, decoded as UTF-8, matches. What was before the match and the match itself are taken from `stdout`; what
   * comes behind it stays there, byte for byte. Where it rejects, all of it stays. A RegExp is tried on all that has come, each time
   * something comes, so `/\d+/` may stop at half of a number, and `/\$ $/` is a prompt that nothing follows yet.
   *
   * `stdout` is locked meanwhile: rejects with `TypeError` where it is in use, or `"null"`. Standard error is to be read as well, or to be
   * `"null"`, `"stdout"` or `"inherit"`. Rejects with `SshError` `NO_MATCH`, which quotes the end of what came, where the output ends before
   * or has more than `maxOutput` bytes; with `TimeoutError`; with the signal's reason; and with the error that ends the process.
   *
   * @example A dialogue
   * ```ts
   * import type { SshClient } from "@amiko/ssh";
   *
   * async function version(client: SshClient): Promise<string> {
   *   await using shell = await client.shell({ pty: true });
   *   await shell.expect(/[$#>] $/, { timeout: 5000 });
   *   await shell.write("show version\n");
   *   const { captures } = await shell.expect(/Version (\S+)\s/);
   *   return captures[0]!;
   * }
   * ```
   */
  async expect(pattern: string | RegExp, options: ExpectOptions = {}): Promise<OutputMatch> {
    if (this.#options.stdout === "null") throw new TypeError('Cannot wait for output: `stdout` is "null"');
    return await expectOn(this.#channel, pattern, options, this.#hide);
  }

  /**
   * Sends a signal, by its name with or without `SIG` (RFC 4254 section 6.9); does nothing once the process is gone. Not every server
   * delivers signals: OpenSSH delivers none to forced commands, and where root has logged in some versions do not (9.2 does not, 10.0
   * does); it says nothing of that. On a terminal `write("\x03")` is what Ctrl-C is. Throws `TypeError` for what is no name.
   */
  kill(signal = "TERM"): void {
    this.#channel.notify(Signal.name, encodeSignal(signal));
  }

  /**
   * Reports a new terminal size (RFC 4254 section 6.7); does nothing once the process is gone. Throws `RangeError` for numbers that
   * are no unsigned 32-bit integers.
   */
  resize(size: WindowSize): void {
    this.#channel.notify(WindowChange.name, encodeWindowSize(size));
    if (this.#window !== null) this.#window = size;
  }

  /**
   * Sends a BREAK of so many milliseconds, 0 for the server's own default (RFC 4335): for serial consoles. Resolves to whether the
   * server performed it. Rejects with `RangeError` for what is no unsigned 32-bit integer.
   */
  async sendBreak(milliseconds = 0): Promise<boolean> {
    checkU32(milliseconds, "milliseconds");
    return await this.#channel.request(Break.name, Break.encode({ length: milliseconds }));
  }

  /**
   * Closes the channel; a process that still runs loses its terminal and its pipes, and who still reads its output sees `SshError`
   * `CLOSED`. It does not wait for the server's CLOSE, which
   * OpenSSH holds back until the process has ended: `status` tells of that.
   */
  [Symbol.asyncDispose](): Promise<void> {
    void this.#channel.close();
    return Promise.resolve();
  }
}

/**
 * Opens a session channel and starts what it is for: two round trips, everything after CHANNEL_OPEN in one go; one more for a command
 * with `env`. `lend` is asked where
 * the options want something lent, once they have been checked, and rejects with its own errors. Rejects with `ChannelOpenError`, with
 * `SshError` `REQUEST_DENIED`, or with the reason of the signal.
 */
export async function startProcess(
  mux: Mux,
  start: ProcessStart,
  options: ExecOptions = {},
  services: ProcessServices = {},
): Promise<RemoteProcess> {
  if (start.kind === "exec") checkCommand(start.command);
  if (start.kind === "subsystem") checkText("name", start.name, "the name of a subsystem");
  checkExec(options);
  if (options.cwd !== undefined && start.kind !== "exec") {
    throw new TypeError(`Cannot start ${nameOf(start)} in a directory: \`cwd\` is for commands`);
  }
  // The caller's mistakes come out before anything is lent or opened.
  const env = options.env ?? {};
  for (const [name, value] of Object.entries(env)) Env.encode({ name, value });
  const { lend, own, ownInput, ownPty } = services;
  const wished = options.pty === "inherit" ? ownPty?.() ?? false : options.pty ?? false;
  const terminal = wished === true ? {} : wished === false ? null : wished;
  const pty = terminal === null ? null : encodePty(terminal);
  const window = terminal === null ? null : { columns: terminal.columns ?? 80, rows: terminal.rows ?? 24 };
  const line = (unset: Variables): [name: string, data: Bytes] => encodeStart(start, options.cwd, unset);
  line({});
  const inheriting = (["stdout", "stderr"] as const).filter((name) => options[name] === "inherit");
  const outputs: OwnOutputs = own === undefined ? [] : inheriting.map((name) => [name, own(name)]);
  const inherited = options.stdin === "inherit" ? ownInput?.() : undefined;
  const input = inherited ?? (isInput(options.stdin) ? options.stdin : undefined);
  const held = input && heldInput(input);
  const what = start.kind === "exec" ? "the command" : "the session";
  const { signal, stop } = startDeadline(options, () => `${what} to end`);
  try {
    signal?.throwIfAborted();
    const wanted = options.agent !== undefined || (options.x11 ?? false) !== false;
    const lent = wanted && lend !== undefined
      ? await abortable(lend(options), signal, (lent) => lent.release())
      : nothingLent;
    return await startUnder(mux, start, options, {
      pty,
      line,
      window,
      signal,
      lent,
      onEnd: stop,
      own: outputs,
      input: held,
      asked: services.asked,
      gate: services.gate,
      giveRoom: services.giveRoom,
      // What the caller names comes before what every session is given.
      given: Object.fromEntries(Object.entries(services.env ?? {}).filter(([name]) => !Object.hasOwn(env, name))),
    });
  } catch (error) {
    stop();
    if (options.stdin === "inherit") await inherited?.cancel(error);
    throw error;
  }
}

/** Where outputs go to. */
type OwnOutputs = readonly (readonly ["stdout" | "stderr", WritableStream<Uint8Array>])[];

async function startUnder(
  mux: Mux,
  start: ProcessStart,
  options: ExecOptions,
  { pty, line, given, window, signal, lent, onEnd, own, input, asked, gate, giveRoom }: {
    pty: Bytes | null;
    line: (unset: Variables) => [name: string, data: Bytes];
    given: Variables;
    window: WindowSize | null;
    signal: AbortSignal | undefined;
    lent: Lent;
    onEnd: () => void;
    own: OwnOutputs;
    input: HeldInput | undefined;
    asked: ProcessServices["asked"];
    gate: Gate | undefined;
    giveRoom: ProcessServices["giveRoom"];
  },
): Promise<RemoteProcess> {
  let channel: ClientSession;
  const open = (): Promise<ClientSession> =>
    mux.openChannel("session", EMPTY, (id) => new ClientSession(id, lent), { signal });
  try {
    channel = await open().catch(async (error) => {
      if (!(error instanceof ChannelOpenError) || giveRoom === undefined) throw error;
      // The sessions that are given up may take their time to end.
      if (await abortable(giveRoom(), signal)) return await open();
      throw error;
    });
  } catch (error) {
    lent.release();
    throw error;
  }
  endOnAbort(channel, signal, onEnd);
  try {
    signal?.throwIfAborted();
    const { env = {} } = options;
    tellVariables(channel, start.kind === "exec" ? given : { ...given, ...env });
    const [name, data] = line(
      start.kind === "exec" ? await askVariables(channel, env, (why) => denied(start, why)) : {},
    );
    const requests: StartRequest[] = lent.requests.map((one) => ({
      ...one,
      refused: () => {
        const why = one.refused();
        return why === null ? null : denied(start, why);
      },
    }));
    requests.push({ name, data, refused: () => denied(start, "refused it") });
    if (pty !== null) {
      requests.unshift({
        name: PtyReq.name,
        data: pty,
        refused: () => denied(start, "gives no terminal"),
      });
    }
    const { respond, stdin } = options, abort = (reason: unknown): void => channel.abort(reason);
    const ready = respond === undefined && gate === undefined
      ? null
      : converse(channel, { answers: respond, gate }, channel.secrets = new Secrets(), abort);
    const started = startOn(channel, requests, (error) => channel.fail(error));
    if (stdin === "null") void (ready === null ? channel.sendEof() : ready.then(() => channel.sendEof()));
    if (options.stdout === "null") channel.discard("readable");
    if (options.stderr === "null") channel.discard("stderr");
    if (options.stderr === "stdout") channel.mergeStderr();
    asked?.(channel);
    await started;
    if (input !== undefined) void feed(channel, input, abort, ready);
    return construct(channel, start, options, inherit(channel, own), window);
  } catch (error) {
    void channel.close();
    if (!(error instanceof SshError) || error.code !== "CLOSED" || !channel.isClosed) throw error;
    throw new SshError(`Cannot start ${nameOf(start)}: the server closed the session without an answer`, {
      code: "CLOSED",
      cause: error,
    });
  }
}

/** What starts it; `unset` are variables that its line has to set. */
function encodeStart(start: ProcessStart, cwd: string | undefined, unset: Variables): [name: string, data: Bytes] {
  switch (start.kind) {
    case "exec": {
      const command = exported(unset, start.command);
      return [Exec.name, Exec.encode({ command: cwd === undefined ? command : inDirectory(cwd, command) })];
    }
    case "shell":
      return [Shell.name, Shell.encode({})];
    case "subsystem":
      return [Subsystem.name, Subsystem.encode({ name: start.name })];
  }
}

/** A command line may hold secrets and stays out of messages. */
function nameOf(start: ProcessStart): string {
  return start.kind === "exec" ? "command" : start.kind === "shell" ? "shell" : `subsystem "${printable(start.name)}"`;
}

function denied(start: ProcessStart, why: string): SshError {
  return new SshError(`Cannot start ${nameOf(start)}: the server ${why}`, { code: "REQUEST_DENIED" });
}

/** Ends the process when the signal aborts. */
function endOnAbort(channel: ClientSession, signal: AbortSignal | undefined, onEnd: () => void): void {
  const onAbort = (): void => channel.abort(signal!.reason);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  channel.whenEnded(() => {
    signal?.removeEventListener("abort", onAbort);
    onEnd();
  });
}

/** Carries outputs to this program's own. Resolves when they have ended; rejects where they were cut short. */
function inherit(
  channel: ClientSession,
  own: OwnOutputs,
): Promise<void> {
  const pipes = Promise.all(
    own.map(([name, to]) => (name === "stdout" ? channel.readable : channel.stderr).pipeTo(to)),
  ).then(() => {});
  pipes.catch(() => {});
  return pipes;
}

/** A shell and a subsystem go by what they are. */
function commandOf(start: ProcessStart): string {
  return start.kind === "exec" ? start.command : start.kind === "shell" ? "" : start.name;
}
