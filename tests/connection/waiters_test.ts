/** Who waits for answers, and what leaves when. */
import { assertEquals, assertRejects } from "@std/assert";
import { Waiters } from "../../lib/connection/waiters.ts";
import type { Question } from "../../lib/transport/types.ts";
import { stateOf } from "../_support/fake_transport.ts";

/** Waiters of which two at a time wait, and what has left. */
function two() {
  const waiters = new Waiters<string>("refused", 2), left = new Map<string, Question>();
  const ask = (name: string, { signal, urgent }: { signal?: AbortSignal; urgent?: boolean } = {}): Promise<string> =>
    waiters.ask(signal, (question) => void left.set(name, question), urgent);
  return { waiters, left, ask, names: () => [...left.keys()].join("") };
}

Deno.test("Waiters.ask() holds back what is too much, in order, until answers make room", async () => {
  const { waiters, left, ask, names } = two();
  const asked = [..."abcde"].map((name) => ask(name));
  assertEquals(names(), "ab");
  waiters.answered(() => "1");
  assertEquals(names(), "abc");
  // A request that the peer does not know makes room as well.
  left.get("c")!.unimplemented();
  assertEquals(names(), "abcd");
  for (const value of ["2", "3", "4"]) waiters.answered(() => value);
  assertEquals(names(), "abcde");
  assertEquals(await Promise.all(asked), ["1", "2", "refused", "3", "4"]);
});

Deno.test("Waiters.ask() sends what is urgent at once, and never what was aborted before", async () => {
  const { waiters, ask, names } = two(), abort = new AbortController();
  const asked = [ask("a"), ask("b"), ask("c", { signal: abort.signal }), ask("d"), ask("u", { urgent: true })];
  assertEquals(names(), "abu");
  abort.abort("enough");
  assertEquals(await asked[2]!.catch((reason) => reason), "enough");
  waiters.answered(() => "a");
  assertEquals(names(), "abu");
  waiters.answered(() => "b");
  assertEquals(names(), "abud");
  waiters.answered(() => "u");
  waiters.answered(() => "d");
  assertEquals(await Promise.all(asked.toSpliced(2, 1)), ["a", "b", "d", "u"]);
});

Deno.test("Waiters.ask() gives the room of aborted requests to others, and their answers to nobody", async () => {
  const { waiters, ask, names } = two(), abort = new AbortController(), { signal } = abort;
  const asked = [ask("a", { signal }), ask("b", { signal }), ask("c"), ask("d"), ask("e")];
  abort.abort("enough");
  assertEquals(names(), "abcd");
  for (const name of "abcd") waiters.answered(() => name);
  assertEquals(names(), "abcde");
  waiters.answered(() => "e");
  const ends = await Promise.allSettled(asked);
  assertEquals(ends.map((end) => end.status === "fulfilled" ? end.value : end.reason), [
    "enough",
    "enough",
    "c",
    "d",
    "e",
  ]);
});

Deno.test("Waiters hold nothing of requests that were aborted before they left, though no answer ever comes", async () => {
  const { waiters, ask, names } = two(), abort = new AbortController(), { signal } = abort;
  const waiting = [ask("a"), ask("b")], given = [..."cdef"].map((name) => ask(name, { signal }));
  assertEquals(waiters.held, 4);
  abort.abort("enough");
  assertEquals([waiters.held, names()], [0, "ab"]);
  for (const { status } of await Promise.allSettled(given)) assertEquals(status, "rejected");
  for (const name of "ab") waiters.answered(() => name);
  assertEquals([await Promise.all(waiting), names()], [["a", "b"], "ab"]);
});

Deno.test("Waiters.end() rejects what waits and what was held back, and nothing leaves any more", async () => {
  const { waiters, ask, names } = two(), error = new Error("over");
  const asked = [..."abcd"].map((name) => ask(name));
  assertEquals(await stateOf(asked[3]!), "pending");
  waiters.end(error);
  for (const answer of asked) assertEquals(await assertRejects(() => answer), error);
  waiters.answered(() => "late");
  assertEquals(names(), "ab");
});
