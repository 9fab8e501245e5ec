/**
 * A WebSocket as a pair of byte streams, for either end of a connection: binary messages both ways. It uses the standard interface
 * alone, so that a page, Deno and whatever else has that interface take the same way.
 *
 * `WebSocketStream` is not used, though it can make the far end wait: Deno's is unstable, Firefox and Safari have none, and no server
 * side has one, so that the other way would be needed all the same. What SSH reads is bounded by its windows anyway, and its reader never
 * waits for the application.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { abortable } from "../wire/abortable.ts";
import { checkWait } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import type { ByteDuplex } from "../wire/types.ts";

/** Bytes of a message that is sent: what proxies on the way take without a setting. */
const MAX_MESSAGE = 65_536;
/** Bytes that may wait in the socket before a write waits. */
const MAX_BUFFERED = 262_144;
/** Bytes that may wait for the reader: two channels' largest windows. A WebSocket cannot make the far end wait, so beyond it ends. */
const MAX_UNREAD = 33_554_432;
/** Bytes that each message counts as beside its own: an object for each byte would be hundreds of times the byte. */
const MESSAGE_COST = 512;
/** Bytes of a chunk that small messages make together. */
const GATHERED = 65_536;
/** Milliseconds between two looks at what the socket still holds: nothing tells when it has drained. */
const POLL = { first: 1, longest: 16 };

/** Close codes that this side sends: a program may send 1000 and from 3000 on; these stand for 1003, 1009 and a connection given up. */
const CLOSE = { plain: 1000, givenUp: 4000, text: 4003, unread: 4009 };
/** What close codes mean (RFC 6455 section 7.4.1), and those of {@linkcode CLOSE}. */
const meanings: Readonly<Record<number, string>> = {
  1000: "normal closure",
  1001: "going away",
  1002: "protocol error",
  1003: "unsupported data",
  1005: "no code given",
  1006: "no closing handshake",
  1007: "invalid data",
  1008: "policy violation",
  1009: "message too big",
  1010: "extension missing",
  1011: "internal error",
  1012: "service restart",
  1013: "try again later",
  1014: "bad gateway",
  1015: "TLS handshake failed",
  [CLOSE.givenUp]: "connection given up",
  [CLOSE.text]: "text message refused",
  [CLOSE.unread]: "too much waits to be read",
};

/** `readyState` of a WebSocket. */
const CONNECTING = 0, OPEN = 1;

/**
 * SSH over WebSocket: binary messages both ways, as a pair of byte streams for `connect({ transport })` outside and `serveConn()` behind
 * `Deno.upgradeWebSocket()`. Takes an open socket, one that is still connecting, or the URL to connect to (`ws:` or `wss:`).
 *
 * Resolves once the socket is open. The server's end of an upgrade opens when its response is returned, so it is not waited for there:
 * what is written before goes out then. The signal ends the waiting, and not what was opened.
 *
 * Writing waits while the socket holds more than 256 KiB, and no message is longer than 64 KiB. A WebSocket cannot make the far end wait:
 * where more than 32 MiB wait to be read, each message counting as 512 bytes more than it has, it is closed, and reading fails. SSH's
 * windows keep a peer that follows the rules below that. A runtime holds a message until it is whole: up to 64 MiB in Deno.
 *
 * There is no half-close: closing `writable` sends what was written and closes the socket. Reading ends where the far end closed with
 * code 1000 or without one; any other close is an `SshError` `CONNECTION_LOST` with the code in its message, as is a text message. A far
 * end that vanishes says nothing: `keepalive` of `connect()` and `serveConn()` finds out, and Deno's end of an upgrade after its
 * `idleTimeout`.
 *
 * Rejects with `SshError` `CONNECTION_LOST` where the upgrade is refused or the socket is closed, with the signal's reason, and with
 * `TypeError` for what is no WebSocket and no URL of one.
 *
 * @example A page
 * ```ts
 * import { connect, password, pinnedHostKey, webSocketTransport } from "@amiko/ssh/client";
 *
 * async function uname(fingerprint: string, secret: string): Promise<string> {
 *   await using client = await connect({
 *     hostname: "host.example",
 *     transport: await webSocketTransport("wss://relay.example/ssh"),
 *     username: "alice",
 *     auth: [password(secret)],
 *     verifyHostKey: pinnedHostKey(fingerprint),
 *   });
 *   return (await client.exec("uname -a")).text();
 * }
 * ```
 *
 * @example A server
 * ```ts
 * import { generateKey, serveConn, webSocketTransport } from "@amiko/ssh/server";
 *
 * const hostKeys = [await generateKey()];
 * const server = Deno.serve({ hostname: "127.0.0.1", port: 0 }, (request) => {
 *   if (request.headers.get("origin") !== "https://page.example") return new Response(null, { status: 403 });
 *   const { socket, response } = Deno.upgradeWebSocket(request);
 *   webSocketTransport(socket).then((transport) =>
 *     serveConn(transport, {
 *       hostKeys,
 *       auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
 *       handler: (session) => session.stdin.pipeTo(session.stdout),
 *       keepalive: { interval: 15_000 },
 *     })
 *   ).catch(() => {});
 *   return response;
 * });
 * await server.shutdown();
 * ```
 */
