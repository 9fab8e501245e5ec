/**
 * Reads a part of a remote file with many requests under way. draft-ietf-secsh-filexfer-02 section 6.4.
 *
 * Answers come in any order and may be short; what is handed out is in order and whole. Bytes go straight from the packet
 * into the buffer that is handed out.
 *
 * @module
 */
import { SshProtocolError } from "../../errors.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes } from "../../wire/types.ts";
import { Fxp } from "../wire/constants.ts";
import { checkStays } from "../../files/check_calls.ts";
import { Status } from "../../files/limits.ts";
import { FIRST_WINDOW, FlightWindow, LAST_WINDOW, MAX_REQUESTS } from "./flight_window.ts";
import { readStatus } from "../wire/messages.ts";
import { quoted } from "../../files/names.ts";
import type { Pending, SftpSession } from "./session.ts";
import { statusError } from "./errors.ts";

/** Servers that cut answers do so at a round number: a short answer of such a length is no witness of an end. */
const ROUND = 1024;

/** What is read. */
export interface ReadPlan {
  /** First byte. */
  readonly offset: number;
  /** Where to stop; null for the end of the file, which is where the server says EOF, and nowhere else. */
  readonly end: number | null;
  /**
   * Where the file ends as far as is known: that much is asked for at once, and one byte more, which tells whether it does. Where
   * one request asks for both, an answer that is short by this very byte is the second witness of the size.
   */
  readonly size?: number;
  /** Filled from `offset` on instead of fresh buffers, as far as it goes. */
  readonly target?: Uint8Array;
  /** Most requests under way. */
  readonly concurrency?: number;
}

/** One request, asked again for the rest when its answer is short. */
class Piece implements Pending {
  readonly action = "read";
  readonly path: string | null;
  readonly handle: Uint8Array;
  readonly owner: ReadPipeline;
  readonly offset: number;
  /** How many bytes it is to bring. Its buffer has as many, unless the program has moved the memory elsewhere. */
  readonly length: number;
  buffer: Uint8Array;
  readonly sent = performance.now();
  got = 0;
  done = false;
  error: Error | null = null;
  /** Where DATA is just being put, and how many bytes of it. */
  #arriving: Uint8Array | null = null;
  #answered = 0;

  constructor(owner: ReadPipeline, handle: Uint8Array, path: string | null, offset: number, buffer: Uint8Array) {
    this.owner = owner;
    this.handle = handle;
    this.path = path;
    this.offset = offset;
    this.length = buffer.length;
    this.buffer = buffer;
  }

  data(length: number): Uint8Array {
    if (length > this.length - this.got) {
      throw new SshProtocolError(
        `Cannot read: the server sent ${length} bytes where ${this.length - this.got} were asked for`,
      );
    }
    // Without this a server could keep a reader busy for ever.
    if (length === 0) throw new SshProtocolError("Cannot read: the server sent no bytes and no end of file");
    if (this.buffer.length !== this.length) this.buffer = new Uint8Array(this.length);
    this.got += length;
    this.#answered = length;
    return this.#arriving = this.buffer.subarray(this.got - length, this.got);
  }

