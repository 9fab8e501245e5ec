/**
 * How many may knock at once: OpenSSH's MaxStartups and PerSourceMaxStartups, and a limit on the rate of what ends without a login
 * (CVE-2002-20001). Who logs in is counted only until then. Unlike OpenSSH's, the random early drop spares the first connection of a
 * source, and where a connection would be turned away the oldest one of the source that holds the most makes room: who holds many
 * without logging in keeps out nobody but himself. No I/O, no timers.
 *
 * @module
 */
import { sourceOf } from "./source.ts";

/**
 * Random early drop: from `begin` unauthenticated connections on, a share of `rate` percent of those is turned away whose source has
 * others waiting, and at `full` all, unless another source holds more.
 */
export interface MaxStartups {
  /** Connections from which some are turned away. */
  readonly begin: number;
  /** Percentage turned away there; it grows to 100 at `full`. */
  readonly rate: number;
  /** Connections from which all are turned away. */
  readonly full: number;
}

/** Limits of {@linkcode Admission}. */
export interface AdmissionLimits {
  /** Unauthenticated connections in total. */
  readonly maxStartups: MaxStartups;
  /** Unauthenticated connections of one source at a time. */
  readonly maxStartupsPerSource: number;
}

/** One admitted connection. */
export interface Ticket {
  /** It has logged in, and counts no more. */
  loggedIn(): void;
  /** It has ended; `now` is in milliseconds. */
  ended(now?: number): void;
  /** Called when its place has gone to a source that holds fewer; it counts no more then. */
  onDismissed: (() => void) | null;
}

interface Source {
  /** Connections without a login, the oldest first. */
  readonly waiting: Set<Place>;
  /** Connections that may end without a login now, refilled at the rate per source; below 0 where more than that have. */
  tokens: number;
  refilled: number;
}

/** A ticket as seen from here. */
interface Place extends Ticket {
  readonly since: number;
  dismiss(now: number): void;
}

/**
 * Connections of one source in a second that may end without a login: this many, or a share of what it may hold at a time where that
 * is raised. A source that has more of them behind it than `EXCUSED` gets in no more than may still end so: else the sockets of a
 * flood would all come back at once.
 */
const RATE = { least: 10, share: 1 / 6 };
const EXCUSED = 2;
/** Milliseconds after which a connection that has not logged in gives its place to a new one of the same source. */
const PATIENCE = 1000;
/** Sources remembered beyond those with an open connection. */
const MAX_IDLE_SOURCES = 4096;

/** Counts the connections that have not logged in. */
export class Admission {
  readonly #limits: AdmissionLimits;
  /** Tokens of a source that has none of its connections without a login behind it, and those that come back in a second. */
  readonly #rate: number;
  readonly #sources = new Map<string, Source>();
  #open = 0;

  /** Nothing is open yet. */
  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#rate = Math.min(Math.max(RATE.least, limits.maxStartupsPerSource * RATE.share), Number.MAX_SAFE_INTEGER);
  }

  /** Connections that have not logged in. */
  get open(): number {
    return this.#open;
  }

  /** Lets a connection in, or returns null. `now` is in milliseconds; `chance` a number in [0, 1). */
  admit(address: string, now: number = performance.now(), chance: number = random()): Ticket | null {
    const key = sourceOf(address), limit = this.#limits.maxStartupsPerSource;
    const source = this.#sources.get(key) ?? { waiting: new Set(), tokens: this.#rate, refilled: now };
    this.#refill(source, now);
    if (source.tokens < this.#rate - EXCUSED && source.waiting.size + 1 > source.tokens) return null;
    if (source.waiting.size >= limit && !dismissIdle(source, now)) return null;
    if (this.#dropped(source, chance) && !this.#makeRoom(source, now)) return null;
    this.#open++;
    this.#sources.set(key, source);
    if (this.#sources.size > this.#open + MAX_IDLE_SOURCES) this.#forget(now);
    const leave = (): boolean => {
      if (!source.waiting.delete(place)) return false;
      this.#open--;
      return true;
    };
    const fail = (now: number): boolean => {
      if (!leave()) return false;
      this.#refill(source, now);
      source.tokens--;
      return true;
    };
    const place: Place = {
      since: now,
      onDismissed: null,
      loggedIn: () => void leave(),
      ended: (now = performance.now()) => void fail(now),
      dismiss: (now) => {
        if (fail(now)) place.onDismissed?.();
      },
    };
    source.waiting.add(place);
    return place;
  }

  #refill(source: Source, now: number): void {
    source.tokens = Math.min(this.#rate, source.tokens + this.#rate * Math.max(0, now - source.refilled) / 1000);
    source.refilled = now;
  }

  /** Dismisses a connection of the source that holds the most, unless `source` would hold as many then. */
  #makeRoom(source: Source, now: number): boolean {
    let most = source;
    for (const other of this.#sources.values()) if (other.waiting.size > most.waiting.size) most = other;
    if (most.waiting.size <= source.waiting.size + 1) return false;
    for (const oldest of most.waiting) {
      oldest.dismiss(now);
      break;
    }
    return true;
  }

  #dropped(source: Source, chance: number): boolean {
    const { begin, rate, full } = this.#limits.maxStartups;
    if (this.#open >= full) return true;
    if (this.#open < begin || source.waiting.size === 0) return false;
    return chance * 100 < rate + (100 - rate) * (this.#open - begin) / (full - begin);
  }

  /** Forgets the sources that time has made equal to unknown ones. */
  #forget(now: number): void {
    for (const [key, source] of this.#sources) {
      if (source.waiting.size > 0) continue;
      this.#refill(source, now);
      if (source.tokens === this.#rate) this.#sources.delete(key);
    }
    // Faster than that only a flood from many addresses fills the table: the oldest half goes, so that this is not done each time.
    for (const [key, source] of this.#sources) {
      if (this.#sources.size <= this.#open + MAX_IDLE_SOURCES / 2) break;
      if (source.waiting.size === 0) this.#sources.delete(key);
    }
  }
}

/** A source at its limit replaces its oldest connection, if that has had its time: idle ones do not lock their own host out. */
function dismissIdle(source: Source, now: number): boolean {
  const [oldest] = source.waiting;
  if (oldest === undefined || now - oldest.since < PATIENCE) return false;
  oldest.dismiss(now);
  return true;
}

function random(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}