export async function webSocketTransport(
  socket: WebSocket | string | URL,
  options: WaitOptions = {},
): Promise<ByteDuplex> {
  checkWait(options);
  const { signal } = options;
  const own = typeof socket === "string" || socket instanceof URL;
  if (!own) checkSocket(socket);
  signal?.throwIfAborted();
  // From here to the first `await` nothing may come between: messages that nobody listens for are lost.
  const streams = new SocketStreams(own ? dial(socket) : socket);
  // The end of an upgrade has no URL, and opens only after its handler has returned.
  if (streams.isUpgrade) return streams;
  try {
    const what = (): string => `the WebSocket${own ? placeOf(socket) : ""} to open`;
    await withDeadline(options, what, (signal) => abortable(streams.opened, signal));
  } catch (error) {
    streams.giveUp(error);
    throw error;
  }
  return streams;
}

function checkSocket(socket: unknown): asserts socket is WebSocket {
  const { addEventListener, send, close, readyState } = (socket ?? {}) as Partial<WebSocket>;
  const isSocket = [addEventListener, send, close].every((method) => typeof method === "function") &&
    typeof readyState === "number";
  if (isSocket) return;
  throw new TypeError("Cannot make streams of this: it must be a WebSocket, or the URL of one as a string or `URL`");
}

function dial(url: string | URL): WebSocket {
  try {
    return new WebSocket(url);
  } catch (cause) {
    if (!(cause instanceof DOMException)) throw cause;
    // Its message may hold the whole URL, and that a password or a token: it is not kept as cause, either.
    throw new TypeError(`Cannot open WebSocket${placeOf(url)}: it needs a URL such as "wss://host.example/path"`);
  }
}

/** The URL for an error: without login and query, which may be secrets. */
function placeOf(url: string | URL): string {
  const parsed = URL.parse(url);
  return parsed === null ? "" : ` "${printable(`${parsed.protocol}//${parsed.host}${parsed.pathname}`)}"`;
}

function lost(message: string, cause?: unknown): SshError {
  return new SshError(message, { code: "CONNECTION_LOST", ...cause === undefined ? {} : { cause } });
}

/**
 * The streams of one socket. Its end comes once: the far end's close, a mistake of it, or a wish of this side. What had come before the
 * far end's close is still read.
 */
