/**
 * Bench. This module's server, with a limit on the time to log in; watches how long the event loop keeps everybody waiting.
 * Prints its port; then for each line on stdin, of the time since the line before: the longest wait, the waits above 20 ms, and the most
 * that the event loop's own thread computed in one wait (on Linux), the rest being time in which others had the cores. Ends when stdin does.
 */

import { parsePrivateKey, serve } from "../../mod.ts";
import { params, report } from "./common.mjs";

await using server = serve({
  hostname: "127.0.0.1",
  port: 0,
  hostKeys: [await parsePrivateKey(params.hostKey)],
  auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
  handler: async (session) => {
    if (session.command === "cat") await session.stdin.pipeTo(session.stdout);
  },
  loginTimeout: params.loginTimeout,
  maxStartups: { begin: 1000, rate: 30, full: 2000 },
  maxStartupsPerSource: 1000,
  onListen: ({ port }) => report({ port }),
  onError: () => {},
});

/** Milliseconds that the thread of the event loop has been running. */
function computed(): number {
  try {
    return Number(Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/schedstat`).split(" ")[0]) / 1e6;
  } catch {
    return NaN;
  }
}

let longest = 0, above = 0, most = 0, last = performance.now(), ran = computed();
const watch = (): void => {
  const now = performance.now(), waited = now - last, running = computed();
  longest = Math.max(longest, waited);
  most = Math.max(most, running - ran);
  if (waited > 20) above++;
  last = now;
  ran = running;
};
const watching = setInterval(watch, 1);

for await (const _line of Deno.stdin.readable) {
  watch();
  report({ longest, above, most });
  longest = above = most = 0;
}
clearInterval(watching);
await server[Symbol.asyncDispose]();
