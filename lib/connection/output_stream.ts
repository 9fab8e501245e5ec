/**
 * A writable stream whose `close()` tells what closing means here, where the streams of the platform only say that they have failed.
 *
 * @module
 */
import { SshError } from "../errors.ts";

/**
 * What was written or closed, for callers that need not wait for it: where the peer has gone they hear of it if they listen, and a rejection that
 * nobody handles, which would end the program with all its other connections, is none. A mistake of the program stays one.
 */
export function leavable<T>(written: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  written.then(resolve, (error) => {
    if (error instanceof SshError) promise.catch(() => {});
    reject(error);
  });
  return promise;
}

/** What closing gives once the stream has failed; null while it has not. */
type Ending = () => Promise<void> | null;

/**
 * Bytes that an application writes. A program that ends before its input is closed has lost nothing by it where everything written had
 * left: closing still succeeds then, as it does for a socket or a child process. Where something was lost, it rejects with the reason.
 */
export class OutputStream extends WritableStream<Uint8Array> {
  readonly #ending: Ending;

  constructor(sink: UnderlyingSink<Uint8Array>, ending: Ending, strategy?: QueuingStrategy<Uint8Array>) {
    super(sink, strategy);
    this.#ending = ending;
  }

  override close(): Promise<void> {
    return leavable(this.locked ? super.close() : this.#ending() ?? super.close());
  }

  override getWriter(): WritableStreamDefaultWriter<Uint8Array> {
    return new OutputWriter(this, this.#ending);
  }
}

class OutputWriter extends WritableStreamDefaultWriter<Uint8Array> {
  #ending: Ending;

  constructor(stream: WritableStream<Uint8Array>, ending: Ending) {
    super(stream);
    this.#ending = ending;
  }

  override write(chunk?: Uint8Array): Promise<void> {
    return leavable(super.write(chunk));
  }

  override close(): Promise<void> {
    return leavable(this.#ending() ?? super.close());
  }

  override releaseLock(): void {
    this.#ending = () => null;
    super.releaseLock();
  }
}
