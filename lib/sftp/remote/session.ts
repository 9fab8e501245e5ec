/**
 * One SFTP session of a client: numbers requests, sends them in few writes, and gives each reply to whom it belongs,
 * in whatever order they come. draft-ietf-secsh-filexfer-02 sections 3 to 7. Knows byte streams, not SSH.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../../errors.ts";
import { abortable } from "../../wire/abortable.ts";
import type { Field, Message, ValuesOf } from "../../wire/codec.ts";
import { Reader } from "../../wire/reader.ts";
import type { Bytes, PlainSink } from "../../wire/types.ts";
import type { SftpAttributes } from "../../files/file_info.ts";
import { Fxp, LIMITS_TOLD, MAX_PACKET, MAX_TRANSFER, SAFE_TRANSFER, SFTP_VERSION } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import {
  Attrs,
  Close,
  decodeVersion,
  encodeVersion,
  Handle,
  Limits,
  LimitsReply,
  Name,
  type NameEntry,
  readStatus,
  Realpath,
} from "../wire/messages.ts";
import { type MeasuredChannel, type OwnChannel, type SendingState, sinkOf, sourceOf } from "../wire/channel.ts";
import type { ChunkSource } from "../../wire/chunk_source.ts";
import { quoted } from "../../files/names.ts";
import { PacketBuffer } from "../wire/packet_buffer.ts";
import { PacketReader } from "../wire/packet_reader.ts";
import { lostError, type Purpose, statusError } from "./errors.ts";

/** A request without an answer yet. Exactly one of `reply`, `data` to `dataEnd`, and `fail` is called, once. */
export interface Pending extends Purpose {
  /** The open file or directory that it is about, if it is about one. */
  readonly handle?: Uint8Array | undefined;
  /** The answer, from its type byte on. */
  reply(payload: Uint8Array): void;
  /** A DATA answer starts: its bytes go where this says. Absent where DATA is no fitting answer. */
  data?(length: number): Uint8Array;
  /** The bytes of the DATA answer are there. */
  dataEnd?(): void;
  /** No answer will come. */
  fail(error: Error): void;
}

type FieldMap = Record<string, Field<unknown>>;
/** The values of a request but those that the session itself puts in. */
export type RequestValues<F> = Omit<ValuesOf<F>, "id" | "extension">;

/** What an answer other than the wanted one means: an error status, or a broken server. */
function unwanted(purpose: Purpose, payload: Uint8Array): Error {
  if (payload[0] === Fxp.STATUS) {
    const { status, text } = readStatus(new Reader(payload, 5));
    if (status !== Status.OK) return statusError(purpose, status, text);
  }
  throw new SshProtocolError(`Cannot ${purpose.action}: the server answered with packet type ${payload[0]}`);
}

/** The error for what is asked of a file after its CLOSE. */
export function closedError(purpose: Purpose): SshError {
  const what = purpose.path === null ? purpose.action : `${purpose.action} ${quoted(purpose.path)}`;
  return new SshError(`Cannot ${what}: the file is closed`, { code: "CLOSED" });
}

function closedByUs(): SshError {
  return new SshError("Closed by the application", { code: "CLOSED" });
}

/** The client's half of a session. */
export class SftpSession {
  readonly #channel: MeasuredChannel | OwnChannel;
  readonly #writer: PlainSink;
  readonly #source: ChunkSource;
  readonly #out = new PacketBuffer();
  readonly #pending = new Map<number, Pending>();
  readonly #packets: PacketReader;
  /** Handles that a CLOSE was sent for. The server may give the same bytes out again, for another file. */
  readonly #closed = new WeakSet<Uint8Array>();
  /** Told of the end. */
  readonly #watching = new Set<() => void>();
  #nextId = 0;
  #sending: Promise<void> | null = null;
  #ended: Error | null = null;
  #receiving: Promise<void> = Promise.resolve();
  #closing = false;
  #version: PromiseWithResolvers<void> | null = Promise.withResolvers();
  /** Extensions that the server named, with their data. */
  extensions: ReadonlyMap<string, string> = new Map();
  /** The numbers of limits@openssh.com, or nothing. */
  limits: Readonly<Record<string, number>> = {};
  /** Most bytes of one READ. */
  maxRead: number = SAFE_TRANSFER;
  /** Most bytes of one WRITE. */
  maxWrite: number = SAFE_TRANSFER;
  /** Most handles that may be open at once. */
  maxHandles: number = Infinity;
  /** Bytes of files that the server has taken. */
  written = 0;

