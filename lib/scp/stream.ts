/**
 * The bytes of the SCP protocol: lines, acknowledgements and contents. As OpenSSH's scp.c has them; there is no RFC.
 * Knows byte streams, not SSH.
 *
 * @module
 */
import { printable, SftpError, SshError, SshProtocolError } from "../errors.ts";
import { TurnShare } from "../wire/turns.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { Status } from "../files/limits.ts";
import { decodeName, encodeName } from "../files/names.ts";

/** Longest line: a path of 4,096 bytes and what stands before it. */
const MAX_LINE = 4352;

/** A line that starts a file or a directory, or tells its times. */
export type ScpControl =
  | { readonly kind: "file" | "directory"; readonly mode: number; readonly size: number; readonly name: string }
  | { readonly kind: "times"; readonly mtime: number; readonly atime: number }
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly message: string; readonly fatal: boolean };

/** Most bytes of text that are kept of an other side that speaks no SCP. */
const MAX_TEXT = 1024;
/**
 * How long more of such a text is waited for, in milliseconds: what prints it may keep the channel open. So long the last word to the
 * other side may take, too.
 */
const TEXT_PATIENCE = 1000;

/** The last second that a `Date` can tell. */
const LAST_TIME = 8_640_000_000_000;

/** A time as a `T` line has it, in seconds: those before 1970 are 0, as from OpenSSH, and so is one that is not known. */
export function scpTime(seconds: number): number {
  return Math.min(Math.max(Math.floor(seconds) || 0, 0), LAST_TIME);
}

/** Reads `C`, `D`, `T` and `E` lines; what is not exactly one of them is an error. */
export function parseControl(line: Uint8Array): ScpControl {
  const text = decodeName(line);
  if (text === "E") return { kind: "end" };
  // Seconds are what the other side's system counts in 64 bits.
  const times = /^T(\d{1,20}) \d{1,9} (\d{1,20}) \d{1,9}$/.exec(text);
  if (times !== null) return { kind: "times", mtime: scpTime(Number(times[1])), atime: scpTime(Number(times[2])) };
  const entry = /^([CD])([0-7]{4,7}) (\d{1,16}) (.+)$/s.exec(text);
  const size = Number(entry?.[3]);
  if (entry === null || !Number.isSafeInteger(size)) {
    throw new SshProtocolError(`Malformed SCP message: "${printable(text, 80).toWellFormed()}"`);
  }
  return { kind: entry[1] === "C" ? "file" : "directory", mode: parseInt(entry[2]!, 8) & 0o777, size, name: entry[4]! };
}

