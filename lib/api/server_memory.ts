/**
 * What servers offered, for as long as the program runs: the next connection to the same place guesses what will be agreed on, which saves a
 * round trip (RFC 4253 section 7). Only what came with a completed key exchange is kept. A place is a name for where options lead, and
 * no proof of anything: what is kept there decides what is guessed, and never what is trusted or allowed.
 *
 * @module
 */
import type { ServerOffer } from "../transport/guess.ts";

/** Places of which something is kept; the one that was used longest ago goes first. */
const MAX_PLACES = 256;
/** Characters of one place and its offer: those of OpenSSH have some 600. One that is longer is not kept. */
const MAX_LENGTH = 4_096;

/** Offers by place, the one used last at the end. */
export class ServerMemory {
  readonly #offers = new Map<string, ServerOffer>();
  /** Places of which nothing is kept, those last that were given up last. */
  readonly #givenUp = new Set<string>();

  /** What was offered there, or null. */
  recall(place: string): ServerOffer | null {
    const offer = this.#offers.get(place);
    if (offer === undefined) return null;
    this.#offers.delete(place);
    this.#offers.set(place, offer);
    return offer;
  }

  /** Keeps what a server offered in an exchange that was completed. */
  keep(place: string, { ident, kex, hostKey }: ServerOffer): void {
    this.forget(place);
    if (this.#givenUp.has(place)) return;
    if (place.length + ident.length + kex.join().length + hostKey.join().length > MAX_LENGTH) return;
    this.#offers.set(place, { ident, kex: [...kex], hostKey: [...hostKey] });
    for (const oldest of this.#offers.keys()) {
      if (this.#offers.size <= MAX_PLACES) break;
      this.#offers.delete(oldest);
    }
  }

  /** Nothing is known of the place any more. */
  forget(place: string): void {
    this.#offers.delete(place);
  }

  /**
   * An exchange has failed there that may have been guessed. A server may say that it is one which takes guesses, and drop them: nothing is
   * kept of it from here on, or each second login there would fail.
   */
  giveUp(place: string): void {
    this.forget(place);
    if (place.length > MAX_LENGTH) return;
    this.#givenUp.add(place);
    for (const oldest of this.#givenUp) {
      if (this.#givenUp.size <= MAX_PLACES) break;
      this.#givenUp.delete(oldest);
    }
  }

  /** Places of which something is kept. */
  get size(): number {
    return this.#offers.size;
  }
}

/** Of all connections of the program. */
export const serverMemory: ServerMemory = new ServerMemory();
