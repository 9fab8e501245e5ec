#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK,TERM
// deno-lint-ignore-file no-console
/**
 * An interactive shell on another machine: a raw terminal here, a terminal of the same size there, and resizes as they come.
 *
 *     examples/shell.ts [user@]host[:port]
 *
 * `--allow-write` is for the agent: its Unix socket is written to.
 */
import { connect, keyboardInteractive, password, publicKey, SshError } from "@amiko/ssh";
import { defaultIdentities } from "@amiko/ssh/keys";

const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(Deno.args[0] ?? "");
if (match === null) {
  console.error("Usage: shell.ts [user@]host[:port]");
  Deno.exit(2);
}
const [, user, hostname, port] = match;
const username = user ?? Deno.env.get("USER") ?? "root";
const interactive = Deno.stdin.isTerminal();

try {
  await using client = await connect({
    hostname: hostname!.replace(/^\[|\]$/g, ""),
    port: Number(port ?? 22),
    username,
    auth: [
      publicKey(defaultIdentities()),
      keyboardInteractive(({ prompts }) => prompts.map(({ text, echo }) => ask(text, echo))),
      password(() => ask(`Password of ${username}: `, false)),
    ],
    onBanner: (text) => console.error(text),
  });
  await using shell = await client.shell({
    pty: { term: Deno.env.get("TERM") ?? "xterm", ...size() },
  });

  const onResize = () => shell.resize(size());
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGWINCH", onResize);
  // Every key goes there as it is, ^C too.
  if (interactive) Deno.stdin.setRaw(true);
  try {
    // The shell may end while this side still waits for keys.
    Deno.stdin.readable.pipeTo(shell.stdin).catch(() => {});
    await shell.stdout.pipeTo(Deno.stdout.writable, { preventClose: true });
  } finally {
    if (interactive) Deno.stdin.setRaw(false);
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGWINCH", onResize);
  }
  Deno.exitCode = (await shell.status).code ?? 255;
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 255;
}
// A pending read of the keyboard would keep the program alive.
Deno.exit();

function size(): { columns: number; rows: number } {
  return Deno.stdout.isTerminal() ? Deno.consoleSize() : { columns: 80, rows: 24 };
}

/** Asks on the terminal; what is not to be seen is read without echo. */
function ask(question: string, echo: boolean): string {
  if (!interactive) throw new SshError(`Cannot ask "${question}": there is no terminal`, { code: "AUTH_FAILED" });
  if (echo) return prompt(question) ?? "";
  Deno.stderr.writeSync(new TextEncoder().encode(question));
  Deno.stdin.setRaw(true);
  try {
    const typed: number[] = [], key = new Uint8Array(1);
    while (Deno.stdin.readSync(key) === 1 && key[0] !== 13 && key[0] !== 10) {
      if (key[0] === 3) throw new SshError("Cannot log in: interrupted", { code: "AUTH_FAILED" });
      if (key[0] === 127 || key[0] === 8) typed.pop();
      else typed.push(key[0]!);
    }
    return new TextDecoder().decode(new Uint8Array(typed));
  } finally {
    Deno.stdin.setRaw(false);
    Deno.stderr.writeSync(new TextEncoder().encode("\n"));
  }
}
