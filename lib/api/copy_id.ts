/**
 * Lets a key in on the far end, as `ssh-copy-id` does: sshd(8), AUTHORIZED_KEYS FILE FORMAT.
 *
 * A line goes to the end of the file there, and nothing else in it changes: it is never cut, and a key that it has is not added again. By
 * SFTP, or where the server has none by commands that `sh` runs, whatever the login shell is; the key goes by their standard input. What
 * was added is looked for before it is told.
 *
 * @module
 */
import { printable, SftpError, SshError } from "../errors.ts";
import { dirName, joinPath, quoted } from "../files/names.ts";
import { isMissing, refusalOf } from "../files/refusals.ts";
import { isPublicKey, isSigner } from "../keys/check_key.ts";
import type { KeyText } from "../keys/key_text.ts";
import { exportPublicKey, parsePublicKey, publicKeyFromBlob } from "../keys/public_key.ts";
import { authorizedLines } from "../keys/trust/authorized_keys.ts";
import type { PublicKey, Signer } from "../keys/types.ts";
import { quote } from "../session/quote.ts";
import type { SftpClient } from "../sftp/client.ts";
import { abortable } from "../wire/abortable.ts";
import { toBase64 } from "../wire/base_text.ts";
import { checkNames, checkObject, checkSignal, checkText } from "../wire/check.ts";
import type { SshClient } from "./ssh_client.ts";

/** Options of {@linkcode copyId}. */
export interface CopyIdOptions {
  /**
   * Options for the line, as authorized_keys has them before a key: `restrict,command="backup"`. A key that is there already keeps
   * those it has. @default {none}
   */
  options?: string | undefined;
  /** What stands behind the key. @default {what stands behind it in the text that was given, or nothing} */
  comment?: string | undefined;
  /**
   * The file; a relative path begins in the home directory. @default {".ssh/authorized_keys", and for root on OpenWrt
   * "/etc/dropbear/authorized_keys"}
   */
  file?: string | undefined;
  /** Ends the attempt; a line that has left may still arrive. */
  signal?: AbortSignal | undefined;
}

/** Where servers look, from the home directory. */
const FILE = ".ssh/authorized_keys";
/** Where Dropbear on OpenWrt looks for root's. */
const OPENWRT_FILE = "/etc/dropbear/authorized_keys", OPENWRT = "/etc/openwrt_release";
/** Most bytes of such a file that are looked at. */
const MAX_FILE = 16_777_216;
/** `Deno.SeekMode.End`, which is there in a page, too. */
const END = 2;
/** Tries to make a file that somebody else makes at the same time. */
const TRIES = 3;

/** A key to let in. */
interface Wanted {
  readonly key: PublicKey;
  /** Its line, with a line break. */
  readonly line: Uint8Array<ArrayBuffer>;
  /** Whether it is to let in what the key has signed, and not the key. */
  readonly isAuthority: boolean;
}

/**
 * Lets a key in on the server, as `ssh-copy-id` does: its line goes to the end of `~/.ssh/authorized_keys` there. Resolves to whether it
 * was added: not where a line has the key already, whatever its options and comment. `key` is a signer, whose public key is taken, a
 * public key, or the text or bytes of a public key file; the text of a private key is refused, and nothing of it is sent.
 *
 * A folder that is missing is made for the user alone (0700), and so is the file (0600); those that are there keep their permissions.
 * Where the server has no SFTP, it takes a POSIX `sh` there. Rejects with `KeyFormatError` for what is no public key, with `SftpError`
 * or `SshError` where the server refuses, or does not have what was added. Whether the server lets the key in is its own decision.
 *
 * @example A key of one's own for a machine that asks for a password
 * ```ts
 * import { connect, copyId, generateKey, password } from "@amiko/ssh";
 *
 * async function install(hostname: string, secret: string): Promise<boolean> {
 *   const key = await generateKey("ed25519", { comment: "backup" });
 *   await Deno.writeTextFile("backup_key", await key.export(), { mode: 0o600 });
 *   await using client = await connect({ hostname, username: "alice", auth: [password(secret)] });
 *   return await copyId(client, key, { options: "restrict" });
 * }
 * ```
 */
export async function copyId(
  client: SshClient,
  key: Signer | PublicKey | KeyText,
  options: CopyIdOptions = {},
): Promise<boolean> {
  checkObject("client", client, "a client, as `await connect()` gives one");
  checkObject("options", options, "an object such as `{ options }`");
  checkNames("copyId()", options, ["options", "comment", "file", "signal"], {
    path: { ours: ["file"], write: "`file`" },
    target: { ours: ["file"], write: "`file`" },
  });
  const { file, signal } = options;
  if (file !== undefined) checkFile(file);
  checkSignal(signal);
  const wanted = wantedOf(key, options);
  signal?.throwIfAborted();
  const path = file?.replace(/^~\/+/, "");
  return await abortable(install(client, wanted, path, signal), signal);
}

function checkFile(file: unknown): void {
  checkText("file", file, "a path, which is a text");
  if (!/^$|[\0\r\n]|(^|\/)\.{0,2}$/.test(file as string)) return;
  throw new TypeError("Cannot use this as `file`: it must be the path of a file, without line breaks and NULs");
}

