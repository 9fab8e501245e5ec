/**
 * Keeping out sources whose logins fail again and again: OpenSSH's PerSourcePenalties. No I/O, no timers.
 *
 * Each failure adds to the time for which a source is in disgrace, and that time passes. Nothing comes of it until it is `min`; from
 * there on the source is refused until it is over.
 *
 * @module
 */
import { sourceOf } from "./source.ts";

/** What each failure of a source costs, in milliseconds; a source is an IPv4 address or an IPv6 /64. 0 is no penalty. */
export interface SourcePenalties {
  /** For a connection that tried to log in, and ended without a login. @default {5000} */
  authFail?: number | undefined;
  /** For one that ended without having tried: port scanners, but health checks and `ssh-keyscan` too. @default {0} */
  noAuth?: number | undefined;
  /** For one that had not logged in at `loginTimeout`. @default {0} */
  graceExceeded?: number | undefined;
  /** Penalties of a source that are still running have come to this before it is refused. @default {60000} */
  min?: number | undefined;
  /** No source is refused for longer, whatever it did. @default {600000} */
  max?: number | undefined;
  /** Sources remembered, IPv4 and IPv6 each; beyond that the one whose penalty ends soonest is forgotten. @default {65536} */
  maxSources?: number | undefined;
}

/** What is punished. */
export type Offence = "authFail" | "noAuth" | "graceExceeded";

/** What stands where a program says nothing. OpenSSH refuses from 15 seconds on, three connections; here it is twelve in a minute. */
export const DEFAULT_PENALTIES = {
  authFail: 5_000,
  noAuth: 0,
  graceExceeded: 0,
  min: 60_000,
  max: 600_000,
  maxSources: 65_536,
} as const;

interface Penalty {
  /** When it is over. */
  until: number;
  refused: boolean;
}

/** Share of a full table that makes room at a time, so that it is not sorted for each newcomer. */
const FORGOTTEN = 1 / 8;

/** Who is in disgrace, and until when. Times are milliseconds of a clock that never goes back. */
export class Penalties {
  readonly #limits: { readonly [K in keyof SourcePenalties]-?: number };
  // One of each family, so that who has many addresses of one makes nobody of the other forgotten.
  readonly #tables = { v4: new Map<string, Penalty>(), v6: new Map<string, Penalty>() };

  /** Nobody is. */
  constructor(limits: SourcePenalties = {}) {
    const all = { ...DEFAULT_PENALTIES } as { -readonly [K in keyof SourcePenalties]-?: number };
    for (const name of Object.keys(all) as (keyof SourcePenalties)[]) all[name] = limits[name] ?? all[name];
    this.#limits = all;
  }

  /** Sources remembered. */
  get size(): number {
    return this.#tables.v4.size + this.#tables.v6.size;
  }

  /** Milliseconds for which a source is refused from now on; 0 for one that is not. */
  refusedFor(address: string, now: number = performance.now()): number {
    const { source, table } = this.#find(address), penalty = table.get(source);
    if (penalty === undefined) return 0;
    if (penalty.until <= now) table.delete(source);
    return penalty.refused ? Math.max(0, penalty.until - now) : 0;
  }

  /** Punishes a source. Returns the milliseconds for which it is refused when that begins with this offence, else 0. */
  punish(address: string, offence: Offence, now: number = performance.now()): number {
    const { min, max, maxSources, [offence]: cost } = this.#limits;
    if (cost <= 0) return 0;
    const { source, table } = this.#find(address);
    let penalty = table.get(source);
    if (penalty === undefined || penalty.until <= now) penalty = { until: now, refused: false };
    penalty.until = Math.min(penalty.until + cost, now + max);
    const begins = !penalty.refused && penalty.until >= now + Math.min(min, max);
    if (begins) penalty.refused = true;
    if (!table.has(source) && table.size >= maxSources) makeRoom(table, maxSources, now);
    table.set(source, penalty);
    return begins ? penalty.until - now : 0;
  }

  #find(address: string): { source: string; table: Map<string, Penalty> } {
    const source = sourceOf(address);
    return { source, table: source.includes(":") ? this.#tables.v6 : this.#tables.v4 };
  }
}

/** Forgets what is over; and where that is not enough, what will be soonest. */
function makeRoom(table: Map<string, Penalty>, size: number, now: number): void {
  for (const [source, { until }] of table) if (until <= now) table.delete(source);
  const most = Math.min(size - 1, Math.floor(size * (1 - FORGOTTEN)));
  if (table.size < size) return;
  const soonest = [...table].sort(([, a], [, b]) => a.until - b.until);
  for (const [source] of soonest.slice(0, table.size - most)) table.delete(source);
}