class SocketStreams implements ByteDuplex {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when the socket is open, rejects where it never will be. */
  readonly opened: Promise<void>;
  /** Whether this is the server's end of an upgrade whose response has not been returned. */
  readonly isUpgrade: boolean;
  readonly #socket: WebSocket;
  readonly #opening = Promise.withResolvers<void>();
  /** Invariant: `#unread` is the sum of the lengths in it, and of {@linkcode MESSAGE_COST} for each. */
  readonly #messages: Uint8Array<ArrayBuffer>[] = [];
  #unread = 0;
  /** How it ended; null while it goes on. */
  #end: { readonly error: SshError | null } | null = null;
  #wasOpen = false;
  /** This side has asked the socket to close. */
  #closing = false;
  /** Nobody reads any more: what comes is dropped. */
  #cancelled = false;
  /** What an `error` event told; the close follows. */
  #cause: unknown;
  #wakeReader: (() => void) | null = null;
  #wakeWriter: (() => void) | null = null;
  #wakeCloser: (() => void) | null = null;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    this.isUpgrade = socket.readyState === CONNECTING && !socket.url;
    this.opened = this.#opening.promise;
    this.opened.catch(() => {});
    socket.binaryType = "arraybuffer";
    const onOpen = (): void => {
      this.#wasOpen = true;
      this.#opening.resolve();
    };
    socket.addEventListener("open", onOpen);
    socket.addEventListener("message", ({ data }) => this.#received(data));
    socket.addEventListener("error", (event) => {
      this.#cause = (event as Partial<ErrorEvent>).error ?? (event as Partial<ErrorEvent>).message;
    });
    socket.addEventListener("close", ({ code, reason, wasClean }) => this.#closed(code, reason, wasClean));
    if (socket.readyState === OPEN) onOpen();
    if (socket.readyState > OPEN) this.#finish(lost("Cannot use WebSocket: it is closed already"));
    this.readable = new ReadableStream({
      type: "bytes",
      pull: (controller) => this.#pull(controller),
      cancel: () => {
        this.#cancelled = true;
        this.#drop();
      },
    }, { highWaterMark: 0 });
    this.writable = new WritableStream({
      write: (chunk, { signal }) => this.#write(chunk, signal),
      close: () => this.#close(),
      abort: (reason) => this.giveUp(reason),
    });
  }

  /** Closes the socket without waiting for anything. */
  giveUp(reason: unknown): void {
    this.#shut(CLOSE.givenUp, new SshError("WebSocket was closed by this side", { code: "CLOSED", cause: reason }));
  }

  #received(data: unknown): void {
    this.#wakeWriter?.();
    if (this.#end !== null || this.#cancelled) return;
    const bytes = data instanceof ArrayBuffer
      ? new Uint8Array(data)
      : ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
      : null;
    if (bytes === null) {
      const what = typeof data === "string" ? "a text message" : "a message that holds no bytes";
      return this.#shut(CLOSE.text, lost(`WebSocket was closed: the far end sent ${what}, SSH takes binary ones`));
    }
    if (bytes.length === 0) return;
    if (this.#unread + bytes.length + MESSAGE_COST > MAX_UNREAD) {
      const why = `more than ${MAX_UNREAD} bytes waited to be read, and a WebSocket cannot make the far end wait`;
      return this.#shut(CLOSE.unread, lost(`WebSocket was closed: ${why}`));
    }
    this.#messages.push(bytes);
    this.#unread += bytes.length + MESSAGE_COST;
    this.#wakeReader?.();
  }

  #closed(code: number, reason: string, wasClean: boolean): void {
    const plain = this.#wasOpen && (this.#closing || wasClean && (code === 1000 || code === 1005));
    if (plain) return this.#finish(null);
    const what = this.#wasOpen ? "WebSocket was closed" : `Cannot open WebSocket${placeOf(this.#socket.url)}`;
    // Deno says 0 where there was no close message, a browser 1006.
    const close = code === 0 || code === 1006
      ? this.#wasOpen ? "the connection broke" : "there is no answer, or the server refused the upgrade"
      : `the far end closed it with code ${code}${meanings[code] === undefined ? "" : ` (${meanings[code]})`}`;
    const said = reason === "" ? "" : `: ${printable(reason)}`;
    this.#finish(lost(`${what}: ${close}${said}`, this.#cause));
  }

  /** Closes the socket for `error`, which readers see at once. */
  #shut(code: number, error: SshError): void {
    if (this.#end !== null) return;
    this.#drop();
    this.#finish(error);
    this.#closeSocket(code, "");
  }

