/**
 * Bench. This module as a client that goes on and on, on one connection: bytes each way, then rekeys, then channels. Behind each step it
 * says what it holds, and waits for a line on stdin.
 */

import { connect, insecureAcceptAnyHostKey, publicKey } from "../../mod.ts";
import { held, params, report, settle } from "./common.mjs";

await using client = await connect({
  hostname: params.hostname,
  port: params.port,
  username: params.username,
  auth: [publicKey(params.privateKey)],
  verifyHostKey: insecureAcceptAnyHostKey(),
  algorithms: { cipher: [params.cipher] },
});

const chunk = new Uint8Array(params.chunk);

async function down(bytes: number): Promise<void> {
  await using process = await client.spawn(`head -c ${bytes} /dev/zero`, { stdin: "null", stderr: "null" });
  for await (const _ of process.stdout);
  await process.status;
}

async function up(bytes: number): Promise<void> {
  await using process = await client.spawn("cat >/dev/null", { stdout: "null", stderr: "null" });
  const writer = process.stdin.getWriter();
  for (let left = bytes; left > 0; left -= chunk.length) await writer.write(chunk);
  await writer.close();
  await process.status;
}

const parts = {
  async bytes(count: number) {
    await down(count / 2);
    await up(count / 2);
  },
  async rekeys(count: number) {
    // Who renews keys a thousand times and moves nothing between is taken for one who only wants the other end to compute.
    for (let i = 0; i < count; i++) {
      await client.rekey();
      await down(8192);
    }
  },
  async channels(count: number) {
    for (let i = 0; i < count; i++) await client.exec("true", { stdin: "null" });
  },
};

const lines = Deno.stdin.readable.getReader();
for (const [name, part] of Object.entries(parts)) {
  if (params[name] === undefined) continue;
  for (let step = 0; step < params.steps; step++) {
    await part(params[name] / params.steps);
    await settle();
    report(held());
    await lines.read();
  }
}
await lines.cancel();
