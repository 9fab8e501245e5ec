/**
 * Asks a silent peer for a sign of life, and ends the connection where none comes. RFC 4254 section 4.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import type { DataTransport } from "../transport/types.ts";
import { Timer } from "../wire/timer.ts";

/** When to ask. */
export interface KeepaliveLimits {
  /** Milliseconds of silence. */
  readonly interval: number;
  /** Questions in a row that may stay without any sign of life. @default {3} */
  readonly maxMissed?: number | undefined;
}

/** What a keepalive does. */
export interface KeepaliveHost {
  /** Sends something that peers answer; `first` where the question before had an answer, or there was none. */
  ask(first: boolean): void;
  /** The error of a peer that gives no sign of life. */
  gone(error: SshError): SshError;
}

/** The keepalive of one connection, off without limits. */
export class Keepalive {
  readonly #limits: KeepaliveLimits | undefined;
  readonly #transport: DataTransport;
  readonly #host: KeepaliveHost;
  readonly #timer = new Timer(() => this.#look());
  #missed = 0;
  /** When the peer was asked last. */
  #askedAt = -Infinity;

  /** Begins to watch. */
  constructor(limits: KeepaliveLimits | undefined, transport: DataTransport, host: KeepaliveHost) {
    this.#limits = limits;
    this.#transport = transport;
    this.#host = host;
    if (limits === undefined) return;
    if (!(limits.interval > 0)) {
      throw new RangeError(`Cannot use ${limits.interval} as keepalive.interval: it must be greater than 0`);
    }
    this.#timer.start(limits.interval);
  }

  #look(): void {
    const { interval, maxMissed = 3 } = this.#limits!, now = performance.now(), { lastReceived } = this.#transport;
    // Whatever comes is a sign of life: some peers answer UNIMPLEMENTED, and some are just busy with something else.
    if (lastReceived >= this.#askedAt) this.#missed = 0;
    if (now - lastReceived >= interval) {
      if (this.#missed >= maxMissed) {
        this.#transport.fail(
          this.#host.gone(
            new SshError(`Peer is gone: ${maxMissed} keepalives in ${maxMissed * interval} ms had no answer`, {
              code: "CONNECTION_LOST",
            }),
          ),
        );
        return;
      }
      this.#missed++;
      this.#askedAt = now;
      this.#host.ask(this.#missed === 1);
    }
    this.#timer.start(interval);
  }

  /** Whether its timer keeps the program alive. */
  setRef(refed: boolean): void {
    refed ? this.#timer.ref() : this.#timer.unref();
  }

  /** The connection has ended. */
  stop(): void {
    this.#timer.stop();
  }
}
