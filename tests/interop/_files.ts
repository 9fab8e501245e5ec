/**
 * What the interop tests of SFTP and SCP have in common: files of special sizes and names, trees by their hashes, connections, and a relay that cuts.
 *
 * Deno cannot spell names that are not UTF-8, so that files of such names are made and compared by the shell.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  connect,
  parsePrivateKey,
  pinnedHostKey,
  publicKey,
  scpHandler,
  serve,
  type SftpBackend,
  sftpSubsystem,
  type SshClient,
} from "../../mod.ts";
import { runText } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { scratchDir, type TestKey, testKeys } from "../_support/keys.ts";
import { type ServerPeer, username } from "../_support/peers.ts";

/** Sizes that are tried: nothing, one byte, a packet and a byte, and many packets. */
export const sizes: readonly number[] = [0, 1, 32_769, 3 * 1024 * 1024];

/** Names that are tried. Those with a line feed and those that are not UTF-8 are apart, as not every program takes them. */
export const names = {
  plain: ["with space", 'quo\'te and "double"', "größe ✓", "-dash", "#hash;semi$(x)`y`", "star*[a]?"],
  lineFeed: ["new\nline"],
  /** As `SftpClient` spells it, and as a shell's printf does. */
  raw: { text: "caf\udce9 \udcff", printf: "caf\\351 \\377" },
} as const;

/** A folder that goes away with the process, with folders in it. */
export function folders<Name extends string>(...list: Name[]): Record<Name, string> {
  const dir = Deno.realPathSync(scratchDir());
  return Object.fromEntries(list.map((name) => {
    Deno.mkdirSync(`${dir}/${name}`);
    return [name, `${dir}/${name}`];
  })) as Record<Name, string>;
}

/** Writes a file of each size, named by it. */
export async function writeSizes(dir: string): Promise<string[]> {
  for (const size of sizes) await Deno.writeFile(`${dir}/${size}`, seededBytes(size, size + 1));
  return sizes.map(String);
}

/** Writes small files of special names; gives the names. */
export async function writeNames(dir: string, which: { lineFeed?: boolean; raw?: boolean } = {}): Promise<string[]> {
  const list = [...names.plain, ...which.lineFeed ? names.lineFeed : []];
  for (const name of list) await Deno.writeTextFile(`${dir}/${name}`, `this is ${name}`);
  if (which.raw) await writeRawName(dir);
  return list;
}

/** Writes a file whose name is not UTF-8. */
export async function writeRawName(dir: string): Promise<void> {
  await runText(["/bin/sh", "-c", `cd "$1" && printf raw >"$(printf '${names.raw.printf}')"`, "sh", dir]);
}

/** Every file, directory and link below a directory with its hash or target, in one text; names are as bytes. */
export async function treeText(dir: string): Promise<string> {
  const script = `cd "$1" && export LC_ALL=C && find . -type f -print0 | sort -z | xargs -0 -r sha256sum -- &&
    find . -type d -print0 | sort -z | tr '\\0' '\\n' && find . -type l -printf '%p -> %l\\n' | sort`;
  const { stdout, success } = await new Deno.Command("/bin/sh", { args: ["-c", script, "sh", dir] }).output();
  assertEquals(success, true);
  return Array.from(stdout, (byte) => byte > 126 ? `\\x${byte.toString(16)}` : String.fromCharCode(byte)).join("");
}

/** Both directories hold the same. */
export async function assertSameTree(actual: string, expected: string): Promise<void> {
  assertEquals(await treeText(actual), await treeText(expected));
}

/** Both files hold the same. */
export async function assertSameFile(actual: string, expected: string): Promise<void> {
  const hash = async (file: string) => (await runText(["sha256sum", "-z", file])).slice(0, 64);
  assertEquals(await hash(actual), await hash(expected), `${actual} differs from ${expected}`);
}

/** Where to connect to. */
export type Target = Pick<ServerPeer, "port" | "username" | "hostKeys" | "clientKey">;

/** Connects to a server, or to a relay before it. */
export function connectTo(server: Target, port: number = server.port): Promise<SshClient> {
  return connect({
    hostname: "127.0.0.1",
    port,
    username: server.username,
    auth: [publicKey(server.clientKey.text)],
    verifyHostKey: pinnedHostKey(...server.hostKeys),
  });
}

/** Our server over a root. */
export interface OurServer extends AsyncDisposable, Target {
  /** Host keys. */
  readonly keys: readonly TestKey[];
  /** What handlers threw. */
  readonly errors: unknown[];
}

/** `serve()` with SFTP and SCP over a root; `sftp` and `scp` are served in the place of the root. */
export async function startOurs(
  root: string,
  options: { sftp?: SftpBackend; scp?: SftpBackend } = {},
): Promise<OurServer> {
  const { host, user } = await testKeys();
  const keys = [host.ed25519, host.ecdsa256, host.rsa];
  const errors: unknown[] = [];
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: await Promise.all(keys.map((key) => parsePrivateKey(key.text))),
    auth: {
      publicKey: (info, key) => info.username === username && user.ed25519.line.endsWith(` ${key.blob.toBase64()}`),
    },
    handler: scpHandler(options.scp ?? { root }),
    subsystems: { sftp: sftpSubsystem(options.sftp ?? { root }) },
    onError: (error) => errors.push(error),
  });
  return {
    port: server.addr.port,
    username,
    hostKeys: keys.map((key) => key.line),
    keys,
    clientKey: user.ed25519,
    errors,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A relay that cuts its connection when so many bytes went through, both directions together. */
export function cuttingRelay(port: number, after: number): AsyncDisposable & { readonly port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.TcpConn>(), running: Promise<void>[] = [];
  let left = after;
  const cut = () => {
    for (const conn of open) {
      open.delete(conn);
      try {
        conn.close();
      } catch { /* closed already */ }
    }
  };
  const pump = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
    const block = new Uint8Array(16_384);
    try {
      for (let n = await from.read(block); n !== null; n = await from.read(block)) {
        const data = block.subarray(0, Math.min(n, left));
        left -= data.length;
        for (let at = 0; at < data.length;) at += await to.write(data.subarray(at));
        if (left === 0) break;
      }
    } catch { /* cut */ }
    cut();
  };
  const accepting = (async () => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port });
      open.add(near).add(far);
      running.push(pump(near, far), pump(far, near));
    }
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      cut();
      await accepting;
      await Promise.all(running);
    },
  };
}

/** Whether this process may mount file systems, as SSHFS does. */
export async function canMount(): Promise<boolean> {
  try {
    (await Deno.open("/dev/fuse", { read: true, write: true })).close();
    return true;
  } catch {
    return false;
  }
}
