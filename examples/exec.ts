#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Runs one command on another machine, as `ssh host command` does: with the user's own keys, agent and known_hosts.
 *
 *     examples/exec.ts [user@]host[:port] command...
 *
 * `--allow-write` is for the agent: its Unix socket is written to.
 */
import { connect, SshError } from "@amiko/ssh";

const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(Deno.args[0] ?? "");
if (match === null || Deno.args.length < 2) {
  console.error("Usage: exec.ts [user@]host[:port] command...");
  Deno.exit(2);
}
const [, user, hostname, port] = match;

try {
  await using client = await connect({
    hostname: hostname!.replace(/^\[|\]$/g, ""),
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
  });
  await using process = await client.spawn(Deno.args.slice(1).join(" "), { stdin: "null" });
  await Promise.all([
    process.stdout.pipeTo(Deno.stdout.writable, { preventClose: true }),
    process.stderr.pipeTo(Deno.stderr.writable, { preventClose: true }),
  ]);
  const { code, signal } = await process.status;
  if (signal !== null) console.error(`The command was ended by SIG${signal}`);
  Deno.exitCode = code ?? 255;
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 255;
}
