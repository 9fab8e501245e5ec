/**
 * Bench. Files to move, where no disk is in the way.
 *
 * @module
 */

import { temporaryFolder } from "./ending.ts";

/** The files of a run and a place for the copies. */
export interface Files extends AsyncDisposable {
  /** The folder of all of it; the root of this module's server. */
  readonly root: string;
  /** A file name for one large file, made when it is first asked for. */
  large(bytes: number): Promise<string>;
  /** A folder with that many files of 4 KiB. */
  small(count: number): Promise<string>;
  /** A folder with that many empty files. */
  many(count: number): Promise<string>;
  /** A new name for a copy. */
  target(): string;
  /** Throws where the copy differs from the original; removes the copy. */
  check(original: string, copy: string): Promise<void>;
}

/** Makes the folder, in memory where the system has such a place. */
export async function makeFiles(): Promise<Files> {
  const shm = await Deno.stat("/dev/shm").catch(() => null);
  const temporary = await temporaryFolder(shm?.isDirectory ? { dir: "/dev/shm" } : {}), root = temporary.path;
  const made = new Map<string, Promise<void>>();
  const once = async (path: string, make: () => Promise<void>): Promise<string> => {
    if (!made.has(path)) made.set(path, make());
    await made.get(path);
    return path;
  };
  let targets = 0;
  return {
    root,
    large: (bytes) => {
      const path = `${root}/large-${bytes}`;
      return once(path, async () => {
        const block = new Uint8Array(1 << 20);
        for (let at = 0; at < block.length; at += 65536) crypto.getRandomValues(block.subarray(at, at + 65536));
        const counter = new DataView(block.buffer);
        using file = await Deno.open(path, { write: true, createNew: true });
        for (let left = bytes; left > 0; left -= block.length) {
          // No two blocks are alike: a block in the wrong place shows.
          counter.setUint32(0, left >>> 0);
          const part = block.subarray(0, Math.min(left, block.length));
          for (let done = 0; done < part.length;) done += await file.write(part.subarray(done));
        }
      });
    },
    small: (count) => {
      const path = `${root}/small-${count}`;
      return once(path, async () => {
        await Deno.mkdir(path);
        const data = new Uint8Array(4096);
        for (let i = 0; i < count; i++) {
          crypto.getRandomValues(data);
          await Deno.writeFile(`${path}/file-${i}`, data);
        }
      });
    },
    many: (count) => {
      const path = `${root}/many-${count}`;
      return once(path, async () => {
        await Deno.mkdir(path);
        for (let i = 0; i < count; i++) await Deno.writeFile(`${path}/entry-${i}.txt`, new Uint8Array());
      });
    },
    target: () => `${root}/copy-${targets++}`,
    async check(original, copy) {
      const { success, stdout } = await new Deno.Command("diff", { args: ["-rq", original, copy] }).output();
      if (!success) throw new Error(`The copy differs: ${new TextDecoder().decode(stdout).slice(0, 200)}`);
      await Deno.remove(copy, { recursive: true });
    },
    [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
  };
}
