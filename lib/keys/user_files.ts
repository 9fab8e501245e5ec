/**
 * The user's own SSH files: where they are, and reading them. With changed_file.ts, which changes them, the only file of this folder that touches
 * files or the environment's HOME; everything else takes text.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { system } from "../system/system.ts";

/** Null where none is known. */
function homeFolder(): string | null {
  return (system.env.get("HOME") ?? system.env.get("USERPROFILE")) || null;
}

/** The path of a file in the user's .ssh folder, or null where no home folder is known. */
export function userSshPath(name: string): string | null {
  const home = homeFolder();
  return home === null ? null : `${home}/.ssh/${name}`;
}

/** The known_hosts files that `ssh` reads: the user's, and the system's, which are not the user's to change. */
export function knownHostsPaths(): { readonly own: readonly string[]; readonly global: readonly string[] } {
  const names = ["known_hosts", "known_hosts2"];
  return {
    own: names.map(userSshPath).filter((path) => path !== null),
    global: names.map((name) => `/etc/ssh/ssh_${name}`),
  };
}

/** Bytes of a file that says who may log in. */
const MAX_TRUSTED = 1_048_576;

/**
 * The text of a file that says whom to trust, or null when it is not there; `~/` is the user's home folder. Throws `SshError` for what is no
 * file or too long a one, and for one that others than its owner may write, unless they may.
 */
export async function readTrusted(path: string | URL, othersMayWrite: boolean): Promise<string | null> {
  const refuse = (why: string): SshError =>
    new SshError(`Cannot read authorized keys: ${printable(String(path))} ${why}`, { code: "KEY_FORMAT" });
  const bytes = await readBounded(path, MAX_TRUSTED, refuse, othersMayWrite);
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

/**
 * The bytes of a file that says which keys are revoked; `~/` is the user's home folder. Throws where it is not there or cannot be read: a list
 * that nobody can look at may hold any key.
 */
export async function readRevocations(path: string | URL, maxBytes: number): Promise<Uint8Array> {
  const refuse = (why: string): SshError =>
    new SshError(`Cannot read revoked keys: ${printable(String(path))} ${why}`, { code: "KEY_FORMAT" });
  try {
    const bytes = await readBounded(path, maxBytes, refuse, true);
    if (bytes !== null) return bytes;
  } catch (cause) {
    if (cause instanceof SshError) throw cause;
    throw new SshError(`Cannot read revoked keys: ${printable(String(path))} cannot be opened`, {
      code: "KEY_FORMAT",
      cause,
    });
  }
  throw refuse("is not there");
}

/** Whether what stands for a list of keys is where its file is: a string is, unless it is empty, a comment, of several lines, or holds a key. */
export function isListPath(source: string | URL | Uint8Array): source is string | URL {
  return source instanceof URL || typeof source === "string" && !/^\s*($|#)|[\r\n]|\sAAAA/.test(source);
}

async function readBounded(
  path: string | URL,
  maxBytes: number,
  refuse: (why: string) => SshError,
  othersMayWrite: boolean,
): Promise<Uint8Array | null> {
  const home = typeof path === "string" && /^~[\/\\]/.test(path) ? homeFolder() : null;
  const where = typeof path !== "string" || home === null ? asUrl(path) : home + path.slice(1);
  // Whatever is no file may be one that never ends, or that never opens.
  const found = await ifThere(() => system.stat(where));
  if (found === null) return null;
  if (!found.isFile) throw refuse("is no file");
  using file = await system.open(where);
  const { size, mode } = await file.stat();
  if (size > maxBytes) throw refuse(`has ${size} bytes; at most ${maxBytes} are read`);
  if (!othersMayWrite && mode !== null && (mode & 0o022) !== 0) {
    throw refuse("can be written by its group or by everybody; `chmod go-w` takes that away");
  }
  const bytes = new Uint8Array(size);
  let length = 0;
  for (let n: number | null; length < bytes.length && (n = await file.read(bytes.subarray(length))) !== null;) {
    length += n;
  }
  return bytes.subarray(0, length);
}

function asUrl(path: string | URL): string | URL {
  return typeof path === "string" && path.startsWith("file://") ? new URL(path) : path;
}

/** How a program reads a file, for errors that tell it to. */
export const howToRead = { text: "await Deno.readTextFile(path)", bytes: "await Deno.readFile(path)" } as const;

/** A file's text without a byte order mark, or null when it is not there. Any other trouble is the caller's to report. */
export async function readIfThere(path: string): Promise<string | null> {
  return (await ifThere(() => system.readTextFile(path)))?.replace(/^\ufeff/, "") ?? null;
}

/** What an action on files gives, or null where there is no such file. */
export async function ifThere<T>(action: () => Promise<T>): Promise<T | null> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof system.errors.NotFound || error instanceof system.errors.NotADirectory) return null;
    throw error;
  }
}
