/**
 * `scp` of OpenSSH gets files of 3 MB from our server while the process is busy, and each is compared: 20 files, or 1,000 with
 * `AMIKO_SOAK=1`. Once more from a backend whose reads end out of order, each time: `scp` of OpenSSH 9 cut files off there.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { SftpBackend, SftpBackendFile } from "../../mod.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { run } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { opensshOptions } from "../_support/file_clients.ts";
import { openSsh10, peers, peerTest } from "../_support/peers.ts";
import { soaking } from "../_support/resources.ts";
import { folders, startOurs } from "./_files.ts";

const FILES = soaking ? 1000 : 20, SIZE = 3_000_000, BATCH = 100;

/** Work beside the server: the event loop is held up again and again, and a thread that reads files is busy. */
function load(file: string): AsyncDisposable {
  let going = true;
  const burn = setInterval(() => {
    const until = performance.now() + 3;
    while (performance.now() < until);
  }, 10);
  const reading = (async () => {
    while (going) await Deno.readFile(file);
  })();
  return {
    async [Symbol.asyncDispose]() {
      going = false;
      clearInterval(burn);
      await reading;
    },
  };
}

/** A file whose reads end in pairs, the second before the first, as far as there is a second. */
function swapped(file: SftpBackendFile): SftpBackendFile {
  let first: (() => void) | null = null;
  return {
    async readAt(p, offset) {
      const count = await file.readAt(p, offset);
      const passed = first;
      if (passed !== null) {
        first = null;
        // After this one's own answer.
        setTimeout(passed, 0);
        return count;
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        first = resolve;
        // The last of a file has no second, nor has the only one that a client asks for.
        timer = setTimeout(resolve, 50);
      });
      clearTimeout(timer);
      first = null;
      return count;
    },
    writeAt: (p, offset) => file.writeAt(p, offset),
    stat: () => file.stat(),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

/** Copies files in batches; `uneven` is without other load: reads end in the wrong order as it is. */
async function copies(bin: string, count: number, uneven: boolean): Promise<void> {
  const { root, back } = folders("root", "back");
  // One source, and files that are parts of it: each is another one.
  const source = seededBytes(SIZE + FILES, 7), partOf = (i: number): Uint8Array => source.subarray(i, i + SIZE);
  await using rooted = await openRootedBackend({ root });
  const sftp: SftpBackend = {
    open: async (path, options, info) => swapped(await rooted.open(path, options, info)),
    readDir: (path, info) => rooted.readDir(path, info),
    stat: (path, followLinks, info) => rooted.stat(path, followLinks, info),
    realPath: (path, info) => rooted.realPath!(path, info),
  };
  await using server = await startOurs(root, uneven ? { sftp } : {});
  const options = opensshOptions({ ...server, tree: "", back });
  const wrong: string[] = [];
  for (let done = 0; done < count; done += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - done) }, (_, i) => done + i);
    await Deno.mkdir(`${root}/tree`);
    for (const i of batch) await Deno.writeFile(`${root}/tree/${i}`, partOf(i));
    {
      await using _busy = uneven ? null : load(`${root}/tree/${batch[0]}`);
      const { code, stderr } = await run([
        `${bin}/scp`,
        ...["-S", `${bin}/ssh`, "-P", String(server.port), "-q", "-r", "-s", ...options],
        ...[`${server.username}@127.0.0.1:/tree`, back],
      ], { deadline: 600_000 });
      assertEquals(code, 0, stderr);
    }
    for (const i of batch) {
      const got = await Deno.readFile(`${back}/tree/${i}`), wanted = partOf(i);
      const [a, b] = await Promise.all(
        [got, wanted].map((bytes) => crypto.subtle.digest("SHA-256", new Uint8Array(bytes))),
      );
      const same = new Uint8Array(a!).every((byte, at) => byte === new Uint8Array(b!)[at]);
      if (!same) wrong.push(`${i}: ${got.length} bytes`);
    }
    await Deno.remove(`${root}/tree`, { recursive: true });
    await Deno.remove(`${back}/tree`, { recursive: true });
  }
  assertEquals(wrong, [], `of ${count} files of ${SIZE} bytes`);
  assertEquals(server.errors, []);
}

for (const id of ["openssh", "openssh10"] as const) {
  const bin = (): string => id === "openssh" ? "/usr/bin" : `${openSsh10()}/bin`;
  peerTest(
    id,
    `sftpSubsystem() gives ${peers[id].title}'s scp whole files, ${FILES} of 3 MB while the process is busy`,
    () => copies(bin(), FILES, false),
  );
  peerTest(
    id,
    `sftpSubsystem() gives ${peers[id].title}'s scp whole files from a backend whose reads end out of order`,
    () => copies(bin(), 3, true),
  );
}
