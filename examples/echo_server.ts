#!/usr/bin/env -S deno run --allow-net=127.0.0.1
// deno-lint-ignore-file no-console
/**
 * The smallest server: everybody with the password gets back what they send.
 *
 *     examples/echo_server.ts [port]       then: echo hello | ssh -p PORT anyone@127.0.0.1 echo
 */
import { generateKey, serve } from "@amiko/ssh";

const server = serve({
  hostname: "127.0.0.1",
  port: Number(Deno.args[0] ?? 2222),
  // A key that lasts as long as the program: clients will warn of a changed host at the next start.
  hostKeys: [await generateKey()],
  auth: { password: (_info, password) => password === "echo" },
  handler: (session) => session.stdin.pipeTo(session.stdout),
  onListen: ({ port }) => console.log(`Listening on 127.0.0.1 port ${port}, password "echo"`),
});
await server.finished;
