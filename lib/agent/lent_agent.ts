/**
 * The agent that sessions of one connection may use, from the client's side. OpenSSH PROTOCOL.agent section 3: channels of the type
 * auth-agent@openssh.com, which say nothing of the session that they are for. So all sessions lend the same one at a time.
 *
 * @module
 */
import { OpenFailureReason } from "../connection/messages.ts";
import type { ChannelAcceptor, Mux } from "../connection/mux.ts";
import { ChannelOpenError, SshError } from "../errors.ts";
import { acceptConn, type SshConn } from "../forward/conn.ts";
import type { AgentSession } from "../keys/session_agents.ts";
import type { Agent } from "../keys/types.ts";
import { AuthAgentReq } from "../session/messages.ts";
import type { Lent } from "../session/client_session.ts";
import { abortable } from "../wire/abortable.ts";
import { checkDuplex } from "../wire/check.ts";
import { requireSystem } from "../wire/system.ts";
import type { ByteDuplex, MaybePromise } from "../wire/types.ts";
import { agentSocketPath, openAgentSocket } from "./agent_socket.ts";
import { type AgentAnswers, openerOf } from "./connections.ts";
import { answersOf, answersOver, bindAgent, serveAgent } from "./serve_agent.ts";

/** What can be lent: the user's own agent, another one, or what connects to one. */
export type LendableAgent = Agent | true | (() => MaybePromise<ByteDuplex>);

/** The type of channels. */
export const AGENT_CHANNEL = "auth-agent@openssh.com";

/** Connections to an agent, open at once on one connection. */
const MAX_CONNECTIONS = 32;

/** The agent lent over one connection. */
export class LentAgent {
  readonly #mux: Mux;
  readonly #session: AgentSession;
  /** What is lent, by how many sessions, and what ends it. */
  #lent: { readonly agent: LendableAgent; sessions: number; readonly end: AbortController } | null = null;
  #door: Disposable | null = null;
  #open = 0;
  #granted = false;

  /** Over the connection of `session`. */
  constructor(mux: Mux, session: AgentSession) {
    this.#mux = mux;
    this.#session = session;
  }

  /** Lends an agent to a session that is about to begin. */
  lend(agent: LendableAgent): Lent {
    if (agent === true) requireSystem("lend the agent of SSH_AUTH_SOCK", "hand an agent over, or what connects to one");
    if (agent === true && agentSocketPath() === null) {
      throw new SshError("Cannot lend agent: SSH_AUTH_SOCK is not set; start one with 'eval $(ssh-agent)'", {
        code: "CONNECTION_LOST",
      });
    }
    if (this.#lent !== null && this.#lent.agent !== agent) {
      throw new TypeError("Cannot lend agent: another session of this connection lends another one, and has not ended");
    }
    const lent = this.#lent ??= { agent, sessions: 0, end: new AbortController() };
    lent.sessions++;
    this.#door ??= this.#mux.onChannel(AGENT_CHANNEL, this.#accept);
    let held = true;
    const release = (): void => {
      if (held && --lent.sessions === 0) this.#end(lent.end);
      held = false;
    };
    const request = {
      name: AuthAgentReq.name,
      data: AuthAgentReq.encode({}),
      granted: () => void (this.#granted = true),
      // sshd takes it once on a connection, for all of its sessions, and refuses when it is asked again.
      refused: () => this.#granted ? null : "takes no agent",
    };
    return { requests: [request], release, revoke: release };
  }

  /** The last session that lent it has ended: nobody there may have anything signed any more. */
  #end(end: AbortController): void {
    this.#lent = null;
    this.#door?.[Symbol.dispose]();
    this.#door = null;
    end.abort(new SshError("Agent is no longer lent: its session has ended", { code: "CLOSED" }));
  }

  readonly #accept: ChannelAcceptor = async ({ id }) => {
    const { agent, end: { signal } } = this.#lent!;
    if (this.#open >= MAX_CONNECTIONS) {
      throw new ChannelOpenError("too many connections to the agent", OpenFailureReason.RESOURCE_SHORTAGE);
    }
    this.#open++;
    let asked: AgentAnswers;
    try {
      asked = await connected(agent, this.#session, signal);
    } catch (cause) {
      this.#open--;
      throw new ChannelOpenError("the agent does not answer", OpenFailureReason.CONNECT_FAILED, { cause });
    }
    const addr: Deno.UnixAddr = { transport: "unix", path: "" };
    const { channel, conn } = acceptConn(id, { localAddr: addr, remoteAddr: addr });
    void this.#serve(conn, asked, signal);
    return { channel };
  };

  async #serve(conn: SshConn, asked: AgentAnswers, signal: AbortSignal): Promise<void> {
    // Who waits for an answer of the agent does not see that the far end has gone.
    const gone = (): void => asked.end(new SshError("Nobody uses the agent any more", { code: "CLOSED" }));
    conn.closed.then(gone, gone);
    try {
      await Promise.race([serveAgent(conn, asked.answer, signal), conn.closed]);
    } catch {
      // Garbage, or a side that has gone: the channel ends, and that is all there is to say.
    } finally {
      this.#open--;
      gone();
      await conn.close();
    }
  }
}

async function answersFor(agent: true | (() => MaybePromise<ByteDuplex>)): Promise<AgentAnswers> {
  const conn = agent === true ? await openAgentSocket() : await agent();
  checkDuplex("agent()", conn);
  return answersOver(conn);
}

async function connected(agent: LendableAgent, session: AgentSession, signal: AbortSignal): Promise<AgentAnswers> {
  const opener = typeof agent === "object" ? openerOf(agent) : () => answersFor(agent);
  // It may be one connection, which all sessions share: it cannot be told which of them asks.
  if (opener === null) return { answer: answersOf(agent as Agent), end: () => {} };
  const asked = await abortable(opener(), signal, (late) => late.end(signal.reason));
  try {
    await abortable(bindAgent(asked.answer, session, signal), signal);
  } catch (error) {
    asked.end(error);
    throw error;
  }
  return asked;
}
