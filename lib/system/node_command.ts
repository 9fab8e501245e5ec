/**
 * Programs of `node:child_process`, as Deno has them.
 *
 * @module
 */
import { asDenoError, nodeErrors } from "./node_errors.ts";
import { nodeModule } from "./node_modules.ts";
import { NodeSource, readableOver, writableOver } from "./node_streams.ts";
import type { CommandEnd, CommandOptions, SystemChild, SystemCommand } from "./types.ts";

type ChildProcess = import("node:child_process").ChildProcess;
type Readable = import("node:stream").Readable;

/** A program to run. */
export class NodeCommand implements SystemCommand {
  readonly #program: string;
  readonly #options: CommandOptions;

  /** Starts nothing. */
  constructor(program: string, options: CommandOptions) {
    this.#program = program;
    this.#options = options;
  }

  #start(): { readonly child: ChildProcess; readonly status: Promise<CommandEnd> } {
    const { args, stdin, stdout, stderr, signal } = this.#options;
    const stdio = [stdin, stdout, stderr].map((one) => one === "null" ? "ignore" as const : "pipe" as const);
    const child = nodeModule("node:child_process").spawn(this.#program, args, { stdio, windowsHide: true });
    const kill = (): void => void child.kill();
    if (signal?.aborted) kill();
    signal?.addEventListener("abort", kill);
    const status = new Promise<CommandEnd>((resolve, reject) => {
      child.once("exit", (code, signal) => resolve({ success: code === 0, code: code ?? 128, signal }));
      // There may be a second one, of a signal that could not be sent.
      child.on("error", (error) => reject(asDenoError(error)));
    }).finally(() => signal?.removeEventListener("abort", kill));
    return { child, status };
  }

  spawn(): SystemChild {
    const { child, status } = this.#start();
    status.catch(() => {});
    // Node tells later why.
    if (child.pid === undefined) {
      throw new nodeErrors.NotFound(`Failed to spawn '${this.#program}': no such program, or it may not be run`);
    }
    const { stdin, stdout, stderr } = child;
    return {
      stdin: stdin === null ? undefined! : writableOver(stdin),
      stdout: stdout === null ? undefined! : readableOf(stdout),
      stderr: stderr === null ? undefined! : readableOf(stderr),
      status,
      kill: (signal) => void child.kill(signal),
      ref: () => hold(child, true),
      unref: () => hold(child, false),
    };
  }

  output(): Promise<CommandEnd> {
    return this.#start().status;
  }
}

function readableOf(stream: Readable): ReadableStream<Uint8Array> {
  const source = new NodeSource(stream);
  return readableOver((p) => source.read(p), () => void stream.destroy());
}

/** Whether the program, or one of its streams, keeps this one alive. */
function hold(child: ChildProcess, refed: boolean): void {
  for (const one of [child, child.stdin, child.stdout, child.stderr] as { ref?(): void; unref?(): void }[]) {
    if (refed) one?.ref?.();
    else one?.unref?.();
  }
}
