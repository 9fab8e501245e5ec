/** Look-ups for forwards: how many there are at once, who comes next, and when one counts no more. */
import { assertEquals, assertRejects } from "@std/assert";
import { LookUps } from "../../lib/forward/look_ups.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { turns } from "../_support/until.ts";

const going = new AbortController().signal;

/** What has begun, in order, and how each ends. */
function begun(lookUps: LookUps, names: string, signal = going): Map<string, () => void> {
  const ends = new Map<string, () => void>();
  for (const name of names) void lookUps.begin(signal).then((end) => ends.set(name, end), () => {});
  return ends;
}

Deno.test("LookUps lets so many begin at once, and the next ones in their order", async () => {
  const lookUps = new LookUps(2, null), ends = begun(lookUps, "abcde");
  await turns(3);
  assertEquals([...ends.keys()].join(""), "ab");
  ends.get("b")!();
  // What is over is over once.
  ends.get("b")!();
  await turns(3);
  assertEquals([...ends.keys()].join(""), "abc");
  ends.get("a")!();
  ends.get("c")!();
  await turns(3);
  assertEquals([...ends.keys()].join(""), "abcde");
});

Deno.test("LookUps counts one that was given up as long as it may take, and leaves no timer", async () => {
  using time = new FakeTime();
  const lookUps = new LookUps(2, null), first = begun(lookUps, "ab");
  time.tick(5000);
  const giving = new AbortController(), given = begun(lookUps, "xy", giving.signal), next = begun(lookUps, "cd");
  await turns(3);
  assertEquals([first.size, given.size, next.size, time.pending], [2, 0, 0, 1]);
  const reason = new Error("no more time");
  const refused = assertRejects(() => lookUps.begin(giving.signal), Error, "no more time");
  giving.abort(reason);
  await refused;
  await assertRejects(() => lookUps.begin(giving.signal), Error, "no more time");
  time.tick(9_999);
  await turns(3);
  assertEquals(next.size, 0);
  time.tick(1);
  await turns(3);
  assertEquals([given.size, next.size, time.pending], [0, 2, 0]);
  first.get("a")!();
  assertEquals(begun(lookUps, "e").size, 0);
  next.get("c")!();
  next.get("d")!();
  await turns(3);
  assertEquals(time.pending, 0);
});

Deno.test("LookUps of several connections share those of the program, and one that waits holds none of its own back", async () => {
  const all = new LookUps(3, null), one = new LookUps(2, all), other = new LookUps(2, all);
  const ones = begun(one, "abc"), others = begun(other, "xy");
  await turns(5);
  assertEquals([[...ones.keys()].join(""), [...others.keys()].join("")], ["ab", "x"]);
  const giving = new AbortController(), third = new LookUps(1, all), given = begun(third, "p", giving.signal);
  await turns(5);
  giving.abort(new Error("gone"));
  await turns(5);
  ones.get("a")!();
  await turns(5);
  assertEquals([[...ones.keys()].join(""), [...others.keys()].join(""), given.size], ["ab", "xy", 0]);
  others.get("x")!();
  await turns(5);
  assertEquals([...ones.keys()].join(""), "abc");
  const thirds = begun(third, "q");
  ones.get("b")!();
  await turns(5);
  assertEquals(thirds.size, 1);
});
