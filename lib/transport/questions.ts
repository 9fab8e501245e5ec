/**
 * Messages that wait for an answer, by the numbers they left with: UNIMPLEMENTED names a message by nothing else.
 * RFC 4253 section 11.4, OpenSSH PROTOCOL section 1.9. No I/O.
 *
 * @module
 */
import type { Question } from "./types.ts";

/** Questions that may stay here beyond those that wait. */
const SPARE = 64;

/** A question of two functions. */
export function questionOf(waits: () => boolean, unimplemented: () => void): Question {
  return {
    get waits() {
      return waits();
    },
    unimplemented,
  };
}

/** The number of the message that UNIMPLEMENTED means: TinySSH names the one behind it. */
export function numberMeant(sequence: number, remoteIdent: string): number {
  return /^SSH-2\.0-tinyssh/i.test(remoteIdent) ? (sequence - 1) >>> 0 : sequence;
}

/** Questions that have left. What has been answered is dropped in time: no more are held than twice those that wait, and a few. */
export class Questions {
  #asked = new Map<number, Question>();
  /** Of the numbers before they started anew: their answers may still be under way. */
  #before = new Map<number, Question>();
  #sweepAt = SPARE;

  /** `question` leaves as packet `sequence`. */
  left(sequence: number, question: Question): void {
    this.#asked.set(sequence, question);
    if (this.#asked.size < this.#sweepAt) return;
    for (const [number, { waits }] of this.#asked) if (!waits) this.#asked.delete(number);
    this.#sweepAt = 2 * this.#asked.size + SPARE;
  }

  /** Numbers start anew. */
  renumbered(): void {
    this.#before = this.#asked;
    this.#asked = new Map();
    this.#sweepAt = SPARE;
  }

  /** The peer does not know the message with this number. It means nothing where that asked for no answer, or has had one. */
  unimplemented(sequence: number): void {
    for (const questions of [this.#asked, this.#before]) {
      const question = questions.get(sequence);
      if (!question?.waits) continue;
      questions.delete(sequence);
      return question.unimplemented();
    }
  }
}
