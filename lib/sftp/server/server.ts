/**
 * One SFTP session of a server. draft-ietf-secsh-filexfer-02 sections 3, 4 and 6. Knows byte streams, not SSH.
 *
 * What a request does is as if each had waited for the one before; those that cannot tell the difference run beside each other
 * (`Job.order`). Answers leave in the order of the requests, all of a session, as from OpenSSH's `sftp-server`, which does one
 * thing after the other. Section 6 allows any order, and clients have come to count on this one: `scp` and `sftp` of OpenSSH 9
 * cut a file off, without a word, where DATA or the STATUS of a WRITE overtook another.
 *
 * So a request that takes long holds back the answers behind it, those of other handles too. To let these pass would gain next
 * to nothing: a CLOSE, an OPEN to write, a READDIR, a WRITE to another file each wait for it in any case. What is held back is
 * bounded as what runs is, by `MAX_RUNNING` requests and `REPLY_LIMIT` bytes.
 *
 * @module
 */
import { printable, SftpError, SshProtocolError } from "../../errors.ts";
import type { AuthInfo } from "../../auth/types.ts";
import { TurnShare } from "../../wire/turns.ts";
import { callBack } from "../../wire/callback.ts";
import { Reader } from "../../wire/reader.ts";
import { AnswerOrder } from "./answer_order.ts";
import { type OwnChannel, type SftpChannel, sinkOf, sourceOf } from "../wire/channel.ts";
import type { SftpBackend } from "../../files/backend.ts";
import { checkServed } from "../../files/check_backend.ts";
import { checkCall, checkChannel } from "../../files/check_calls.ts";
import type { ChunkSource } from "../../wire/chunk_source.ts";
import type { PlainSink } from "../../wire/types.ts";
import { Fxp, MAX_PACKET, SFTP_VERSION } from "../wire/constants.ts";
import { Status } from "../../files/limits.ts";
import { Handles } from "./handles.ts";
import { decodeVersion, encodeVersion, StatusReply } from "../wire/messages.ts";
import { PacketBuffer } from "../wire/packet_buffer.ts";
import { PacketReader } from "../wire/packet_reader.ts";
import { isPending } from "../../wire/pending.ts";
import { recycle } from "./read_data.ts";
import { openRootedBackend, type RootedOptions } from "../../files/rooted/backend.ts";
import { type Answer, type Job, type JobContext, offeredExtensions, prepare } from "./requests.ts";
import { isFileSystemError, statusOf, statusTexts } from "../../files/errors.ts";
import { clientSendsLinkFirst } from "../wire/symlink_order.ts";

/** Requests that run at once, and answers that wait for one of them. */
const MAX_RUNNING = 64;
/** Bytes of replies, being made, held back or being sent, at which no request is started. */
const REPLY_LIMIT = 4_194_304;

/** Options of {@linkcode serveSftp}. */
export interface ServeSftpOptions {
  /** Ends the session. */
  readonly signal?: AbortSignal | undefined;
  /** Told of errors of a backend that are neither an `SftpError` nor one of the file system. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/**
 * Serves one SFTP session: a part of the real file system, or any backend. Answers leave in the order of the requests, as those
 * of OpenSSH's `sftp-server` do, whichever of them is ready first. Resolves when the client has ended it or the
 * signal aborts, with every handle closed; rejects with `SshProtocolError` where the client breaks the protocol, and with the
 * streams' own errors.
 */
export async function serveSftp(
  channel: SftpChannel,
  backend: SftpBackend | RootedOptions,
  info: AuthInfo,
  options: ServeSftpOptions = {},
): Promise<void> {
  checkServed(backend);
  checkChannel(channel);
  checkCall("serve", options);
  await serveOn(channel, backend, info, options);
}

/** As {@linkcode serveSftp}, of what has been checked. */
export async function serveOn(
  channel: SftpChannel | OwnChannel,
  backend: SftpBackend | RootedOptions,
  info: AuthInfo,
  options: ServeSftpOptions,
): Promise<void> {
  if (typeof (backend as SftpBackend).open === "function") {
    return await new ServerSession(channel, backend as SftpBackend, info, options, false).run();
  }
  await using rooted = await openRootedBackend(backend as RootedOptions);
  await new ServerSession(channel, rooted, info, options, true).run();
}

class ServerSession {
  readonly #channel: SftpChannel | OwnChannel;
  readonly #source: ChunkSource;
  readonly #writer: PlainSink;
  readonly #options: ServeSftpOptions;
  readonly #context: JobContext;
  readonly #out = new PacketBuffer();
  readonly #packets: PacketReader;
  /** Requests read, those from `#next` on not started; never more than one chunk of input held. */
  #waiting: Uint8Array[] = [];
  #next = 0;
  #prepared: { id: number; job: Job; payload: Uint8Array } | null = null;
  #running = 0;
  #idle: (() => void) | null = null;
  readonly #ended = new AbortController();
  readonly #turn = TurnShare.known();
  /** While it is set, other work of the process has its turn. */
  #pause: Promise<void> | null = null;
  #order: Job["order"] = "shared";
  #writeTarget: Job["target"];
  #writeEnd = 0;
  /** From the first request on that is still running. */
  readonly #answers = new AnswerOrder();
  #replyBytes = 0;
  #sending: Promise<void> | null = null;
  #begun = false;
  #failure: { error: unknown } | null = null;
  #wake: (() => void) | null = null;