/** The key and its line. */
function wantedOf(given: unknown, { options = "", comment }: CopyIdOptions): Wanted {
  checkText("options", options);
  if (comment !== undefined) checkText("comment", comment);
  let key: PublicKey, own = "";
  if (typeof given === "string" || given instanceof Uint8Array) {
    key = parsePublicKey(given);
    own = commentOf(given);
  } else {
    const one = isSigner(given) ? given.publicKey : given;
    if (!isPublicKey(one)) {
      throw new TypeError("Cannot copy key: it must be a signer, a public key, or the text of a public key file");
    }
    // Made anew from its blob: what it is called on the line is what it is.
    key = publicKeyFromBlob((one.certificate?.publicKey ?? one).blob);
    const { comment } = given as { comment?: unknown };
    if (typeof comment === "string") own = comment;
  }
  if (comment !== undefined && /[\0\r\n]/.test(comment)) {
    throw new TypeError("Cannot use this as `comment`: it holds a line break or a NUL");
  }
  // deno-lint-ignore no-control-regex
  const line = exportPublicKey(key, { comment: comment ?? own.replace(/[\x00-\x1f\x7f]+/g, " ").trim() });
  if (options === "") return { key, line: new TextEncoder().encode(line), isAuthority: false };
  const text = `${options} ${line}`;
  const read = /[\0\r\n]/.test(options) ? [] : [...authorizedLines(text)];
  const [only] = read;
  if (read.length !== 1 || only === undefined || !("key" in only) || !isSame(only.key, key)) {
    const why = only !== undefined && "reason" in only ? `: ${only.reason}` : "";
    throw new TypeError(`Cannot use this as \`options\`: it is not what stands before a key in authorized_keys${why}`);
  }
  return { key, line: new TextEncoder().encode(text), isAuthority: isOfAuthority(only) };
}

/** What stands behind the key on a line of OpenSSH's. */
function commentOf(text: KeyText): string {
  const line = (typeof text === "string" ? text : new TextDecoder().decode(text)).trim();
  return /[\r\n]/.test(line) ? "" : /^\S+[ \t]+\S+[ \t]+(.*)$/.exec(line)?.[1] ?? "";
}

function isOfAuthority({ options }: { readonly options: readonly { readonly name: string }[] }): boolean {
  return options.some(({ name }) => name === "cert-authority");
}

function isSame(a: PublicKey, b: PublicKey): boolean {
  return a.toString() === b.toString();
}

/** Whether a line lets the key in. One that only this library cannot read counts as well: what it says of the key must stay. */
function has(contents: Uint8Array, { key, isAuthority }: Wanted): boolean {
  const base64 = toBase64(key.blob);
  for (const line of authorizedLines(contents, {}, base64)) {
    if ("reason" in line) return true;
    // A line of a certificate authority lets in what the key has signed, and not the key.
    if (isSame(line.key, key) && isOfAuthority(line) === isAuthority) return true;
  }
  return false;
}

function notThere(file: string): SshError {
  const message = `Cannot copy key: the server took it, and it is not in ${quoted(file)} there`;
  return new SftpError(message, 4, file);
}

async function install(
  client: SshClient,
  wanted: Wanted,
  file: string | undefined,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let sftp: SftpClient;
  try {
    sftp = await client.sftp(signal === undefined ? {} : { signal });
  } catch (error) {
    if (!(error instanceof SshError) || signal?.aborted) throw error;
    return await byShell(client, wanted, file, signal, error);
  }
  const leave = (): void => void sftp.close().catch(() => {});
  signal?.addEventListener("abort", leave);
  try {
    return await bySftp(sftp, wanted, file ?? await usualFile(client, sftp));
  } finally {
    signal?.removeEventListener("abort", leave);
    await sftp.close().catch(() => {});
  }
}

/** Where the server looks. */
async function usualFile(client: SshClient, sftp: SftpClient): Promise<string> {
  const isDropbear = (): boolean => {
    try {
      return /^SSH-2\.0-dropbear/i.test(client.info.remoteIdent);
    } catch {
      // Through a control socket nobody tells.
      return false;
    }
  };
  if (!isDropbear() || await sftp.realPath(".").catch(() => "") !== "/root") return FILE;
  return await sftp.stat(OPENWRT).then(() => OPENWRT_FILE, () => FILE);
}

async function bySftp(sftp: SftpClient, wanted: Wanted, file: string): Promise<boolean> {
  const path = file.startsWith("/") ? file : joinPath(await sftp.realPath("."), file);
  for (let tries = 1;; tries++) {
    const before = await contentsOf(sftp, path);
    if (before !== null) {
      if (has(before, wanted)) return false;
      await append(sftp, path, addition(before, wanted.line));
      break;
    }
    try {
      await makeFile(sftp, path, wanted.line);
      break;
    } catch (error) {
      // Somebody else may have made it meanwhile.
      if (!isThereNow(error) || tries === TRIES || await contentsOf(sftp, path) === null) throw error;
    }
  }
  const after = await contentsOf(sftp, path);
  if (after === null || !has(after, wanted)) throw notThere(path);
  return true;
}

