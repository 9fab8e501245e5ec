/**
 * Answers of one session in the order of their requests. draft-ietf-secsh-filexfer-02 section 6. No I/O.
 *
 * @module
 */

/** Where the answer of one request stands in the row. */
export interface AnswerPlace {
  /** Lets the answer leave, as soon as there is one. */
  leave: (() => void) | null;
}

/**
 * A row of answers: the first one leaves when it is there, and those behind it only after it. Nothing here bounds it: whoever
 * starts requests looks at `length` first.
 */
export class AnswerOrder {
  readonly #row: AnswerPlace[] = [];

  /** Answers that have not left: those that are not there yet, and those that are held back behind one. */
  get length(): number {
    return this.#row.length;
  }

  /** Takes the place behind all others, for an answer that is to come or, with `leave`, is there. */
  take(leave: (() => void) | null = null): AnswerPlace {
    const place = { leave };
    this.#row.push(place);
    return place;
  }

  /** The answer of a place is there: it leaves now or when it is first, and what was held back by it leaves too. */
  settle(place: AnswerPlace, leave: () => void): void {
    place.leave = leave;
    while (this.#row[0]?.leave) this.#row.shift()!.leave!();
  }
}
