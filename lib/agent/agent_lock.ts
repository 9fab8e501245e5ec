/**
 * The lock of an agent. draft-ietf-sshm-ssh-agent section 3.7. No I/O.
 *
 * One try after the other: a wrong passphrase costs time, and the next try, whosever it is, waits for that.
 *
 * @module
 */
import { equalBytes } from "../crypto/constant_time.ts";
import { digest } from "../crypto/hash.ts";
import type { Bytes } from "../wire/types.ts";
import { Timer } from "../wire/timer.ts";

/** Milliseconds that the first wrong passphrase costs; each further one costs as much more, up to the longest. */
const DELAY = { first: 100, longest: 10_000 } as const;

/** A lock that is open at first. */
export class AgentLock {
  #locked: { readonly salt: Bytes; readonly hash: Bytes } | null = null;
  #isLocked = false;
  #failures = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #wake: (() => void) | null = null;
  #ended = false;

  /** Whether it is locked. */
  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** Locks; false where it is locked already. It is, from the call on. */
  async lock(passphrase: Uint8Array): Promise<boolean> {
    if (this.#isLocked || passphrase.length === 0) return false;
    this.#isLocked = true;
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const locking = digest("SHA-256", salt, passphrase).then((hash) => void (this.#locked = { salt, hash }));
    this.#turn = Promise.all([this.#turn, locking]);
    await locking;
    return true;
  }

  /** Unlocks, or takes its time to say no. */
  unlock(passphrase: Uint8Array): Promise<boolean> {
    const tried = this.#turn.then(() => this.#try(passphrase));
    this.#turn = tried;
    return tried;
  }

  async #try(passphrase: Uint8Array): Promise<boolean> {
    if (this.#locked === null) return false;
    const { salt, hash } = this.#locked;
    if (equalBytes(await digest("SHA-256", salt, passphrase), hash)) {
      this.#locked = null;
      this.#isLocked = false;
      this.#failures = 0;
      return true;
    }
    this.#failures++;
    if (this.#ended) return false;
    await new Promise<void>((resolve) => {
      const timer = new Timer(resolve);
      timer.start(Math.min(DELAY.first * this.#failures, DELAY.longest));
      this.#wake = () => {
        timer.stop();
        resolve();
      };
    });
    this.#wake = null;
    return false;
  }

  /** Nobody waits any more. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }
}
