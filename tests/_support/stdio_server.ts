/**
 * Serves SFTP on standard input and output, as OpenSSH's `sftp -D` runs a server.
 * Arguments: the root, and `--read-only` or `--named` where wanted.
 */
import type { AuthInfo } from "../../lib/auth/types.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";

const [root, ...flags] = Deno.args;
if (root === undefined) throw new TypeError("Cannot serve: no root given");
const info = { username: "tester", remoteAddr: undefined, passed: [] } as unknown as AuthInfo;
await using backend = await openRootedBackend({
  root,
  readOnly: flags.includes("--read-only"),
  ...(flags.includes("--named") ? { strategy: "named" } : {}),
});
await serveSftp({ readable: Deno.stdin.readable, writable: Deno.stdout.writable }, backend, info);