  constructor(
    channel: SftpChannel | OwnChannel,
    backend: SftpBackend,
    info: AuthInfo,
    options: ServeSftpOptions,
    trusted: boolean,
  ) {
    this.#channel = channel;
    this.#source = sourceOf(channel);
    this.#writer = sinkOf(channel);
    this.#options = options;
    // Streams that are no SSH connection have no identification.
    const connection = info.connection as AuthInfo["connection"] | undefined;
    this.#context = {
      backend,
      trusted,
      info,
      handles: new Handles(),
      linkFirst: clientSendsLinkFirst({ peer: connection?.remoteIdent, own: connection?.localIdent }),
      ended: this.#ended.signal,
    };
    this.#packets = new PacketReader({ packet: (payload) => this.#packet(payload) }, { reuses: trusted });
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const abort = (): void => this.#fail(signal!.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await this.#serve();
      await this.#finish();
    } catch (error) {
      this.#fail(error);
    } finally {
      signal?.removeEventListener("abort", abort);
      if (this.#running > 0) await new Promise<void>((resolve) => this.#idle = resolve);
      await this.#pause;
      await this.#context.handles.closeAll((error) => this.#report(error));
    }
    const failure = this.#failure as { error: unknown } | null;
    if (failure === null) return;
    // Not waited for: a write that the peer does not take may never end.
    this.#writer.abort(failure.error);
    if (!signal?.aborted) throw failure.error;
  }

