/**
 * Bench. This module as a client that forwards, as `ssh -N` does: listens, prints the port, and ends when its standard input does.
 */

import { connect, type ConnectOptions, insecureAcceptAnyHostKey, publicKey } from "../../mod.ts";
import { params as p, report } from "./common.mjs";

function options(port: number): ConnectOptions {
  return {
    hostname: "127.0.0.1",
    port,
    username: p.username,
    auth: [publicKey(p.privateKey)],
    verifyHostKey: insecureAcceptAnyHostKey(),
    algorithms: { cipher: [p.cipher] },
  };
}

await using client = await connect({
  ...options(p.port),
  ...(p.through === undefined ? {} : { jump: options(p.through) }),
});
const target = { hostname: "127.0.0.1", port: p.target };
const forward = p.kind === "-R"
  ? await client.forwardRemote({ port: 0 }, target)
  : p.kind === "-D"
  ? await client.forwardDynamic({ port: 0 })
  : await client.forwardLocal({ port: 0 }, target);
report({ port: (forward.addr as Deno.NetAddr).port });
for await (const _ of Deno.stdin.readable);
await client.close();
