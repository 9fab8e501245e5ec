/**
 * Commands by `sudo`, and its password. No I/O of its own.
 *
 * sudo is told a prompt that nobody can guess, and the command begins by writing a word that nobody can guess: the password is sent when
 * the first of these comes before the second, once, and never after it. So it does not get to a command that sudo asks nothing for, nor
 * to one that writes what looks like a prompt. What comes before that word is sudo's own talk, and no output of the command.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Mux } from "../connection/mux.ts";
import { printable, SshError } from "../errors.ts";
import { toHex } from "../wire/base_text.ts";
import { checkNames, checkSignalOption, checkText, type Habit, wrongKind } from "../wire/check.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { checkCommand, checkExec, checkVariables } from "./check_options.ts";
import { finished } from "./output.ts";
import { type ProcessServices, startProcess } from "./process.ts";
import { exported, inDirectory, quote } from "./quote.ts";
import type { Gate, GatedProcess } from "./respond.ts";
import { Secrets } from "./secrets.ts";
import type { ExecOptions, ExecOutput } from "./types.ts";

/** Options of `SshClient.sudo()`. */
export interface SudoOptions extends ExecOptions {
  /**
   * Password of the user who logged in, for sudo alone; a function is asked for it once sudo wants it. At most 255 bytes without line
   * breaks and NUL, and with a terminal without any control character. Without one, sudo must ask for nothing.
   */
  password?: string | (() => MaybePromise<string>) | undefined;
  /** Who runs the command: a name, or `#` and a number. @default {"root"} */
  user?: string | undefined;
}

/** Bytes of a password that every sudo reads: of a longer one the rest would be input of the command. */
const MAX_PASSWORD = 255;
/** Bytes of sudo's own talk that are kept. */
const KEPT = 16_384;

const habits: Readonly<Record<string, Habit>> = {
  passwd: { ours: ["password"], write: "`password`" },
  username: { ours: ["user"], write: "`user`" },
  runas: { ours: ["user"], write: "`user`" },
};

/** Throws `TypeError` for what sudo would not read as one password. Says nothing of what is in it. */
function checkPassword(value: unknown, hasTerminal: boolean): asserts value is string {
  if (typeof value !== "string") throw wrongKind("password", value, "a text, or a function that gives one");
  // deno-lint-ignore no-control-regex
  const bad = hasTerminal ? /[\0-\x1f\x7f]/ : /[\0\n\r]/;
  const why = bad.test(value)
    ? hasTerminal ? "it has a control character, which a terminal takes for a key" : "it has a line break or a NUL"
    : !value.isWellFormed()
    ? "it is no Unicode text"
    : new TextEncoder().encode(value).length > MAX_PASSWORD
    ? `sudo reads ${MAX_PASSWORD} bytes of one, and this is longer`
    : null;
  if (why !== null) throw new TypeError(`Cannot use \`password\`: ${why}`);
}

/** Words that nobody can guess. */
interface Words {
  /** sudo's prompt. */
  readonly prompt: string;
  /** What the command begins with. */
  readonly begun: string;
}

function word(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}

/** Cut in two, so that a shell that shows what it reads does not show them. */
function cut(word: string): string {
  return `${quote(word.slice(0, 16))}${quote(word.slice(16))}`;
}

/** The command line. */
export function sudoLine(command: string, words: Words, options: SudoOptions): string {
  const { user, password, pty = false, cwd, env = {} } = options;
  const inner = exported(env, cwd === undefined ? command : inDirectory(cwd, command));
  const begins = `printf '%s%s' ${quote(words.begun.slice(0, 16))} ${quote(words.begun.slice(16))} >&2\n`;
  const how = [
    ...password === undefined ? ["-n"] : pty === false ? ["-S"] : [],
    ...password === undefined ? [] : [`-p ${cut(words.prompt)}`],
    ...user === undefined ? [] : [`-u ${quote(user)}`],
  ];
  // A shell that shows what it runs would show the prompt, before sudo has asked for anything.
  return `{ set +xv; } 2>/dev/null\nexec sudo ${how.join(" ")} -- sh -c ${quote(begins + inner)}`;
}

/** What stands between sudo and the command's output. */
class SudoGate implements Gate {
  readonly before: "readable" | "stderr";
  readonly opened: Promise<void>;
  readonly #opened = Promise.withResolvers<void>();
  readonly #words: Words;
  readonly #password: SudoOptions["password"];
  readonly #hasTerminal: boolean;
  readonly #secrets: Secrets;
  #kept: Bytes = new Uint8Array(0);
  #isAsked = false;
  #isOpen = false;

