/** The figures of a tree that is copied, by a clock of the test's. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { TreeMeter, type TreeProgress } from "../../lib/files/tree_progress.ts";
import { FakeTime } from "../_support/fake_time.ts";

/** A meter, and what it told. */
function meter(): { meter: TreeMeter; told: TreeProgress[] } {
  const told: TreeProgress[] = [];
  return { meter: new TreeMeter("/top", (progress) => void told.push(progress)), told };
}

Deno.test("a tree's progress is told when it begins, ten times a second at most, and once at its end", () => {
  using time = new FakeTime();
  const { meter: one, told } = meter();
  one.begin();
  for (let i = 0; i < 1000; i++) {
    time.tick(10);
    one.sent("/top/f", 100);
  }
  assertEquals(told.length, 101);
  one.finished();
  one.end(0);
  assertEquals(told.length, 102);
  assertEquals(told[0], {
    path: "/top",
    files: 0,
    totalFiles: null,
    bytes: 0,
    totalBytes: null,
    rate: 0,
    secondsLeft: null,
  });
  assertEquals(told.at(-1), {
    path: "/top/f",
    files: 1,
    totalFiles: 1,
    bytes: 100_000,
    totalBytes: 100_000,
    rate: 10_000,
    secondsLeft: 0,
  });
});

Deno.test("the rate is that of the last five seconds, and the time left follows from it", () => {
  using time = new FakeTime();
  const { meter: one, told } = meter();
  const send = (seconds: number, rate: number): TreeProgress => {
    for (let i = 0; i < 10 * seconds; i++) {
      time.tick(100);
      one.sent("/f", rate / 10);
    }
    return told.at(-1)!;
  };
  one.begin();
  one.found(3, 1_000_000);
  assertEquals(send(1, 1000).secondsLeft, null);
  one.allFound();
  assertEquals(send(9, 1000).rate, 1000);
  assertEquals(told.at(-1)!.secondsLeft, 990);
  // In the middle of a change it is between the two, and five seconds later the new one.
  const between = send(2, 20_000).rate;
  assert(between > 1000 && between < 20_000, String(between));
  assertEquals(send(3, 20_000).rate, 20_000);
  assertEquals(told.at(-1)!.secondsLeft, 890_000 / 20_000);
  // A minute in which nothing came counts as well.
  time.tick(60_000);
  one.sent("/f", 6000);
  const { rate } = told.at(-1)!;
  assert(rate < 2000 && rate >= 100, String(rate));
});

Deno.test("what an earlier copy had done is done, and was not sent", () => {
  using time = new FakeTime();
  const { meter: one, told } = meter();
  one.begin();
  one.allFound(2, 3000);
  one.passed("/a", 1000);
  one.finished();
  time.tick(1000);
  one.sent("/b", 500);
  assertEquals(told.at(-1), {
    path: "/b",
    files: 1,
    totalFiles: 2,
    bytes: 1500,
    totalBytes: 3000,
    rate: 500,
    secondsLeft: 3,
  });
});

Deno.test("what is done is never more than there is, and at the end what failed is missing", () => {
  using time = new FakeTime();
  const { meter: one, told } = meter();
  one.allFound(2, 1000);
  time.tick(100);
  // Its end was elsewhere than it had told.
  one.sent("/a", 1500, 1000);
  assertEquals([told.at(-1)!.bytes, told.at(-1)!.totalBytes], [1500, 2000]);
  time.tick(100);
  one.sent("/a", 700);
  assertEquals([told.at(-1)!.bytes, told.at(-1)!.totalBytes], [2200, 2200]);
  one.finished();
  one.end(1);
  const { files, totalFiles, secondsLeft } = told.at(-1)!;
  assertEquals([files, totalFiles, secondsLeft], [1, 2, 0]);
});

Deno.test("what the listener of a tree's progress throws goes to who counts", () => {
  const one = new TreeMeter("/", () => {
    throw new RangeError("in the listener");
  });
  assertThrows(() => one.begin(), RangeError, "in the listener");
  assertThrows(() => one.end(0), RangeError, "in the listener");
});
