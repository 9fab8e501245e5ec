/**
 * Bench. This module as many clients: logs in, ten at a time, and says so; then for each line on stdin a tenth of them run commands, each one
 * after the other, and it says how long they took; ends when stdin does.
 */

import { connect, insecureAcceptAnyHostKey, publicKey, type SshClient } from "../../mod.ts";
import { latencies, params, report } from "./common.mjs";

const auth = [publicKey(params.privateKey)];

function one(): Promise<SshClient> {
  return connect({
    hostname: params.hostname,
    port: params.port,
    username: params.username,
    auth,
    verifyHostKey: insecureAcceptAnyHostKey(),
    algorithms: { cipher: [params.cipher] },
  });
}

const clients: SshClient[] = [];
while (clients.length < params.count) {
  clients.push(...await Promise.all(Array.from({ length: Math.min(10, params.count - clients.length) }, one)));
}
report({ count: clients.length });
for await (const _line of Deno.stdin.readable) {
  const steps: number[] = [];
  await Promise.all(
    clients.slice(0, Math.ceil(params.count / 10)).map(async (client) => {
      for (let i = 0; i < params.steps; i++) {
        const from = performance.now();
        await client.exec("true", { stdin: "null" });
        steps.push(performance.now() - from);
      }
    }),
  );
  report({ ...latencies(steps), count: steps.length });
}
await Promise.all(clients.map((client) => client.close()));
