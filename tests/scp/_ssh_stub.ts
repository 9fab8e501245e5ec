/** Stands for `ssh` in `scp -O -S`: its last argument is the command, which our server serves from SCP_ROOT. */
import { serveScp } from "../../lib/scp/server.ts";
import type { AuthInfo } from "../../lib/auth/types.ts";

const info = { username: "tester", remoteAddr: undefined, passed: [] } as unknown as AuthInfo;
const channel = { readable: Deno.stdin.readable, writable: Deno.stdout.writable };
Deno.exit(await serveScp(channel, Deno.args.at(-1)!, { root: Deno.env.get("SCP_ROOT")! }, info));
