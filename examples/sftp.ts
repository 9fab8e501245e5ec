#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Copies and lists files on another machine: a small `sftp`, with a progress bar on a terminal.
 *
 *     examples/sftp.ts [user@]host[:port] ls [directory]
 *     examples/sftp.ts [user@]host[:port] tree [directory]
 *     examples/sftp.ts [user@]host[:port] get remote [local]
 *     examples/sftp.ts [user@]host[:port] put local [remote]
 *
 * `get` and `put` copy directories with all that is in them, and go on where an earlier copy was cut off.
 */
import { connect, type SftpClient, type SftpDirEntry, SshError } from "@amiko/ssh";

const [target, command, from, to] = Deno.args;
const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(target ?? "");
const commands: Record<string, (sftp: SftpClient) => Promise<void>> = { ls, tree, get, put };
if (match === null || !Object.hasOwn(commands, command ?? "") || ((command === "get" || command === "put") && !from)) {
  console.error("Usage: sftp.ts [user@]host[:port] ls|tree [directory] | get remote [local] | put local [remote]");
  Deno.exit(2);
}
const [, user, hostname, port] = match;

try {
  await using client = await connect({
    hostname: hostname!.replace(/^\[|\]$/g, ""),
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
  });
  await using sftp = await client.sftp();
  await commands[command!]!(sftp);
} catch (error) {
  if (!(error instanceof SshError)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}

async function ls(sftp: SftpClient): Promise<void> {
  for (const { name, isDirectory, info } of await sorted(sftp, from ?? ".")) {
    const time = info.mtime?.toISOString().slice(0, 16).replace("T", " ") ?? "";
    console.log(`${String(info.size).padStart(12)}  ${time.padEnd(16)}  ${name}${isDirectory ? "/" : ""}`);
  }
}

async function tree(sftp: SftpClient, path = from ?? ".", indent = ""): Promise<void> {
  const entries = await sorted(sftp, path);
  for (const [i, { name, isDirectory }] of entries.entries()) {
    const last = i === entries.length - 1;
    console.log(`${indent}${last ? "└── " : "├── "}${name}${isDirectory ? "/" : ""}`);
    // A link that leads to a directory is not one, so no loop of links is followed.
    if (isDirectory) await tree(sftp, `${path}/${name}`, indent + (last ? "    " : "│   "));
  }
}

async function sorted(sftp: SftpClient, path: string): Promise<SftpDirEntry[]> {
  const entries = await Array.fromAsync(sftp.readDir(path));
  return entries.sort((a, b) => a.name < b.name ? -1 : 1);
}

async function get(sftp: SftpClient): Promise<void> {
  const started = performance.now();
  const { files, bytes } = await sftp.download(from!, to ?? baseName(from!), {
    recursive: true,
    preserve: true,
    resume: true,
    onProgress,
  });
  done(files, bytes, started);
}

async function put(sftp: SftpClient): Promise<void> {
  const started = performance.now();
  const { files, bytes } = await sftp.upload(from!, to ?? baseName(from!), {
    recursive: true,
    preserve: true,
    resume: true,
    onProgress,
  });
  done(files, bytes, started);
}

function baseName(path: string): string {
  return path.replace(/\/+$/, "").split("/").at(-1)!;
}

/** One line that is written over, ten times a second at most. */
let drawn = 0;
function onProgress({ path, bytes, total }: { path: string; bytes: number; total: number | null }): void {
  if (!Deno.stderr.isTerminal() || performance.now() - drawn < 100) return;
  drawn = performance.now();
  const { columns } = Deno.consoleSize();
  const share = total === null || total === 0 ? 1 : bytes / total;
  const bar = "█".repeat(Math.round(20 * share)).padEnd(20, "░");
  const line = `${bar} ${String(Math.round(100 * share)).padStart(3)}%  ${(bytes / 1e6).toFixed(1)} MB  ${path}`;
  write(`\r${line.slice(0, columns - 1).padEnd(columns - 1)}`);
}

function done(files: number, bytes: number, started: number): void {
  if (Deno.stderr.isTerminal()) write(`\r${" ".repeat(Deno.consoleSize().columns - 1)}\r`);
  const seconds = (performance.now() - started) / 1000;
  console.log(`${files} files, ${bytes} bytes, ${(bytes / 1e6 / seconds).toFixed(1)} MB/s`);
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}
