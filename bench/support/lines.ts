/**
 * Bench. Lines of a child's output.
 *
 * @module
 */

/** Reads lines one at a time from a stream of bytes. */
export class Lines {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #rest = "";

  /** Takes over the stream. */
  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** The next line, or null at the end. */
  async next(): Promise<string | null> {
    for (;;) {
      const at = this.#rest.indexOf("\n");
      if (at >= 0) {
        const line = this.#rest.slice(0, at);
        this.#rest = this.#rest.slice(at + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) {
        const line = this.#rest;
        this.#rest = "";
        return line === "" ? null : line;
      }
      this.#rest += this.#decoder.decode(value, { stream: true });
    }
  }

  /** Lines up to the end. */
  async rest(): Promise<string[]> {
    const lines: string[] = [];
    for (let line = await this.next(); line !== null; line = await this.next()) lines.push(line);
    return lines;
  }
}
