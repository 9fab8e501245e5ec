/**
 * Writes to a remote file with many requests under way. draft-ietf-secsh-filexfer-02 section 6.4.
 *
 * Further sessions may take part, each by a handle of its own: where the window of one channel holds the write up, several carry more.
 * What is lost with one of them is written again by the first, and nothing else that goes wrong there matters.
 *
 * @module
 */
import { SshProtocolError } from "../../errors.ts";
import { Reader } from "../../wire/reader.ts";
import { Timer } from "../../wire/timer.ts";
import { Fxp } from "../wire/constants.ts";
import { checkStays } from "../../files/check_calls.ts";
import { Status } from "../../files/limits.ts";
import { FIRST_WINDOW, FlightWindow, LAST_WINDOW, MAX_REQUESTS } from "./flight_window.ts";
import { readStatus } from "../wire/messages.ts";
import type { Pending, SftpSession } from "./session.ts";
import { statusError } from "./errors.ts";

/** Milliseconds without an answer after which a further session is taken for lost. */
const SILENCE = 10_000;
/** Milliseconds that an answer takes at least on a path that is worth more than one channel. */
const LONG = 10;

/** How a file is written. */
export interface WritePlan {
  /** Where the first byte goes. */
  readonly offset: number;
  /** Most requests under way. */
  readonly concurrency?: number;
  /** Told of each answered request's bytes. */
  readonly onWritten?: (bytes: number) => void;
  /** Told when the window of the channel, of so many bytes, is what holds the write up; maybe more than once. */
  readonly onHeld?: (window: number) => void;
  /** Gives bytes once more that were written before. Without it no session can join. */
  readonly again?: (offset: number, length: number) => Promise<Uint8Array>;
}

/** What one session does of a write. */
interface Lane {
  readonly session: SftpSession;
  readonly handle: Uint8Array;
  readonly window: FlightWindow;
  inFlight: number;
  /** When it last answered. */
  heard: number;
  /** Whether it takes nothing more. */
  isLeft: boolean;
}

/** One request. */
class Piece implements Pending {
  readonly action = "write";
  readonly path: string | null;
  readonly offset: number;
  readonly length: number;
  readonly #settled: (piece: Piece, error: Error | null, status: number) => void;
  lane: Lane;
  sent = performance.now();
  isDone = false;

  constructor(
    lane: Lane,
    path: string | null,
    offset: number,
    length: number,
    settled: (piece: Piece, error: Error | null, status: number) => void,
  ) {
    this.lane = lane;
    this.path = path;
    this.offset = offset;
    this.length = length;
    this.#settled = settled;
  }

  get handle(): Uint8Array {
    return this.lane.handle;
  }

  reply(payload: Uint8Array): void {
    if (payload[0] !== Fxp.STATUS) {
      throw new SshProtocolError(`Cannot write: the server answered with packet type ${payload[0]}`);
    }
    const { status, text } = readStatus(new Reader(payload, 5));
    this.#settled(this, status === Status.OK ? null : statusError(this, status, text), status);
  }

  fail(error: Error): void {
    this.#settled(this, error, Status.OK);
  }
}

/** A write in progress. The first failure stays and is thrown by every later call. */
export class WritePipeline {
  readonly #path: string | null;
  readonly #plan: WritePlan;
  /** The session that all depends on. */
  readonly #first: Lane;
  #lanes: readonly Lane[];
  readonly #maxWrite: number;
  /** Requests that were not answered yet, or are behind one that was not, in the order of the file. */
  readonly #pieces: Piece[] = [];
  /** Those whose session was lost. */
  readonly #lost: Piece[] = [];
  #offset: number;
  #failure: Error | null = null;
  #refusedAt: number | null = null;
  #isEnding = false;
  #closing: Promise<void> | null = null;
  #wake: (() => void) | null = null;
  /** Small writes gathered while others are under way. */
  #staged: Uint8Array | null = null;
  #stagedLength = 0;
  /** Where the last round of the first session's window began. */
  #round = { number: 0, at: 0, held: 0, written: 0 };

  /** Nothing is sent yet. */
  constructor(session: SftpSession, handle: Uint8Array, path: string | null, plan: WritePlan) {
    this.#path = path;
    this.#plan = plan;
    this.#offset = plan.offset;
    this.#maxWrite = session.maxWrite;
    const requests = Math.min(Math.max(1, plan.concurrency ?? MAX_REQUESTS), MAX_REQUESTS);
    this.#first = lane(session, handle, Math.min(requests * session.maxWrite, LAST_WINDOW));
    this.#lanes = [this.#first];
  }

