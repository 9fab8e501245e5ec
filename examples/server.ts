#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-run=sh,script,stty --allow-env=SSH_PASSWORD,HOME,PATH
// deno-lint-ignore-file no-console
/**
 * Serves commands and a real shell of this machine, with a password and an authorized_keys file.
 *
 *     SSH_PASSWORD=... examples/server.ts [--port=2222] [--hostname=127.0.0.1] [--host-key=FILE] [--authorized-keys=FILE]
 *
 * Whoever logs in runs commands as the user who started it: there is no other account. Without SSH_PASSWORD no password will do.
 */
import { authorizedKeys, generateKey, parsePrivateKey, type PrivateKey, serve, type ServerSession } from "@amiko/ssh";

const options = new Map(Deno.args.map((arg) => /^--([^=]+)=(.*)$/.exec(arg)?.slice(1) as [string, string]));
const hostKeyFile = options.get("host-key") ?? "host_key";
const authorizedKeysFile = options.get("authorized-keys") ?? `${Deno.env.get("HOME")}/.ssh/authorized_keys`;
const secret = Deno.env.get("SSH_PASSWORD");
const hasScript = await exists("/usr/bin/script");

const server = serve({
  hostname: options.get("hostname") ?? "127.0.0.1",
  port: Number(options.get("port") ?? 2222),
  hostKeys: [await hostKey(hostKeyFile)],
  auth: {
    publicKey: authorizedKeys(authorizedKeysFile, {
      onRejected: ({ line, reason }) => console.error(`${authorizedKeysFile}, line ${line}: ${reason}`),
    }),
    ...secret !== undefined && { password: (_info, password) => sameText(password, secret) },
  },
  handler: runCommand,
  onListen: ({ hostname, port }) => console.log(`Listening on ${hostname} port ${port}`),
  onError: (error) => console.error(error instanceof Error ? `${error.name}: ${error.message}` : error),
});
Deno.addSignalListener("SIGINT", () => void server[Symbol.asyncDispose]());
await server.finished;

/** One command, or a login shell where there is none. A terminal is made by `script`. */
async function runCommand(session: ServerSession): Promise<number> {
  const { pty, signal } = session, command = session.command ?? "exec sh -l";
  const terminal = pty !== null && hasScript ? await Deno.makeTempFile() : null;
  const child = new Deno.Command(terminal === null ? "sh" : "script", {
    args: terminal === null
      ? ["-c", command]
      : ["-qefc", `tty >'${terminal}'; stty columns ${pty!.columns} rows ${pty!.rows}; ${command}`, "/dev/null"],
    // Nothing of this program's own environment, its password least of all, and of what the client asks for only TERM.
    clearEnv: true,
    env: {
      PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
      HOME: Deno.env.get("HOME") ?? "/",
      TERM: pty?.term ?? "dumb",
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();

  const kill = (name: string) => {
    try {
      child.kill(name as Deno.Signal);
    } catch { /* it has ended, or this system has no such signal */ }
  };
  const hangUp = () => kill("SIGHUP");
  signal.addEventListener("abort", hangUp);
  const forwarding = Promise.all([
    forEach(session.signals, (name) => kill(`SIG${name}`)),
    forEach(session.resizes, async ({ columns, rows }) => {
      if (terminal === null) return;
      const args = ["-F", (await Deno.readTextFile(terminal)).trim(), "columns", `${columns}`, "rows", `${rows}`];
      await new Deno.Command("stty", { args, stdin: "null", stdout: "null", stderr: "null" }).output();
    }),
    // A command may well end without reading its input.
    session.stdin.pipeTo(child.stdin).catch(() => {}),
  ]);
  try {
    await Promise.all([child.stdout.pipeTo(session.stdout), child.stderr.pipeTo(session.stderr)]);
  } catch {
    hangUp();
  }
  const status = await child.status;
  signal.removeEventListener("abort", hangUp);
  if (terminal !== null) await Deno.remove(terminal);
  await session.exit(status.signal === null ? status.code : { signal: status.signal });
  await forwarding;
  return status.code;
}

async function forEach<T>(events: AsyncIterable<T>, act: (event: T) => unknown): Promise<void> {
  for await (const event of events) await act(event);
}

/** The host key in the file; made there the first time. */
async function hostKey(file: string): Promise<PrivateKey> {
  if (await exists(file)) return await parsePrivateKey(await Deno.readTextFile(file));
  const key = await generateKey();
  await Deno.writeTextFile(file, await key.export(), { mode: 0o600, createNew: true });
  console.log(`Made host key ${await key.publicKey.fingerprint()} in ${file}`);
  return key;
}

/** Compares in the same time wherever the difference lies. */
async function sameText(a: string, b: string): Promise<boolean> {
  const [x, y] = await Promise.all(
    [a, b].map(async (text) => new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))),
  );
  return x!.reduce((difference, byte, i) => difference | (byte ^ y![i]!), 0) === 0;
}

async function exists(file: string): Promise<boolean> {
  return await Deno.stat(file).then(() => true, () => false);
}
