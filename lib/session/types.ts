/**
 * What sessions are asked for and how they end. RFC 4254 section 6.
 *
 * @module
 */
import type { Agent } from "../keys/types.ts";
import type { WaitOptions } from "../wire/deadline.ts";
import type { ByteDuplex, Bytes, MaybePromise } from "../wire/types.ts";
import type { Input } from "./input.ts";
import type { Answer } from "./respond.ts";

/** Terminal size, as `Deno.consoleSize()` returns it. */
export interface WindowSize {
  /** Width in cells. */
  columns: number;
  /** Height in cells. */
  rows: number;
  /** Width in pixels. @default {0} */
  width?: number | undefined;
  /** Height in pixels. @default {0} */
  height?: number | undefined;
}

/** A pseudo-terminal request (RFC 4254 section 6.2). */
export interface PtyOptions {
  /** Terminal type. @default {"xterm-256color"} */
  term?: string | undefined;
  /** Width in cells. @default {80} */
  columns?: number | undefined;
  /** Height in cells. @default {24} */
  rows?: number | undefined;
  /** Width in pixels. @default {0} */
  width?: number | undefined;
  /** Height in pixels. @default {0} */
  height?: number | undefined;
  /** RFC 4254 section 8 opcodes by name, such as `{ ECHO: 0 }`. */
  modes?: Readonly<Record<string, number>> | undefined;
}

/** A terminal that a client has asked for (RFC 4254 section 6.2). */
export interface Terminal {
  /** Terminal type. */
  readonly term: string;
  /** Width in cells. */
  readonly columns: number;
  /** Height in cells. */
  readonly rows: number;
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** RFC 4254 section 8 opcodes by name. */
  readonly modes: Readonly<Record<string, number>>;
}

/**
 * How windows of remote programs come to a display here (RFC 4254 section 6.3). The server gets a cookie that is made for the session,
 * and never the display's own.
 */
export interface X11Options {
  /** The display: `:0`, `:0.1`, `host:0`, or the path of its socket as macOS has it. @default {DISPLAY of the environment} */
  display?: string | undefined;
  /**
   * The display's MIT-MAGIC-COOKIE-1, as hexadecimal digits. @default {untrusted: one that `xauth` makes; trusted: the one for the display
   * in the file that XAUTHORITY names, or in `~/.Xauthority`, and none where there is none}
   */
  cookie?: string | undefined;
  /**
   * Whether remote programs may do what local ones may, such as reading the keyboard of every window (`ssh -Y`). Untrusted ones, as
   * with `ssh -X`, are confined by the display's SECURITY extension: the program `xauth` makes a cookie for them, and the session is
   * refused where it cannot. Where `cookie` is given, that alone decides what remote programs may do. @default {false}
   */
  trusted?: boolean | undefined;
  /**
   * Milliseconds after which new connections to the display are refused; those that are open go on. `Infinity` is never. This is
   * ForwardX11Timeout of `ssh`. @default {1200000 untrusted, Infinity trusted or with a `cookie`}
   */
  timeout?: number | undefined;
  /** The first connection is the only one. @default {false} */
  single?: boolean | undefined;
  /** Connects to the display, in the place of the socket that `display` names. It wants a `cookie`, or `trusted: true`. */
  connect?: (() => MaybePromise<ByteDuplex>) | undefined;
  /**
   * Told why a program's connection was closed before it had reached the display: a wrong cookie, a display that does not answer. What
   * it throws is ignored.
   */
  onError?: ((error: unknown) => void) | undefined;
}

/** Where programs of a session find the display of its client (RFC 4254 section 6.3). */
export interface ForwardedX11 {
  /** What belongs into DISPLAY, such as `127.0.0.1:10.0`. */
  readonly display: string;
  /** Name of the way to prove oneself there, nearly always `MIT-MAGIC-COOKIE-1`. */
  readonly protocol: string;
  /** The secret for it as hexadecimal digits: `xauth add DISPLAY PROTOCOL COOKIE` lets programs find it. */
  readonly cookie: string;
  /** The same as the content of a file, which only the user may read, and whose path belongs into XAUTHORITY. */
  readonly authority: Bytes;
}

/** The agent that the client has lent to a session (OpenSSH PROTOCOL.agent). */
export interface ForwardedAgent {
  /**
   * Opens a connection to it: `connectAgent(await agent.open())`; the signal and the time end the opening, and not what was opened. Rejects with `ChannelOpenError` where the client refuses, and with
   * `SshError` `CLOSED` once the session has ended, which ends the connections as well.
   */
  open(options?: WaitOptions): Promise<ByteDuplex>;
  /**
   * Listens on a Unix socket in a new folder that only this program's user can enter, and resolves to its path, for SSH_AUTH_SOCK of
   * other programs. Both are gone when the session ends. A second call gives the same path.
   */
  listen(): Promise<string>;
}

