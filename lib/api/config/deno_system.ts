/**
 * The system that a configuration is read on, as Deno has it, or Node and Bun.
 *
 * @module
 */
import type { ConfigSystem } from "../../config/system.ts";
import { lineError, SshConfigError } from "../../config/config_error.ts";
import { globPaths } from "../../config/glob_paths.ts";
import { system } from "../../system/system.ts";
import type { FileFacts } from "../../system/types.ts";

/** Bytes of one file. */
const MAX_FILE = 16_777_216;
/** Bytes of the system's list of users that are looked at. */
const MAX_PASSWD = 1_048_576;
/** Names that one alias of DNS leads through. */
const MAX_ALIASES = 8;

/** Asked where it matters: a page loads this file, too. */
function isWindows(): boolean {
  return system.build.os === "windows";
}

function isThere(error: unknown): boolean {
  return !(error instanceof system.errors.NotFound || error instanceof system.errors.NotADirectory);
}

function home(): string {
  const home = system.env.get("HOME") || system.env.get("USERPROFILE");
  if (home) return home;
  throw new SshConfigError("Cannot use ssh_config: neither HOME nor USERPROFILE says where the home folder is", null);
}

/** Whether a variable may be read without a question of the runtime. */
export function mayRead(variable: string): boolean {
  return system.permissions.querySync({ name: "env", variable }).state === "granted";
}

async function localUser(): Promise<string> {
  const names = ["LOGNAME", "USER", "USERNAME"], allowed = names.filter(mayRead);
  for (const name of allowed) {
    const user = system.env.get(name);
    if (user) return user;
  }
  // The error that names the flag.
  if (allowed.length === 0) system.env.get("USER");
  const uid = system.uid();
  if (uid !== null) {
    const text = (await system.readTextFile("/etc/passwd")).slice(0, MAX_PASSWD);
    const name = text.split("\n").map((line) => line.split(":")).find((fields) => fields[2] === String(uid))?.[0];
    if (name) return name;
  }
  throw new SshConfigError("Cannot tell who the local user is: name the user to log in as, or set LOGNAME", null);
}

/** As `ssh` does: whoever may write a configuration may run commands as its user. */
function checkOwner(path: string, { uid, mode }: FileFacts): void {
  if (isWindows() || mode === null || uid === null) return;
  const own = system.uid();
  if (uid !== 0 && uid !== own) throw lineError({ file: path, line: 0 }, "it belongs to somebody else");
  if ((mode & 0o022) !== 0) {
    throw lineError(
      { file: path, line: 0 },
      "it can be written by its group or by everybody; `chmod go-w` takes that away",
    );
  }
}

async function read(path: string, checked: boolean): Promise<string | null> {
  try {
    // Whatever is no file may be one that never ends, or that never opens.
    if (!(await system.stat(path)).isFile) return null;
    using file = await system.open(path);
    const info = await file.stat();
    if (checked) checkOwner(path, info);
    if (info.size > MAX_FILE) {
      throw lineError({ file: path, line: 0 }, `it has ${info.size} bytes; at most ${MAX_FILE} are read`);
    }
    const bytes = new Uint8Array(info.size);
    let length = 0;
    for (let n: number | null; length < bytes.length && (n = await file.read(bytes.subarray(length))) !== null;) {
      length += n;
    }
    return new TextDecoder().decode(bytes.subarray(0, length));
  } catch (error) {
    if (isThere(error)) throw error;
    return null;
  }
}

/** The shell that `ssh` runs commands by, and its words. `instead` has the command take the shell's place, where shells can do that. */
export function shellCommand(
  command: string,
  { instead = false, onWindows = isWindows() } = {},
): [string, ...string[]] {
  if (onWindows) return ["cmd.exe", "/d", "/c", command];
  return [mayRead("SHELL") && system.env.get("SHELL") || "/bin/sh", "-c", instead ? `exec ${command}` : command];
}

async function run(command: string, signal?: AbortSignal): Promise<boolean> {
  const [program, ...args] = shellCommand(command);
  const options = { args, stdin: "null", stdout: "null", stderr: "null", ...signal && { signal } } as const;
  return (await new system.Command(program, options).output()).success;
}

async function lookUp(name: string, signal?: AbortSignal): Promise<string | null> {
  const options = signal && { signal };
  const records = async <T>(ask: () => Promise<T[]>): Promise<T[]> => {
    try {
      return await ask();
    } catch (error) {
      // A server of DNS that does not answer knows the name as little as one that says so.
      if (error instanceof system.errors.NotCapable) throw error;
      return [];
    }
  };
  const [v4, v6] = await Promise.all([
    records(() => system.resolveDns(name, "A", options)),
    records(() => system.resolveDns(name, "AAAA", options)),
  ]);
  if (v4.length + v6.length === 0) return null;
  let real = name;
  for (let i = 0; i < MAX_ALIASES; i++) {
    const [next] = await records(() => system.resolveDns(real, "CNAME", options));
    if (next === undefined) break;
    real = next;
  }
  return real;
}

async function* list(folder: string): AsyncGenerator<string> {
  try {
    for await (const { name } of system.readDir(folder)) yield name;
  } catch (error) {
    if (isThere(error)) throw error;
  }
}

/** Deno's. */
export const denoSystem: ConfigSystem = {
  home,
  localUser,
  userId: () => String(system.uid() ?? 0),
  localHost: () => system.hostname(),
  env: (name) => system.env.get(name),
  read,
  glob: (pattern) =>
    globPaths(pattern, {
      list,
      exists: async (path) => {
        try {
          await system.lstat(path);
          return true;
        } catch (error) {
          if (isThere(error)) throw error;
          return false;
        }
      },
    }),
  addresses: () => system.networkInterfaces().map(({ address }) => address),
  run: (command) => run(command),
  lookUp: (name) => lookUp(name),
};

/** Deno's, until `signal` aborts: then commands are killed, and DNS is not waited for. */
export function denoSystemUntil(signal: AbortSignal | undefined): ConfigSystem {
  if (signal === undefined) return denoSystem;
  return { ...denoSystem, run: (command) => run(command, signal), lookUp: (name) => lookUp(name, signal) };
}
