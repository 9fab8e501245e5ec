/**
 * The keys that an agent of this program holds, and what each is tied to. draft-ietf-sshm-ssh-agent section 3.2. No I/O.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import type { Signer } from "../keys/types.ts";
import { toBase64 } from "../wire/base_text.ts";
import type { Bytes } from "../wire/types.ts";
import { Timer } from "../wire/timer.ts";
import { MAX_IDENTITIES } from "./agent.ts";
import type { Constraints } from "./constraints.ts";
import { MAX_FRAME } from "./frames.ts";

/** Characters of a comment. */
const MAX_COMMENT = 4096;
/** Bytes of the hosts that all keys are tied to: of their names and keys, and of what it costs to keep them. */
const MAX_RESTRICTIONS = 4_194_304;
/** Bytes that each step and each host key of one costs beside what is in it. */
const OVERHEAD = 128;

/** A key that is held. */
export interface Identity {
  /** What it is known by: the public key, or the certificate. */
  readonly blob: Bytes;
  readonly comment: string;
  readonly key: Signer;
  readonly constraints: Constraints;
  /** When it is forgotten, by `performance.now()`. */
  readonly death: number;
}

/** The keys of one agent. */
export class Keyring {
  readonly #identities = new Map<string, Identity>();
  /** Lets go of what has died, even if nobody asks. */
  readonly #reaper = new Timer(() => this.#reap());
  /** Bytes of the answer that lists all. */
  #size = 5;
  /** Bytes of what they are tied to. */
  #weight = 0;
  /** How many of them die. */
  #mortal = 0;
  #ended = false;

  constructor() {
    this.#reaper.unref();
  }

  /** Those that are alive, in the order in which they came. */
  all(): Identity[] {
    this.#reap();
    return [...this.#identities.values()];
  }

  /** The one with this blob. */
  get(blob: Uint8Array): Identity | null {
    this.#reap();
    return this.#identities.get(toBase64(blob)) ?? null;
  }

  /** Adds one, or takes it in the place of the one with the same blob. Throws `REQUEST_DENIED` where there is no room, and `CLOSED` behind the end. */
  add({ blob, comment, key, constraints }: Omit<Identity, "death">): void {
    if (this.#ended) throw new SshError("Cannot add key: the agent was closed", { code: "CLOSED" });
    this.#reap();
    const { lifetime } = constraints, id = toBase64(blob), before = this.#identities.get(id);
    const death = lifetime === null ? Infinity : performance.now() + 1000 * lifetime;
    const identity: Identity = { blob, comment, key, constraints, death };
    const size = this.#size + sizeOf(identity) - (before === undefined ? 0 : sizeOf(before));
    const weight = this.#weight + weightOf(identity) - (before === undefined ? 0 : weightOf(before));
    const count = this.#identities.size + (before === undefined ? 1 : 0);
    if (
      count > MAX_IDENTITIES || size > MAX_FRAME || comment.length > MAX_COMMENT || weight > MAX_RESTRICTIONS
    ) {
      throw new SshError(
        `Cannot add key "${
          printable(comment, 64)
        }": an agent holds ${MAX_IDENTITIES} keys, with comments of ${MAX_COMMENT} characters, ` +
          `which together are listed in ${MAX_FRAME} bytes, and tied to ${MAX_RESTRICTIONS} bytes of hosts`,
        { code: "REQUEST_DENIED" },
      );
    }
    if (before !== undefined) this.#drop(id, before);
    this.#size += sizeOf(identity);
    this.#weight += weightOf(identity);
    this.#identities.set(id, identity);
    if (death !== Infinity) this.#mortal++;
    this.#wait();
  }

  /** Forgets one; false where it was not there. */
  remove(blob: Uint8Array): boolean {
    const id = toBase64(blob), identity = this.#identities.get(id);
    if (identity === undefined) return false;
    this.#drop(id, identity);
    this.#wait();
    return true;
  }

  #drop(id: string, identity: Identity): void {
    this.#identities.delete(id);
    this.#size -= sizeOf(identity);
    this.#weight -= weightOf(identity);
    if (identity.death !== Infinity) this.#mortal--;
  }

  /** Forgets all of them, and takes no more: one may be on its way. */
  end(): void {
    this.#ended = true;
    this.#identities.clear();
    this.#size = 5;
    this.#weight = 0;
    this.#mortal = 0;
    this.#reaper.stop();
  }

  #reap(): void {
    if (this.#mortal === 0) return;
    const now = performance.now();
    for (const { blob, death } of this.#identities.values()) if (death <= now) this.remove(blob);
  }

  #wait(): void {
    if (this.#mortal === 0) return this.#reaper.stop();
    let first = Infinity;
    for (const { death } of this.#identities.values()) first = Math.min(first, death);
    this.#reaper.start(Math.max(1, first - performance.now()));
  }
}

/** Bytes of what it is tied to. */
function weightOf({ constraints: { steps } }: Identity): number {
  let bytes = 0;
  for (const { from, to } of steps ?? []) {
    bytes += OVERHEAD + 2 * (from.hostname.length + to.hostname.length + to.username.length);
    for (const { blob } of [...from.keys, ...to.keys]) bytes += OVERHEAD + blob.length;
  }
  return bytes;
}

/** Bytes that it takes in a list; a character is three at most. */
function sizeOf({ blob, comment }: Identity): number {
  return 8 + blob.length + 3 * comment.length;
}
