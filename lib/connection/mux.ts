/**
 * The connection protocol over one transport: opens channels, lets the peer open them, and gives each message to whom it is for.
 * RFC 4254 sections 4 and 5. Dispatch never waits for the application.
 *
 * @module
 */
import { ChannelOpenError, SshError } from "../errors.ts";
import { checkSize, explanation } from "../transport/message_size.ts";
import { closedError } from "../transport/closing.ts";
import { questionOf } from "../transport/questions.ts";
import type { DataTransport, MessageHandler } from "../transport/types.ts";
import { callBack } from "../wire/callback.ts";
import { atTurnEnd } from "../wire/turns.ts";
import { Msg } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { type BaseChannel, channelCore } from "./channel.ts";
import type { ChannelCore, ChannelLink } from "./channel_core.ts";
import { ChannelTable, type Opening, openRefused } from "./channel_table.ts";
import { channelTypes, Doors } from "./doors.ts";
import { GlobalRequests, type RequestAnswerer } from "./global_requests.ts";
import { Idle } from "./idle.ts";
import { Keepalive } from "./keepalive.ts";
import {
  ChannelClose,
  ChannelEof,
  ChannelFailure,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelOpenFailure,
  ChannelRequest,
  ChannelSuccess,
  ChannelWindowAdjust,
  OpenFailureReason,
} from "./messages.ts";
import type { ChannelAcceptor, MuxOptions } from "./mux_options.ts";
import { DEFAULT_WINDOW, MAX_PACKET } from "./receive_window.ts";
import { Budget, decide } from "./request_queue.ts";
import { WindowShare } from "./window_share.ts";

export type { RequestAnswerer } from "./global_requests.ts";
export type { ChannelAcceptor, ChannelOpenRequest, MuxOptions } from "./mux_options.ts";

/** Bytes of channel requests, and of channels that the application is deciding on; more is abuse. */
const MAX_WAITING_BYTES = 4_194_304;
const NOTHING = new Uint8Array(0);

/** The connection protocol over one transport: channels and global requests (RFC 4254). */
export class Mux implements MessageHandler {
  readonly #transport: DataTransport;
  readonly #options: MuxOptions;
  readonly #channels: ChannelTable;
  readonly #acceptors = new Doors<ChannelAcceptor>("channel type");
  readonly #requests: GlobalRequests;
  readonly #budget = new Budget(MAX_WAITING_BYTES);
  readonly #link: ChannelLink;
  #dirty = new Set<ChannelCore>();
  /** Whether several of them wait for the end of the turn. */
  #isGathering = false;
  #ended: { readonly error: Error | null } | null = null;
  readonly #keepalive: Keepalive;
  readonly #idle: Idle;
  /** This side closes the connection: nothing new begins. */
  #closing = false;

