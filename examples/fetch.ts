#!/usr/bin/env -S deno run --allow-net --allow-read --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK,NO_PROXY,no_proxy
// deno-lint-ignore-file no-console
/**
 * Fetches a page from where a server reaches, as `curl` there would; with a path, from a Unix socket such as Docker's.
 *
 *     examples/fetch.ts [user@]host[:port] http://intranet/page
 *     examples/fetch.ts [user@]host[:port] http://localhost/info /var/run/docker.sock
 */
import { connect, SshError } from "@amiko/ssh";

const [target, url, path] = Deno.args;
const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(target ?? "");
if (match === null || url === undefined) {
  console.error("Usage: fetch.ts [user@]host[:port] url [path of a Unix socket]");
  Deno.exit(2);
}
const [, user, hostname, port] = match;

try {
  await using client = await connect({
    hostname: hostname!,
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
  });
  using http = await client.createHttpClient({ path });
  const response = await client.fetch(url, { client: http });
  if (!response.ok) console.error(`${response.status} ${response.statusText}`);
  await response.body?.pipeTo(Deno.stdout.writable, { preventClose: true });
  Deno.exitCode = response.ok ? 0 : 1;
} catch (error) {
  if (!(error instanceof SshError || error instanceof TypeError)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}
