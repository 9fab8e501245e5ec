/**
 * An agent for somebody else: lists keys and signs, and does nothing more. draft-ietf-sshm-ssh-agent sections 3 to 5, OpenSSH PROTOCOL.agent
 * section 1. No I/O of its own.
 *
 * Whoever controls the far end asks here. What would change the agent (adding and removing keys, locking) or have it load something
 * (keys of tokens, CVE-2023-38408) is refused, whatever the agent behind would do.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import { agentFlagsOf } from "../keys/key_types.ts";
import type { AgentSession } from "../keys/session_agents.ts";
import type { Agent } from "../keys/types.ts";
import { toBase64 } from "../wire/base_text.ts";
import { Reader } from "../wire/reader.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import type { AgentAnswerer, AgentAnswers } from "./connections.ts";
import { AgentExtension, AgentFrames, AgentMsg, MAX_FRAME } from "./frames.ts";
import { encodeBind } from "./session_bind.ts";

export type { AgentAnswerer } from "./connections.ts";

/** The answer that refuses. */
export const FAILURE: Bytes = new Uint8Array([AgentMsg.FAILURE]);

/** SSH_AGENT_RSA_SHA2_256 and SSH_AGENT_RSA_SHA2_512: the flags of a signature that choose its algorithm. */
const ALGORITHM_FLAGS = 2 | 4;

/**
 * Answers messages over `conn`, one after the other, until it ends. Throws `SshProtocolError` for what is no message, what the streams
 * throw, and the reason of the signal; `conn` has ended then.
 */
export async function answerAll(conn: ByteDuplex, answer: AgentAnswerer, signal: AbortSignal): Promise<void> {
  const frames = new AgentFrames(conn), gone = new AbortController();
  const cut = (): void => {
    gone.abort(signal.reason);
    frames.abort(signal.reason);
  };
  signal.addEventListener("abort", cut, { once: true });
  /** The next message, which is looked for while this one is answered: so it is seen that whoever asked has gone. */
  const look = (): Promise<Bytes | null> => {
    const next = frames.read();
    const none = (): void => gone.abort(new SshError("Nobody waits for the agent any more", { code: "CLOSED" }));
    next.then((message) => message === null && none(), none);
    return next;
  };
  try {
    signal.throwIfAborted();
    for (let message = await look(); message !== null;) {
      const next = look();
      await frames.write(await answer(message, gone.signal));
      message = await next;
    }
    // What is cut ends as well, as far as it can be seen.
    signal.throwIfAborted();
    await frames.close();
  } catch (error) {
    gone.abort(error);
    frames.abort(error);
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", cut);
  }
}

/** As {@linkcode answerAll}, for somebody else: whatever more is asked for, nobody behind hears of it. */
export async function serveAgent(conn: ByteDuplex, answer: AgentAnswerer, signal: AbortSignal): Promise<void> {
  await answerAll(conn, async (message, gone) => isAllowed(message) ? await answer(message, gone) : FAILURE, signal);
}

/** Listing, signing, and the word on which host a connection is for, which only restricts what is signed. */
function isAllowed(message: Bytes): boolean {
  switch (message[0]) {
    case AgentMsg.REQUEST_IDENTITIES:
      return message.length === 1;
    case AgentMsg.SIGN_REQUEST:
      return true;
    case AgentMsg.EXTENSION:
      try {
        return new Reader(message, 1).ascii() === AgentExtension.SESSION_BIND;
      } catch {
        return false;
      }
    default:
      return false;
  }
}

/** Answers from an agent's object. What goes wrong there is a failure there, and no more is told. */
export function answersOf(agent: Agent): AgentAnswerer {
  return async (message) => {
    try {
      const answer = message[0] === AgentMsg.REQUEST_IDENTITIES
        ? await identities(agent)
        : message[0] === AgentMsg.SIGN_REQUEST
        ? await signature(agent, message)
        : FAILURE;
      return answer.length <= MAX_FRAME ? answer : FAILURE;
    } catch {
      return FAILURE;
    }
  };
}

async function identities(agent: Agent): Promise<Uint8Array> {
  const signers = await agent.signers(), writer = new Writer().u8(AgentMsg.IDENTITIES_ANSWER).u32(signers.length);
  for (const signer of signers) {
    const { comment } = signer as { comment?: unknown };
    writer.string(signer.publicKey.blob).text(typeof comment === "string" ? comment.toWellFormed() : "");
  }
  return writer.bytes();
}

async function signature(agent: Agent, message: Bytes): Promise<Uint8Array> {
  const reader = new Reader(message, 1), blob = reader.string(), data = reader.string(), flags = reader.u32();
  reader.end();
  if ((flags & ~ALGORITHM_FLAGS) !== 0) return FAILURE;
  const wanted = toBase64(blob);
  const signer = (await agent.signers()).find(({ publicKey }) => toBase64(publicKey.blob) === wanted);
  const algorithm = signer?.algorithms.find((one) => agentFlagsOf(one) === flags);
  if (signer === undefined || algorithm === undefined) return FAILURE;
  return new Writer().u8(AgentMsg.SIGN_RESPONSE).string(await signer.sign(data, algorithm)).bytes();
}

/**
 * Tells an agent that what follows comes from a host that it was lent to: keys that are tied to hosts (`ssh-add -h`) stay so. OpenSSH
 * PROTOCOL.agent section 1. An agent that knows nothing of that refuses, and has no such keys.
 */
export async function bindAgent(answer: AgentAnswerer, session: AgentSession, signal: AbortSignal): Promise<void> {
  await answer(encodeBind(session, true), signal);
}

/** Answers by asking an agent over `conn`, one message after the other, and what ends its connection. */
export function answersOver(conn: ByteDuplex): AgentAnswers {
  const frames = new AgentFrames(conn);
  return {
    answer: async (message) => {
      await frames.write(message);
      const answer = await frames.read();
      if (answer === null) throw new SshProtocolError("Cannot ask agent: it has hung up");
      return answer;
    },
    end: (reason) => frames.abort(reason),
  };
}
