/**
 * Messages of the agent protocol over a pair of byte streams. draft-ietf-sshm-ssh-agent section 3. No I/O of its own.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { Gathered } from "../wire/gathered.ts";
import { Reader } from "../wire/reader.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";

/** Message numbers (section 6.1). */
export const AgentMsg = {
  FAILURE: 5,
  SUCCESS: 6,
  REQUEST_IDENTITIES: 11,
  IDENTITIES_ANSWER: 12,
  SIGN_REQUEST: 13,
  SIGN_RESPONSE: 14,
  ADD_IDENTITY: 17,
  REMOVE_IDENTITY: 18,
  REMOVE_ALL_IDENTITIES: 19,
  LOCK: 22,
  UNLOCK: 23,
  ADD_ID_CONSTRAINED: 25,
  EXTENSION: 27,
  EXTENSION_FAILURE: 28,
  EXTENSION_RESPONSE: 29,
} as const;

/** Kinds of constraints of a key (section 6.2). */
export const Constraint = { LIFETIME: 1, CONFIRM: 2, EXTENSION: 255 } as const;

/** Names of extensions. */
export const AgentExtension = {
  QUERY: "query",
  SESSION_BIND: "session-bind@openssh.com",
  RESTRICT_DESTINATION: "restrict-destination-v00@openssh.com",
} as const;

/** Longest message in either direction. */
export const MAX_FRAME = 262_144;

/** Reads and writes messages; it has the streams for itself. */
export class AgentFrames {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #left: Uint8Array = new Uint8Array(0);

  constructor({ readable, writable }: ByteDuplex) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // Their errors are seen by whoever reads and writes.
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
  }

  /** The next message, or null where the streams end before one begins. Throws `SshProtocolError` for one that is too long, or cut. */
  async read(): Promise<Bytes | null> {
    const head = await this.#read(4);
    if (head === null) return null;
    const length = new Reader(head).u32();
    if (length < 1 || length > MAX_FRAME) {
      throw new SshProtocolError(`Cannot read agent's message: ${length} bytes, 1 to ${MAX_FRAME} are allowed`);
    }
    const message = await this.#read(length);
    if (message === null) throw new SshProtocolError("Cannot read agent's message: the stream ended in it");
    return message;
  }

  /** Exactly `length` bytes. Memory grows with what arrived, not with what was announced. */
  async #read(length: number): Promise<Bytes | null> {
    const gathered = new Gathered();
    gathered.add(this.#left);
    while (gathered.length < length) {
      const { value, done } = await this.#reader.read();
      if (done && gathered.length === 0) return null;
      if (done) throw new SshProtocolError("Cannot read agent's message: the stream ended in it");
      gathered.add(value);
    }
    const all = gathered.bytes();
    this.#left = all.subarray(length);
    return all.slice(0, length);
  }

  /** Writes a message. */
  async write(message: Uint8Array): Promise<void> {
    await this.#writer.write(new Writer(4 + message.length).string(message).bytes());
  }

  /** Ends both directions, behind what was written. */
  async close(): Promise<void> {
    this.#reader.cancel().catch(() => {});
    await this.#writer.close().catch(() => {});
  }

  /** Gives both directions up. */
  abort(reason: unknown): void {
    this.#reader.cancel(reason).catch(() => {});
    this.#writer.abort(reason).catch(() => {});
  }
}
