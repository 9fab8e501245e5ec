import { assert, assertEquals } from "@std/assert";
import { FIRST_WINDOW, FlightWindow, LAST_WINDOW } from "../../lib/sftp/remote/flight_window.ts";

/** Runs a transfer on a path of a delay and a rate, in bytes and milliseconds; the window it ends with. */
function simulate(delay: number, rate: number, bytes: number, window = new FlightWindow()): number {
  const chunk = 32_768, flying: { sent: number; back: number }[] = [];
  let now = 0, free = 0;
  for (let done = 0; done < bytes;) {
    while ((flying.length + 1) * chunk <= window.size) {
      free = Math.max(free, now) + chunk / rate;
      flying.push({ sent: now, back: free + delay });
    }
    const first = flying.shift()!;
    now = first.back;
    done += chunk;
    window.answered(chunk, first.sent, now);
  }
  return window.size;
}

Deno.test("FlightWindow grows to what a long, fast path holds, and no further", () => {
  assertEquals(simulate(50, 1e9, 200e6), LAST_WINDOW);
  const middle = simulate(50, 100e3, 200e6);
  assert(middle >= 5e6 && middle <= 12e6, `${middle}`);
  assertEquals(simulate(0.1, 500e3, 200e6), FIRST_WINDOW);
  assertEquals(simulate(200, 10e3, 50e6) <= 2 * FIRST_WINDOW + 100_000, true);
});

Deno.test("FlightWindow keeps the limits it is given", () => {
  assertEquals(new FlightWindow().size, FIRST_WINDOW);
  assertEquals(simulate(50, 1e9, 100e6, new FlightWindow(FIRST_WINDOW, 100_000)), 100_000);
  const small = new FlightWindow(65_536);
  assertEquals(small.size, 65_536);
  small.answered(32_768, 0, 1);
  assertEquals(small.size, FIRST_WINDOW);
});
