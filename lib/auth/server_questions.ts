/**
 * The questions of keyboard-interactive that a server's handler asks: one list at a time, while its request is the client's latest.
 * RFC 4256, RFC 4252 section 5.1. No limits, no timers.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import { checkSize } from "../transport/message_size.ts";
import { questionOf } from "../transport/questions.ts";
import type { PacketTransport } from "../transport/types.ts";
import { decodeInfoResponse, encodeInfoRequest } from "./messages.ts";
import type { Prompt } from "./types.ts";

const failed = { code: "AUTH_FAILED" } as const;
const over = "this authentication is over";
const abandoned = "the client went on to another authentication request";

/** What a request comes to by its questions. */
export interface AskingRequest {
  /** When the client last said something about it. */
  heardAt: number;
  /** Its handler has had its say. */
  called: boolean;
  /** The client has gone on to another request: nothing answers this one (RFC 4252 section 5.1). */
  abandoned: boolean;
  /** The client's answers did not fit the questions. */
  spoilt: boolean;
}

/** Texts that stand above the questions. */
export interface QuestionText {
  /** Title. */
  name?: string | undefined;
  /** What to do. */
  instruction?: string | undefined;
}

type Answer = PromiseWithResolvers<readonly string[]>;

/** The questions of one connection. */
export class ServerQuestions {
  readonly #transport: PacketTransport;
  #question: { readonly count: number; readonly answer: Answer } | null = null;

  /** Asks over a transport. */
  constructor(transport: PacketTransport) {
    this.#transport = transport;
  }

  /** Asks for a request, and resolves to the answers. `isLatest` says that no other request of the client waits behind it. */
  ask(
    request: AskingRequest,
    prompts: readonly Prompt[],
    { name = "", instruction = "" }: QuestionText,
    isLatest: boolean,
  ): Promise<readonly string[]> {
    if (this.#question !== null) {
      return Promise.reject(new TypeError("Cannot ask: the questions before have no answer yet"));
    }
    const answer: Answer = Promise.withResolvers();
    // A handler may turn away from its own question.
    answer.promise.catch(() => {});
    if (request.abandoned || !isLatest) {
      request.abandoned = true;
      answer.reject(new SshError(`Cannot ask: ${abandoned}`, failed));
      return answer.promise;
    }
    try {
      const payload = encodeInfoRequest({ name, instruction, prompts });
      checkSize(payload, "questions");
      const question = this.#question = { count: prompts.length, answer };
      const unknown = (): void => this.#spoil(request, answer, "the client knows no questions");
      this.#transport.send(payload, false, questionOf(() => this.#question === question, unknown));
    } catch (error) {
      answer.reject(error);
    }
    return answer.promise;
  }

  /** The client goes on with another request in the place of an answer (RFC 4252 section 5.1). */
  abandon(request: AskingRequest | null): void {
    if (this.#question === null || request === null) return;
    request.abandoned = true;
    this.end(new SshError(`Cannot ask: ${abandoned}`, failed));
  }

  /** USERAUTH_INFO_RESPONSE, for the request that has its turn. */
  answered(payload: Uint8Array, request: AskingRequest | null): void {
    const question = this.#question;
    if (question === null || request === null) throw new SshProtocolError("USERAUTH_INFO_RESPONSE answers no question");
    const answers = decodeInfoResponse(payload, question.count);
    if (answers === null) return this.#spoil(request, question.answer, "the client's answers do not fit the questions");
    this.#question = null;
    request.heardAt = performance.now();
    question.answer.resolve(answers);
  }

  #spoil(request: AskingRequest, answer: Answer, why: string): void {
    this.#question = null;
    request.heardAt = performance.now();
    request.spoilt = true;
    answer.reject(new SshError(`Cannot ask: ${why}`, failed));
  }

  /** The handler has had its say: what it still asks is not answered any more. */
  decided(): void {
    if (this.#question !== null) this.end(tooLateToAsk());
  }

  /** No answer is waited for any more. */
  end(error: unknown): void {
    this.#question?.answer.reject(error);
    this.#question = null;
  }
}

/** What a handler is told that asks when its request has been decided. */
export function tooLateToAsk(): SshError {
  return new SshError(`Cannot ask: ${over}`, failed);
}