  /** Lets the last answers leave and ends the stream. A client that takes nothing holds it up until the signal aborts. */
  async #finish(): Promise<void> {
    while (this.#sending !== null) await this.#change();
    let closed = false;
    this.#writer.end().catch(() => {}).then(() => {
      closed = true;
      this.#wake?.();
    });
    while (!closed) await this.#change();
  }

  #report(error: unknown): void {
    // What listens for errors does not decide about the session.
    if (!(error instanceof SftpError) && !isFileSystemError(error)) callBack(() => this.#options.onError?.(error));
  }

  async #serve(): Promise<void> {
    while (this.#failure === null) {
      if (!await this.#source.read((chunk) => this.#received(chunk))) break;
      // Back-pressure: nothing is read while what was read cannot be started.
      while (this.#behind) await this.#change();
    }
    while (this.#running > 0) await this.#change();
    if (this.#failure !== null) throw this.#failure.error;
    if (!this.#packets.atBoundary) throw new SshProtocolError("The client ended the SFTP session inside a packet");
  }

  #received(chunk: Uint8Array): void {
    const shared = this.#packets.push(chunk);
    this.#start();
    if (shared && (this.#running > 0 || this.#behind)) this.#source.retain();
  }

  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    if (this.#failure !== null) throw this.#failure.error;
    await promise;
    if (this.#failure !== null) throw (this.#failure as { error: unknown }).error;
  }

  #fail(error: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = { error };
    this.#ended.abort(error);
    this.#wake?.();
    this.#source.cancel(error).catch(() => {});
  }

  #packet(payload: Uint8Array): void {
    if (payload[0] === Fxp.INIT) {
      if (this.#begun) throw new SshProtocolError("The client sent SSH_FXP_INIT twice");
      decodeVersion(payload);
      this.#begun = true;
      this.#put(encodeVersion(Fxp.VERSION, SFTP_VERSION, offeredExtensions(this.#context)));
      return;
    }
    if (!this.#begun) throw new SshProtocolError("The client sent a request before SSH_FXP_INIT");
    this.#waiting.push(payload);
  }

  /** Whether requests were read that have not been started. */
  get #behind(): boolean {
    return this.#prepared !== null || this.#next < this.#waiting.length;
  }

  async #startAfter(rest: Promise<void>): Promise<void> {
    await rest;
    this.#pause = null;
    try {
      this.#start();
    } catch (error) {
      this.#fail(error);
    }
    this.#wake?.();
  }

  /** Starts what may run now. */
  #start(): void {
    if (this.#failure !== null || this.#pause !== null) return;
    while (this.#behind) {
      const rest = this.#turn.rest();
      if (rest !== null) {
        this.#pause = this.#startAfter(rest);
        return;
      }
      this.#prepared ??= this.#prepare(this.#waiting[this.#next++]!);
      const { id, job, payload } = this.#prepared;
      if (!this.#mayRun(job)) break;
      this.#prepared = null;
      this.#run(id, job, payload);
    }
    if (this.#next < this.#waiting.length) return;
    this.#waiting = [];
    this.#next = 0;
  }

  #prepare(payload: Uint8Array): { id: number; job: Job; payload: Uint8Array } {
    const id = new Reader(payload, 1).u32();
    try {
      return { id, payload, job: prepare(payload, this.#context) };
    } catch (error) {
      // It waits for its turn like any request: what came before may still change what is said of it.
      const run = (): never => {
        throw error;
      };
      return { id, payload, job: { order: "alone", run } };
    }
  }

  #mayRun(job: Job): boolean {
    if (this.#replyBytes > 0 && this.#replyBytes + (job.cost ?? 0) > REPLY_LIMIT) return false;
    if (this.#running === 0) return true;
    if (this.#answers.length >= MAX_RUNNING || job.order !== this.#order) return false;
    if (job.order === "write") return job.target === this.#writeTarget && job.from! >= this.#writeEnd;
    return job.order === "shared";
  }

  #run(id: number, job: Job, payload: Uint8Array): void {
    this.#order = job.order;
    this.#writeTarget = job.target;
    this.#writeEnd = job.to ?? 0;
    const cost = job.cost ?? 0;
    this.#replyBytes += cost;
    let result;
    try {
      result = job.run();
    } catch (error) {
      this.#reply(cost, () => this.#refuse(id, error));
      return;
    }
    if (!isPending(result)) {
      const value = result;
      this.#reply(cost, () => this.#answer(id, value));
      return;
    }
    this.#running++;
    const place = this.#answers.take();
    const ran = (send: () => void): void => {
      this.#running--;
      if (job.target !== undefined) this.#packets.recycle(payload);
      try {
        if (this.#failure === null) this.#answers.settle(place, () => this.#leave(cost, send));
        this.#start();
      } catch (error) {
        this.#fail(error);
      }
      if (this.#running === 0) this.#idle?.();
      this.#wake?.();
    };
    Promise.resolve(result).then(
      (value) => ran(() => this.#answer(id, value)),
      (error) => ran(() => this.#refuse(id, error)),
    );
  }

  /** Answers now, or behind what was asked for before. */
  #reply(cost: number, send: () => void): void {
    if (this.#answers.length === 0) this.#leave(cost, send);
    else this.#answers.take(() => this.#leave(cost, send));
  }

  /** Until here the bytes that a reply may need are counted, from here on those that it has. */
  #leave(cost: number, send: () => void): void {
    this.#replyBytes -= cost;
    send();
  }

  #answer(id: number, value: Answer): void {
    if (value === undefined) this.#status(id, Status.OK);
    else if (typeof value === "number") this.#status(id, value);
    else if (value instanceof Uint8Array && value.length > MAX_PACKET) {
      this.#refuse(id, new RangeError(`Cannot answer: what the backend gives makes a packet of ${value.length} bytes`));
    } else if (value instanceof Uint8Array) this.#put(value);
    else {
      const head = new DataView(value.packet.buffer, value.packet.byteOffset, 13);
      head.setUint32(0, 9 + value.length);
      head.setUint8(4, Fxp.DATA);
      head.setUint32(5, id);
      head.setUint32(9, value.length);
      if (value.length < 16_384) this.#put(value.packet.subarray(4));
      else {
        this.#out.framed(value.packet);
        this.#replyBytes += value.packet.length;
        this.#flush();
      }
    }
  }

  #refuse(id: number, error: unknown): void {
    if (error instanceof SshProtocolError) {
      this.#status(id, Status.BAD_MESSAGE);
      return;
    }
    const status = statusOf(error);
    if (error instanceof SftpError) {
      this.#status(id, status, printable(error.message).toWellFormed());
      return;
    }
    this.#status(id, status);
    this.#report(error);
  }

  #status(id: number, status: number, text = statusTexts[status] ?? "Failure"): void {
    this.#put(StatusReply.encode({ id, status, text, language: "" }));
  }

  #put(payload: Uint8Array): void {
    this.#out.packet(payload);
    this.#replyBytes += 4 + payload.length;
    this.#flush();
  }

  #flush(): void {
    this.#sending ??= this.#drain();
  }

  async #drain(): Promise<void> {
    try {
      await null;
      while (this.#out.length > 0) {
        for (const chunk of this.#out.take()) {
          await this.#writer.write(chunk);
          this.#replyBytes -= chunk.length;
          if (this.#channel.releasesChunks) recycle(chunk);
          this.#start();
          this.#wake?.();
        }
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#sending = null;
      this.#wake?.();
    }
  }
}
