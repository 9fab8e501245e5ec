#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Lets a key in on another machine: a small `ssh-copy-id`. The public key goes to the end of `~/.ssh/authorized_keys` there, once, and
 * nothing else in that file changes. It logs in with the keys that are there already, or with a password.
 *
 *     examples/copy_id.ts FILE.pub [user@]host[:port]
 */
import { connect, copyId, defaultIdentities, parsePublicKey, password, publicKey, SshError } from "@amiko/ssh";

const [file, target] = Deno.args;
const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(target ?? "");
if (file === undefined || match === null) {
  console.error("Usage: copy_id.ts FILE.pub [user@]host[:port]");
  Deno.exit(2);
}
const [, user, hostname, port] = match;

try {
  // A private key is refused here, before anything is sent.
  const text = await Deno.readTextFile(file), fingerprint = await parsePublicKey(text).fingerprint();
  await using client = await connect({
    hostname: hostname!.replace(/^\[|\]$/g, ""),
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
    auth: [publicKey(defaultIdentities()), password(() => prompt("Password:") ?? "")],
  });
  console.log(await copyId(client, text) ? `Added ${fingerprint}` : `${fingerprint} is there already`);
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}
