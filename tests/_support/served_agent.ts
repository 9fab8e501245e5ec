/**
 * Test support. Keys of a test as an agent, over a pair of streams in memory or at a socket.
 *
 * @module
 */
import { answersOf, serveAgent } from "../../lib/agent/serve_agent.ts";
import type { Agent, Signer } from "../../lib/keys/types.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { memoryPair } from "./duplex.ts";

function agentOf(signers: readonly Signer[]): Agent {
  return { signers: () => Promise.resolve(signers), [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** An agent over streams. */
export function agentStreams(signers: readonly Signer[]): ByteDuplex {
  const { client, server } = memoryPair();
  serveAgent(server, answersOf(agentOf(signers)), new AbortController().signal).catch(() => {});
  return client;
}

/** An agent at a socket. */
export function agentAt(path: string, signers: readonly Signer[]): AsyncDisposable {
  const listener = Deno.listen({ transport: "unix", path }), end = new AbortController();
  const serving: Promise<unknown>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      serving.push(serveAgent(conn, answersOf(agentOf(signers)), end.signal).catch(() => {}));
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      end.abort();
      await Promise.all(serving);
    },
  };
}
