import { assertEquals } from "@std/assert";
import { Timer } from "../../lib/wire/timer.ts";
import { FakeTime } from "../_support/fake_time.ts";

Deno.test("Timer expires once, when its time is over, and can be started again", () => {
  using time = new FakeTime();
  let expired = 0;
  const timer = new Timer(() => expired++);
  timer.start(100);
  time.tick(99);
  timer.start(100);
  time.tick(99);
  assertEquals(expired, 0);
  time.tick(1);
  time.tick(1000);
  assertEquals(expired, 1);
  timer.start(5);
  timer.stop();
  time.tick(1000);
  timer.resume();
  time.tick(1000);
  assertEquals(expired, 1);
});

Deno.test("Timer takes times that setTimeout() takes for 0", () => {
  using time = new FakeTime();
  let expired = 0;
  const timer = new Timer(() => expired++);
  for (const milliseconds of [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 5, 30 * 86_400_000, 2 ** 40]) {
    timer.start(milliseconds);
    time.tick(milliseconds - 1);
    assertEquals(expired, 0, `${milliseconds}`);
    time.tick(1);
    assertEquals(expired, 1, `${milliseconds}`);
    expired = 0;
  }
  assertEquals(time.delays.every((delay) => delay < 2 ** 31), true);
  const before = time.delays.length;
  timer.start(Infinity);
  assertEquals(time.delays.length, before);
});

Deno.test("Timer.pause() keeps the time that is left", () => {
  using time = new FakeTime();
  let expired = 0;
  const timer = new Timer(() => expired++);
  timer.start(100);
  time.tick(60);
  timer.pause();
  timer.pause();
  time.tick(1000);
  timer.resume();
  time.tick(39);
  assertEquals(expired, 0);
  time.tick(1);
  assertEquals(expired, 1);
});

Deno.test("Timer.unref() lets the program end while it runs, before and after its start", async () => {
  const program = `
    import { Timer } from ${JSON.stringify(new URL("../../lib/wire/timer.ts", import.meta.url).href)};
    const before = new Timer(() => {}), after = new Timer(() => {}), held = new Timer(() => console.log("held"));
    before.unref();
    before.start(3_600_000);
    after.start(3_600_000);
    after.unref();
    held.unref();
    held.ref();
    held.start(1);
  `;
  const { success, stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", program] })
    .output();
  assertEquals([success, new TextDecoder().decode(stdout)], [true, "held\n"]);
});