  #closeSocket(code: number, reason: string): void {
    this.#closing = true;
    // A socket that is closed already has nothing against it.
    this.#socket.close(code, reason);
  }

  #finish(error: SshError | null): void {
    if (this.#end !== null) return;
    this.#end = { error };
    this.#opening.reject(error ?? lost("WebSocket was closed before it was open"));
    this.#wakeReader?.();
    this.#wakeWriter?.();
    this.#wakeCloser?.();
  }

  #drop(): void {
    this.#messages.length = 0;
    this.#unread = 0;
  }

  async #pull(controller: ReadableByteStreamController): Promise<void> {
    if (this.#messages.length === 0 && this.#end === null) {
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
      this.#wakeReader = null;
    }
    if (this.#cancelled) return;
    const view = controller.byobRequest?.view ?? null;
    const first = this.#messages[0];
    if (first === undefined) {
      // What a mistake or a close left unread was given out first.
      const { error } = this.#end!;
      if (error !== null) return controller.error(error);
      controller.close();
      controller.byobRequest?.respond(0);
    } else if (view === null) {
      controller.enqueue(this.#next(first));
    } else {
      controller.byobRequest!.respond(this.#fill(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)));
    }
  }

  /** What comes next as a chunk of its own: the first message, or several small ones. */
  #next(first: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (this.#messages.length > 1 && first.length < GATHERED / 4) {
      const chunk = new Uint8Array(GATHERED);
      return chunk.subarray(0, this.#fill(chunk));
    }
    this.#messages.shift();
    this.#unread -= first.length + MESSAGE_COST;
    return first;
  }

  /** Moves what waits into `target`, as much as fits, and says how much that is. */
  #fill(target: Uint8Array): number {
    let length = 0, taken = 0;
    for (const message of this.#messages) {
      const part = message.subarray(0, target.length - length);
      target.set(part, length);
      length += part.length;
      if (part.length < message.length) {
        this.#messages[taken] = message.subarray(part.length);
        break;
      }
      taken++;
    }
    this.#messages.splice(0, taken);
    this.#unread -= length + taken * MESSAGE_COST;
    return length;
  }

  async #write(chunk: Uint8Array, signal: AbortSignal): Promise<void> {
    if (!(chunk instanceof Uint8Array)) {
      throw new TypeError("Cannot write to WebSocket: a chunk must be a Uint8Array");
    }
    const { length } = chunk;
    await this.opened;
    for (let at = 0; at < length; at += MAX_MESSAGE) {
      await this.#drained(MAX_BUFFERED, signal);
      if (chunk.length !== length) {
        throw new TypeError(
          "Cannot write to WebSocket: the chunk's buffer was transferred or resized during the write",
        );
      }
      // A copy is sent: the chunk is the writer's again when this ends.
      this.#socket.send(chunk.slice(at, at + MAX_MESSAGE));
    }
  }

  /** Waits until the socket holds no more than `most` bytes; rejects where it ends before. */
  async #drained(most: number, signal?: AbortSignal): Promise<void> {
    for (let wait = POLL.first;; wait = Math.min(2 * wait, POLL.longest)) {
      if (this.#end !== null) throw this.#end.error ?? lost("WebSocket was closed by the far end");
      if (signal?.aborted) throw signal.reason;
      if (this.#socket.readyState !== OPEN) throw lost("WebSocket is being closed");
      if (this.#socket.bufferedAmount <= most) return;
      // Whatever comes in is a reason to look, too: it may answer what has left, and timers of a hidden page are slow.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait), onAbort = () => this.#wakeWriter?.();
        this.#wakeWriter = () => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          resolve();
        };
        signal?.addEventListener("abort", onAbort, { once: true });
      });
      this.#wakeWriter?.();
      this.#wakeWriter = null;
    }
  }

  async #close(): Promise<void> {
    if (this.#end?.error === null) return;
    try {
      await this.opened;
      await this.#drained(0);
    } catch (error) {
      if (this.#end?.error !== null) throw error;
      return;
    }
    this.#closeSocket(CLOSE.plain, "");
    if (this.#end === null) await new Promise<void>((resolve) => this.#wakeCloser = resolve);
  }
}