  /** Leaves the buffer alone from here on: what still comes goes into `nowhere`. */
  divert(session: SftpSession, nowhere: Uint8Array): void {
    if (this.#arriving !== null) session.divert(this.#arriving);
    this.buffer = nowhere.subarray(0, this.length);
  }

  dataEnd(): void {
    this.#arriving = null;
    if (this.got < this.length && !this.owner.endsWith(this, this.#answered)) this.owner.ask(this);
    else this.owner.settled(this, null);
  }

  reply(payload: Uint8Array): void {
    if (payload[0] !== Fxp.STATUS) {
      throw new SshProtocolError(`Cannot read: the server answered with packet type ${payload[0]}`);
    }
    // Each file ends with it, and nobody reads its text.
    if (payload.length >= 9 && payload[8] === Status.EOF && payload[5] === 0 && payload[6] === 0 && payload[7] === 0) {
      this.owner.settled(this, null);
      return;
    }
    const { status, text } = readStatus(new Reader(payload, 5));
    if (status === Status.OK) throw new SshProtocolError("Cannot read: the server answered OK and sent no data");
    this.owner.settled(this, statusError(this, status, text));
  }

  fail(error: Error): void {
    this.owner.settled(this, error);
  }
}

/** A read in progress. `next()` is called by one reader at a time, until null or an error. */
export class ReadPipeline {
  readonly #session: SftpSession;
  readonly #handle: Uint8Array;
  readonly #path: string | null;
  readonly #plan: ReadPlan;
  readonly #window: FlightWindow;
  readonly #pieces: Piece[] = [];
  /** Buffers that came back, to be filled again. */
  readonly #spare: Uint8Array[] = [];
  #offset: number;
  /** No request starts at or after this. */
  #end: number;
  /** Where one request is to find out whether the file ends; past it when it does not. */
  #expected: number;
  #probe: Piece | null = null;
  /** Bytes asked for or answered, and not handed out. */
  #held = 0;
  #wake: (() => void) | null = null;
  #over = false;

  /** Starts asking at once. */
  constructor(session: SftpSession, handle: Uint8Array, path: string | null, plan: ReadPlan) {
    this.#session = session;
    this.#handle = handle;
    this.#path = path;
    this.#plan = plan;
    this.#offset = plan.offset;
    this.#end = plan.end ?? Infinity;
    // Behind this the end may be anywhere, as in a file of which nothing is known.
    this.#expected = plan.size !== undefined && plan.size > plan.offset ? plan.size : Infinity;
    const most = plan.concurrency === undefined
      ? Math.min(MAX_REQUESTS * session.maxRead, LAST_WINDOW)
      : Math.min(Math.max(1, plan.concurrency), MAX_REQUESTS) * session.maxRead;
    // Where the end is not known it may be near: two requests find out.
    const first = plan.end === null && this.#expected === Infinity ? 2 * session.maxRead : FIRST_WINDOW;
    this.#window = new FlightWindow(first, most);
    this.#fill();
  }

  #fill(): void {
    const chunk = this.#session.maxRead;
    // In bursts, a quarter of the window at a time: they leave in one packet, and wake the server once.
    if (this.#held > 0.75 * this.#window.size) return;
    while (!this.#over && this.#offset < this.#end) {
      if (this.#probe !== null) return;
      const most = Math.min(chunk, Math.min(this.#end, this.#expected) - this.#offset);
      // What fits into the first request is asked for together with the byte behind it, where its answer can tell the end: such small
      // files take one request. Else the two leave together.
      const joins = this.#offset === this.#plan.offset && most < chunk && most % ROUND !== 0;
      const isProbe = this.#offset + most === this.#expected && (most === 0 || joins);
      const length = isProbe ? most + 1 : most;
      // One that only looks for the end counts as a whole one.
      if (this.#held > 0 && this.#held + (most === 0 ? chunk : length) > this.#window.size) return;
      const piece = new Piece(this, this.#handle, this.#path, this.#offset, this.#buffer(length));
      this.#offset += length;
      this.#held += length;
      this.#pieces.push(piece);
      if (isProbe) this.#probe = piece;
      this.ask(piece);
    }
  }

  #buffer(length: number): Uint8Array {
    const { target, offset } = this.#plan, at = this.#offset - offset;
    if (target !== undefined && at + length <= target.length) return target.subarray(at, at + length);
    const spare = target === undefined && length === this.#session.maxRead ? this.#spare.pop() : undefined;
    return spare ?? new Uint8Array(length);
  }

  /**
   * Whether a piece ends with an answer of so many bytes, which is short just where the server says that the file ends. One that
   * came in several answers is from a server that cuts them, wherever it likes: that one is asked.
   */
  endsWith(piece: Piece, answered: number): boolean {
    return piece === this.#probe && piece.got === answered && piece.offset + piece.got === this.#expected;
  }

  /** Asks for what a piece still lacks. */
  ask(piece: Piece): void {
    if (this.#over) {
      this.settled(piece, null);
      return;
    }
    this.#session.send(piece, (out, id) => {
      out.read(id, this.#handle, piece.offset + piece.got, piece.length - piece.got);
    });
  }

  /** A piece is whole, or ends where the file does, or failed. */
  settled(piece: Piece, error: Error | null): void {
    piece.done = true;
    piece.error = error;
    if (error === null) {
      this.#window.answered(piece.got, piece.sent, performance.now());
      // The file ends inside this piece: what lies behind is not part of it.
      if (piece.got < piece.length) this.#end = Math.min(this.#end, piece.offset + piece.got);
    } else {
      // It is thrown before anything behind it could be handed out.
      this.#end = Math.min(this.#end, piece.offset);
    }
    if (piece === this.#probe) {
      this.#probe = null;
      this.#expected = Infinity;
    }
    if (this.#pieces[0] === piece) this.#wake?.();
  }

  /** The next bytes in order; null at the end. With a `target` they are a view of it. */
  async next(): Promise<Uint8Array | null> {
    for (;;) {
      const piece = this.#pieces[0];
      if (piece === undefined) {
        this.#over = true;
        return null;
      }
      if (piece.error !== null) {
        this.cancel();
        throw piece.error;
      }
      if (piece.done) {
        this.#pieces.shift();
        this.#held -= piece.length;
        this.#fill();
        const whole = piece.got === piece.length;
        if (!whole) {
          this.cancel();
          if (piece.got === 0) return null;
        }
        if (piece.buffer.length !== piece.length) this.cancel();
        checkStays("read", piece.buffer, piece.length);
        return piece.buffer.subarray(0, piece.got);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = null;
    }
  }

  /** Gives all that is to come to `take`; rejects with the signal's reason, and leaves a `target` alone, once that has aborted. */
  async all(signal: AbortSignal | undefined, take: (part: Uint8Array) => void): Promise<void> {
    const stop = (): void => this.cancel();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (let part = await this.next(); part !== null; part = await this.next()) take(part);
      signal?.throwIfAborted();
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Takes back bytes that `next()` gave, by a caller who is done with them and did not give a `target`. */
  recycle(part: Uint8Array): void {
    if (part.length === this.#session.maxRead && this.#plan.target === undefined) this.#spare.push(part);
  }

  /** Asks for nothing more. What is under way still arrives, and is thrown away: a `target` is left alone from here on. */
  cancel(): void {
    this.#over = true;
    if (this.#plan.target !== undefined && this.#pieces.some((piece) => !piece.done)) {
      const nowhere = new Uint8Array(this.#session.maxRead);
      for (const piece of this.#pieces) if (!piece.done) piece.divert(this.#session, nowhere);
    }
    this.#pieces.length = 0;
    this.#wake?.();
  }
}

/** Reads until the buffer is full or the file ends; null where the file had ended already. */
export async function readInto(
  session: SftpSession,
  handle: Uint8Array,
  path: string | null,
  target: Uint8Array,
  offset: number,
  signal?: AbortSignal,
): Promise<number | null> {
  signal?.throwIfAborted();
  const { length } = target;
  if (length === 0) return 0;
  const pipeline = new ReadPipeline(session, handle, path, { offset, end: offset + length, target });
  let total = 0;
  await pipeline.all(signal, (part) => void (total += part.length));
  checkStays("read", target, length);
  return total === 0 ? null : total;
}

/** Most bytes set aside for what a server says is there. */
const KNOWN_LIMIT = 1_073_741_824;
/** Most bytes of a file of unknown length that are read into memory. */
const UNKNOWN_LIMIT = 1_073_741_824;
/** What a file may always have, whatever smaller size a server gives it. */
const LEAST_LIMIT = 67_108_864;

/** Most bytes that are read into memory of a file that a server says has `size`, which may be what it takes up when it is packed. */
function limitOf(size: number): number {
  return size === 0 ? UNKNOWN_LIMIT : Math.max(LEAST_LIMIT, size + Math.min(7 * size, UNKNOWN_LIMIT));
}

/** Reads from the start to the end of the file, which may lie before or behind `size`, what the server says of it. */
export async function readAll(
  session: SftpSession,
  handle: Uint8Array,
  path: string | null,
  size: number,
  signal?: AbortSignal,
): Promise<Bytes> {
  signal?.throwIfAborted();
  // A server can claim any size: past this, memory follows the bytes that came. Up to it, pages nobody writes cost nothing.
  let result = new Uint8Array(Math.min(size, KNOWN_LIMIT)), total = 0;
  const pipeline = new ReadPipeline(session, handle, path, {
    offset: 0,
    end: null,
    size,
    ...(size > 0 && result.length === size ? { target: result } : {}),
  });
  await pipeline.all(signal, (part) => {
    if (part.buffer !== result.buffer) {
      const limit = limitOf(size);
      if (total + part.length > limit) {
        pipeline.cancel();
        throw new RangeError(
          `Cannot read ${path === null ? "file" : quoted(path)}: the server says it has ${size} bytes, and it has no ` +
            `end within ${limit}; read it with \`open()\` and \`readable\``,
        );
      }
      if (total + part.length > result.length) {
        const most = total < size ? size : limit;
        const grown = new Uint8Array(Math.max(total + part.length, Math.min(2 * result.length, most)));
        grown.set(result.subarray(0, total));
        result = grown;
      }
      result.set(part, total);
    }
    total += part.length;
  });
  return total === result.length ? result : result.slice(0, total);
}
