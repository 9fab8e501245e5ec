/**
 * Bench. This module as a server on several cores: so many workers at one port, with shared limits; with none it serves in its main thread.
 * Prints its port; then for each line on stdin what each of them has served so far, as a series of logins and bytes in turn; ends when
 * stdin does.
 */

import { parsePrivateKey, serve, type ServeOptions, type ServerSession, sharedAdmission } from "../../mod.ts";
import { params, report } from "./common.mjs";

interface Start {
  readonly port: number;
  readonly admission: MessagePort;
}

const chunk = new Uint8Array(64 * 1024);
/** Many connections at once from one address are what is measured. */
const limits = { maxStartups: { begin: 1000, rate: 30, full: 2000 }, maxStartupsPerSource: 1000 };
let logins = 0, bytes = 0;

async function handler(session: ServerSession): Promise<number> {
  const command = session.command ?? "", zeros = /head -c (\d+) \/dev\/zero/.exec(command);
  if (command.includes("echo start >&2")) {
    const writer = session.stderr.getWriter();
    await writer.write(new TextEncoder().encode("start\n"));
    writer.releaseLock();
  }
  const writer = session.stdout.getWriter();
  for (let left = Number(zeros?.[1] ?? 0); left > 0; left -= chunk.length) {
    const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
    await writer.write(part);
    bytes += part.length;
  }
  await writer.close();
  return 0;
}

async function started(more: Partial<ServeOptions>) {
  return serve({
    hostname: "127.0.0.1",
    hostKeys: [await parsePrivateKey(params.hostKey)],
    // The client asks once, with its signature.
    auth: { publicKey: () => ++logins > 0 },
    handler: (session) => handler(session),
    ...more,
  });
}

if ("WorkerGlobalScope" in globalThis) {
  const parent = self as unknown as MessagePort;
  parent.onmessage = async ({ data: { port, admission } }: MessageEvent<Start>) => {
    const server = await started({ port, admission, reusePort: true });
    parent.onmessage = () => parent.postMessage([logins, bytes]);
    parent.postMessage(server.addr.port);
  };
} else {
  const workers: Worker[] = [], admission = sharedAdmission(limits);
  const next = <T>(worker: Worker, message: unknown, moved: Transferable[] = []): Promise<T> => {
    const answer = new Promise<T>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage(message, moved);
    return answer;
  };
  let port = 0;
  for (let i = 0; i < params.workers; i++) {
    const worker = new Worker(import.meta.url, { type: "module" }), place = admission.port();
    port = await next<number>(worker, { port, admission: place } satisfies Start, [place]);
    workers.push(worker);
  }
  const server = params.workers === 0 ? await started({ port, ...limits }) : null;
  report({ port: server?.addr.port ?? port });
  for await (const _line of Deno.stdin.readable) {
    const counts = await Promise.all(workers.map((worker) => next<number[]>(worker, "counts")));
    report({ series: server === null ? counts.flat() : [logins, bytes] });
  }
  for (const worker of workers) worker.terminate();
  await server?.[Symbol.asyncDispose]();
  admission[Symbol.dispose]();
}
