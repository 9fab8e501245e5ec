/** The socket of an agent of this program, and clients that flood it, stall, and vanish. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { createAgent } from "../../lib/agent/local_agent.ts";
import { SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { memoryPair } from "../_support/duplex.ts";
import { strings } from "../_support/key_vectors.ts";
import { inTime, turns, until } from "../_support/until.ts";

const key = await generateKey("ed25519", { comment: "one" });
const dial = (path: string): Promise<Deno.UnixConn> => Deno.connect({ transport: "unix", path });
const LIST = Uint8Array.of(0, 0, 0, 1, 11);

/** Whether a connection gets an answer; a fresh one of its own. */
async function answers(path: string): Promise<boolean> {
  await using agent = await connectAgent(await dial(path));
  return (await agent.signers()).length === 1;
}

Deno.test("listen() gives a socket that is the user's alone, in a folder of its own or where it is wanted, and takes both away", async () => {
  await using agent = createAgent({ keys: [key] });
  const first = await agent.listen(), folder = first.path.slice(0, first.path.lastIndexOf("/"));
  const other = await agent.listen({ path: `${folder}/mine`, readOnly: true });
  for (const path of [first.path, other.path]) {
    assertEquals([Deno.statSync(path).mode! & 0o777, await answers(path)], [0o600, true]);
  }
  assertEquals(Deno.statSync(folder).mode! & 0o777, 0o700);
  // What is there already is left alone.
  await assertRejects(() => agent.listen({ path: other.path }), Deno.errors.AddrInUse);
  Deno.writeTextFileSync(`${folder}/file`, "kept");
  await assertRejects(() => agent.listen({ path: `${folder}/file` }));
  assertEquals(Deno.readTextFileSync(`${folder}/file`), "kept");
  {
    await using reading = await connectAgent(await dial(other.path));
    await assertRejects(() => reading.removeAll(), SshError);
  }
  await other.close();
  await other.close();
  await assertRejects(() => Deno.stat(other.path), Deno.errors.NotFound);
  const open = await connectAgent(await dial(first.path));
  assertEquals((await open.signers()).length, 1);
  await first[Symbol.asyncDispose]();
  await assertRejects(() => Deno.stat(folder), Deno.errors.NotFound);
  await assertRejects(() => open.signers(), SshError);
  const stop = new AbortController(), stopped = await agent.listen({ signal: stop.signal });
  stop.abort();
  await until(() => Deno.stat(stopped.path).then(() => false, () => true), "the socket is removed");
  await stopped.close();
  const reason = new Error("enough");
  assertEquals(await agent.listen({ signal: AbortSignal.abort(reason) }).catch((error) => error), reason);
  const last = await agent.listen();
  last.unref();
  last.ref();
  await agent[Symbol.asyncDispose]();
  await assertRejects(() => dial(last.path));
});

Deno.test("a socket of an agent has 128 clients at once; whoever comes then waits until one goes", async () => {
  await using agent = createAgent({ keys: [key] });
  await using listener = await agent.listen();
  const silent: Deno.UnixConn[] = [], view = new Uint8Array(1024);
  for (let i = 0; i < 128; i++) silent.push(await dial(listener.path));
  await silent.at(-1)!.write(LIST);
  assert(await inTime(silent.at(-1)!.read(view), "the last one is answered") !== null);
  const waiting = await dial(listener.path);
  await waiting.write(LIST);
  let answered = false;
  const answer = waiting.read(view).then((read) => answered = read !== null);
  await turns(20);
  assertEquals(answered, false);
  // Half of a message, and gone.
  await silent[0]!.write(LIST.subarray(0, 3));
  silent[0]!.close();
  assert(await inTime(answer, "the answer, now that there is room"));
  for (const conn of [...silent.slice(1), waiting]) conn.close();
});

Deno.test("a client that asks and does not read is asked no more, and others are answered meanwhile", async () => {
  await using agent = createAgent({ keys: [key] });
  const { client, server } = memoryPair({ highWaterMark: 0, chunks: "whole" });
  const served = agent.serve(server).catch(() => {}), writer = client.writable.getWriter();
  let taken = 0;
  const flooding = (async () => {
    for (;; taken++) await writer.write(LIST);
  })().catch(() => {});
  await turns(50);
  // One that is being answered, one that is looked for, and what lies in the streams between.
  assert(taken <= 8, String(taken));
  assertEquals((await agent.signers()).length, 1);
  await client.readable.cancel();
  await writer.abort();
  await flooding;
  await inTime(served, "its end");
});

Deno.test("a client that vanishes in the middle of a message, or before its answer, costs nobody else anything", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  await using agent = createAgent({
    keys: [key],
    confirm: true,
    onConfirm: ({ signal }) => {
      asked.resolve(signal);
      return new Promise(() => {});
    },
  });
  await using listener = await agent.listen();
  const sign = strings(new Uint8Array([13, ...strings(key.publicKey.blob, "data"), 0, 0, 0, 0]));
  for (const bytes of [sign.subarray(0, 2), sign.subarray(0, -1), LIST, Uint8Array.of(0, 4, 0, 0, 11)]) {
    const conn = await dial(listener.path);
    await conn.write(bytes);
    conn.close();
  }
  const conn = await dial(listener.path);
  await conn.write(sign);
  const signal = await inTime(asked.promise, "the question");
  conn.close();
  await until(() => signal.aborted, "nobody waits for the person any more");
  assert(await answers(listener.path));
});
