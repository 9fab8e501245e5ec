/**
 * Why an iteration of keys passed over what it looked at, for the error of a login that found no key. No I/O.
 *
 * @module
 */
import type { AgentSession } from "./session_agents.ts";
import type { Signer } from "./types.ts";

/** Remarks on the places that an iteration has looked at so far; never a secret. */
export interface PassedOver {
  /** Of keys that are there and could not be had: encrypted, not readable, an agent that does not answer. */
  readonly notes: string[];
  /** Of places where nothing is: worth telling only where there was no key at all. */
  readonly absent: string[];
  /** The connection that the keys are for, from when the iteration begins on, where that is known. */
  session?: AgentSession | null;
}

const kept = new WeakMap<AsyncIterable<Signer>, PassedOver>();

/** Has `passedOver` go along with an iteration of keys, which is returned. */
export function withPassedOver<T extends AsyncIterable<Signer>>(keys: T, passedOver: PassedOver): T {
  kept.set(keys, passedOver);
  return keys;
}

/** What goes along with an iteration of keys; null for one of the program's own. */
export function passedOverBy(keys: AsyncIterable<Signer>): PassedOver | null {
  return kept.get(keys) ?? null;
}
