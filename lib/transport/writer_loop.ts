/**
 * The only writer of a connection's stream: takes chunks from the outbox and gives them to the socket, one under way at a time.
 *
 * @module
 */
import { turnEnd } from "../wire/turn_end.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import type { Ending } from "./ending.ts";
import type { Outbox } from "./outbox.ts";
import { CHUNK_WORK, type WorkShare } from "./work_share.ts";

/** Chunks below this are worth waiting a moment for what may follow them. */
const SMALL_CHUNK = 16_384;

/** What the writer needs of its connection. */
export interface WriterHost {
  /** Where chunks come from. */
  readonly outbox: Outbox;
  /** How much of a turn may be used. */
  readonly share: WorkShare;
  /** The end of the connection: what the outbox holds leaves, and the loop ends. */
  readonly ending: Ending;
  /** Chunks that have come in so far. */
  chunksReceived(): number;
  /** All that could leave has left. */
  idle(): void;
}

/**
 * What the loop does now:
 *
 * - `gathering`: about to look for a chunk. A turn may set off much, such as a WINDOW_ADJUST and the requests of many files, and each
 *   chunk is a system call here and wakes the peer: what follows a small chunk leaves together at the end of the turn, unless it
 *   answers what came since.
 * - `sealing`: takes a chunk from the outbox, and hands it to the socket once that has taken the one before. While the socket takes a
 *   large chunk, the next one is sealed.
 * - `writing`: waits until the socket has taken the last chunk.
 * - `idle`: waits for `wake()`, as nothing may leave.
 */
type State = "gathering" | "sealing" | "writing" | "idle";

/** The writer of one connection. */
export class WriterLoop {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #host: WriterHost;
  #state: State = "gathering";
  #wake: (() => void) | null = null;
  /** What has been sealed and not been given to the socket. No variable of `run()` has it, which would keep it while that waits. */
  #chunk: Bytes | null = null;

  /** Writes nothing before `run()`. */
  constructor(writer: WritableStreamDefaultWriter<Uint8Array>, host: WriterHost) {
    this.#writer = writer;
    this.#host = host;
    writer.closed.catch(() => {});
  }

  /** Whether something leaves, or is being looked for. */
  get isBusy(): boolean {
    return this.#state !== "idle";
  }

  /** There is something to take, or the end has come. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Writes until the end of the connection has come and nothing is left; rejects with what the stream fails with. */
  async run(first: Uint8Array | null): Promise<void> {
    const { outbox, share, ending } = this.#host;
    if (first !== null) await this.#writer.write(first);
    /** The chunk that the socket has not taken yet. */
    let writing: Promise<void> | null = null;
    /** How many chunks had come in when the last small one left. */
    let answered = -1;
    for (;;) {
      switch (this.#state) {
        case "gathering":
          if (answered === this.#host.chunksReceived() && outbox.ready) await turnEnd();
          this.#state = "sealing";
          break;
        case "sealing": {
          const sealed = this.#seal(), length = typeof sealed === "number" ? sealed : await sealed;
          if (length > 0) {
            await writing;
            writing = this.#write();
            if (share.isUsedBy(length + CHUNK_WORK)) await share.next();
            const isSmall = length < SMALL_CHUNK;
            if (isSmall) answered = this.#host.chunksReceived();
            this.#state = isSmall ? "writing" : "gathering";
          } else if (writing !== null) {
            this.#state = "writing";
          } else if (ending.hasCome) {
            return;
          } else {
            this.#state = "idle";
          }
          break;
        }
        case "writing":
          await writing;
          writing = null;
          this.#state = "gathering";
          break;
        case "idle":
          this.#host.idle();
          await new Promise<void>((resolve) => this.#wake = resolve);
          this.#state = "gathering";
          break;
      }
    }
  }

  /** The length of the next chunk, which lies in `#chunk` then; 0 where nothing may leave now. */
  #seal(): MaybePromise<number> {
    const taken = this.#host.outbox.take();
    const keep = (chunk: Bytes): number => {
      this.#chunk = chunk;
      return chunk.length;
    };
    return taken === null ? 0 : taken instanceof Promise ? taken.then(keep) : keep(taken);
  }

  #write(): Promise<void> {
    const chunk = this.#chunk!;
    this.#chunk = null;
    const writing = this.#writer.write(chunk).then(() => this.#host.outbox.recycle(chunk));
    writing.catch(() => {});
    return writing;
  }

  /** Closes the stream behind what has been written. */
  close(): Promise<void> {
    return this.#writer.close();
  }

  /** Gives the stream up. */
  abort(reason: Error): Promise<void> {
    return this.#writer.abort(reason);
  }
}
