#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Makes a directory on another machine the same as one here: sends what is new or changed, and with `--delete` removes what is gone.
 *
 *     examples/sync.ts local [user@]host[:port]:remote [--delete]
 */
import { connect, type SftpClient, SshError } from "@amiko/ssh";

const [local, target] = Deno.args.filter((arg) => !arg.startsWith("--"));
const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?:(.+)$/.exec(target ?? "");
if (local === undefined || match === null) {
  console.error("Usage: sync.ts local [user@]host[:port]:remote [--delete]");
  Deno.exit(2);
}
const [, user, hostname, port, remote] = match;

try {
  await using client = await connect({
    hostname: hostname!.replace(/^\[|\]$/g, ""),
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
  });
  await using sftp = await client.sftp();
  // `resume` leaves a file alone that is there with the same size and time, and `preserve` is what gives it that time.
  const { files, bytes } = await sftp.upload(local, remote!, { recursive: true, preserve: true, resume: true });
  const removed = Deno.args.includes("--delete") ? await removeExtra(sftp, local, remote!) : 0;
  console.log(`${files} files sent (${bytes} bytes), ${removed} removed`);
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}

/** Removes there what is not here. */
async function removeExtra(sftp: SftpClient, local: string, remote: string): Promise<number> {
  const here = new Map<string, Deno.DirEntry>();
  for await (const entry of Deno.readDir(local)) here.set(entry.name, entry);
  let removed = 0;
  for (const { name, isDirectory } of await Array.fromAsync(sftp.readDir(remote))) {
    const entry = here.get(name);
    if (entry === undefined) {
      await sftp.remove(`${remote}/${name}`, { recursive: isDirectory });
      removed++;
    } else if (isDirectory && entry.isDirectory) {
      removed += await removeExtra(sftp, `${local}/${name}`, `${remote}/${name}`);
    }
  }
  return removed;
}
