/**
 * Test support. Throw-away keys of every type, made by ssh-keygen once and for all (a pair of RSA takes it a second), in the formats
 * that the peers read.
 *
 * @module
 */
import { runText } from "./child.ts";

/** Types of keys. */
export const keyTypes = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"] as const;

/** One of {@linkcode keyTypes}. */
export type KeyType = typeof keyTypes[number];

/** A key pair in a folder of its own making. */
export interface TestKey {
  /** File with the private key in OpenSSH's format. */
  readonly file: string;
  /** Text of that file. */
  readonly text: string;
  /** Public key line, without a comment. */
  readonly line: string;
  /** `SHA256:…`. */
  readonly fingerprint: string;
}

/** A pair of each type. */
export type TestKeys = Readonly<Record<KeyType, TestKey>>;

/** A folder that goes away with the process; under `dir` where /tmp will not do. */
export function scratchDir(dir?: string): string {
  const path = Deno.makeTempDirSync({ prefix: "amiko_ssh_", ...(dir === undefined ? {} : { dir }) });
  globalThis.addEventListener("unload", () => {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch { /* gone */ }
  });
  return path;
}

let written: Promise<{ host: TestKeys; user: TestKeys }> | undefined;

/** The keys that servers show, and those that users log in with, in files of this test file's own. */
export function testKeys(): Promise<{ host: TestKeys; user: TestKeys }> {
  return written ??= (async () => {
    const dir = scratchDir();
    return { host: await writeKeys(dir, "host"), user: await writeKeys(dir, "user") };
  })();
}

/** Keys as throw_away_keys.json has them. */
type Texts = Readonly<Record<KeyType, Pick<TestKey, "text" | "line">>>;

async function writeKeys(dir: string, owner: "host" | "user"): Promise<TestKeys> {
  const texts = JSON.parse(Deno.readTextFileSync(new URL("throw_away_keys.json", import.meta.url)))[owner] as Texts;
  const keys: Partial<Record<KeyType, TestKey>> = {};
  for (const type of keyTypes) {
    const { text, line } = texts[type], file = `${dir}/${owner}_${type}`;
    // Programs take no key of a file that others can read.
    Deno.writeTextFileSync(file, text, { mode: 0o600 });
    Deno.writeTextFileSync(`${file}.pub`, `${line} test\n`);
    const blob = Uint8Array.fromBase64(line.split(" ")[1]!);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", blob));
    keys[type] = { file, text, line, fingerprint: `SHA256:${hash.toBase64({ omitPadding: true })}` };
  }
  return keys as TestKeys;
}

/** The key in Dropbear's format; made once. */
export async function dropbearKey(key: TestKey): Promise<string> {
  const file = `${key.file}.dropbear`;
  if (!exists(file)) await runText(["dropbearconvert", "openssh", "dropbear", key.file, file]);
  return file;
}

/** The key in PuTTY's format; made once. */
export async function puttyKey(key: TestKey): Promise<string> {
  const file = `${key.file}.ppk`;
  if (!exists(file)) await runText(["puttygen", key.file, "-O", "private", "-o", file]);
  return file;
}

function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}
