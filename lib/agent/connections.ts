/**
 * Further connections to an agent that a program has as an object: each is told by itself which host it is lent to. No I/O of its own.
 *
 * @module
 */
import type { Agent } from "../keys/types.ts";
import type { Bytes } from "../wire/types.ts";

/** Answers one message with one. The signal aborts when nobody waits for the answer any more. */
export type AgentAnswerer = (message: Bytes, signal: AbortSignal) => Promise<Uint8Array>;

/** Who answers on one connection, and what ends it. */
export interface AgentAnswers {
  readonly answer: AgentAnswerer;
  readonly end: (reason: unknown) => void;
}

const known = new WeakMap<Agent, () => Promise<AgentAnswers>>();

/** Keeps how another connection to an agent is opened. */
export function opensConnections(agent: Agent, open: () => Promise<AgentAnswers>): void {
  known.set(agent, open);
}

/** What opens another connection; null for an agent that is only there as the object it is. */
export function openerOf(agent: Agent): (() => Promise<AgentAnswers>) | null {
  return known.get(agent) ?? null;
}
