import { assert, assertEquals } from "@std/assert";
import { remainingDelay } from "../../lib/auth/failure_delay.ts";

Deno.test("remainingDelay() is the floor and up to 4 ms that belong to the user", async () => {
  const users = Array.from({ length: 20 }, (_, i) => `user${i}`);
  const delays = await Promise.all(users.map((user) => remainingDelay(user, 5, 0)));
  for (const delay of delays) assert(delay >= 5 && delay < 9, String(delay));
  assertEquals(new Set(delays).size, users.length);
  assertEquals(await Promise.all(users.map((user) => remainingDelay(user, 5, 0))), delays);
  // What has passed counts.
  assertEquals(await remainingDelay("user0", 5, 3), delays[0]! - 3);
});

Deno.test("remainingDelay() doubles the floor for slow refusals, up to 5 seconds", async () => {
  const floor = await remainingDelay("alice", 5, 0);
  assertEquals(await remainingDelay("alice", 5, floor + 0.5), 2 * floor - (floor + 0.5));
  assertEquals(await remainingDelay("alice", 5, 3 * floor), floor);
  assertEquals(await remainingDelay("alice", 5, 4990), 10);
  assertEquals(await remainingDelay("alice", 5, 5001), 0);
  assertEquals(await remainingDelay("alice", 60_000, 0), 5000);
  assertEquals(await remainingDelay("alice", 0, 0), 0);
});
