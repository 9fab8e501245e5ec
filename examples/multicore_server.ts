#!/usr/bin/env -S deno run --allow-net=127.0.0.1 --allow-read --unstable-net
// deno-lint-ignore-file no-console
/**
 * A server on all cores: a worker for each, all of them at one port, with the limits before the login kept in one place. Linux only.
 *
 *     examples/multicore_server.ts [port] [workers] [host key file]
 *     ssh -p 2222 anyone@127.0.0.1 who                                  (password "cores")
 *
 * SIGTERM and SIGINT end it: nobody is let in any more, and what was written leaves first; a second one ends it at once. A worker that
 * crashes takes its connections with it, and another one is started in its place; where one cannot even listen, the program ends.
 */
import { generateKey, parsePrivateKey, serve, sharedAdmission } from "@amiko/ssh";

/** What a worker needs to begin. */
interface Start {
  readonly name: string;
  readonly port: number;
  /** As text: a key itself cannot be sent. */
  readonly hostKey: string;
  readonly admission: MessagePort;
}

if ("WorkerGlobalScope" in globalThis) work();
else await main();

/** A worker: the first message starts its server, the next one stops it. */
function work(): void {
  const parent = self as unknown as MessagePort;
  parent.onmessage = async ({ data: { name, port, hostKey, admission } }: MessageEvent<Start>) => {
    const stop = new Promise<unknown>((resolve) => parent.onmessage = resolve);
    const server = serve({
      hostname: "127.0.0.1",
      port,
      reusePort: true,
      admission,
      hostKeys: [await parsePrivateKey(hostKey)],
      auth: { password: (_info, password) => password === "cores" },
      async handler(session) {
        if (session.command === "crash") reportError(new Error("Crashed, as asked to"));
        await session.write(`${name} serves ${session.user.name}\n`);
      },
      onListen: ({ port }) => parent.postMessage(port),
    });
    await stop;
    await server[Symbol.asyncDispose]();
    parent.postMessage("stopped");
    self.close();
  };
}

async function main(): Promise<void> {
  const [wanted = "2222", count = String(navigator.hardwareConcurrency), file] = Deno.args;
  // Without a file, a key that lasts as long as the program: clients will warn of a changed host at the next start.
  const hostKey = file === undefined ? await (await generateKey()).export() : await Deno.readTextFile(file);
  const admission = sharedAdmission(), workers = new Set<Worker>();
  let stopping = false;

  /** Starts a worker, and another one should it crash. Resolves with its port. */
  const start = (name: string, port: number): Promise<number> => {
    const { promise: listens, resolve } = Promise.withResolvers<number>();
    const worker = new Worker(import.meta.url, { type: "module", name }), place = admission.port();
    let found = 0;
    const gone = (): void => {
      workers.delete(worker);
      if (stopping && workers.size === 0) Deno.exit(0);
    };
    worker.onmessage = ({ data }: MessageEvent<number | "stopped">) => {
      if (data === "stopped") return gone();
      resolve(found = data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      console.error(`${name} has crashed: ${event.message}`);
      gone();
      if (stopping) return;
      if (found === 0) Deno.exit(1);
      void start(name, found);
    };
    workers.add(worker);
    worker.postMessage({ name, port, hostKey, admission: place } satisfies Start, [place]);
    return listens;
  };

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      if (stopping) Deno.exit(1);
      stopping = true;
      for (const worker of workers) worker.postMessage("stop");
    });
  }
  // The first one finds the port, should any do; the others share it.
  const port = await start("worker 1", Number(wanted));
  const others = Array.from({ length: Number(count) - 1 }, (_, i) => start(`worker ${i + 2}`, port));
  await Promise.all(others);
  console.log(`Listening on 127.0.0.1 port ${port} with ${workers.size} workers, password "cores"`);
}
