/** Agents: what clients send to ours, and what agents answer our client with. */
import { assert, assertEquals } from "@std/assert";
import { AgentClient } from "../../lib/agent/agent.ts";
import { createAgent, type LocalAgent } from "../../lib/agent/local_agent.ts";
import { SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { loginData, questionOf, rawClientOf, testHost } from "../_support/agents.ts";
import { fuzzAsync, fuzzBytes, mutate, Prng } from "../_support/fuzz.ts";
import { strings } from "../_support/key_vectors.ts";
import { inTime } from "../_support/until.ts";
import { withWebCrypto } from "../_support/web_crypto.ts";

const free = await generateKey(), tied = await generateKey(), added = await generateKey("ecdsa");
const host = await testHost(), session = await host.session(), hostKeys = [host.key.publicKey];
const login = loginData(tied, session, "alice"), data = new TextEncoder().encode("data");

const sign = (blob: Uint8Array, what: Uint8Array) => Uint8Array.from([13, ...strings(blob, what), 0, 0, 0, 0]);
/** What a client may say. */
const questions: Bytes[] = [
  Uint8Array.of(11),
  sign(free.publicKey.blob, data),
  sign(tied.publicKey.blob, login),
  await questionOf((client) => client.add(added)),
  await questionOf((client) =>
    client.add(added, { lifetime: 60_000, confirm: true, destinations: [{ to: { hostname: "a", hostKeys } }] })
  ),
  await questionOf((client) => client.remove(free.publicKey)),
  await questionOf((client) => client.removeAll()),
  await questionOf((client) => client.lock("x")),
  await questionOf((client) => client.unlock("x")),
  await questionOf((client) => client.bind(session, { forwarding: true })),
  await questionOf((client) => client.extensions(), Uint8Array.from([29, ...strings("query")])),
];

async function agentToAsk(errors: unknown[]): Promise<LocalAgent> {
  const agent = createAgent({ keys: [free], onConfirm: () => true, onError: (error) => void errors.push(error) });
  await agent.add(tied, { destinations: [{ to: { hostname: "a", hostKeys } }] });
  return agent;
}

Deno.test("an agent answers each damaged message with one, fails for what it cannot read, and signs nothing that it should not", async () => {
  const errors: unknown[] = [];
  let signatures = 0;
  const { count } = await fuzzAsync(async (seed) => {
    const prng = new Prng(seed);
    await using agent = await agentToAsk(errors);
    const raw = rawClientOf(agent);
    for (let i = 0; i < 4; i++) {
      const whole = prng.pick(questions), message = prng.below(8) === 0 ? fuzzBytes(seed) : mutate(whole, seed + i);
      if (message.length === 0) continue;
      const answer = new Reader(await raw.ask(...message)), type = answer.u8();
      assert([5, 6, 12, 14, 29].includes(type), String(type));
      if (type !== 14) continue;
      signatures++;
      // No connection was told where it leads, so the one that is tied signs nothing.
      assertEquals(new Reader(message, 1).string(), free.publicKey.blob);
      assert(
        await free.publicKey.verify(new Reader(message, 1 + 4 + free.publicKey.blob.length).string(), answer.string()),
      );
    }
    assertEquals(await raw.close(), null);
    const listed = await agent.signers();
    return listed.length > 0;
  }, { count: 150, share: 3 });
  assert(count >= 150);
  assert(signatures > 0);
  assertEquals(errors, []);
});

Deno.test("a connection to an agent ends for bytes that are no messages, and with them whatever they announce", () =>
  withWebCrypto(async () => {
    await using agent = createAgent({ keys: [free] });
    const { accepted } = await fuzzAsync(async (seed) => {
      const raw = rawClientOf(agent), prng = new Prng(seed);
      const frames = prng.below(2) === 0 ? fuzzBytes(seed) : mutate(strings(...questions.slice(0, 3)), seed);
      const writing = raw.writer.write(frames).then(() => raw.writer.close()).catch(() => {});
      const error = await inTime(raw.served, "the end");
      await writing;
      assert(error === null || error instanceof SshProtocolError, String(error));
      return error === null;
    }, { count: 150, share: 3 });
    assert(accepted > 0);
    assertEquals((await agent.signers()).length, 1);
  }));

Deno.test("a client of agents takes any answer for one, or for an error that it says", async () => {
  const listed = Uint8Array.from([12, 0, 0, 0, 1, ...strings(free.publicKey.blob, "comment")]);
  const answers = [
    listed,
    Uint8Array.from([14, ...strings(await free.sign(data, "ssh-ed25519"))]),
    Uint8Array.of(6),
    Uint8Array.of(5),
    Uint8Array.from([29, ...strings("query", "query", "x@y")]),
  ];
  const { accepted } = await fuzzAsync(async (seed) => {
    const prng = new Prng(seed);
    let first = true;
    const line = {
      ask: () => {
        const answer = first ? listed : prng.below(8) === 0 ? fuzzBytes(seed) : mutate(prng.pick(answers), seed);
        first = false;
        return Promise.resolve(answer.length === 0 ? Uint8Array.of(5) : answer);
      },
      end: () => Promise.resolve(),
    };
    const client = new AgentClient(line, {}, null), [signer] = await client.signers();
    let taken = 0;
    for (
      const act of [
        () => client.extensions(),
        () => signer!.sign(data, "ssh-ed25519"),
        () => client.add(free),
        () => client.bind(session),
        () => client.unlock("x"),
        () => client.signers(),
      ]
    ) {
      try {
        await act();
        taken++;
      } catch (error) {
        assert(error instanceof SshError, String(error));
      }
    }
    return taken > 0;
  }, { count: 200, share: 3 });
  assert(accepted > 0);
});
