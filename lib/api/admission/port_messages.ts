/**
 * What goes over the port between a server and the limits that it shares with others. Both ends belong to the program. Types only.
 *
 * @module
 */
import type { Offence } from "./penalties.ts";

/** From a server. A connection has a number, which the server gives. */
export type FromServer =
  | readonly ["admit", id: number, address: string]
  | readonly ["loggedIn", id: number]
  | readonly ["ended", id: number, offence: Offence | null];

/** What an answer says. */
export type Verdict = "in" | "too many" | "not allowed";

/** To a server. */
export type ToServer =
  | readonly ["answer", id: number, verdict: Verdict]
  | readonly ["dismissed", id: number]
  | readonly ["refuses", address: string, milliseconds: number]
  | readonly ["closed"];
