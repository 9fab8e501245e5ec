/**
 * The requests of one channel, both ways: their place behind data that has been written, and their answers in order.
 * RFC 4254 section 5.4. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkSize } from "../transport/message_size.ts";
import type { DataTransport, Question } from "../transport/types.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import type { Idle } from "./idle.ts";
import { ChannelFailure, ChannelRequest, ChannelSuccess } from "./messages.ts";
import { type Budget, decide, RequestQueue } from "./request_queue.ts";
import { Waiters } from "./waiters.ts";

/** Requests of the peer that wait for their answer; more is abuse. */
const MAX_REQUESTS = 256;
/** This side's own that wait for theirs; more are held back, as the peer may think the same. */
const MAX_ASKED = 128;

/** What the requests of a channel need of its connection. */
export interface RequestLink {
  /** Packets go here. */
  readonly transport: DataTransport;
  /** Hears of them. */
  readonly idle: Idle;
  /** What requests of the peer hold that wait on any channel. */
  readonly budget: Budget;
  /** Tells of what the application's functions throw. */
  report(error: unknown): void;
}

/** What they need of the channel. */
export interface RequestedChannel {
  /** Whether anything can be sent on it. */
  isOpen(): boolean;
  /** The peer's number for it. */
  peer(): number;
  /** Its connection, which it has before it is open. */
  link(): RequestLink | null;
  /** What a request fails with while it is not open. */
  notOpen(): unknown;
}

/** The requests of one channel. */
export class ChannelRequests {
  readonly #channel: RequestedChannel;
  readonly #queue: RequestQueue;
  readonly #waiting = new Waiters(false, MAX_ASKED);
  /** Requests that keep their place behind data that has been written and not left. */
  #afterData: { readonly payload: Uint8Array; readonly question?: Question }[] = [];
  /** What waits for the answer to the request that is being decided on. */
  #behindAnswer: (() => void) | null = null;

  /** For one channel. */
  constructor(channel: RequestedChannel) {
    this.#channel = channel;
    this.#queue = new RequestQueue(MAX_REQUESTS, (error) => channel.link()?.transport.fail(error));
  }

  /** Sends a request; resolves with the answer. */
  request(name: string, data: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    if (!this.#channel.isOpen()) return Promise.reject(this.#channel.notOpen());
    if (signal?.aborted) return Promise.reject(signal.reason);
    let payload: Bytes;
    try {
      payload = this.#encode(name, data, true);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waiting.ask(signal, (question) => {
      // Requests keep their order among themselves.
      if (this.#afterData.length > 0) this.#afterData.push({ payload, question });
      else this.#send(payload, question);
    });
  }

  /** Sends a request that wants no answer at once, or `behindData`: when what has been written has left. */
  notify(name: string, data: Uint8Array, behindData: boolean): void {
    if (!this.#channel.isOpen()) return;
    const payload = this.#encode(name, data, false);
    if (behindData) this.#afterData.push({ payload });
    else this.#send(payload);
  }

  /** The data has left: what kept its place behind it goes. */
  sendHeldBack(): void {
    for (const { payload, question } of this.#afterData) this.#send(payload, question);
    this.#afterData = [];
  }

  #send(payload: Uint8Array, question?: Question): void {
    const { transport, idle } = this.#channel.link()!;
    idle.passed(payload);
    transport.send(payload, false, question);
  }

  #encode(name: string, data: Uint8Array, wantReply: boolean): Bytes {
    const payload = ChannelRequest.encode({ recipient: this.#channel.peer(), name, wantReply, data });
    checkSize(payload, `channel request "${printable(name, 64)}"`);
    return payload;
  }

  /** A request of the peer, which `answer` decides on when those before it are answered. */
  requested(name: string, data: Bytes, wantReply: boolean, answer: () => MaybePromise<boolean>): void {
    const link = this.#channel.link()!;
    this.#queue.add(
      () =>
        decide(answer, false, (granted) => {
          if (wantReply && this.#channel.isOpen()) {
            const message = granted === true ? ChannelSuccess : ChannelFailure;
            link.transport.send(message.encode({ recipient: this.#channel.peer() }), true);
          }
          const behind = this.#behindAnswer;
          this.#behindAnswer = null;
          behind?.();
        }, (error) => link.report(error)),
      name.length + data.length,
      link.budget,
    );
  }

  /** Does `task` when the answer to the request that is being decided on has been sent, or it wants none. */
  behindAnswer(task: () => void): void {
    this.#behindAnswer = task;
  }

  /** CHANNEL_SUCCESS and CHANNEL_FAILURE; one that nobody waits for is dropped. */
  answered(granted: boolean): void {
    this.#waiting.answered(() => granted);
  }

  /** No answer comes any more. */
  end(error: unknown): void {
    this.#waiting.end(error);
  }

  /** The channel has ended: nothing is held back any more. */
  dropHeldBack(): void {
    this.#afterData = [];
  }

  /** The connection has ended: requests of the peer that wait are dropped. */
  clear(): void {
    this.#queue.clear();
  }
}
