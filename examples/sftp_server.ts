#!/usr/bin/env -S deno run --allow-all
// deno-lint-ignore-file no-console
/**
 * Serves one directory by SFTP and `scp`, and nothing else: no shell, no commands, nothing outside of the directory.
 *
 *     SFTP_PASSWORD=... examples/sftp_server.ts directory [--port=2222] [--hostname=127.0.0.1] [--host-key=FILE] [--read-only]
 *
 * It asks for all permissions because only with them can Deno hold directories open by handle on Linux, and so keep a process that
 * swaps directories for links while they are walked from leading a client out of the root; with `--allow-read=directory` and
 * `--allow-write=directory` it works as well, wherever nobody else on the machine can write into the directory.
 */
import { generateKey, parsePrivateKey, type PrivateKey, scpHandler, serve, sftpSubsystem } from "@amiko/ssh";

const root = Deno.args.find((arg) => !arg.startsWith("--"));
const options = new Map(Deno.args.flatMap((arg) => {
  const match = /^--([^=]+)=?(.*)$/.exec(arg);
  return match === null ? [] : [[match[1]!, match[2]!]];
}));
const secret = Deno.env.get("SFTP_PASSWORD");
if (root === undefined || secret === undefined) {
  console.error(
    "Usage: SFTP_PASSWORD=... sftp_server.ts directory [--port=] [--hostname=] [--host-key=] [--read-only]",
  );
  Deno.exit(2);
}
const files = { root: await Deno.realPath(root), readOnly: options.has("read-only") };

const server = serve({
  hostname: options.get("hostname") ?? "127.0.0.1",
  port: Number(options.get("port") ?? 2222),
  hostKeys: [await hostKey(options.get("host-key"))],
  auth: { password: (_info, password) => sameText(password, secret) },
  subsystems: { sftp: sftpSubsystem(files) },
  handler: scpHandler(files),
  onListen: ({ hostname, port }) => console.log(`Serving ${files.root} on ${hostname} port ${port}`),
  onError: (error) => console.error(error instanceof Error ? `${error.name}: ${error.message}` : error),
});
Deno.addSignalListener("SIGINT", () => void server[Symbol.asyncDispose]());
await server.finished;

/** The key in the file, made on first use; without a file a key for this run only, which clients will not know again. */
async function hostKey(file: string | undefined): Promise<PrivateKey> {
  if (file === undefined) return await generateKey();
  try {
    return await parsePrivateKey(await Deno.readTextFile(file));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const key = await generateKey();
    await Deno.writeTextFile(file, await key.export(), { createNew: true, mode: 0o600 });
    return key;
  }
}

/** Compares in a time that does not depend on where they differ. */
async function sameText(a: string, b: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const [x, y] = [await digest(a), await digest(b)];
  return x.reduce((difference, byte, i) => difference | byte ^ y[i]!, 0) === 0;
}