/** Options of a remote command; field names follow `Deno.CommandOptions`. */
export interface ExecOptions {
  /**
   * Environment. What the server does not accept (AcceptEnv of `sshd`, which has little there by default) is set by a quoted `export`
   * before the command, which a POSIX shell there must understand, and which everybody there can read who may see the command lines of
   * others: secrets go by `stdin`. Nothing runs where it cannot be set. With it a command takes one more round trip to start. A
   * name other than of letters, digits and `_` must be accepted, or the command is not started. For shells and subsystems, which have no line, the server ignores without a word what it does not accept.
   */
  env?: Record<string, string> | undefined;
  /**
   * Directory to run in, from the root or from where sessions begin, which is mostly the user's home; `~` means nothing here. It is a
   * quoted `cd` before the command, which a POSIX shell there must understand, and nothing runs where it fails. For commands only.
   */
  cwd?: string | undefined;
  /**
   * Allocate a terminal; 80 columns and 24 rows unless it says otherwise. `"inherit"` is one like this program's own, of its size and with TERM of the
   * environment (`--allow-env=TERM`), and none where standard input is no terminal, as with `ssh`. @default {false}
   */
  pty?: boolean | "inherit" | PtyOptions | undefined;
  /**
   * Lends an agent to the session, for logins from there (`ssh -A`): `true` is the one at SSH_AUTH_SOCK, a function connects to one.
   * Who controls the far end can have it sign for as long as the session runs; it can list keys and sign, and nothing else. Keys that
   * are tied to hosts (`ssh-add -h`) go as far as they may: each connection to the agent is told by itself which host it is lent to; over
   * the streams of a `connectAgent(conn)`, which are one, they are not used. Rejects with
   * `REQUEST_DENIED` where the server does not take it. One connection lends one agent at a time. @default {none}
   */
  agent?: Agent | true | (() => MaybePromise<ByteDuplex>) | undefined;
  /**
   * Shows windows of the session's programs on a display here; `true` is the one of DISPLAY, untrusted (`ssh -X`). Windows that are open
   * when the session ends go on, as with `ssh`; where `signal` has ended it, they are closed. Rejects with `REQUEST_DENIED` where the
   * server does not take it. @default {false}
   */
  x11?: boolean | X11Options | undefined;
  /**
   * `"null"` sends end of file at once. `"open"` sends nothing, and no end of file for as long as the command runs: for routers and
   * other devices that end the session at an end of file and give no output then. `{ text }`, bytes and a stream are sent, and then end
   * of file; a stream that fails ends the process, and one that the process does not read to its end is cancelled. `"inherit"` is this
   * program's own, as it comes, and its end of file; at a terminal, lines as they are ended: `attachTerminal()` is for keys. One process at a time reads
   * it. It lets go of it when it ends, and keeps no program alive then; of a pipe, up to 64 KiB may have been read too much, which the next process that inherits it gets.
   * @default {"null" for `exec()`, "piped" for the others}
   */
  stdin?: "piped" | "null" | "open" | "inherit" | Input | undefined;
  /**
   * Answers questions that the process asks in its output, on a terminal or not; the output goes on whole. Standard input stays open until
   * every answer has been given as often as its `times` says: what `stdin` says is sent waits for that, and so does the end of file of
   * `"null"`. A question that comes once more than it may ends the process. Answers are in no error, and are not shown here; a terminal
   * there shows them unless it is told not to. For `sudo` there is `SshClient.sudo()`. @default {[]}
   */
  respond?: readonly Answer[] | undefined;
  /** `"null"` discards and gives the window back at once; `"inherit"` goes to this program's own. @default {"piped"} */
  stdout?: "piped" | "null" | "inherit" | undefined;
  /**
   * `"null"` discards and gives the window back at once; `"inherit"` goes to this program's own; `"stdout"` puts it into standard output,
   * in the order of arrival. @default {"piped"}
   */
  stderr?: "piped" | "null" | "inherit" | "stdout" | undefined;
  /** Whether `exec()`, `output()` and `lines()` reject with {@linkcode SshCommandError} unless the exit code is 0. @default {false} */
  check?: boolean | undefined;
  /**
   * Bytes that `exec()` and `output()` collect of both outputs together. With more, the process is ended and they reject with `SshError`
   * `CLOSED`. @default {Infinity}
   */
  maxOutput?: number | undefined;
  /**
   * Milliseconds until the process must have ended. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /** Aborting sends TERM and closes the channel at once; streams, `status` and `output()` reject with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** How a remote process ended (RFC 4254 section 6.10). */
export interface ExitStatus {
  /** True for exit code 0. */
  readonly success: boolean;
  /** Exit code, or null when the server sent none. */
  readonly code: number | null;
  /** Signal name without `SIG`, or null. */
  readonly signal: string | null;
}

/** A finished remote process and what it wrote. */
export interface ExecOutput extends ExitStatus {
  /** Collected standard output; empty when it was `"null"`. */
  readonly stdout: Bytes;
  /** Collected standard error; empty when it was `"null"`, and with a terminal, which has one output only. */
  readonly stderr: Bytes;
  /** Standard output as text, decoded as UTF-8; what is none becomes U+FFFD. */
  text(): string;
  /** Lines of standard output, without their ends. */
  lines(): string[];
}
