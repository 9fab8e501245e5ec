/**
 * A program whose standard streams are the connection: `ProxyCommand` of ssh_config(5).
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { type CommandTokens, expandCommand } from "../proxy/command.ts";
import { system } from "../system/system.ts";
import type { CommandEnd, SystemChild } from "../system/types.ts";
import { within } from "../transport/closing.ts";
import type { Way } from "./way.ts";

/** Bytes at the end of what the program writes to standard error that an error tells. */
const MAX_SAID = 1024;
/** Milliseconds that the program gets to end by itself once its standard input is closed, and then after TERM. */
const END_TIME = { itself: 200, terminated: 3000 };
/** Milliseconds for which an error waits to learn how the program has ended. */
const STATUS_TIME = 400;

/** Starts the program. Throws `SshError` `CONNECTION_LOST` where it cannot be started. */
export function startProxyCommand(command: readonly [string, ...string[]], tokens: CommandTokens): Way {
  const [program, ...args] = expandCommand(command, tokens);
  // The other words may hold secrets.
  const name = `proxy command "${printable(program, 256)}"`;
  let child: SystemChild;
  try {
    child = new system.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  } catch (cause) {
    if (cause instanceof TypeError || cause instanceof system.errors.NotCapable) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SshError(`Cannot start ${name}: ${why}`, { code: "CONNECTION_LOST", cause });
  }
  let status: CommandEnd | null = null;
  // Deno rejects where a signal that it has no name for has ended it.
  const unnamed: CommandEnd = { success: false, code: 1, signal: "a signal without a name" };
  const ended = child.status.then((known) => status = known, () => status = unnamed);
  const said = new Tail(child.stderr);
  const kill = (signal: "SIGTERM" | "SIGKILL"): void => {
    try {
      child.kill(signal);
    } catch {
      // It has ended.
    }
  };
  return {
    conn: { readable: child.stdout, writable: child.stdin },
    copies: true,
    lost: async (error) => {
      await within(STATUS_TIME, Promise.all([ended, said.finished]));
      const how = status === null
        ? "closed its standard output"
        : status.signal === null
        ? `ended with exit code ${status.code}`
        : `was ended by ${status.signal}`;
      const message = `Connection was lost: ${name} ${how}${said.quoted}`;
      return new SshError(message, { code: "CONNECTION_LOST", cause: error });
    },
    close: async () => {
      if (!await within(END_TIME.itself, ended)) {
        kill("SIGTERM");
        if (!await within(END_TIME.terminated, ended)) kill("SIGKILL");
        await ended;
      }
      // Others may have inherited it, and keep it open.
      await said.stop();
    },
    setRef: (refed) => refed ? child.ref() : child.unref(),
  };
}

/** Reads a stream to its end, and keeps the end. */
class Tail {
  /** Settles with the stream. */
  readonly finished: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #bytes = new Uint8Array(0);
  #isCut = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
    this.finished = this.#read().catch(() => {});
  }

  async #read(): Promise<void> {
    for (let chunk; (chunk = (await this.#reader.read()).value) !== undefined;) {
      const all = new Uint8Array(this.#bytes.length + chunk.length);
      all.set(this.#bytes);
      all.set(chunk, this.#bytes.length);
      this.#isCut ||= all.length > MAX_SAID;
      this.#bytes = all.slice(-MAX_SAID);
    }
  }

  async stop(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
    await this.finished;
  }

  /** For the end of a sentence: what was read, in one line. */
  get quoted(): string {
    const text = new TextDecoder().decode(this.#bytes).trim().split(/\s*[\r\n]\s*/).join("; ");
    return text === "" ? "" : `; it wrote "${this.#isCut ? "…" : ""}${printable(text, 2 * MAX_SAID)}"`;
  }
}