  /** Where the next byte goes. */
  get offset(): number {
    return this.#offset + this.#stagedLength;
  }

  /** Up to where everything is there, as the server says. */
  get whole(): number {
    return this.#pieces[0]?.offset ?? this.#offset;
  }

  /** Where the first bytes belong that the server refused; those behind them may be there, and make the file seem whole. */
  get refusedAt(): number | null {
    return this.#refusedAt;
  }

  /** Whether other sessions take part. */
  get isShared(): boolean {
    return this.#lanes.length > 1;
  }

  /** Whether a session could take part. */
  admits(session: SftpSession): boolean {
    return this.#plan.again !== undefined && !this.#isEnding && this.#failure === null && session.ended === null &&
      session.maxWrite >= this.#maxWrite;
  }

  /** Lets a session take part; the handle is of the same file, and belongs to the pipeline from here on. False where it is too late. */
  join(session: SftpSession, handle: Uint8Array): boolean {
    if (!this.admits(session)) return false;
    this.#lanes = [...this.#lanes, lane(session, handle, LAST_WINDOW)];
    this.#changed();
    return true;
  }

  /** Takes the bytes, which may be used again afterwards. Returns a promise only where it must wait. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const max = this.#maxWrite;
    let at = 0;
    if (this.#stagedLength > 0 || bytes.length < max && this.#pieces.length > 0) {
      this.#staged ??= new Uint8Array(max);
      at = Math.min(bytes.length, max - this.#stagedLength);
      this.#staged.set(bytes.subarray(0, at), this.#stagedLength);
      this.#stagedLength += at;
      if (this.#stagedLength === max) {
        if (this.#laneFor(max) === null) return this.#writeRest(bytes, at);
        this.#sendStaged();
      }
    }
    for (; at < bytes.length; at += max) {
      const part = bytes.subarray(at, at + max), lane = this.#laneFor(part.length);
      if (lane === null) return this.#writeRest(bytes, at);
      this.#send(lane, part);
    }
    return undefined;
  }

  async #writeRest(bytes: Uint8Array, from: number): Promise<void> {
    const max = this.#maxWrite, { length } = bytes;
    while (this.#stagedLength === max) {
      if (this.#laneFor(max) === null) await this.#progress();
      else this.#sendStaged();
    }
    for (let at = from; at < length; at += max) {
      const count = Math.min(max, length - at);
      let lane = this.#laneFor(count);
      for (; lane === null; lane = this.#laneFor(count)) await this.#progress();
      checkStays("write", bytes, length);
      this.#send(lane, bytes.subarray(at, at + count));
    }
  }

  /** Where so many bytes can go now; null where they must wait. */
  #laneFor(length: number): Lane | null {
    if (this.#pieces.length === 0) return this.#first;
    if (this.#lost.length > 0) return null;
    // A copy that goes on later sends so much again: there are no gaps before that. The last bytes of a file, gathered, do not ask.
    if (this.#offset + length - this.whole > LAST_WINDOW - this.#maxWrite) return null;
    let best: Lane | null = null;
    for (const lane of this.#lanes) {
      if (!lane.isLeft && fits(lane, length) && (best === null || roomOf(lane) > roomOf(best))) best = lane;
    }
    return best;
  }

  /** Waits until something has changed, or changes it: what was lost is sent again. */
  async #progress(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    const [lost] = this.#lost;
    if (lost !== undefined && fits(this.#first, lost.length)) {
      this.#lost.shift();
      const bytes = await this.#plan.again!(lost.offset, lost.length);
      if (this.#failure !== null) throw this.#failure;
      lost.lane = this.#first;
      lost.sent = performance.now();
      this.#post(lost, bytes);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = this.isShared ? new Timer(() => this.#leaveSilent()) : null;
    timer?.unref();
    timer?.start(SILENCE);
    await promise;
    timer?.stop();
    if (this.#failure !== null) throw this.#failure;
  }

  /** Nothing has come for a while: who owes an answer takes no part any more. No clock is asked again, which may be behind a timer. */
  #leaveSilent(): void {
    for (const lane of this.#lanes) {
      if (lane !== this.#first && lane.inFlight > 0) lane.session.drop();
    }
  }

  #changed(): void {
    this.#wake?.();
    this.#wake = null;
  }

  #sendStaged(): void {
    const length = this.#stagedLength;
    if (length === 0) return;
    this.#stagedLength = 0;
    this.#send(this.#laneFor(length) ?? this.#first, this.#staged!.subarray(0, length));
  }

  #send(lane: Lane, bytes: Uint8Array): void {
    const piece = new Piece(lane, this.#path, this.#offset, bytes.length, this.#settled);
    this.#offset += bytes.length;
    this.#pieces.push(piece);
    this.#post(piece, bytes);
  }

  #post(piece: Piece, bytes: Uint8Array): void {
    const { lane, offset } = piece;
    if (lane.inFlight === 0) lane.heard = piece.sent;
    lane.inFlight += bytes.length;
    lane.session.send(piece, (out, id) => out.write(id, lane.handle, offset, bytes));
  }

  readonly #settled = (piece: Piece, error: Error | null, status: number): void => {
    const { lane, offset, length, sent } = piece;
    lane.inFlight -= length;
    if (error !== null && lane !== this.#first) {
      // Whatever it is, the first session does it, or says why not.
      lane.isLeft = true;
      this.#lost.push(piece);
    } else if (error !== null) {
      if (status !== Status.OK) this.#refusedAt = Math.min(offset, this.#refusedAt ?? offset);
      this.#failure ??= error;
      this.#stagedLength = 0;
    } else {
      const now = performance.now();
      piece.isDone = true;
      while (this.#pieces[0]?.isDone) this.#pieces.shift();
      lane.heard = now;
      lane.session.written += length;
      lane.window.answered(length, sent, now);
      if (lane === this.#first && this.#plan.onHeld !== undefined) this.#look(now, this.#plan.onHeld);
      this.#plan.onWritten?.(length);
      if (this.#pieces.length === 0) this.#sendStaged();
    }
    this.#changed();
  };

  /**
   * Whether the window was what the first session waited for in the last round: most of the time nothing could leave, and what the
   * path took in its shortest time was a good part of a window: not most, as answers of a busy machine take longer than that. A slow
   * server has the one, too, but not the other.
   */
  #look(now: number, onHeld: (window: number) => void): void {
    const { session, window: { rounds, shortest } } = this.#first, before = this.#round;
    if (rounds === before.number) return;
    const { sending, written } = session;
    if (sending === null) return;
    this.#round = { number: rounds, at: now, held: sending.held, written };
    const elapsed = now - before.at;
    if (before.number === 0 || shortest < LONG || sending.held - before.held < elapsed / 2) return;
    if ((written - before.written) * shortest > elapsed * sending.window / 4) onHeld(sending.window);
  }

  /** Sends what was gathered and waits until everything is answered, and until the handles of the sessions that joined are closed. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    if (this.#failure === null) this.#sendStaged();
    const closed = this.#closing ??= this.#close();
    while (this.#pieces.length > 0 && this.#failure === null) await this.#progress();
    if (this.#failure === null) await closed;
    // A server may say as late as in the answer to CLOSE that it could not keep what it had taken.
    if (this.#failure !== null) throw this.#failure;
  }

  /** Closes the handles of the sessions that joined, behind what they still write. */
  async #close(): Promise<void> {
    const closing = this.#lanes.slice(1).map(async (lane) => {
      lane.isLeft = true;
      const timer = new Timer(() => {
        const left = lane.heard + SILENCE - performance.now();
        if (left > 0) timer.start(left);
        else lane.session.drop();
      });
      timer.unref();
      timer.start(SILENCE);
      lane.heard = performance.now();
      await lane.session.closeHandle(lane.handle, this.#path).catch((error) => {
        // Where it has ended its writes are answered, or done again.
        if (lane.session.ended !== null) return;
        this.#failure ??= error;
        this.#changed();
      });
      timer.stop();
    });
    await Promise.all(closing);
  }

  /**
   * Sends nothing more, and wakes who waits. Answers that are still to come do not matter; a CLOSE may follow at once. Resolves when
   * the handles of the sessions that joined are closed.
   */
  async abandon(reason: unknown): Promise<void> {
    this.#isEnding = true;
    this.#failure ??= reason instanceof Error ? reason : new Error("The write was given up", { cause: reason });
    this.#stagedLength = 0;
    this.#changed();
    await (this.#closing ??= this.#close());
  }
}

function lane(session: SftpSession, handle: Uint8Array, most: number): Lane {
  return { session, handle, window: new FlightWindow(FIRST_WINDOW, most), inFlight: 0, heard: 0, isLeft: false };
}

function roomOf(lane: Lane): number {
  return lane.window.size - lane.inFlight;
}

function fits(lane: Lane, length: number): boolean {
  return lane.inFlight === 0 || roomOf(lane) >= length;
}
