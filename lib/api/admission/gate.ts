/**
 * The one question that a server asks about a new connection, and what it tells of it afterwards; and who answers within the server
 * itself. No I/O, no timers.
 *
 * @module
 */
import type { AdmissionOptions } from "../serve_options.ts";
import { Admission, type MaxStartups } from "./admission.ts";
import { type Offence, Penalties } from "./penalties.ts";
import { NOT_ALLOWED, type Refusal, TOO_MANY } from "./turn_away.ts";

/** OpenSSH's, but for `begin`: its 10 turns away half of a burst of clients. */
const DEFAULT_MAX_STARTUPS: MaxStartups = { begin: 60, rate: 30, full: 100 };
const DEFAULT_PER_SOURCE = 60;

/** One connection that was let in. */
export interface Pass {
  /** Called when its place has gone to another one; it counts no more then. */
  onDismissed: (() => void) | null;
  /** It has logged in, and counts no more. */
  loggedIn(): void;
  /** It has ended, and what it is to be punished for. */
  ended(offence: Offence | null): void;
}

/** Lets connections in. */
export interface Gate {
  /** Lets a connection of this address in, or says why not; at once where it can. */
  admit(address: string): Pass | Refusal | Promise<Pass | Refusal>;
  /** Lets in nobody any more, those neither about whom it was asked and has not answered. */
  stop(): void;
  /** All connections have ended. */
  close(): void;
}

/** Told that a source is refused from now on, for so many milliseconds. */
export type OnRefuses = (address: string, milliseconds: number) => void;

/** What several gates may share. */
export interface Counts {
  readonly admission: Admission;
  readonly penalties: Penalties | null;
}

/** Limits as options say. */
export function limitsOf({ maxStartups, maxStartupsPerSource, penalties }: AdmissionOptions): Counts {
  return {
    admission: new Admission({
      maxStartups: maxStartups ?? DEFAULT_MAX_STARTUPS,
      maxStartupsPerSource: maxStartupsPerSource ?? DEFAULT_PER_SOURCE,
    }),
    penalties: penalties === false ? null : new Penalties(penalties),
  };
}

/** Answers at once, by limits that are here. */
export class LocalGate implements Gate {
  readonly #limits: Counts;
  readonly #onRefuses: OnRefuses;

  /** `onRefuses` hears of what connections of this gate have brought about. */
  constructor(limits: Counts, onRefuses: OnRefuses) {
    this.#limits = limits;
    this.#onRefuses = onRefuses;
  }

  /** See {@linkcode Gate.admit}. */
  admit(address: string): Pass | Refusal {
    const { admission, penalties } = this.#limits;
    if (penalties !== null && penalties.refusedFor(address) > 0) return NOT_ALLOWED;
    const ticket = admission.admit(address);
    if (ticket === null) return TOO_MANY;
    let dismissed = false;
    const pass: Pass = {
      onDismissed: null,
      loggedIn: () => ticket.loggedIn(),
      ended: (offence) => {
        ticket.ended();
        // What the server ended to make room is no fault of the client, but what it tried until then is.
        if (offence === null || dismissed && offence !== "authFail") return;
        const time = penalties?.punish(address, offence) ?? 0;
        if (time > 0) this.#onRefuses(address, time);
      },
    };
    ticket.onDismissed = () => {
      dismissed = true;
      pass.onDismissed?.();
    };
    return pass;
  }

  /** Nothing waits for an answer here. */
  stop(): void {}

  /** Nothing is held here. */
  close(): void {}
}
