/**
 * Test support. The master's side of a control connection, by hand: messages in and out as a test wants them.
 *
 * @module
 */
import type { ByteDuplex, Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";

/** What a master may answer with. */
export const Master = {
  HELLO: 0x1,
  OK: 0x8000_0001,
  DENIED: 0x8000_0002,
  FAILURE: 0x8000_0003,
  PORT: 0x8000_0007,
  PROXIED: 0x8000_000f,
} as const;

/** A master of a test. */
export class RawMaster {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #buffer: Bytes = new Uint8Array(0);

  constructor(conn: ByteDuplex) {
    this.#reader = conn.readable.getReader();
    this.#writer = conn.writable.getWriter();
    for (const { closed } of [this.#reader, this.#writer]) closed.catch(() => {});
  }

  /** The next message, or payload of a packet behind its padding length; null when the client has hung up. */
  async receive(): Promise<Bytes | null> {
    const length = await this.#take(4);
    if (length === null) return null;
    return await this.#take(new DataView(length.buffer).getUint32(0));
  }

  async #take(length: number): Promise<Bytes | null> {
    while (this.#buffer.length < length) {
      const { done, value } = await this.#reader.read().catch(() => ({ done: true, value: undefined }));
      if (done || value === undefined) return null;
      this.#buffer = new Uint8Array([...this.#buffer, ...value]);
    }
    const taken = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.slice(length);
    return taken;
  }

  /** Sends bytes as they are. What nobody takes is no error. */
  async raw(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes).catch(() => {});
  }

  /** Sends a message that begins with these numbers. */
  async say(numbers: readonly number[], more: Uint8Array | string = new Uint8Array(0)): Promise<void> {
    await this.raw(controlMessage(numbers, more));
  }

  /** Sends a payload as a packet. */
  async packet(payload: Uint8Array): Promise<void> {
    await this.raw(packetOf(payload));
  }

  /** As OpenSSH's master until packets are passed on. */
  async greetAndProxy(): Promise<void> {
    await this.say([Master.HELLO, 4]);
    await this.receive();
    const request = await this.receive();
    if (request !== null) await this.say([Master.PROXIED, new DataView(request.buffer).getUint32(4)]);
  }

  /** Hangs up. */
  async hangUp(): Promise<void> {
    await this.#writer.close().catch(() => {});
  }
}

/** A message of a master that begins with these numbers; a text is a `string`. */
export function controlMessage(numbers: readonly number[], more: Uint8Array | string = new Uint8Array(0)): Bytes {
  const body = new Writer();
  for (const number of numbers) body.u32(number);
  if (typeof more === "string") body.text(more);
  else body.raw(more);
  return new Writer().string(body.bytes()).bytes();
}

/** A packet without padding. */
export function packetOf(payload: Uint8Array): Bytes {
  return new Writer().u32(payload.length + 1).u8(0).raw(payload).bytes();
}
