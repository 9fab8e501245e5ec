/**
 * Known hosts in the user's file: found, taken out, given other keys, hashed. What `ssh-keygen` does with `-F`, `-R` and `-H`. Touches files by
 * changed_file.ts alone.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { HostKeyError } from "../../errors.ts";
import { checkFlag, checkNames, checkPort, checkText } from "../../wire/check.ts";
import { requireSystem } from "../../wire/system.ts";
import { isPublicKey } from "../check_key.ts";
import { appendTo, readShared, rewrite } from "../changed_file.ts";
import type { PublicKey } from "../types.ts";
import { knownHostsPaths } from "../user_files.ts";
import { lookupName } from "./host_patterns.ts";
import {
  addition,
  type KnownHostLine,
  linesFor,
  namesAreHashed,
  withHashedNames,
  withoutHost,
} from "./known_hosts_edit.ts";

/** Which host of which file. */
export interface KnownHostOptions {
  /** TCP port. @default {22} */
  port?: number | undefined;
  /** Path of the file. @default {the user's own, `~/.ssh/known_hosts`} */
  file?: string | undefined;
}

/** Options of {@linkcode replaceKnownHost}. */
export interface ReplaceKnownHostOptions extends KnownHostOptions {
  /** Whether the name is hashed. @default {as most names of the file are} */
  hash?: boolean | undefined;
}

/** What others would call it: left alone, it would change the user's own file. */
const habit = { ours: ["file"], write: "`file`, a path" };

/** The name to look for, and the file, of options that make sense. */
function checked(what: string, hostname: string, options: ReplaceKnownHostOptions): { name: string; file: string } {
  requireSystem(`${what} in known_hosts`, "call it where there are files");
  checkText("hostname", hostname);
  checkNames(`${what}()`, options, ["port", "file", "hash"], { files: habit, path: habit });
  const { port = 22, file = ownFile() } = options;
  checkPort(port, 1);
  checkText("file", file, "a path");
  if (file === "") throw new TypeError("Cannot use `file`: it is empty");
  return { name: lookupName(hostname, port), file };
}

function ownFile(): string {
  const [file] = knownHostsPaths().own;
  if (file !== undefined) return file;
  throw new HostKeyError("Cannot look for known_hosts: no home folder is known; name the path as `file`");
}

/**
 * The lines that name a host, as `ssh-keygen -F` finds them: with plain, hashed and wildcard names, revoked keys and certificate authorities
 * among them. None where the file is missing.
 *
 * Throws {@linkcode HostKeyError} for what is no host name, `TypeError` and `RangeError` for options that make no sense, and whatever reading the
 * file throws.
 */
export async function findKnownHost(
  hostname: string,
  options: KnownHostOptions = {},
): Promise<readonly KnownHostLine[]> {
  const { name, file } = checked("findKnownHost", hostname, options);
  return linesFor(await readShared(file), name);
}

/**
 * Takes a host's keys out of the file, as `ssh-keygen -R` does, and gives the lines that are gone: those that name the host by a pattern among
 * them, whatever else they name. Lines with a marker (`@revoked`, `@cert-authority`) stay, and so does every byte of the other lines. The file changes in
 * one step, keeps its mode and its owner, and stays where a link leads; nothing is written where no line names the host.
 *
 * `ssh-keygen` refuses files with malformed lines, this keeps the lines; and it leaves no copy of the old file.
 *
 * Throws as {@linkcode findKnownHost}.
 */
export async function removeKnownHost(
  hostname: string,
  options: KnownHostOptions = {},
): Promise<readonly KnownHostLine[]> {
  const { name, file } = checked("removeKnownHost", hostname, options);
  let removed: readonly KnownHostLine[] = [];
  await rewrite(file, (before) => {
    const rest = withoutHost(before, name);
    removed = rest?.removed ?? [];
    return rest?.bytes ?? null;
  });
  return removed;
}

/**
 * Takes a host's keys out of the file, as {@linkcode removeKnownHost} does, and adds others in the same step: for a host that is known to have been set
 * up anew. Of a key with a certificate, the key alone is added. The file is made where it is missing, with its folder, for the user alone. Gives the
 * lines that are gone.
 *
 * Throws as {@linkcode findKnownHost}, and `TypeError` for keys that are none.
 */
export async function replaceKnownHost(
  hostname: string,
  keys: PublicKey | readonly PublicKey[],
  options: ReplaceKnownHostOptions = {},
): Promise<readonly KnownHostLine[]> {
  const { name, file } = checked("replaceKnownHost", hostname, options), given = [keys].flat() as PublicKey[];
  if (given.length === 0 || !given.every(isPublicKey)) {
    throw new TypeError(
      "Cannot replace known host: `keys` is a public key or a list of them, as parsePublicKey() makes it",
    );
  }
  const { hash } = options, added = given.map((key) => key.certificate?.publicKey ?? key);
  checkFlag("hash", hash);
  let removed: readonly KnownHostLine[] = [];
  const isThere = await rewrite(file, (before) => {
    const rest = withoutHost(before, name), bytes = rest?.bytes ?? before;
    removed = rest?.removed ?? [];
    return concat([bytes, addition(bytes, name, added, hash ?? namesAreHashed(before))]);
  });
  if (!isThere) await appendTo(file, (before) => addition(before, name, added, hash));
  return removed;
}

/**
 * Hashes the names of hosts in the file, as `ssh-keygen -H` does: each name gets a line of its own. Lines with patterns or markers stay, and
 * malformed ones. True where something has changed; the file changes as with {@linkcode removeKnownHost}.
 *
 * Throws `TypeError` for options that make no sense, and whatever reading and writing the file throws.
 */
export async function hashKnownHosts(options: { file?: string | undefined } = {}): Promise<boolean> {
  const { file } = checked("hashKnownHosts", "host", options);
  return await rewrite(file, withHashedNames);
}
