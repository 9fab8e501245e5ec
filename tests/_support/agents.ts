/** What the tests of agents share. */
import { AgentClient, type AgentConnection, connectAgent } from "../../lib/agent/agent.ts";
import type { LocalAgent, ServeAgentOptions } from "../../lib/agent/local_agent.ts";
import { publicKeySignedData } from "../../lib/auth/messages.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { AgentSession } from "../../lib/keys/session_agents.ts";
import type { PrivateKey, PublicKey } from "../../lib/keys/types.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { memoryPair } from "./duplex.ts";
import { inTime } from "./until.ts";
import { strings } from "./key_vectors.ts";

/** A client of an agent of this program, as any program has one: over streams. */
export async function clientOf(
  agent: LocalAgent,
  options: ServeAgentOptions = {},
): Promise<AgentConnection & { readonly served: Promise<unknown> }> {
  const { client, server } = memoryPair();
  const served = agent.serve(server, options).then(() => null, (error) => error);
  return Object.assign(await connectAgent(client), { served });
}

/** One end of a connection to an agent: bytes of messages go, bytes of answers come. */
export function rawClientOf(agent: LocalAgent, options: ServeAgentOptions = {}) {
  const { client, server } = memoryPair({ highWaterMark: 65_536, chunks: "whole" });
  const served = agent.serve(server, options).then(() => null, (error) => error);
  const writer = client.writable.getWriter(), reader = client.readable.getReader();
  let left: number[] = [];
  const answer = async (): Promise<Bytes> => {
    const size = () => left.length < 4 ? 4 : 4 + new Reader(Uint8Array.from(left.slice(0, 4))).u32();
    while (left.length < size()) {
      const { value, done } = await inTime(reader.read(), "the answer");
      if (done) throw new Error("it has ended");
      left.push(...value);
    }
    const whole = Uint8Array.from(left.slice(4, size()));
    left = left.slice(size());
    return whole;
  };
  return {
    served,
    writer,
    answer,
    /** Asks, and gives the answer. */
    async ask(...bytes: number[]): Promise<Bytes> {
      await writer.write(strings(Uint8Array.from(bytes)));
      return await answer();
    },
    async close(): Promise<unknown> {
      await writer.close().catch(() => {});
      return await inTime(served, "the end of the connection");
    },
  };
}

/** What a client asks an agent that does as it is told. */
export async function questionOf(
  act: (client: AgentConnection) => Promise<unknown>,
  answer = Uint8Array.of(6),
): Promise<Bytes> {
  let asked: Uint8Array = new Uint8Array(0);
  const line = {
    ask: (question: Uint8Array) => (asked = question, Promise.resolve(answer)),
    end: () => Promise.resolve(),
  };
  await act(new AgentClient(line, {}, null));
  return asked.slice();
}

/** A public key that is known by other bytes. */
export function knownBy(key: PublicKey, blob: Bytes): PublicKey {
  return {
    type: new Reader(blob).ascii(),
    blob,
    fingerprint: () => key.fingerprint(),
    verify: (data, signature) => key.verify(data, signature),
    toString: () => key.toString(),
  };
}

/** A server, and a connection to it. */
export interface TestHost {
  readonly key: PrivateKey;
  session(): Promise<AgentSession>;
}

/** Makes one with a key of its own. */
export async function testHost(): Promise<TestHost> {
  const key = await generateKey();
  return {
    key,
    session: async () => {
      const sessionId = crypto.getRandomValues(new Uint8Array(32));
      return { hostKey: key.publicKey.blob, sessionId, signature: await key.sign(sessionId, "ssh-ed25519") };
    },
  };
}

/** What a login over a connection signs. */
export function loginData(
  key: PrivateKey,
  session: AgentSession,
  username: string,
  hostKey: Uint8Array | null = session.hostKey,
): Bytes {
  return publicKeySignedData({
    sessionId: session.sessionId,
    user: new TextEncoder().encode(username),
    service: "ssh-connection",
    algorithm: key.algorithms[0]!,
    blob: key.publicKey.blob,
    hostKey: hostKey ?? undefined,
  });
}
