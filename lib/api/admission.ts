/**
 * L6. How many may knock at once: OpenSSH's MaxStartups and PerSourceMaxStartups, and a limit on the rate per source (CVE-2002-20001).
 * Unlike OpenSSH's, the random early drop spares the first connection of a source, and where a connection would be turned away the
 * oldest one of the source that holds the most makes room: who holds many without logging in keeps out nobody but himself.
 * No I/O, no timers.
 *
 * @module
 */

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
  /** Unauthenticated connections of one source at a time, and such that did not end in a login per second. */
  readonly maxStartupsPerSource: number;
}

/** One admitted connection. */
export interface Ticket {
  /** It has logged in, and counts no more. */
  loggedIn(): void;
  /** It has ended. */
  ended(): void;
  /** Called when its place has gone to a source that holds fewer; it counts no more then. */
  onDismissed: (() => void) | null;
}

interface Source {
  /** Connections without a login, the oldest first. */
  readonly waiting: Set<Place>;
  /** New connections that may come now, refilled at the per-source limit each second. */
  tokens: number;
  refilled: number;
}

/** A ticket as seen from here. */
interface Place extends Ticket {
  readonly since: number;
  dismiss(): void;
}

/** Milliseconds after which a connection that has not logged in gives its place to a new one of the same source. */
const PATIENCE = 1000;
/** Sources remembered beyond those with an open connection. */
const MAX_IDLE_SOURCES = 4096;

/** Counts the connections that have not logged in. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #sources = new Map<string, Source>();
  #open = 0;

  /** Nothing is open yet. */
  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Connections that have not logged in. */
  get open(): number {
    return this.#open;
  }

  /** Lets a connection in, or returns null. `now` is in milliseconds; `chance` a number in [0, 1). */
  admit(address: string, now: number = performance.now(), chance: number = random()): Ticket | null {
    const key = sourceOf(address), limit = this.#limits.maxStartupsPerSource;
    const source = this.#sources.get(key) ?? { waiting: new Set(), tokens: limit, refilled: now };
    source.tokens = Math.min(limit, source.tokens + limit * Math.max(0, now - source.refilled) / 1000);
    source.refilled = now;
    if (source.tokens < 1) return null;
    if (source.waiting.size >= limit && !dismissIdle(source, now)) return null;
    if (this.#dropped(source, chance) && !this.#makeRoom(source)) return null;
    source.tokens--;
    this.#open++;
    this.#sources.set(key, source);
    if (this.#sources.size > this.#open + MAX_IDLE_SOURCES) this.#forget(now);
    const leave = (refund: number): boolean => {
      if (!source.waiting.delete(place)) return false;
      this.#open--;
      source.tokens = Math.min(limit, source.tokens + refund);
      return true;
    };
    const place: Place = {
      since: now,
      onDismissed: null,
      loggedIn: () => void leave(1),
      ended: () => void leave(0),
      dismiss: () => {
        if (leave(0)) place.onDismissed?.();
      },
    };
    source.waiting.add(place);
    return place;
  }

  /** Dismisses a connection of the source that holds the most, unless `source` would hold as many then. */
  #makeRoom(source: Source): boolean {
    let most = source;
    for (const other of this.#sources.values()) if (other.waiting.size > most.waiting.size) most = other;
    if (most.waiting.size <= source.waiting.size + 1) return false;
    for (const oldest of most.waiting) {
      oldest.dismiss();
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

  /** Forgets the sources that a second has made equal to unknown ones. */
  #forget(now: number): void {
    for (const [key, source] of this.#sources) {
      if (source.waiting.size === 0 && now - source.refilled >= 1000) this.#sources.delete(key);
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
  oldest.dismiss();
  return true;
}

/** What counts as one source: an IPv4 address, or the /64 network that one IPv6 host has to itself. */
export function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1]!;
  if (!address.includes(":")) return address;
  const [head, tail] = address.split("%")[0]!.split("::") as [string, string?];
  const front = head === "" ? [] : head.split(":"), back = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...new Array<string>(zeros).fill("0"), ...back];
  return groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "").toLowerCase()).join(":") + "::/64";
}

function random(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}
