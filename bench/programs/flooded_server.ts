/**
 * Bench. This module's server, with a limit on the time to log in; watches how long the event loop keeps everybody waiting.
 * Prints its port; then for each line on stdin the longest wait and the waits above 20 ms since the line before; ends when stdin does.
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

let longest = 0, above = 0, last = performance.now();
const watch = (): void => {
  const now = performance.now(), waited = now - last;
  longest = Math.max(longest, waited);
  if (waited > 20) above++;
  last = now;
};
const watching = setInterval(watch, 1);

for await (const _line of Deno.stdin.readable) {
  watch();
  report({ longest, above });
  longest = above = 0;
}
clearInterval(watching);
await server[Symbol.asyncDispose]();