function isThereNow(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal === "exists" || refusal === "unclear";
}

/** A line of its own, also where the last one has no end. */
function addition(before: Uint8Array, line: Uint8Array): Uint8Array {
  if (before.length === 0 || before.at(-1) === 0x0a) return line;
  return new Uint8Array([0x0a, ...line]);
}

/** What is in the file, or null where there is none. */
async function contentsOf(sftp: SftpClient, path: string): Promise<Uint8Array | null> {
  try {
    await using file = await sftp.open(path);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of file.readable) {
      length += chunk.length;
      if (length > MAX_FILE) throw new SftpError(`Cannot copy key: ${quoted(path)} has more than 16 MiB`, 4, path);
      chunks.push(chunk);
    }
    return await new Blob(chunks as Uint8Array<ArrayBuffer>[]).bytes();
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Makes the file, and its folder where that is missing, for the user alone. */
async function makeFile(sftp: SftpClient, path: string, line: Uint8Array): Promise<void> {
  if ((await sftp.lstat(path).catch(() => null))?.isSymlink) {
    throw new SftpError(`Cannot copy key: ${quoted(path)} is a link, and nothing is where it leads`, 4, path);
  }
  const folder = dirName(path);
  const isThere = await sftp.stat(folder).then(() => true, (error) => {
    if (isMissing(error)) return false;
    throw error;
  });
  if (!isThere) {
    await sftp.mkdir(folder, { recursive: true, mode: 0o700 });
    // Some servers give no mode to what they make. Where they set none either, what is there counts.
    await sftp.chmod(folder, 0o700).catch(() => {});
  }
  const made = { createNew: true, mode: 0o600 };
  // Somebody else may add to it before the line is written, which must not go over theirs.
  const file = await sftp.open(path, { append: true, ...made }).catch((error) => {
    if (isMissing(error)) throw error;
    return sftp.open(path, { write: true, ...made }).catch(() => {
      throw error;
    });
  });
  try {
    try {
      await file.setStat({ mode: 0o600 }).catch(() => {});
      await file.write(line);
    } finally {
      await file.close();
    }
  } catch (error) {
    // A part of a line is of no use; nobody else had the file.
    await sftp.remove(path).catch(() => {});
    throw error;
  }
}

/** Adds to the end, wherever that is by then; a server that does not know how is told where it was. */
async function append(sftp: SftpClient, path: string, added: Uint8Array): Promise<void> {
  await using file = await sftp.open(path, { append: true }).catch(async (error) => {
    const refusal = refusalOf(error);
    if (refusal !== "unsupported" && refusal !== "malformed" && refusal !== "unclear") throw error;
    const file = await sftp.open(path, { write: true }).catch(() => {
      throw error;
    });
    await file.seek(0, END);
    return file;
  });
  await file.write(added);
}

/** Says where the file is, as `$f`; relative paths are those of the home directory. */
function finding(file: string | undefined): string {
  const at = (path: string): string => quote(path.startsWith("/") ? path : `./${path}`);
  if (file !== undefined) return `cd || exit 1; f=${at(file)}; `;
  return `cd || exit 1; f=${at(FILE)}; ` +
    `if [ -f ${OPENWRT} ] && [ "$(id -u)" = 0 ]; then f=${OPENWRT_FILE}; fi; `;
}

async function byShell(
  client: SshClient,
  wanted: Wanted,
  file: string | undefined,
  signal: AbortSignal | undefined,
  noSftp: SshError,
): Promise<boolean> {
  const find = finding(file);
  const run = async (script: string, stdin?: Uint8Array): Promise<Uint8Array> => {
    // On one line and without `!`, so that no login shell makes anything of it.
    const command = `exec sh -c ${quote(find + script)}`;
    try {
      const output = await client.exec(command, { stdin: stdin ?? "null", maxOutput: MAX_FILE, signal, check: true });
      return output.stdout;
    } catch (error) {
      if (!(error instanceof SshError) || signal?.aborted) throw error;
      const why = `Cannot copy key: ${printable(noSftp.message, 512)}; and by its shell: ${
        printable(error.message, 1024)
      }`;
      throw new SshError(why, { code: error.code, cause: error });
    }
  };
  const read = 'if [ -e "$f" ] || [ -h "$f" ]; then cat "$f"; fi';
  if (has(await run(read), wanted)) return false;
  // The mask is for what is made; what is there keeps its permissions. A link that leads nowhere is not followed.
  await run(
    'umask 077; d=$(dirname "$f"); mkdir -p "$d" || exit 1; if [ -h "$f" ]; then [ -e "$f" ] || exit 1; fi; ' +
      '{ if [ -n "$(tail -c 1 "$f" 2>/dev/null)" ]; then echo; fi; cat; } >>"$f" || exit 1; ' +
      'if type restorecon >/dev/null 2>&1; then restorecon -F "$d" "$f" >/dev/null 2>&1; fi; exit 0',
    wanted.line,
  );
  if (!has(await run(read), wanted)) throw notThere(file ?? FILE);
  return true;
}
