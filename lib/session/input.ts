/**
 * Standard input that is there from the start: text, bytes, or a stream. No I/O.
 *
 * @module
 */
import type { BaseChannel } from "../connection/channel.ts";

/** What is sent, and then the end of file. */
export type Input = { readonly text: string } | Uint8Array | ReadableStream<Uint8Array>;

/** Whether `stdin` says what is sent, and not how. */
export function isInput(stdin: unknown): stdin is Input {
  return typeof stdin === "object" && stdin !== null;
}

/** The same, with what its bytes are when they are handed over: their memory may be moved elsewhere before they are sent. */
export type HeldInput = ReadableStream<Uint8Array> | { readonly bytes: Uint8Array; readonly length: number };

/** What is to be sent of an input. */
export function heldInput(input: Input): HeldInput {
  if (input instanceof ReadableStream) return input;
  const bytes = input instanceof Uint8Array ? input : new TextEncoder().encode(input.text);
  return { bytes, length: bytes.length };
}

/**
 * Sends all of it, and the end of file. A process that takes no more of it is its own affair, as with a pipe: a stream is cancelled then.
 * What cannot be had whole calls `failed`, as half of the input must not look like all of it. Nothing is sent before `ready`.
 */
export async function feed(
  channel: BaseChannel,
  input: HeldInput,
  failed: (reason: unknown) => void,
  ready: Promise<void> | null = null,
): Promise<void> {
  const writer = channel.writable.getWriter();
  writer.closed.catch(() => {});
  try {
    if (input instanceof ReadableStream) await feedStream(input, writer, failed, ready);
    else await feedBytes(input, writer, failed, ready);
  } catch {
    // The process has ended, or takes no more: `status` and the outputs tell how.
  }
}

async function feedBytes(
  { bytes, length }: { readonly bytes: Uint8Array; readonly length: number },
  writer: WritableStreamDefaultWriter<Uint8Array>,
  failed: (reason: unknown) => void,
  ready: Promise<void> | null,
): Promise<void> {
  if (ready !== null) await Promise.race([ready, writer.closed]);
  try {
    if (bytes.length > 0) await writer.write(bytes);
  } finally {
    if (bytes.length !== length) {
      failed(
        new TypeError(
          "Cannot send standard input: its buffer was moved elsewhere, or shrunk, before all of it was sent",
        ),
      );
    }
  }
  await writer.close();
}

async function feedStream(
  input: ReadableStream<Uint8Array>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  failed: (reason: unknown) => void,
  ready: Promise<void> | null,
): Promise<void> {
  let reader: ReadableStreamDefaultReader<Uint8Array>;
  try {
    reader = input.getReader();
  } catch (error) {
    // Somebody else has begun to read it since it was looked at.
    return failed(error);
  }
  // One that stands still is let go of when nobody waits for it any more.
  const onGone = (reason: unknown): void => void reader.cancel(reason).catch(() => {});
  writer.closed.catch(onGone);
  if (ready !== null) await Promise.race([ready, writer.closed]);
  for (;;) {
    let next: ReadableStreamReadResult<Uint8Array>;
    try {
      next = await reader.read();
    } catch (error) {
      return failed(error);
    }
    if (next.done) return await writer.close();
    await writer.ready;
    if (!(next.value instanceof Uint8Array)) {
      const error = new TypeError("Cannot send standard input: its stream gives something that is no Uint8Array");
      failed(error);
      return onGone(error);
    }
    await writer.write(next.value);
  }
}
