/**
 * A forwarded connection that came as a socket, with the shape of those over channels. No I/O of its own.
 *
 * @module
 */
import { leavable, OutputStream } from "../connection/output_stream.ts";
import { SshError } from "../errors.ts";
import { wrongKind } from "../wire/check.ts";
import type { Bytes } from "../wire/types.ts";
import { type ConnAddrs, Lock, type SshConn } from "./conn.ts";
import type { Ending } from "./ending.ts";
import { hangUp } from "./local_sockets.ts";
import type { Socket } from "./pump.ts";

/** Bytes of a read. */
const CHUNK = 65_536;

/** An {@linkcode SshConn} over a socket. It ends with the SSH connection. */
export class SocketConn<A extends Deno.Addr> implements SshConn<A> {
  readonly localAddr: A;
  readonly remoteAddr: A;
  readonly readable: ReadableStream<Bytes>;
  readonly writable: WritableStream<Uint8Array>;
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #ended = Promise.withResolvers<void>();
  readonly #leave: () => void;
  /** The lock that `write()` and `closeWrite()` hold while calls of them wait. */
  readonly #writer: Lock<WritableStreamDefaultWriter<Uint8Array>>;
  #readEnded = false;
  #writeEnded = false;
  /** Why nothing more can be written, though what has come may still be read. */
  #failure: { readonly error: unknown } | null = null;
  #end: { readonly error: unknown } | null = null;
  #closeWrite: Promise<void> | null = null;

  /** Takes over the socket. */
  constructor(socket: Socket, { localAddr, remoteAddr }: ConnAddrs<A>, ending: Ending) {
    this.#socket = socket;
    this.localAddr = localAddr;
    this.remoteAddr = remoteAddr;
    this.closed = this.#ended.promise;
    this.closed.catch(() => {});
    this.#leave = ending.watch((lost) => this.#finish(lost ?? { error: closed() }, lost === null));
    this.readable = new ReadableStream<Bytes>({
      type: "bytes",
      autoAllocateChunkSize: CHUNK,
      pull: async (controller) => {
        const request = (controller as ReadableByteStreamController).byobRequest!;
        const view = request.view as Bytes;
        const into = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
        const length = await this.#read(into);
        if (length === null) {
          (controller as ReadableByteStreamController).close();
          request.respond(0);
        } else request.respond(length);
      },
      cancel: () => this.#finish({ error: closed() }, true),
    });
    this.writable = new OutputStream({
      write: (chunk) => this.#write(chunk),
      close: () => this.#endWriting(),
      abort: () => this.#finish({ error: closed() }, true),
    }, () => {
      const failure = this.#failure ?? (this.#writeEnded ? null : this.#end);
      return failure === null ? null : Promise.reject(failure.error);
    });
    this.#writer = new Lock(() => this.writable.getWriter());
  }

  async #read(into: Uint8Array): Promise<number | null> {
    const length = await this.#try(() => this.#socket.read(into), (failure) => this.#finish(failure, true));
    if (length !== null) return length;
    this.#readEnded = true;
    this.#whenBothEnded();
    return null;
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (!(chunk instanceof Uint8Array)) throw new TypeError("Cannot write to connection: chunks must be Uint8Array");
    const { length } = chunk;
    for (let at = 0; at < length;) {
      if (chunk.length !== length) {
        throw new TypeError("Cannot send a chunk: its buffer was transferred or resized during the write");
      }
      at += await this.#try(() => this.#socket.write(chunk.subarray(at)), this.#writeFailed);
    }
  }

  async #endWriting(): Promise<void> {
    await this.#try(() => this.#socket.closeWrite(), this.#writeFailed);
    this.#writeEnded = true;
    this.#whenBothEnded();
  }

  /** Who hangs up may have said why. */
  readonly #writeFailed = (failure: { readonly error: unknown }): void => {
    this.#failure = failure;
    this.#writeEnded = true;
    this.#whenBothEnded();
  };

  async #try<T>(act: () => Promise<T>, failed: (failure: { readonly error: unknown }) => void): Promise<T> {
    if (this.#end !== null) throw this.#end.error;
    try {
      return await act();
    } catch (cause) {
      // It was closed while this waited, and that is why.
      const ended = this.#end as { readonly error: unknown } | null;
      if (ended !== null) throw ended.error;
      const error = new SshError("Connection was reset", { code: "CLOSED", cause });
      failed({ error });
      throw error;
    }
  }

  #whenBothEnded(): void {
    if (this.#readEnded && this.#writeEnded) this.#finish({ error: closed() }, true);
  }

  #finish(end: { readonly error: unknown }, clean: boolean): void {
    if (this.#end !== null) return;
    this.#end = end;
    this.#leave();
    hangUp(this.#socket);
    if (clean) this.#ended.resolve();
    else this.#ended.reject(end.error);
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (!(p instanceof Uint8Array)) throw wrongKind("p", p, "a Uint8Array");
    if (this.readable.locked) throw new TypeError("Cannot read: `readable` is in use");
    if (p.length === 0) return 0;
    return this.#readEnded ? null : await this.#read(p);
  }

  write(p: Uint8Array): Promise<number> {
    if (!(p instanceof Uint8Array)) return Promise.reject(wrongKind("p", p, "a Uint8Array"));
    return leavable(this.#writer.use(async (writer) => {
      await writer.write(p);
      return p.length;
    }));
  }

  closeWrite(): Promise<void> {
    if (this.#writeEnded && this.#failure === null) return Promise.resolve();
    return this.#closeWrite ??= leavable(
      this.#writer.use((writer) => writer.close()).catch((error) => {
        // Somebody may have held the stream, and lets go of it.
        this.#closeWrite = null;
        throw error;
      }),
    );
  }

  /** What was written has been taken by the socket. */
  close(): Promise<void> {
    this.#finish({ error: closed() }, true);
    return Promise.resolve();
  }

  ref(): void {}

  unref(): void {}

  [Symbol.dispose](): void {
    void this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function closed(): SshError {
  return new SshError("Connection is closed", { code: "CLOSED" });
}
