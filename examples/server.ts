#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-ffi --allow-run --allow-env=SSH_PASSWORD,HOME,USER,LOGNAME,SHELL,PATH
// deno-lint-ignore-file no-console
/**
 * Serves commands and a real shell of this machine, with a password and an authorized_keys file. Linux only.
 *
 *     SSH_PASSWORD=... examples/server.ts [--port=2222] [--hostname=127.0.0.1] [--host-key=FILE] [--authorized-keys=FILE]
 *
 * Whoever logs in runs commands as the user who started it: there is no other account. Without SSH_PASSWORD no password will do.
 */
import { authorizedKeys, generateKey, parsePrivateKey, type PrivateKey, serve } from "@amiko/ssh";
import { shellHandler } from "@amiko/ssh/pty";

const options = new Map(Deno.args.map((arg) => /^--([^=]+)=(.*)$/.exec(arg)?.slice(1) as [string, string]));
const hostKeyFile = options.get("host-key") ?? "host_key";
const authorizedKeysFile = options.get("authorized-keys") ?? `${Deno.env.get("HOME")}/.ssh/authorized_keys`;
const secret = Deno.env.get("SSH_PASSWORD");

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
  // Nothing of this program's own environment but who its user is, its password least of all.
  handler: shellHandler({ shell: Deno.env.get("SHELL") }),
  onListen: ({ hostname, port }) => console.log(`Listening on ${hostname} port ${port}`),
  onError: (error) => console.error(error instanceof Error ? `${error.name}: ${error.message}` : error),
});
Deno.addSignalListener("SIGINT", () => void server[Symbol.asyncDispose]());
await server.finished;

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
