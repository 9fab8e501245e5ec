/**
 * Test support. A process that adds hosts to a known_hosts file and takes others out, while others do the same: its number, the file, how many hosts.
 * It says of each host that all of them want whether it got it in.
 *
 * @module
 */
import { HostKeyChangedError } from "../../lib/errors.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { removeKnownHost } from "../../lib/keys/trust/known_hosts_files.ts";

const [number, file, count, line] = Deno.args as [string, string, string, string];
const verify = knownHosts({ files: [file], acceptNew: true }), key = parsePublicKey(line);
const taken: boolean[] = [];
// All begin once all are there.
await Deno.stdout.write(new Uint8Array([0x2e]));
await Deno.stdin.read(new Uint8Array(1));
for (let i = 0; i < Number(count); i++) {
  await verify(key, { hostname: `own${i}.of${number}`, port: 22 });
  const shared = verify(key, { hostname: `shared${i}`, port: 2222 }).catch((error) => {
    if (error instanceof HostKeyChangedError) return false;
    throw error;
  });
  await removeKnownHost(`old${i}.of${number}`, { file });
  taken.push(await shared);
}
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(taken)));
