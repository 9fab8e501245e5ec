#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env --allow-sys=uid,hostname,networkInterfaces --allow-run=stty
// deno-lint-ignore-file no-console
/**
 * An interactive shell on another machine, or a host of your ssh_config: a raw terminal here, a terminal of the same size there, and resizes
 * as they come. `~.` ends it where the connection hangs. Where standard input is no terminal, its bytes are what the shell runs.
 *
 *     examples/shell.ts [user@]host[:port]
 *
 * `--allow-write` is for the agent: its Unix socket is written to. A ProxyCommand in your ssh_config takes `--allow-run` for its program.
 */
import { askTerminal, attachTerminal, connect, SshError } from "@amiko/ssh";

const [host] = Deno.args;
if (host === undefined) {
  console.error("Usage: shell.ts [user@]host[:port]");
  Deno.exit(2);
}
try {
  await using client = await connect(host, {
    answer: askTerminal,
    passphrase: ({ name, signal }) => askTerminal(`Passphrase of ${name}: `, { signal }),
    onBanner: (text) => console.error(text),
    onNotice: (notice) => console.error(notice),
  });
  await using shell = await client.shell({ pty: "inherit" });
  Deno.exitCode = (await attachTerminal(shell)).code ?? 255;
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 255;
}
