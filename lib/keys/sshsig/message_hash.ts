/**
 * The hash of a message of any size, as bytes or as a stream that is hashed as it comes. No I/O of its own.
 *
 * @module
 */
import { digest } from "../../crypto/hash.ts";
import { nodeHash } from "../../crypto/node_crypto.ts";
import { wrongKind } from "../../wire/check.ts";
import type { Bytes } from "../../wire/types.ts";

/** Hashes of messages (OpenSSH PROTOCOL.sshsig). */
export type MessageHash = "sha256" | "sha512";

/** A message. */
export type Message = Uint8Array | ReadableStream<Uint8Array>;

const webNames = { sha256: "SHA-256", sha512: "SHA-512" } as const;

/** Bytes of noble's hash that are taken at once: a page stays alive between two such pieces. */
const PIECE = 262_144;

interface PartHash {
  update(data: Uint8Array): void;
  digest(): Bytes;
}

/** WebCrypto wants all data at once. */
async function partHash(hash: MessageHash): Promise<PartHash> {
  const node = nodeHash(hash);
  if (node !== null) return node;
  const { sha256, sha512 } = await import("@noble/hashes/sha2.js");
  const state = (hash === "sha256" ? sha256 : sha512).create();
  return { update: (data) => void state.update(data), digest: () => state.digest().slice() };
}

/** Whether it is a message. Throws `TypeError` for what is none, and for a stream that somebody else reads. */
export function checkMessage(data: unknown): asserts data is Message {
  if (data instanceof Uint8Array) return;
  if (!(data instanceof ReadableStream)) {
    throw wrongKind("data", data, "bytes (`new TextEncoder().encode(text)` makes them of a text) or a stream of bytes");
  }
  if (data.locked) throw new TypeError("Cannot use `data`: somebody else has a reader of it");
}

/** Lets go of a message that nobody will read. */
export function dropMessage(data: Message, reason: unknown): void {
  if (data instanceof ReadableStream) data.cancel(reason).catch(() => {});
}

/**
 * The hash. A stream is read to its end, and no more than one chunk of it is kept; it is cancelled where the signal aborts or it holds
 * something else than bytes, and what it throws is thrown.
 */
export async function hashMessage(hash: MessageHash, data: Message, signal?: AbortSignal): Promise<Bytes> {
  if (data instanceof Uint8Array) {
    signal?.throwIfAborted();
    return await digest(webNames[hash], data);
  }
  const reader = data.getReader(), aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {});
  const abort = (): void => aborted.reject(signal!.reason);
  signal?.addEventListener("abort", abort);
  try {
    signal?.throwIfAborted();
    const parts = await partHash(hash);
    for (;;) {
      const { value, done } = await Promise.race([reader.read(), aborted.promise]);
      if (done) return parts.digest();
      if (!(value instanceof Uint8Array)) throw wrongKind("data", value, "a stream of bytes");
      for (let at = 0; at < value.length; at += PIECE) {
        if (at > 0) await null;
        parts.update(value.subarray(at, at + PIECE));
      }
    }
  } catch (error) {
    // Nothing to cancel where the stream itself has failed.
    reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
    reader.releaseLock();
  }
}
