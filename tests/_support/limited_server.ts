/**
 * Test support. A server that is run on its own, with few files: prints its port, and each error on a line.
 *
 * @module
 */
import { generateKey, serve } from "../../mod.ts";

// Deno makes a pipe for signals a moment after its start, and panics where there is no file for it. Now there is one.
Deno.addSignalListener("SIGUSR2", () => {});

serve({
  hostname: "127.0.0.1",
  port: 0,
  hostKeys: [await generateKey()],
  auth: { password: (_info, password) => password === "wonderland" },
  handler: async (session) => {
    await session.stdout.getWriter().write(new TextEncoder().encode("alive\n"));
  },
  maxStartups: { begin: 10_000, rate: 100, full: 10_000 },
  maxStartupsPerSource: 100_000,
  onListen: ({ port }) => Deno.stdout.writeSync(new TextEncoder().encode(`port ${port}\n`)),
  onError: (error) => Deno.stdout.writeSync(new TextEncoder().encode(`${error}\n`)),
});