  /** Takes over the streams; nothing is sent yet. */
  constructor(channel: MeasuredChannel | OwnChannel) {
    this.#channel = channel;
    this.#writer = sinkOf(channel);
    this.#source = sourceOf(channel);
    this.#packets = new PacketReader({
      packet: (payload) => this.#packet(payload),
      dataStart: (id, length) => {
        const pending = this.#pending.get(id);
        if (pending?.data === undefined) return null;
        return pending.data(length);
      },
      dataEnd: (id) => {
        const pending = this.#pending.get(id)!;
        this.#pending.delete(id);
        pending.dataEnd!();
      },
    });
  }

  /** Why the session is over, or null while it is not. */
  get ended(): Error | null {
    return this.#ended;
  }

  /**
   * Aborts when the session ends, for what `reasonOf` makes of why, or with the signal. `heedSignalOnly` when the session is needed no more,
   * and `stop` when nobody wants to know any more.
   */
  untilEnd(
    signal: AbortSignal | undefined,
    reasonOf: (ended: Error) => Error = (ended) => ended,
  ): { readonly signal: AbortSignal; heedSignalOnly(): void; stop(): void } {
    const either = new AbortController(), abort = (): void => either.abort(signal!.reason);
    const end = (): void => either.abort(reasonOf(this.#ended!));
    if (signal?.aborted) abort();
    else if (this.#ended !== null) end();
    this.#watching.add(end);
    signal?.addEventListener("abort", abort);
    return {
      signal: either.signal,
      heedSignalOnly: () => void this.#watching.delete(end),
      stop: () => {
        this.#watching.delete(end);
        signal?.removeEventListener("abort", abort);
      },
    };
  }

  /** How its channel sends, where that can be told. */
  get sending(): SendingState | null {
    return this.#channel.sending?.() ?? null;
  }

  /** Exchanges versions (section 4) and asks for the server's limits; with `hasLimits` in one go. */
  async start(signal?: AbortSignal, hasLimits = false): Promise<void> {
    const abort = (): void => this.#end(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const started = this.#version!.promise;
      let limits: Promise<void> | null = null;
      if (signal?.aborted) {
        abort();
      } else {
        this.#out.packet(encodeVersion(Fxp.INIT, SFTP_VERSION));
        if (hasLimits) limits = this.#askLimits();
        limits?.catch(() => {});
        this.#flush();
        this.#receiving = this.#receive();
      }
      await started;
      // One that does not tell of them after all need not answer.
      if (this.extensions.has(Limits.name)) {
        const told = /^(\d{1,15}) (\d{1,15}) (\d{1,15}) (\d{1,15})$/.exec(this.extensions.get(LIMITS_TOLD) ?? "");
        if (told === null) await (limits ?? this.#askLimits());
        else this.#useLimits(told.slice(1).map(Number) as [number, number, number, number]);
      }
    } catch (error) {
      await this.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #askLimits(): Promise<void> {
    let limits;
    try {
      limits = await this.extended(Limits, {}, LimitsReply, { action: "ask for limits", path: null });
    } catch (error) {
      // A server that names the extension and then refuses it is one without limits.
      if (this.#ended !== null) throw error;
      return;
    }
    const { maxPacketLength, maxReadLength, maxWriteLength, maxOpenHandles } = limits;
    this.#useLimits([Number(maxPacketLength), Number(maxReadLength), Number(maxWriteLength), Number(maxOpenHandles)]);
  }

  #useLimits([packet, read, write, handles]: readonly [number, number, number, number]): void {
    this.limits = { maxPacketLength: packet, maxReadLength: read, maxWriteLength: write, maxOpenHandles: handles };
    // 0 means unknown; what is larger than this side's own limits is cut to them.
    const room = packet > 2048 ? packet - 1024 : MAX_TRANSFER;
    if (read > 0) this.maxRead = Math.min(read, room, MAX_TRANSFER);
    if (write > 0) this.maxWrite = Math.min(write, room, MAX_TRANSFER);
    if (handles > 0) this.maxHandles = handles;
  }

  /** Sends what `put` adds to the buffer under a new id, but nothing that uses a closed handle. */
  send(pending: Pending, put: (out: PacketBuffer, id: number) => void): void {
    if (this.#ended !== null || this.#closing) {
      pending.fail(lostError(pending, this.#ended ?? closedByUs()));
      return;
    }
    if (pending.handle !== undefined && this.#closed.has(pending.handle)) {
      pending.fail(closedError(pending));
      return;
    }
    let id = this.#nextId;
    while (this.#pending.has(id)) id = (id + 1) >>> 0;
    this.#nextId = (id + 1) >>> 0;
    // The buffer first: a name that cannot be encoded throws, and leaves nothing behind.
    put(this.#out, id);
    this.#pending.set(id, pending);
    this.#flush();
  }

  #request<F extends FieldMap, T>(
    message: Message<F>,
    values: RequestValues<F>,
    purpose: Purpose,
    wanted: (payload: Uint8Array) => { value: T } | null,
  ): Promise<T> {
    if (purpose.signal?.aborted) return Promise.reject(purpose.signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.send({
      action: purpose.action,
      path: purpose.path,
      handle: (values as { handle?: Uint8Array }).handle,
      reply: (payload) => {
        const result = wanted(payload);
        if (result !== null) resolve(result.value);
        else reject(unwanted(purpose, payload));
      },
      fail: reject,
    }, (out, id) => {
      const payload = message.encode({ ...values, id, extension: message.name } as unknown as ValuesOf<F>);
      // The data of a name cannot be told apart from it: bound it before the server has to.
      if (payload.length > MAX_PACKET) throw new RangeError(`Cannot ${purpose.action}: the request is too long`);
      out.packet(payload);
    });
    return promise;
  }

  /** A request whose answer is a status; resolves on OK. */
  status<F extends FieldMap>(message: Message<F>, values: RequestValues<F>, purpose: Purpose): Promise<void> {
    return this.#request(message, values, purpose, (payload) => {
      if (payload[0] !== Fxp.STATUS) return null;
      return readStatus(new Reader(payload, 5)).status === Status.OK ? { value: undefined } : null;
    });
  }

  /** A request whose answer is a handle. Where the purpose's signal aborts first, the handle is closed when it comes. */
  handle<F extends FieldMap>(message: Message<F>, values: RequestValues<F>, purpose: Purpose): Promise<Bytes> {
    const opened = this.#request(
      message,
      values,
      purpose,
      (payload) => payload[0] === Fxp.HANDLE ? { value: Handle.decode(payload).handle as Bytes } : null,
    );
    return abortable(opened, purpose.signal, (handle) => this.closeHandle(handle, purpose.path));
  }

  /** A request whose answer is attributes. */
  attrs<F extends FieldMap>(message: Message<F>, values: RequestValues<F>, purpose: Purpose): Promise<SftpAttributes> {
    return this.#request(
      message,
      values,
      purpose,
      (payload) => payload[0] === Fxp.ATTRS ? { value: Attrs.decode(payload).attrs } : null,
    );
  }

  /** A request whose answer is names; null is the end of a directory. */
  names<F extends FieldMap>(
    message: Message<F>,
    values: RequestValues<F>,
    purpose: Purpose,
  ): Promise<readonly NameEntry[] | null> {
    return this.#request<F, readonly NameEntry[] | null>(message, values, purpose, (payload) => {
      if (payload[0] === Fxp.NAME) return { value: Name.decode(payload).entries };
      const end = payload[0] === Fxp.STATUS && readStatus(new Reader(payload, 5)).status === Status.EOF;
      return end ? { value: null } : null;
    });
  }

  /** A request whose answer is one name. */
  name<F extends FieldMap>(message: Message<F>, values: RequestValues<F>, purpose: Purpose): Promise<string> {
    return this.#request(message, values, purpose, (payload) => {
      if (payload[0] !== Fxp.NAME) return null;
      const { entries } = Name.decode(payload);
      if (entries.length !== 1) {
        throw new SshProtocolError(`Cannot ${purpose.action}: the server answered with ${entries.length} names`);
      }
      return { value: entries[0]!.name };
    });
  }

  /** The canonical path of what a name stands for in every other request: a leading `~` is a character like any other. */
  realPath(path: string, signal?: AbortSignal): Promise<string> {
    return this.name(Realpath, { path }, { action: "resolve", path, signal });
  }

  /** An extended request with an EXTENDED_REPLY of its own. */
  extended<F extends FieldMap, R extends FieldMap>(
    message: Message<F>,
    values: RequestValues<F>,
    reply: Message<R>,
    purpose: Purpose,
  ): Promise<ValuesOf<R>> {
    return this.#request(
      message,
      values,
      purpose,
      (payload) => payload[0] === Fxp.EXTENDED_REPLY ? { value: reply.decode(payload) } : null,
    );
  }

  /** Closes a handle and waits for the answer. One that was closed already is left alone. */
  closeHandle(handle: Uint8Array, path: string | null): Promise<void> {
    if (this.#closed.has(handle)) return Promise.resolve();
    const answered = this.status(Close, { handle }, { action: "close", path });
    this.#closed.add(handle);
    return answered;
  }

  /** Closes a handle nobody waits for. */
  dropHandle(handle: Uint8Array, path: string | null): void {
    this.closeHandle(handle, path).catch(() => {});
  }

  /** Throws away what is still to come of the DATA that is being received into `data`, if it is. */
  divert(data: Uint8Array): void {
    this.#packets.divert(data);
  }

  /** One write at a time; what is asked for meanwhile goes with the next. */
  #flush(): void {
    this.#sending ??= this.#drain();
  }

  async #drain(): Promise<void> {
    try {
      // Requests of the same turn leave in one chunk.
      await null;
      while (this.#out.length > 0 && this.#ended === null) {
        for (const chunk of this.#out.take()) {
          await this.#writer.write(chunk);
          if (this.#channel.releasesChunks) this.#out.recycle(chunk);
        }
      }
    } catch (error) {
      this.#end(error);
    } finally {
      this.#sending = null;
    }
  }

  async #receive(): Promise<void> {
    try {
      // Answers are read in this very turn: nobody keeps any bytes of the chunk.
      while (await this.#source.read((chunk) => void this.#packets.push(chunk)));
      if (this.#closing) return this.#end(closedByUs());
      this.#end(
        new SshError(
          this.#version !== null
            ? "The server ended the SFTP session before it began; it may not offer SFTP to this user"
            : "The server ended the SFTP session",
          { code: "CONNECTION_LOST" },
        ),
      );
    } catch (error) {
      this.#end(error);
    }
  }

  #packet(payload: Uint8Array): void {
    if (this.#version !== null) {
      const version = this.#version;
      if (payload[0] !== Fxp.VERSION) {
        throw new SshProtocolError(`Cannot start SFTP: the server began with packet type ${payload[0]}`);
      }
      const hello = decodeVersion(payload);
      if (hello.version < SFTP_VERSION) {
        throw new SshProtocolError(`Cannot start SFTP: the server speaks version ${hello.version}, 3 is needed`);
      }
      this.extensions = hello.extensions;
      this.#version = null;
      version.resolve();
      return;
    }
    if (payload.length < 5) throw new SshProtocolError("Malformed SFTP packet: it has no id");
    const id = new Reader(payload, 1).u32();
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      throw new SshProtocolError(`Cannot read SFTP reply: no request has the id ${id}`);
    }
    pending.reply(payload);
    this.#pending.delete(id);
  }

  /** Ends the session: everything that waits is told why. */
  #end(reason: unknown): void {
    if (this.#ended !== null) return;
    const error = reason instanceof Error ? reason : new SshError("The SFTP session was aborted", {
      code: "CLOSED",
      cause: reason,
    });
    this.#ended = error;
    const version = this.#version;
    this.#version = null;
    version?.reject(lostError({ action: "start SFTP", path: null }, error));
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const pending of waiting) pending.fail(lostError(pending, error));
    for (const end of this.#watching) end();
    // The streams' own errors are this very end.
    this.#source.cancel(error).catch(() => {});
    // Where all was written and closed, this does nothing; else the peer takes no more, and need not.
    this.#writer.abort(error);
    this.#channel.close?.().catch(() => {});
  }

  /** Ends the session at once: what waits is lost. */
  drop(): void {
    this.#end(closedByUs());
  }

  /** Sends what waits, then ends the session. */
  async close(): Promise<void> {
    if (this.#ended === null) {
      // A peer that reads nothing must not keep this side from closing.
      let timer: ReturnType<typeof setTimeout> | undefined;
      const patience = new Promise<void>((resolve) => timer = setTimeout(resolve, 1000));
      const ended = (async () => {
        // What is asked for from here on would come behind EOF.
        this.#closing = true;
        await this.#sending;
        await this.#writer.end();
        // A server whose process is still ending when the next session starts may end that one instead (Dropbear 2022 does).
        await this.#receiving;
        await this.#channel.ended;
      })().catch(() => {});
      await Promise.race([ended, patience]);
      clearTimeout(timer);
      this.#end(closedByUs());
    }
    await this.#receiving;
    await this.#channel.close?.().catch(() => {});
  }
}
