/**
 * Test support. Throw-away keys of every type, made by ssh-keygen once for each test process, in the formats that the peers read.
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

let made: Promise<{ host: TestKeys; user: TestKeys; dir: string }> | undefined;

/** The keys that servers show, and those that users log in with. */
export function testKeys(): Promise<{ host: TestKeys; user: TestKeys; dir: string }> {
  return made ??= (async () => {
    const dir = scratchDir();
    return { host: await makeKeys(dir, "host"), user: await makeKeys(dir, "user"), dir };
  })();
}

async function makeKeys(dir: string, prefix: string): Promise<TestKeys> {
  const keys: Partial<Record<KeyType, TestKey>> = {};
  for (const type of keyTypes) keys[type] = await makeKey(`${dir}/${prefix}_${type}`, type);
  return keys as TestKeys;
}

async function makeKey(file: string, type: KeyType): Promise<TestKey> {
  const [name, bits] = type === "ed25519"
    ? ["ed25519", "256"]
    : type === "rsa"
    ? ["rsa", "3072"]
    : ["ecdsa", type.slice(-3)];
  await runText(["ssh-keygen", "-q", "-t", name!, "-b", bits!, "-N", "", "-C", "test", "-f", file]);
  const [kind, blob] = (await Deno.readTextFile(`${file}.pub`)).split(" ") as [string, string];
  const hash = new Uint8Array(
    await crypto.subtle.digest("SHA-256", Uint8Array.from(atob(blob), (c) => c.charCodeAt(0))),
  );
  return {
    file,
    text: await Deno.readTextFile(file),
    line: `${kind} ${blob}`,
    fingerprint: `SHA256:${hash.toBase64({ omitPadding: true })}`,
  };
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