  /** Makes a mux; it works once it is the transport's handler. */
  constructor(transport: DataTransport, options: MuxOptions = {}) {
    this.#transport = transport;
    this.#options = options;
    this.#channels = new ChannelTable(options.maxChannels ?? 256);
    const idle = this.#idle = new Idle(options.idleTimeout, () => options.onIdle?.());
    this.#requests = new GlobalRequests({
      transport,
      idle,
      onGlobalRequest: options.onGlobalRequest,
      hasEnded: () => this.hasEnded,
      report: (error) => this.#report(error),
    });
    this.#link = {
      transport,
      idle,
      dirty: (core) => void this.#dirty.add(core),
      gone: (core) => {
        this.#channels.remove(core);
        this.#dirty.delete(core);
      },
      budget: this.#budget,
      windows: new WindowShare(),
      report: (error) => this.#report(error),
      failed: (error) => this.#failed(error),
    };
    this.#keepalive = new Keepalive(options.keepalive, transport, {
      ask: (first) => {
        options.onSilence?.asked(first);
        this.askForLife();
      },
      gone: (error) => options.onSilence?.gone(error) ?? error,
    });
  }

  /** Why the connection has ended, or null while it has not. */
  get endedBy(): Error | null {
    return this.#ended === null ? null : closedError(this.#ended.error);
  }

  /** Tells the application of its own error. What fails because the connection has ended is no news. */
  #report(error: unknown): void {
    if (this.#ended !== null && error instanceof SshError) return;
    callBack(() => this.#options.onError?.(error));
  }

  #failed(cause: unknown): void {
    if (this.#options.onError !== undefined) return this.#report(cause);
    this.#transport.fail(
      cause instanceof Error ? cause : new SshError("Channel failed", { code: "CLOSED", cause }),
    );
  }

  /** Whether the connection has ended. */
  get hasEnded(): boolean {
    return this.#ended !== null;
  }

  /** Whether no channel is open, so that nothing but small messages can come. */
  get isQuiet(): boolean {
    return this.#channels.open.size === 0;
  }

  /** Channels that are open. */
  get channelCount(): number {
    return this.#channels.open.size;
  }

  /** Channels that take room, those that are open, being opened, or decided on; open ones of a type do not count. */
  channelsBeside(type: string): number {
    let count = this.#channels.taken;
    for (const core of this.#channels.open.values()) if (core.type === type) count--;
    return count;
  }

  /**
   * Opens a channel; `make` builds a subclass of `BaseChannel` from its number. Rejects with `ChannelOpenError` when the peer
   * refuses, and with the signal's reason.
   */
  openChannel<C extends BaseChannel>(
    type: string,
    data: Uint8Array,
    make: (id: number) => C,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<C> {
    const { signal } = options;
    if (this.#isOver) return Promise.reject(closedError(this.#ended?.error ?? null));
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = this.#channels.freeNumber();
    if (id === null) {
      return Promise.reject(
        new ChannelOpenError(
          `Cannot open another channel: ${this.#channels.most} are open, which is the limit`,
          OpenFailureReason.RESOURCE_SHORTAGE,
        ),
      );
    }
    let channel: C, core: ChannelCore, payload: Bytes;
    try {
      payload = ChannelOpen.encode({ type, sender: id, window: this.#window, maxPacket: MAX_PACKET, data });
      checkSize(payload, "CHANNEL_OPEN");
      channel = make(id);
      core = this.#linked(channel, id, type);
    } catch (error) {
      return Promise.reject(error);
    }
    const opened = Promise.withResolvers<C>();
    // Aborted, it still waits for the peer's word, and then closes at once.
    const abort = () => opened.reject(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const opening: Opening = {
      core,
      done: (error) => {
        signal?.removeEventListener("abort", abort);
        if (error !== null) return opened.reject(error);
        if (signal?.aborted) core.close();
        else opened.resolve(channel);
      },
    };
    this.#channels.openings.set(id, opening);
    this.#idle.passed(payload);
    const unknown = () => this.#refuseOpening(opening, OpenFailureReason.UNKNOWN_CHANNEL_TYPE, "it opens no channels");
    this.#transport.send(payload, false, questionOf(() => this.#channels.openings.get(id) === opening, unknown));
    return opened.promise;
  }

  /** Gives a channel its number and its window; the answer to the message that names them cannot come before this returns. */
  #linked(channel: BaseChannel, id: number, type: string): ChannelCore {
    if (channel.id !== id) {
      throw new TypeError(`Cannot open a channel made with number ${channel.id}: its number is ${id}`);
    }
    const core = channelCore(channel);
    core.link(this.#link, type, this.#window);
    return core;
  }

  /**
   * Sends a global request and waits for its reply's payload, or null when it was refused. Where many wait for theirs it leaves later,
   * unless it is `urgent`.
   */
  globalRequest(
    name: string,
    data: Uint8Array = NOTHING,
    options: { signal?: AbortSignal | undefined; urgent?: boolean } = {},
  ): Promise<Bytes | null> {
    const { signal, urgent = false } = options;
    if (this.#isOver) return Promise.reject(closedError(this.#ended?.error ?? null));
    if (signal?.aborted) return Promise.reject(signal.reason);
    const refusal = this.#options.cannot?.(`make global request "${name}"`);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#requests.request(name, data, signal, urgent);
  }

  /** Sends a global request that wants no answer. */
  notify(name: string, data: Uint8Array = NOTHING): void {
    this.#requests.notify(name, data);
  }

  /** Lets the peer open channels of a type. Throws `TypeError` where somebody does already, and what `cannot` gives. */
  onChannel(type: string, acceptor: ChannelAcceptor): Disposable {
    const refusal = this.#options.cannot?.(`take "${type}" channels of the server`);
    if (refusal !== undefined) throw refusal;
    return this.#acceptors.open(type, acceptor);
  }

  /** Answers global requests of a name, one after the other. Throws `TypeError` where somebody does already. */
  onRequest(name: string, answerer: RequestAnswerer): Disposable {
    return this.#requests.onRequest(name, answerer);
  }

  /** Sends a request that wants no answer on each open channel of a type, ahead of what has been written. */
  urgeAll(type: string, name: string, data: Uint8Array): void {
    for (const core of this.#channels.open.values()) if (core.type === type) core.urge(name, data);
  }

  get #isOver(): boolean {
    return this.#closing || this.#ended !== null;
  }

  get #window(): number {
    return this.#options.window ?? DEFAULT_WINDOW;
  }

  // ------------------------------------------------------------------------------------------------ inbound

  /** See {@linkcode MessageHandler}. */
  message(payload: Uint8Array, owned = false): boolean {
    this.#idle.passed(payload);
    switch (payload[0]) {
      case Msg.CHANNEL_DATA:
        this.#data(payload, owned);
        return true;
      case Msg.CHANNEL_WINDOW_ADJUST: {
        const { recipient, bytes } = ChannelWindowAdjust.decode(payload);
        this.#channels.find(recipient)?.adjust(bytes);
        return true;
      }
      case Msg.CHANNEL_EXTENDED_DATA:
        this.#extendedData(payload);
        return true;
      case Msg.CHANNEL_EOF:
        this.#channels.find(ChannelEof.decode(payload).recipient)?.eof();
        return true;
      case Msg.CHANNEL_CLOSE:
        this.#channels.find(ChannelClose.decode(payload).recipient)?.closeReceived();
        return true;
      case Msg.CHANNEL_REQUEST: {
        const { recipient, name, data, wantReply } = ChannelRequest.decode(payload);
        this.#channels.find(recipient)?.requested(name, data as Bytes, wantReply);
        return true;
      }
      case Msg.CHANNEL_SUCCESS:
        this.#channels.find(ChannelSuccess.decode(payload).recipient)?.answered(true);
        return true;
      case Msg.CHANNEL_FAILURE:
        this.#channels.find(ChannelFailure.decode(payload).recipient)?.answered(false);
        return true;
      case Msg.CHANNEL_OPEN:
        this.#peerOpens(payload);
        return true;
      case Msg.CHANNEL_OPEN_CONFIRMATION:
        this.#confirmed(payload);
        return true;
      case Msg.CHANNEL_OPEN_FAILURE:
        this.#refused(payload);
        return true;
      case Msg.GLOBAL_REQUEST:
        this.#requests.requested(payload);
        return true;
      case Msg.REQUEST_SUCCESS:
        this.#requests.granted(payload);
        return true;
      case Msg.REQUEST_FAILURE:
        this.#requests.refused(payload);
        return true;
      case Msg.USERAUTH_REQUEST:
        // RFC 4252 section 5.1: requests after the successful one are ignored without a word.
        return this.#transport.role === "server";
      case Msg.USERAUTH_BANNER:
        return this.#transport.role === "client";
      default:
        return false;
    }
  }

  /** CHANNEL_DATA without a decoder: it is nearly all that ever comes. Held equal to the declaration by a test. */
  #data(payload: Uint8Array, owned: boolean): void {
    const reader = new Reader(payload, 1);
    const core = this.#channels.find(reader.u32());
    const data = reader.view();
    reader.end();
    core?.data(data, null, owned);
  }

  #extendedData(payload: Uint8Array): void {
    const reader = new Reader(payload, 1);
    const core = this.#channels.find(reader.u32()), dataType = reader.u32();
    const data = reader.view();
    reader.end();
    core?.data(data, dataType);
  }

  /** See {@linkcode MessageHandler}. */
  batchEnd(): void {
    if (this.#dirty.size === 0 || this.#isGathering) return;
    if (this.#dirty.size === 1) return this.#flush();
    // Of many batches that each have a little for several readers, these get what comes in a turn: fewer chunks, and larger ones.
    this.#isGathering = true;
    atTurnEnd(() => {
      this.#isGathering = false;
      this.#flush();
    });
  }

  #flush(): void {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    for (const core of dirty) core.flush();
  }

  #confirmed(payload: Uint8Array): void {
    const { recipient, sender, window, maxPacket } = ChannelOpenConfirmation.decode(payload);
    const { core, done } = this.#channels.findOpening(recipient);
    // Throws for a confirmation that is none; the opening is still there then, to be told of the end.
    core.open(sender, window, maxPacket);
    this.#channels.openings.delete(recipient);
    this.#channels.open.set(recipient, core);
    done(null);
  }

  #refused(payload: Uint8Array): void {
    const { recipient, reason, description } = ChannelOpenFailure.decode(payload);
    this.#refuseOpening(this.#channels.findOpening(recipient), reason, description);
  }

  #refuseOpening({ core, done }: Opening, reason: number, description: string): void {
    this.#channels.openings.delete(core.id);
    const error = openRefused(core.type, reason, description);
    core.refused(error);
    done(error);
  }

  #peerOpens(payload: Uint8Array): void {
    const { type, sender, window, maxPacket, data } = ChannelOpen.decode(payload);
    const refuse = (reason: number, description: string) => {
      const text = explanation(description);
      const failure = ChannelOpenFailure.encode({ recipient: sender, reason, description: text, language: "" });
      this.#transport.send(failure, true);
    };
    if (this.#closing) return refuse(OpenFailureReason.CONNECT_FAILED, "the connection is being closed");
    if (maxPacket === 0) return refuse(OpenFailureReason.RESOURCE_SHORTAGE, "maximum packet size is 0");
    const acceptor = this.#acceptors.find(type) ?? this.#options.onOpen;
    if (acceptor === undefined) {
      return channelTypes[this.#transport.role].includes(type)
        ? refuse(OpenFailureReason.ADMINISTRATIVELY_PROHIBITED, "not allowed")
        : refuse(OpenFailureReason.UNKNOWN_CHANNEL_TYPE, "unknown channel type");
    }
    const id = this.#channels.freeNumber();
    if (id === null) return refuse(OpenFailureReason.RESOURCE_SHORTAGE, "too many channels");
    if (this.#budget.isSpent) return refuse(OpenFailureReason.RESOURCE_SHORTAGE, "too much waits for a decision");
    this.#channels.deciding.add(id);
    const release = this.#budget.take(type.length + data.length);
    let failure: ChannelOpenError | null = null;
    const decision = async () => {
      try {
        return await acceptor({ type, data: data as Bytes, id });
      } catch (error) {
        if (error instanceof ChannelOpenError && isReason(error.reason)) failure = error;
        throw error;
      }
    };
    const settled = decide(decision, null, (accepted) => {
      this.#channels.deciding.delete(id);
      release();
      // Too late for the peer; what the channel stands for is told and can let go.
      if (this.#ended !== null) {
        return accepted === null ? undefined : channelCore(accepted.channel).lost(this.#ended.error);
      }
      if (accepted === null) {
        return failure === null
          ? refuse(OpenFailureReason.ADMINISTRATIVELY_PROHIBITED, "not allowed")
          : refuse(failure.reason, failure.message);
      }
      if (channelCore(accepted.channel).hasEnded) {
        return refuse(OpenFailureReason.CONNECT_FAILED, "closed before it was open");
      }
      const core = this.#linked(accepted.channel, id, type);
      this.#channels.open.set(id, core);
      core.open(sender, window, maxPacket);
      this.#transport.send(core.confirmation(), true);
      accepted.opened?.();
    }, (error) => {
      if (failure === null) this.#report(error);
    });
    if (settled instanceof Promise) settled.catch((error) => this.#transport.fail(error));
  }

  // ------------------------------------------------------------------------------------------------ keepalive, the end

  /** Sends what peers answer. */
  askForLife(): void {
    this.globalRequest("keepalive@openssh.com", NOTHING, { urgent: true }).catch(() => {});
  }

  /** When the peer last sent something, by `performance.now()`. */
  get lastReceived(): number {
    return this.#transport.lastReceived;
  }

  /** Whether its timers keep the program alive. */
  setRef(refed: boolean): void {
    this.#keepalive.setRef(refed);
    this.#idle.setRef(refed);
  }

  /** See {@linkcode MessageHandler}. */
  closing(): void {
    this.#closing = true;
    for (const core of this.#channels.open.values()) core.hold();
  }

  /** See {@linkcode MessageHandler}. */
  leave(reason: Error): void {
    this.#closing = true;
    for (const { core, done } of this.#channels.openings.values()) {
      // It closes once the peer has opened it.
      core.abort(reason);
      done(reason as ChannelOpenError);
    }
    for (const core of [...this.#channels.open.values()]) core.abort(reason);
  }

  /** See {@linkcode MessageHandler}. */
  get unsent(): number {
    let bytes = 0;
    for (const core of this.#channels.open.values()) bytes += core.unsent;
    return bytes;
  }

  /** See {@linkcode MessageHandler}. */
  ended(error: Error | null): void {
    if (this.#ended !== null) return;
    this.#ended = { error };
    this.#keepalive.stop();
    this.#idle.stop();
    this.#requests.clear();
    const failure = closedError(error);
    for (const { core, done } of this.#channels.openings.values()) {
      core.lost(error);
      done(failure as ChannelOpenError);
    }
    this.#channels.openings.clear();
    for (const core of this.#channels.open.values()) core.lost(error);
    this.#channels.open.clear();
    this.#dirty.clear();
    this.#requests.end(failure);
    callBack(() => this.#options.onEnded?.(error), (cause) => this.#report(cause));
  }
}

/** A reason that the wire can carry. */
function isReason(reason: number): boolean {
  return Number.isInteger(reason) && reason >= 0 && reason <= 0xffff_ffff;
}