/** One side of an SCP exchange. */
export class ScpStream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #turn = TurnShare.known();
  #chunk = new Uint8Array(0);
  /** A read that nobody waits for any more; the next one takes its bytes. */
  #reading: Promise<ReadableStreamReadResult<Uint8Array>> | null = null;
  /** Whether the other side has shown that it speaks SCP. */
  #begun = false;
  /** Ends the wait for what the streams do. */
  #giveUp: ((reason: unknown) => void) | null = null;

  /** Takes over the streams. */
  constructor(channel: ByteDuplex) {
    this.#reader = channel.readable.getReader();
    this.#writer = channel.writable.getWriter();
    this.#writer.closed.catch(() => {});
  }

  /**
   * Waits for a write or the close. An abort does not end one that is under way while the other side takes nothing, and what
   * waits here holds files open.
   */
  async #settled(work: Promise<void>): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#giveUp = reject;
        work.then(resolve, reject);
      });
    } catch (error) {
      throw broken(error);
    }
  }

  /** Whether a byte is there; false at the end, and where none comes before `patience` is over. */
  async #fill(patience?: Promise<null>): Promise<boolean> {
    while (this.#chunk.length === 0) {
      this.#reading ??= this.#reader.read();
      const result = await (patience === undefined ? this.#reading : Promise.race([this.#reading, patience]))
        .catch((error) => {
          throw broken(error);
        });
      if (result === null) return false;
      this.#reading = null;
      if (result.done) return false;
      this.#chunk = result.value as Uint8Array<ArrayBuffer>;
    }
    return true;
  }

  /** What comes, up to a line feed where `line` says so, to the end, or as far as it comes by and by; no more than `most` bytes. */
  async #text(most: number, line: boolean): Promise<Uint8Array> {
    const text = new Uint8Array(most);
    let length = 0, timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), TEXT_PATIENCE));
    try {
      while (length < most && await this.#fill(patience)) {
        const found = line ? this.#chunk.indexOf(0x0a) : -1;
        const end = Math.min(found < 0 ? this.#chunk.length : found, most - length);
        text.set(this.#chunk.subarray(0, end), length);
        length += end;
        this.#chunk = this.#chunk.subarray(end === found ? end + 1 : end);
        if (end === found) break;
      }
    } finally {
      clearTimeout(timer);
    }
    return text.subarray(0, length);
  }

  /** The error for text where SCP was due: that of a shell, of a device that does not know the command, or a greeting. */
  async #noScp(begin: Uint8Array): Promise<SftpError> {
    // What ends the streams meanwhile is no news.
    const rest = await this.#text(MAX_TEXT, false).catch(() => new Uint8Array(0));
    const said = decodeName(new Uint8Array([...begin, ...rest])).trim();
    return new SftpError(
      `Cannot copy: the other side does not answer as scp, it says "${printable(said, MAX_TEXT).toWellFormed()}"`,
      Status.FAILURE,
    );
  }

  async #byte(): Promise<number | null> {
    if (!await this.#fill()) return null;
    const byte = this.#chunk[0]!;
    this.#chunk = this.#chunk.subarray(1);
    return byte;
  }

  /** The rest of a line, without its end. */
  async #line(first: readonly number[]): Promise<Uint8Array> {
    const line = new Uint8Array(MAX_LINE);
    line.set(first);
    for (let length = first.length;;) {
      if (!await this.#fill()) {
        const begin = line.slice(0, length), isCut = this.#begun || /^[CDT]\d|^E$/.test(decodeName(begin));
        throw isCut ? ended() : await this.#noScp(begin);
      }
      const found = this.#chunk.indexOf(0x0a), end = found < 0 ? this.#chunk.length : found;
      if (length + end > MAX_LINE) throw new SshProtocolError(`Malformed SCP message: longer than ${MAX_LINE} bytes`);
      line.set(this.#chunk.subarray(0, end), length);
      length += end;
      this.#chunk = this.#chunk.subarray(found < 0 ? end : end + 1);
      if (found >= 0) return line.slice(0, length);
    }
  }

  async #message(fatal: boolean): Promise<ScpControl> {
    // Some end without a line feed, and some say nothing at all.
    const message = printable(decodeName(await this.#text(MAX_LINE, true)).trim()).toWellFormed().replace(/^scp: /, "");
    return { kind: "error", message: message === "" ? "(nothing)" : message, fatal };
  }

  /** The next control line, or null at the end. */
  async control(): Promise<ScpControl | null> {
    await this.#turn.rest();
    const byte = await this.#byte();
    if (byte === null) return null;
    if (byte === 1 || byte === 2) return await this.#message(byte === 2);
    if (!this.#begun && !/[CDTE]/.test(String.fromCharCode(byte))) throw await this.#noScp(new Uint8Array([byte]));
    const line = await this.#line([byte]);
    try {
      const control = parseControl(line);
      this.#begun = true;
      return control;
    } catch (error) {
      throw this.#begun ? error : await this.#noScp(new Uint8Array([...line, 0x0a]));
    }
  }

  /** An acknowledgement: null, or what went wrong at the other side. Throws where that ends everything. */
  async acknowledged(): Promise<string | null> {
    const byte = await this.#byte();
    if (byte === null) throw ended();
    if (byte === 0) {
      this.#begun = true;
      return null;
    }
    if (byte !== 1 && byte !== 2) throw await this.#noScp(new Uint8Array([byte]));
    const { message } = await this.#message(byte === 2) as { message: string };
    if (byte === 2) throw new SftpError(`Cannot copy: the other side says: ${message}`, Status.FAILURE);
    return message;
  }

  /** The next bytes of contents, `most` at most. */
  async contents(most: number): Promise<Uint8Array> {
    if (!await this.#fill()) throw ended();
    const part = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(part.length);
    return part;
  }

  /** Sends bytes, which belong to the stream from here on. */
  async write(bytes: Uint8Array): Promise<void> {
    // All that a peer can ask for over and over is answered; what it needs no answer for comes by `control()`.
    await this.#turn.rest();
    await this.#settled(this.#writer.write(bytes));
  }

  /** Sends a line. */
  async line(text: string): Promise<void> {
    await this.write(encodeName(`${text}\n`));
  }

  /** Acknowledges, or starts. */
  async acknowledge(): Promise<void> {
    await this.write(new Uint8Array([0]));
  }

  /** Tells the other side of an error, and of what; a fatal one is the last that is said. */
  async refuse(path: string | null, why: string, fatal: boolean): Promise<void> {
    const message = path === null ? printable(why) : `${printable(path, 512)}: ${printable(why)}`;
    await this.write(encodeName(`${fatal ? "\x02" : "\x01"}scp: ${message.toWellFormed()}\n`));
  }

  /** Waits for last words, but no longer than a while: who sends and reads nothing does not take them. */
  async briefly(words: Promise<void>): Promise<void> {
    const timer = setTimeout(() => this.#giveUp?.(ended()), TEXT_PATIENCE);
    try {
      await words.catch(() => {});
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nothing more is sent; what still comes is thrown away. */
  async close(): Promise<void> {
    await this.#settled(this.#writer.close()).catch(() => {});
    await this.#reader.cancel().catch(() => {});
  }

  /** Ends both directions at once. */
  abort(reason: unknown): void {
    this.#giveUp?.(reason);
    this.#writer.abort(reason).catch(() => {});
    this.#reader.cancel(reason).catch(() => {});
  }
}

/** An error of the streams as one of the exchange, which tells it from those of the files. */
function broken(error: unknown): SshError {
  if (error instanceof SshError) return error;
  const why = error instanceof Error ? error.message : String(error);
  const options = { code: "CONNECTION_LOST", cause: error } as const;
  return new SftpError(`Cannot copy: the connection ended: ${why}`, Status.CONNECTION_LOST, null, options);
}

function ended(): SftpError {
  return new SftpError(
    "Cannot copy: the other side ended before everything was there; it may have no scp program, or not this path",
    Status.CONNECTION_LOST,
  );
}
