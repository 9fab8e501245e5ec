/**
 * Agents that learn which connection their keys are used on, so that keys that are tied to hosts (`ssh-add -h`) stay so. OpenSSH
 * PROTOCOL.agent section 1. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import type { Agent } from "./types.ts";

/** A connection as an agent may have it proven: its server's host key, which has signed the number of the session. */
export interface AgentSession {
  /** The host key's blob. */
  readonly hostKey: Bytes;
  /** Hash of the first key exchange. */
  readonly sessionId: Bytes;
  /** The host key's signature of it. */
  readonly signature: Bytes;
}

const known = new WeakMap<Agent, (session: AgentSession) => Promise<Agent>>();

/** Keeps how an agent is had for a login over one connection: `bind` gives what lists and signs for it alone, and is disposed of afterwards. */
export function bindsSessions(agent: Agent, bind: (session: AgentSession) => Promise<Agent>): void {
  known.set(agent, bind);
}

/** The agent for a login over a connection; an agent of the program's own knows nothing of connections, and is itself. */
export async function agentFor(agent: Agent, session: AgentSession | null): Promise<Agent> {
  return session === null ? agent : await known.get(agent)?.(session) ?? agent;
}
