#!/usr/bin/env -S deno run --allow-read --allow-write --allow-net --allow-env --allow-run --allow-sys=uid,hostname,networkInterfaces
// deno-lint-ignore-file no-console
/**
 * Runs a command on a host of your ssh_config, as `ssh host command` does: its aliases, keys, hops, forwards and all. With `-G` in the place of
 * the command it shows what that configuration comes to, as `ssh -G host` does.
 *
 *     examples/config.ts [-F file] [user@]host[:port] command
 *     examples/config.ts [-F file] [user@]host[:port] -G
 */
import { connect, loadSshConfig, SshError } from "@amiko/ssh";

const args = [...Deno.args];
const files = args[0] === "-F" ? args.splice(0, 2).slice(1) : undefined;
const [host, ...command] = args;
if (host === undefined || command.length === 0) {
  console.error("Usage: config.ts [-F file] [user@]host[:port] command");
  Deno.exit(2);
}
// `Match exec` may run its commands, as it may for ssh.
const options = { files, exec: true, onNotice: (notice: string) => console.error(notice) };

try {
  if (command[0] === "-G") {
    const values = await (await loadSshConfig(options)).values(host);
    for (const [name, lines] of values) for (const line of lines) console.log(`${name} ${line}`);
  } else {
    await using client = await connect(host, options);
    const process = await client.spawn(command.join(" "), { stdin: "null" });
    await Promise.all([
      process.stdout.pipeTo(Deno.stdout.writable, { preventClose: true }),
      process.stderr.pipeTo(Deno.stderr.writable, { preventClose: true }),
    ]);
    Deno.exitCode = (await process.status).code ?? 255;
  }
} catch (error) {
  if (!(error instanceof SshError || error instanceof TypeError || error instanceof RangeError)) throw error;
  console.error(error.message);
  Deno.exitCode = 255;
}
