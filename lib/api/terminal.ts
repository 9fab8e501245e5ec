/**
 * The terminal of this program, for people: a remote process on it, and questions.
 *
 * @module
 */
import type { RemoteProcess } from "../session/process.ts";
import type { ExitStatus } from "../session/types.ts";
import { attach, type AttachOptions } from "../terminal/attach.ts";
import { ask, type AskOptions } from "../terminal/question.ts";
import { requireDeno } from "../wire/system.ts";
import { systemTerminal } from "./system_terminal.ts";

export type { AskOptions, AttachOptions };

/**
 * Connects this program's terminal to a remote process until that has ended, as `ssh` does, and resolves to how it did. Every key goes
 * there, ^C, ^Z and ^D too, output comes here at the terminal's speed, and resizes follow. The process is one of `shell()`, `spawn()` or
 * `subsystem()` whose streams are `"piped"`; `pty: "inherit"` gives it a terminal like this one.
 *
 * The terminal is as it was whatever happens: the process ends, the connection is lost (which rejects with that error), `signal` aborts, an
 * exception ends the program. SIGINT, SIGTERM, SIGHUP and SIGQUIT from outside do not end the program by themselves while a terminal is
 * attached: they end the process, and this rejects with `SshError` `CLOSED`, as it does where the terminal goes away, and for `~.`, the
 * way out of a connection that hangs (see {@linkcode AttachOptions.escape}). Only SIGKILL leaves a terminal as it is: `stty sane` there.
 *
 * Where the process has no terminal, the one here stays as it is: lines are sent as they are ended, ^D is the end of file, ^C ends this
 * program. Where standard input is no terminal, but a pipe or a file, its bytes are sent as they are, and then the end of file.
 *
 * Afterwards the program may read keys itself, attach again, or end: what was typed before the process had ended went there, and no
 * later key is taken, as the terminal is opened anew for each attachment. That cannot be done with a pipe, of which up to 64 KiB may have been read too much; whatever
 * reads standard input through this module next gets them. Nor while the program itself reads `Deno.stdin`: both then get
 * some of the keys. On Windows a resize is seen within half a second.
 *
 * Needs no permission. With `--allow-run=stty` the terminal's own treatment of output is off as well, which moves the cursor to the first column with
 * each newline; without it, a few full-screen programs may draw wrong.
 *
 * Throws `TypeError` where the streams of the process are in use, or standard input is read for another.
 *
 * @example A login shell on another machine
 * ```ts
 * import { askTerminal, attachTerminal, connect } from "@amiko/ssh";
 *
 * async function login(host: string): Promise<void> {
 *   await using client = await connect(host, { answer: askTerminal });
 *   await using shell = await client.shell({ pty: "inherit" });
 *   Deno.exitCode = (await attachTerminal(shell)).code ?? 255;
 * }
 * ```
 */
export async function attachTerminal(process: RemoteProcess, options: AttachOptions = {}): Promise<ExitStatus> {
  requireDeno("attach a terminal", "`process.stdin`, `stdout` and `resize()` are there to be used");
  return await attach(process, options, systemTerminal);
}

/**
 * Asks on this program's terminal, and resolves to the line that was typed; it is not shown unless `echo` says so. It is made for
 * `connect("alias", { answer: askTerminal })`, `password(({ signal }) => askTerminal("Password: ", { signal }))` and passphrases. The question goes
 * to standard error. Questions that are asked at once come one after the other. Rejects with `SshError` `AUTH_FAILED` where standard input is no terminal, where ^C or ^D is
 * the answer, or where a signal wants this program's end; the terminal is as it was in any case.
 */
export async function askTerminal(question: string, options: AskOptions = {}): Promise<string> {
  requireDeno("ask on a terminal", "ask in another way");
  return await ask(question, options, systemTerminal);
}
