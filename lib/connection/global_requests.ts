/**
 * Global requests of both sides, and their answers in order. RFC 4254 section 4. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkSize } from "../transport/message_size.ts";
import { MAX_PAYLOAD } from "../transport/outbox.ts";
import type { DataTransport, Question } from "../transport/types.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { Doors } from "./doors.ts";
import type { Idle } from "./idle.ts";
import { GlobalRequest, RequestFailure, RequestSuccess } from "./messages.ts";
import { decide, RequestQueue } from "./request_queue.ts";
import { Waiters } from "./waiters.ts";

/** The payload of the reply or true, or false to refuse. */
export type RequestAnswerer = (data: Bytes, wantReply: boolean) => MaybePromise<Bytes | boolean>;

/** Answers requests of names that nobody has registered: as a {@linkcode RequestAnswerer}, behind the name. */
export type AnyRequestAnswerer = (name: string, ...request: Parameters<RequestAnswerer>) => ReturnType<RequestAnswerer>;

/** Global requests of the peer that wait for their answer; more is abuse. */
const MAX_REQUESTS = 256;
/** This side's own that wait for theirs; more are held back, as the peer may think the same. */
const MAX_ASKED = 128;
const NOTHING = new Uint8Array(0);

/** What global requests need of their connection. */
export interface GlobalRequestHost {
  /** Where requests and answers go. */
  readonly transport: DataTransport;
  /** Hears of the requests. */
  readonly idle: Idle;
  /** Answers what nobody has registered; without it, that is refused. */
  readonly onGlobalRequest: AnyRequestAnswerer | undefined;
  /** Whether the connection has ended: then nothing is answered. */
  hasEnded(): boolean;
  /** Tells the application of its own error. */
  report(error: unknown): void;
}

/** The global requests of one connection. */
export class GlobalRequests {
  readonly #host: GlobalRequestHost;
  readonly #answerers = new Doors<RequestAnswerer>("global request");
  readonly #queue: RequestQueue;
  readonly #waiting = new Waiters<Bytes | null>(null, MAX_ASKED);

  /** For one connection. */
  constructor(host: GlobalRequestHost) {
    this.#host = host;
    this.#queue = new RequestQueue(MAX_REQUESTS, (error) => host.transport.fail(error));
  }

  /** Sends a request and waits for its reply's payload, or null when it was refused. An `urgent` one is never held back. */
  request(name: string, data: Uint8Array, signal: AbortSignal | undefined, urgent: boolean): Promise<Bytes | null> {
    let payload: Bytes;
    try {
      payload = encodeRequest(name, data, true);
    } catch (error) {
      return Promise.reject(error);
    }
    const send = (question: Question): void => {
      this.#host.idle.passed(payload);
      this.#host.transport.send(payload, false, question);
    };
    return this.#waiting.ask(signal, send, urgent);
  }

  /** Sends a request that wants no answer. */
  notify(name: string, data: Uint8Array): void {
    const payload = encodeRequest(name, data, false);
    this.#host.idle.passed(payload);
    this.#host.transport.send(payload);
  }

  /** Answers requests of a name. Throws `TypeError` where somebody does already. */
  onRequest(name: string, answerer: RequestAnswerer): Disposable {
    return this.#answerers.open(name, answerer);
  }

  /** GLOBAL_REQUEST. */
  requested(payload: Uint8Array): void {
    const { name, wantReply, data } = GlobalRequest.decode(payload);
    const answer = (): MaybePromise<Bytes | boolean> => {
      const answerer = this.#answerers.find(name);
      if (answerer !== undefined) return answerer(data as Bytes, wantReply);
      return this.#host.onGlobalRequest?.(name, data as Bytes, wantReply) ?? false;
    };
    this.#queue.add(
      () =>
        decide<Bytes | boolean>(answer, false, (reply) => {
          if (wantReply && !this.#host.hasEnded()) this.#host.transport.send(this.#answer(name, reply), true);
        }, (error) => this.#host.report(error)),
      payload.length,
    );
  }

  /** The answer to a request; a reply that does not fit in a packet is the application's error. */
  #answer(name: string, reply: Bytes | boolean): Bytes {
    if (reply === true) return RequestSuccess.encode({ data: NOTHING });
    if (!(reply instanceof Uint8Array)) return RequestFailure.encode({});
    if (reply.length < MAX_PAYLOAD) return RequestSuccess.encode({ data: reply });
    this.#host.report(
      new RangeError(
        `Cannot answer global request "${printable(name, 64)}": a reply of ${reply.length} bytes does not fit`,
      ),
    );
    return RequestFailure.encode({});
  }

  /** REQUEST_SUCCESS; one that nobody waits for is dropped. */
  granted(payload: Uint8Array): void {
    this.#waiting.answered(() => RequestSuccess.decode(payload).data as Bytes);
  }

  /** REQUEST_FAILURE; one that nobody waits for is dropped. */
  refused(payload: Uint8Array): void {
    RequestFailure.decode(payload);
    this.#waiting.answered(() => null);
  }

  /** The connection has ended: requests of the peer that wait are dropped. */
  clear(): void {
    this.#queue.clear();
  }

  /** No answer comes any more. */
  end(error: unknown): void {
    this.#waiting.end(error);
  }
}

function encodeRequest(name: string, data: Uint8Array, wantReply: boolean): Bytes {
  const payload = GlobalRequest.encode({ name, wantReply, data });
  checkSize(payload, `global request "${printable(name, 64)}"`);
  return payload;
}
