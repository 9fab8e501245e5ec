/**
 * The least round trip seen on one connection, from what a peer answers at once: its part of a key exchange, SERVICE_ACCEPT
 * (RFC 4253 section 10), PONG (OpenSSH PROTOCOL section 1.8). No I/O, no timers.
 *
 * Each of these may take longer than the path does: a peer computes, a PONG stands behind data, this side's event loop is busy.
 * None takes less. So the smallest counts, and what took too long does no harm.
 *
 * @module
 */

/** Milliseconds that a smallest value counts for sure; it is forgotten after twice that, should the path have become longer. */
const KEPT = 60_000;
/** Milliseconds from one PING to the next at least. */
const BETWEEN_PINGS = 10_000;

/** The least round trip of one connection. All times are of one clock, in milliseconds. */
export class RoundTrip {
  /** The smallest of this period and of the one before. */
  #least = Infinity;
  #before = Infinity;
  #since = -Infinity;
  #askedAt: number | null = null;
  #pingedAt: number | null = null;
  #nextPing = -Infinity;

  /** Milliseconds, or 0 while nothing is known. */
  get least(): number {
    const least = Math.min(this.#least, this.#before);
    return least === Infinity ? 0 : least;
  }

  /** A message of a key exchange, or a SERVICE_REQUEST, goes out that the peer answers at once. */
  asked(now: number): void {
    this.#askedAt = now;
  }

  /** The peer's next message of the same kind has come. */
  answered(now: number): void {
    if (this.#askedAt !== null) this.#take(now - this.#askedAt, now);
    this.#askedAt = null;
  }

  /** Whether a PING is due: it is the caller who knows whether the peer takes one, and whether there is a reason to ask. */
  pingDue(now: number): boolean {
    return this.#pingedAt === null && now >= this.#nextPing;
  }

  /** A PING goes out. */
  pinged(now: number): void {
    this.#pingedAt = now;
    this.#nextPing = now + BETWEEN_PINGS;
  }

  /** A PONG has come. One that nobody asked for says nothing. */
  ponged(now: number): void {
    if (this.#pingedAt !== null) this.#take(now - this.#pingedAt, now);
    this.#pingedAt = null;
  }

  /**
   * Something came that cannot have been sent before the peer saw what left at `sent` or later, though it may have had much else
   * to do first, such as starting a session: it can show that the path is shorter than was thought, and not that it is longer.
   */
  atMost(sent: number, now: number): void {
    if (now > sent) this.#least = Math.min(this.#least, now - sent);
  }

  #take(took: number, now: number): void {
    if (took <= 0) return;
    if (now - this.#since >= KEPT) {
      this.#before = this.#least;
      this.#least = Infinity;
      this.#since = now;
    }
    this.#least = Math.min(this.#least, took);
  }
}
