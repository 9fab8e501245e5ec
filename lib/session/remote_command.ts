/**
 * What the template `` client.$`…` `` gives. No I/O.
 *
 * @module
 */
import { collectEnd, endOf, linesOf, SshCommandError } from "./output.ts";
import { hiddenIn, type RemoteProcess } from "./process.ts";
import type { ShellValue } from "./quote.ts";
import type { ExecOptions, ExecOutput } from "./types.ts";

/** A command that runs when it is first awaited, or asked for its text or JSON, which share that run; `lines()` is a run of its own. */
export interface RemoteCommand extends PromiseLike<ExecOutput> {
  /** Standard output as text, without the newline at its end. */
  text(): Promise<string>;
  /** Lines as they come, without their ends. Leaving the loop ends the command. */
  lines(): AsyncIterable<string>;
  /** Standard output as JSON; rejects with `SyntaxError` where it is none. */
  json<T = unknown>(): Promise<T>;
}

/** A template for commands: `` client.$({ timeout: 5000 }) `` gives one. Values are quoted as in `` client.$`…` ``. */
export type CommandTemplate = (strings: TemplateStringsArray, ...values: readonly ShellValue[]) => RemoteCommand;

/** Runs a command, and starts one. */
export interface Runner {
  /** To its end. */
  exec(command: string, options: ExecOptions): Promise<ExecOutput>;
  /** As `SshClient.spawn()`. */
  spawn(command: string, options: ExecOptions): Promise<RemoteProcess>;
}

/** Makes one of a command line. Its exit code is checked unless the options say otherwise. */
export function remoteCommand(runner: Runner, command: string, given: ExecOptions = {}): RemoteCommand {
  let running: Promise<ExecOutput> | null = null;
  const options: ExecOptions = { ...given, stdin: given.stdin ?? "null", check: given.check ?? true };
  const run = (): Promise<ExecOutput> => running ??= runner.exec(command, options);
  return {
    then: (resolve, reject) => run().then(resolve, reject),
    text: async () => (await run()).text().replace(/\r?\n$/, ""),
    json: async () => JSON.parse((await run()).text()),
    async *lines() {
      await using process = await runner.spawn(command, { ...options, check: false });
      const stderr = (options.stderr ?? "piped") === "piped" ? collectEnd(process.stderr) : null;
      stderr?.catch(() => {});
      yield* linesOf(process.stdout);
      const status = await process.status;
      if (options.check && !status.success) {
        const said = stderr === null ? "" : endOf(await stderr, (text) => hiddenIn(process, text));
        throw new SshCommandError(command, status, said);
      }
    },
  };
}
