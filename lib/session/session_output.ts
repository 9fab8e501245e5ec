/**
 * L5. One output of a served session. No I/O of its own.
 *
 * Closing it sends nothing: EOF stands for standard output and standard error both (RFC 4254 section 5.3), and a handler is
 * free to end the one before the other. And what was written can be waited for even when the handler never let go of its
 * writer.
 *
 * @module
 */

/** A writable in front of one output of the channel. */
export class SessionOutput {
  /** What the handler writes to. */
  readonly writable: WritableStream<Uint8Array>;
  #queued = 0;
  #failed = false;
  #drained: (() => void)[] = [];

  /** Takes over `target`. */
  constructor(target: WritableStream<Uint8Array>) {
    const writer = target.getWriter();
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        writer.closed.catch((error) => {
          this.#fail();
          controller.error(error);
        });
      },
      write: async (chunk) => {
        await writer.write(chunk);
        if (--this.#queued === 0) this.#wake();
      },
      abort: (reason) => {
        this.#fail();
        return writer.abort(reason);
      },
    }, {
      highWaterMark: 2,
      // Called for each chunk as it is queued, whoever holds the writer.
      size: () => {
        this.#queued++;
        return 1;
      },
    });
  }

  /** Resolves when the channel has taken all that was written, or has failed. */
  flushed(): Promise<void> {
    if (this.#queued === 0 || this.#failed) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #fail(): void {
    this.#failed = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}