  constructor(words: Words, options: SudoOptions, secrets: Secrets) {
    const { pty = false, stderr, password } = options;
    this.#words = words;
    this.#password = password;
    this.#hasTerminal = pty !== false;
    this.#secrets = secrets;
    this.before = this.#hasTerminal || stderr === "stdout" ? "readable" : "stderr";
    this.opened = this.#opened.promise;
  }

  /** Whether the command has begun. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  pass(data: Uint8Array, process: GatedProcess): number {
    if (this.#isOpen) return 0;
    const { prompt, begun } = this.#words;
    let before = this.#kept.length;
    this.#kept = concat([this.#kept, data]);
    for (;;) {
      const text = byteText(this.#kept), asked = text.indexOf(prompt), begins = text.indexOf(begun);
      if (asked >= 0 && (begins < 0 || asked < begins)) {
        this.#kept = concat([this.#kept.subarray(0, asked), this.#kept.subarray(asked + prompt.length)]);
        before -= prompt.length;
        this.#asked(process);
      } else if (begins < 0) {
        if (this.#kept.length > 2 * KEPT) this.#kept = this.#kept.slice(-KEPT);
        return data.length;
      } else {
        this.#isOpen = true;
        this.#kept = new Uint8Array(0);
        this.#opened.resolve();
        return begins + begun.length - before;
      }
    }
  }

  #asked(process: GatedProcess): void {
    if (this.#isAsked) {
      const words = "Cannot run command by sudo: the password is wrong, as sudo asks for it again";
      return process.fail(new SshError(words, { code: "AUTH_FAILED" }));
    }
    this.#isAsked = true;
    void this.#answer(process).catch((error) => process.fail(error));
  }

  async #answer(process: GatedProcess): Promise<void> {
    const given: unknown = typeof this.#password === "function" ? await this.#password() : this.#password;
    checkPassword(given, this.#hasTerminal);
    this.#secrets.add(given);
    // The command may have begun while somebody was asked.
    if (!this.#isOpen) process.send(new TextEncoder().encode(`${given}\n`));
  }

  /** Why the command has not begun. */
  refused({ code, stderr, stdout }: ExecOutput): SshError {
    const said = new TextDecoder().decode(this.#kept.length > 0 ? this.#kept : stderr.length > 0 ? stderr : stdout);
    const lines = this.#secrets.hide(said).split(/[\r\n]+/).map((line) => line.trim()).filter((line) => line !== "");
    const words = lines.slice(-3).map((line) => printable(line)).join("; ");
    const isWrong = this.#isAsked && /incorrect password/.test(words);
    const what = words !== "" ? words : `it ended with exit code ${code} and without a word`;
    const advice = this.#password === undefined && !this.#hasTerminal
      ? " (`password` is what it asks for)"
      : /\btty\b|terminal/.test(words) && !this.#hasTerminal
      ? " (`pty: true` gives it a terminal)"
      : "";
    return new SshError(`Cannot run command by sudo: ${what}${advice}`, {
      code: isWrong ? "AUTH_FAILED" : "REQUEST_DENIED",
    });
  }
}

/** A character for each byte, whatever the bytes say. */
function byteText(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

/** Runs a command by sudo to its end. */
export async function runBySudo(
  mux: Mux,
  command: string,
  options: SudoOptions,
  services: ProcessServices,
): Promise<ExecOutput> {
  checkCommand(command);
  checkSignalOption(options);
  checkNames("sudo()", options, ["password", "user"], habits);
  const { password, user, check = false, ...rest } = options;
  checkExec(rest);
  checkVariables(rest.env);
  if (rest.stdin === "piped") {
    throw new TypeError('Cannot run command by sudo with "piped" stdin: nobody could write to it');
  }
  if (user !== undefined) {
    checkText("user", user, "the name of a user");
    if (user === "") throw new TypeError("Cannot use `user`: it is empty");
  }
  const pty = rest.pty === "inherit" ? services.ownPty?.() ?? false : rest.pty ?? false, hasTerminal = pty !== false;
  if (password !== undefined && typeof password !== "function") checkPassword(password, hasTerminal);
  const words = { prompt: word(), begun: word() }, secrets = new Secrets();
  if (typeof password === "string") secrets.add(password);
  const gate = new SudoGate(words, { ...options, pty }, secrets);
  const line = sudoLine(command, words, { ...options, pty });
  const { cwd: _cwd, env: _env, ...others } = rest;
  const started = { ...others, pty, stdin: rest.stdin ?? "null" } as const;
  const process = await startProcess(mux, { kind: "exec", command: line }, started, { ...services, gate });
  const output = await process.output();
  if (!gate.isOpen) throw gate.refused(output);
  return finished(output, output.stdout, output.stderr, check ? command : null, secrets.hide);
}
