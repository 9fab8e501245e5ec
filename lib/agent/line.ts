/**
 * A way to ask an agent: one message goes, one comes. draft-ietf-sshm-ssh-agent section 3. No I/O of its own.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import { Gathered } from "../wire/gathered.ts";
import { Reader } from "../wire/reader.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { MAX_FRAME } from "./frames.ts";

/** A way to ask an agent. */
export interface AgentLine {
  /** Asks, once the question before has been answered. Throws where nobody can be asked any more. */
  ask(question: Uint8Array): Promise<Bytes>;
  /** Lets go; settles when that is done. Safe to call twice. */
  end(): Promise<unknown>;
}

function lost(message: string, cause?: unknown): SshError {
  return new SshError(message, cause === undefined ? { code: "CONNECTION_LOST" } : { code: "CONNECTION_LOST", cause });
}

/** Over a pair of streams, which belong to it. */
export class StreamLine implements AgentLine {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** Bytes that arrived behind the answer that was read last. */
  #left: Uint8Array = new Uint8Array(0);
  #writing = false;
  #ending: Promise<unknown> | undefined;

  constructor(conn: ByteDuplex) {
    this.#reader = conn.readable.getReader();
    this.#writer = conn.writable.getWriter();
    // Their errors are seen by the question that meets them.
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
  }

  async ask(question: Uint8Array): Promise<Bytes> {
    try {
      // What came behind the answer before would be taken for the answer to this question.
      if (this.#left.length > 0) throw new SshProtocolError("Cannot use agent: it sent more than it was asked for");
      this.#writing = true;
      await this.#writer.write(new Writer(4 + question.length).string(question).bytes());
      this.#writing = false;
      const length = new Reader(await this.#read(4)).u32();
      if (length < 1 || length > MAX_FRAME) {
        throw new SshProtocolError(`Cannot read agent's answer: ${length} bytes, 1 to ${MAX_FRAME} are allowed`);
      }
      return await this.#read(length);
    } catch (error) {
      throw error instanceof SshError ? error : lost("Cannot reach agent: the connection broke", error);
    }
  }

  /** Exactly `length` bytes. Memory grows with what arrived, not with what was announced. */
  async #read(length: number): Promise<Bytes> {
    const gathered = new Gathered();
    gathered.add(this.#left);
    while (gathered.length < length) {
      const { value, done } = await this.#reader.read();
      if (done) throw lost("Cannot read agent's answer: the agent closed the connection");
      gathered.add(value);
    }
    const all = gathered.bytes();
    this.#left = all.subarray(length);
    return all.slice(0, length);
  }

  /** Not waited for is a write that the agent does not take: it may never settle. */
  end(): Promise<unknown> {
    if (this.#ending === undefined) {
      const parts = [this.#reader.cancel(), this.#writer.abort()];
      for (const part of parts) part.catch(() => {});
      this.#ending = Promise.allSettled(this.#writing ? parts.slice(0, 1) : parts);
    }
    return this.#ending;
  }
}
