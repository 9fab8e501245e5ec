/**
 * What sessions are asked for and how they end. RFC 4254 section 6.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import type { Input } from "./input.ts";

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

/** Options of a remote command; field names follow `Deno.CommandOptions`. */
export interface ExecOptions {
  /** Environment, subject to the server's AcceptEnv: what it does not accept it ignores without a word. */
  env?: Record<string, string> | undefined;
  /**
   * Directory to run in, from the root or from where sessions begin, which is mostly the user's home; `~` means nothing here. It is a
   * quoted `cd` before the command, which a POSIX shell there must understand, and nothing runs where it fails. For commands only.
   */
  cwd?: string | undefined;
  /** Allocate a terminal; 80 columns and 24 rows unless it says otherwise. @default {false} */
  pty?: boolean | PtyOptions | undefined;
  /**
   * `"null"` sends end of file at once. `"open"` sends nothing, and no end of file for as long as the command runs: for routers and
   * other devices that end the session at an end of file and give no output then. `{ text }`, bytes and a stream are sent, and then end
   * of file; a stream that fails ends the process, and one that the process does not read to its end is cancelled.
   * @default {"null" for `exec()`, "piped" for the others}
   */
  stdin?: "piped" | "null" | "open" | Input | undefined;
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
  /** Milliseconds until the process is ended as by `signal`, with a `TimeoutError`. @default {Infinity} */
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
