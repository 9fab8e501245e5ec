#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Runs a command on a host behind others, as `ssh -J` does: each has its own login and host key check, and all close with the last one.
 *
 *     examples/jump.ts [user@]hop[:port],… [user@]host[:port] command
 */
import { connect, type ConnectOptions, SshError } from "@amiko/ssh";

const [jump, host, ...command] = Deno.args;
if (jump === undefined || host === undefined || command.length === 0) {
  console.error("Usage: jump.ts [user@]hop[:port],… [user@]host[:port] command");
  Deno.exit(2);
}

/** The options of `user@host:port`. */
function options(target: string): ConnectOptions {
  const [, user, hostname = "", port = "22"] = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(target) ?? [];
  const username = user ?? Deno.env.get("USER") ?? "root";
  return { hostname, port: Number(port), username, keepalive: { interval: 15_000 } };
}

try {
  await using client = await connect({ ...options(host), jump: jump.split(",").map(options) });
  const process = await client.spawn(command.join(" "), { stdin: "null" });
  await Promise.all([
    process.stdout.pipeTo(Deno.stdout.writable, { preventClose: true }),
    process.stderr.pipeTo(Deno.stderr.writable, { preventClose: true }),
  ]);
  Deno.exitCode = (await process.status).code ?? 255;
} catch (error) {
  if (!(error instanceof SshError || error instanceof TypeError || error instanceof RangeError)) throw error;
  console.error(error.message);
  Deno.exitCode = 255;
}
