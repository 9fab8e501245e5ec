/**
 * One output of a served session. No I/O of its own.
 *
 * Closing it sends nothing: EOF stands for standard output and standard error both (RFC 4254 section 5.3), and a handler is
 * free to end the one before the other. And what was written can be waited for even when the handler never let go of its
 * writer.
 *
 * @module
 */
import { OutputStream } from "../connection/output_stream.ts";

/** A writable in front of one output of the channel. */
export class SessionOutput {
  /** What the handler writes to. */
  readonly writable: WritableStream<Uint8Array>;
  readonly #target: WritableStreamDefaultWriter<Uint8Array>;
  #queued = 0;
  /** Nothing more comes out of the queue, whatever its count says. */
  #settled = false;
  #drained: (() => void) | null = null;
  /** What closing gives once the channel's output has failed. */
  #ending: Promise<void> | null = null;

  /** Takes over `target`. */
  constructor(target: WritableStream<Uint8Array>) {
    const writer = this.#target = target.getWriter();
    this.writable = new OutputStream(
      {
        start: (controller) => {
          writer.closed.catch((error) => {
            this.#ending = this.#queued === 0 ? writer.close() : Promise.reject(error);
            this.#ending.catch(() => {});
            this.#settle();
            controller.error(error);
          });
        },
        write: async (chunk) => {
          await writer.write(chunk);
          if (--this.#queued === 0) this.#drained?.();
        },
        close: () => this.#settle(),
        // A handler whose source broke still has a status to send: the channel stays as it is.
        abort: () => this.#settle(),
      },
      () => this.#ending,
      {
        highWaterMark: 2,
        // Called for each chunk as it is queued, whoever holds the writer.
        size: () => {
          this.#queued++;
          return 1;
        },
      },
    );
  }

  /** Closes the channel's output; resolves when all that was written has left for the peer, or the channel has failed. */
  async end(): Promise<void> {
    if (this.#queued > 0 && !this.#settled) await new Promise<void>((resolve) => this.#drained = resolve);
    try {
      await this.#target.close();
    } catch {
      // The channel or the connection is closed, and with it this output.
    }
  }

  #settle(): void {
    this.#settled = true;
    this.#drained?.();
  }
}
