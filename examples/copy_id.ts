#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Lets a key in on another machine: a small `ssh-copy-id`. The public key goes to the end of `~/.ssh/authorized_keys` there, once, and
 * nothing else in that file changes. It logs in with the keys that are there already, or with a password.
 *
 *     examples/copy_id.ts FILE.pub [user@]host[:port]
 */
import {
  connect,
  defaultIdentities,
  exportPublicKey,
  parseAuthorizedKeys,
  parsePublicKey,
  password,
  publicKey,
  type SftpClient,
  SftpError,
  SshError,
} from "@amiko/ssh";

const FOLDER = ".ssh", FILE = ".ssh/authorized_keys", NEWLINE = 10, NO_SUCH_FILE = 2;

const [file, target] = Deno.args;
const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(target ?? "");
if (file === undefined || match === null) {
  console.error("Usage: copy_id.ts FILE.pub [user@]host[:port]");
  Deno.exit(2);
}
const [, user, hostname, port] = match;

try {
  // A private key is refused here, before anything is sent.
  const line = await Deno.readTextFile(file), key = parsePublicKey(line);
  // Other formats than OpenSSH's have more lines than one.
  const comment = /^.*$/.test(line.trim()) ? line.trim().split(/[ \t]+/).slice(2).join(" ") : "";
  await using client = await connect({
    hostname: hostname!.replace(/^\[|\]$/g, ""),
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
    auth: [publicKey(defaultIdentities()), password(() => prompt("Password:") ?? "")],
  });
  await using sftp = await client.sftp();
  const added = await add(sftp, exportPublicKey(key, { comment }));
  console.log(added ? `Added ${await key.fingerprint()}` : `${await key.fingerprint()} is there already`);
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}

/** Adds a line, unless its key has one. */
async function add(sftp: SftpClient, line: string): Promise<boolean> {
  const before = await contents(sftp);
  if (before === null) {
    await sftp.mkdir(FOLDER, { recursive: true, mode: 0o700 });
    await sftp.writeFile(FILE, new TextEncoder().encode(line), { createNew: true, mode: 0o600 });
    return true;
  }
  const wanted = parsePublicKey(line).toString();
  // Lines with options let the key in too, as far as they go.
  if (parseAuthorizedKeys(new TextDecoder().decode(before)).keys.some(({ key }) => key.toString() === wanted)) {
    return false;
  }
  const gap = before.length === 0 || before.at(-1) === NEWLINE ? "" : "\n";
  await sftp.writeFile(FILE, new TextEncoder().encode(gap + line), { append: true, create: false });
  return true;
}

/** What is in the file, or null where there is none. */
async function contents(sftp: SftpClient): Promise<Uint8Array | null> {
  try {
    return await sftp.readFile(FILE);
  } catch (error) {
    if (error instanceof SftpError && error.status === NO_SUCH_FILE) return null;
    throw error;
  }
}
