/**
 * Whether a connection is used, and the end of the time in which it may be silent. RFC 4254 section 5. No I/O.
 *
 * What uses it are data, channels that open and end, and requests of either side, but for those that only ask for a sign of life: a
 * connection that is kept alive is not used by that. Windows and answers follow from something else.
 *
 * @module
 */
import { startsWith } from "@std/bytes";
import { Msg } from "../wire/numbers.ts";
import { Timer } from "../wire/timer.ts";

/** How the names of requests begin that ask for a sign of life: OpenSSH's, and those of libssh2, Paramiko, JSch and others. */
const KEEPALIVE = new TextEncoder().encode("keepalive@");

/** The silence of one connection. */
export class Idle {
  readonly #limit: number;
  readonly #timer: Timer;
  #usedAt = performance.now();

  /** Begins to wait; `over` is called behind `limit` milliseconds of silence, once. */
  constructor(limit = Infinity, over: () => void) {
    this.#limit = limit;
    this.#timer = new Timer(() => {
      const left = this.#usedAt + limit - performance.now();
      left > 0 ? this.#timer.start(left) : over();
    });
    this.#timer.start(limit);
  }

  /** A message goes one way or the other; none stands for data. */
  passed(payload?: Uint8Array): void {
    if (this.#limit !== Infinity && (payload === undefined || uses(payload))) this.#usedAt = performance.now();
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

function uses(payload: Uint8Array): boolean {
  switch (payload[0]) {
    case Msg.GLOBAL_REQUEST:
      return !startsWith(payload.subarray(5), KEEPALIVE);
    case Msg.CHANNEL_REQUEST:
      return !startsWith(payload.subarray(9), KEEPALIVE);
    case Msg.CHANNEL_DATA:
      return payload.length > 9;
    case Msg.CHANNEL_EXTENDED_DATA:
      return payload.length > 13;
    case Msg.CHANNEL_OPEN:
    case Msg.CHANNEL_OPEN_CONFIRMATION:
    case Msg.CHANNEL_OPEN_FAILURE:
    case Msg.CHANNEL_EOF:
    case Msg.CHANNEL_CLOSE:
      return true;
    default:
      return false;
  }
}
