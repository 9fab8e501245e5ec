/**
 * What a process wrote, as bytes, text and lines. No I/O.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { TextLineStream } from "@std/streams/text-line-stream";
import { printable, SshError } from "../errors.ts";
import { Gathered } from "../wire/gathered.ts";
import type { Bytes, PlainSource } from "../wire/types.ts";
import type { ExecOutput, ExitStatus } from "./types.ts";

/** How many bytes of standard error an error keeps; as many before them are looked through for what it must not show, and may be cut. */
const TAIL = 4096;

/** A command that ended with another exit code than 0, or by a signal. */
export class SshCommandError extends SshError {
  readonly #command: string;
  readonly #status: ExitStatus;
  readonly #stderr: string;

  /** Creates the error; its message has the last line of `stderr`, and not the command, which may hold a secret. */
  constructor(command: string, status: ExitStatus, stderr: string) {
    const { code, signal } = status;
    const how = signal !== null
      ? `was ended by signal ${printable(signal, 64)}`
      : code !== null
      ? `failed with exit code ${code}`
      : "ended without an exit code";
    const last = stderr.trimEnd().split(/[\r\n]+/).at(-1)!.trim();
    super(`Command ${how}${last === "" ? "" : `: ${printable(last, 512)}`}`, { code: "COMMAND_FAILED" });
    this.#command = command;
    this.#status = status;
    this.#stderr = stderr;
  }

  /** What ran. It is not shown where the error is printed. */
  get command(): string {
    return this.#command;
  }

  /** How it ended. */
  get status(): ExitStatus {
    return this.#status;
  }

  /** The end of what it wrote to standard error, up to 4 KiB, as text. */
  get stderr(): string {
    return this.#stderr;
  }
}

/** The end of bytes, as text, without what `hide` leaves out. */
export function endOf(bytes: Uint8Array, hide: (text: string) => string): string {
  const shown = new TextEncoder().encode(hide(new TextDecoder().decode(bytes.subarray(-2 * TAIL))));
  return new TextDecoder().decode(shown.subarray(-TAIL));
}

/** A finished process. */
class Output implements ExecOutput {
  readonly success: boolean;
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: Bytes;
  readonly stderr: Bytes;

  constructor(status: ExitStatus, stdout: Bytes, stderr: Bytes) {
    this.success = status.success;
    this.code = status.code;
    this.signal = status.signal;
    this.stdout = stdout;
    this.stderr = stderr;
  }

  text(): string {
    return new TextDecoder().decode(this.stdout);
  }

  lines(): string[] {
    const lines = this.text().split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    return lines;
  }
}

/** What `output()` gives; an unwanted end is an error where `command` is given, in which `hide` leaves out what it must not show. */
export function finished(
  status: ExitStatus,
  stdout: Bytes,
  stderr: Bytes,
  command: string | null,
  hide: (text: string) => string,
): ExecOutput {
  if (command !== null && !status.success) throw new SshCommandError(command, status, endOf(stderr, hide));
  return new Output(status, stdout, stderr);
}

/** Bytes that may still be collected. */
export interface Room {
  /** How many. */
  left: number;
}

/** Reads a stream to its end. Calls `full` with more than there is room for, and goes on: that ends the stream. */
export async function collect(stream: ReadableStream<Bytes>, room: Room, full: () => void): Promise<Bytes> {
  const reader = stream.getReader(), gathered = new Gathered();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return gathered.bytes();
    room.left -= value.length;
    if (room.left < 0) full();
    else gathered.add(value);
  }
}

/** Room for what most commands write at once. */
const FIRST_ROOM = 4_096;
const LARGEST_ROOM = 262_144;

/** As {@linkcode collect}, without a stream. */
export async function collectPlain(source: PlainSource, room: Room, full: () => void): Promise<Bytes> {
  const gathered = new Gathered();
  let space: Bytes = new Uint8Array(FIRST_ROOM);
  for (;;) {
    const chunk = await source.read(space);
    if (chunk === null) return gathered.bytes();
    room.left -= chunk.length;
    if (room.left < 0) full();
    // What fills its memory is kept as it is, and anything less would keep the rest of it.
    else gathered.add(chunk, chunk.length === chunk.buffer.byteLength);
    const { byteLength } = chunk.buffer;
    if (chunk.length < byteLength || room.left < 0) space = new Uint8Array(chunk.buffer);
    else space = new Uint8Array(Math.min(4 * byteLength, LARGEST_ROOM));
  }
}

/** Reads a stream to its end and keeps what an error shows of it. */
export async function collectEnd(stream: ReadableStream<Bytes>): Promise<Bytes> {
  const most = 2 * TAIL;
  let kept: Bytes = new Uint8Array(0);
  for await (const chunk of stream) {
    kept = chunk.length >= most ? chunk.slice(-most) : concat([kept, chunk]).slice(-most);
  }
  return kept;
}

/** Lines as they come, without their ends. */
export function linesOf(stream: ReadableStream<Bytes>): ReadableStream<string> {
  return stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Bytes>).pipeThrough(
    new TextLineStream(),
  );
}
