/**
 * A connection's share of each turn of the event loop, counted in work done: a look at the clock for every packet would cost more than
 * most packets do. No I/O.
 *
 * @module
 */
import { TurnShare } from "../wire/turns.ts";

/** How much is handled before a look at the clock, in bytes. */
const WORK_BETWEEN_LOOKS = 65_536;
/** What a packet costs beside its bytes, in bytes. */
export const PACKET_WORK = 512;
/** What a chunk costs beside its bytes, in bytes. */
export const CHUNK_WORK = 4096;

/** One connection's share, for its reader and its writer together. */
export class WorkShare extends TurnShare {
  /** Work since the last look at the clock. */
  #work = 0;

  /** Whether others have to run first, after so much work more. */
  isUsedBy(work: number): boolean {
    this.#work += work;
    if (this.#work < WORK_BETWEEN_LOOKS) return false;
    this.#work = 0;
    return this.isUsed;
  }

  /** What to wait for before a step of a key exchange, each of which is worth a look; null while there is time left. */
  restForStep(): Promise<void> | null {
    this.#work = 0;
    return this.rest();
  }
}
