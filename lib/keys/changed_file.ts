/**
 * Changing a file that others change as well, such as known_hosts: nothing of theirs is lost. Beside user_files.ts the only file of this folder
 * that touches files.
 *
 * Programs that use this take turns by a lock on the file itself, which goes with the process that holds it; on Node and Bun, which have no such
 * locks, what one program does at once takes turns. `ssh` locks nothing: it adds lines at
 * the end, and so does `appendTo()`, in one piece, whatever else is added at that moment. Whoever takes something away puts a new file in the place
 * of the old one, as `ssh-keygen -R` does; `rewrite()` looks right before that whether the old one is still what it has read.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable } from "../errors.ts";
import { ifThere } from "./user_files.ts";
import { system } from "../system/system.ts";
import type { FileFacts, OpenFile } from "../system/types.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";

/** Milliseconds that others may hold the lock, and between two tries to get it. */
const LOCK_TIME = 10_000;
const LOCK_PAUSE = 4;

/** Said by an action that has to be done anew, as somebody else has changed the file. */
const again = Symbol("again");

/**
 * Adds to the end of a file, which is made where it is missing, with its folder: for the user alone. `make` gets what stands in the file, and while it
 * thinks nobody who uses this changes it; it gives null where nothing is to be added. Nothing is added where not all can be. Where others put a new
 * file in the place of this one meanwhile, it is asked anew: what was added to the old one is gone with that.
 */
export async function appendTo(path: string, make: (before: Bytes) => MaybePromise<Uint8Array | null>): Promise<void> {
  await locked(path, { read: true, append: true, create: true, mode: 0o600 }, async (file, before) => {
    const added = await make(before);
    if (added === null) return null;
    await writeWhole(file, added);
    return system.build.os === "windows" || await isAt(path, file) ? null : again;
  });
}

/** What stands in a file; nothing where it is missing. */
export async function readShared(path: string): Promise<Bytes> {
  return await ifThere(() => system.readFile(path)) ?? new Uint8Array(0);
}

/** Whether a file may be changed, and another put in its place, without the runtime asking anybody. */
export async function mayRewrite(path: string): Promise<boolean> {
  // Where a link leads to the file, the new one is put where that is.
  const real = await ifThere(() => system.realPath(path)) ?? path;
  const answers = await Promise.all(
    [path, real, `${real}.00000000`].map((path) => system.permissions.query({ name: "write", path })),
  );
  return answers.every(({ state }) => state === "granted");
}

/** What adding needs of a file. */
type Appended = Pick<OpenFile, "write" | "stat" | "truncate">;

/** Adds bytes at the end, and takes back what it has added where the disk is full before the last one. */
export async function writeWhole(file: Appended, bytes: Uint8Array): Promise<void> {
  const { size } = await file.stat();
  let written = 0;
  try {
    while (written < bytes.length) written += await file.write(bytes.subarray(written));
  } catch (error) {
    if (written > 0 && (await file.stat()).size === size + written) await file.truncate(size);
    throw error;
  }
}

/**
 * Puts what `edit` makes of a file in its place, in one step, with the mode and the owner of the old one; where a link leads to the file, the link
 * stays. False where `edit` gives null, or where no file is there.
 */
export async function rewrite(path: string, edit: (before: Bytes) => Uint8Array | null): Promise<boolean> {
  const real = await ifThere(() => system.realPath(path));
  if (real === null) return false;
  const done = await ifThere(() =>
    locked(real, { read: true }, async (file, before) => {
      const after = edit(before);
      if (after === null) return false;
      const info = await file.stat();
      // A device is not to be replaced.
      if (!info.isFile) throw new Error(`Cannot change "${printable(path)}": it is no file`);
      const beside = `${real}.${crypto.randomUUID().slice(0, 8)}`;
      try {
        await writeBeside(beside, after, info);
        if (!equals(await system.readFile(real), before)) return again;
        await system.rename(beside, real);
        return true;
      } finally {
        await ifThere(() => system.remove(beside));
      }
    })
  );
  return done ?? false;
}

async function writeBeside(path: string, bytes: Uint8Array, { mode, uid, gid }: FileFacts): Promise<void> {
  using file = await system.open(path, { write: true, createNew: true, mode: 0o600 });
  const own = await file.stat();
  if (uid !== null && gid !== null && (own.uid !== uid || own.gid !== gid)) await system.chown(path, uid, gid);
  if (mode !== null && system.build.os !== "windows") await system.chmod(path, mode & 0o7777);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

/** Does something with a file, and with what stands in it, while nobody else who asks for its lock has it. */
async function locked<T>(
  path: string,
  options: Deno.OpenOptions,
  action: (file: OpenFile, bytes: Bytes) => Promise<T | typeof again>,
): Promise<T> {
  const until = performance.now() + LOCK_TIME;
  for (;;) {
    using file = await openInFolder(path, options);
    // There a lock keeps everybody from reading, `ssh` too.
    const isWindows = system.build.os === "windows";
    if (!isWindows) await lock(file, until);
    // Whoever had it may have put another file in the place of this one.
    const isStill = isWindows || await isAt(path, file),
      done = isStill ? await action(file, await readAll(path, file)) : again;
    if (done !== again) return done;
    if (performance.now() > until) throw new Error(`others have kept changing it for ${LOCK_TIME} ms`);
  }
}

async function openInFolder(path: string, options: Deno.OpenOptions): Promise<OpenFile> {
  try {
    return await system.open(path, options);
  } catch (error) {
    const folder = /^(.+)[\/\\][^\/\\]*$/.exec(path)?.[1];
    if (!options.create || !(error instanceof system.errors.NotFound) || folder === undefined) throw error;
    await system.mkdir(folder, { recursive: true, mode: 0o700 });
    return await system.open(path, options);
  }
}

async function lock(file: OpenFile, until: number): Promise<void> {
  for (;;) {
    let taken: boolean;
    try {
      taken = await file.tryLock(true);
    } catch {
      // A file system without locks: what is left is that lines are added in one piece, and that a new file is made of what is there.
      return;
    }
    if (taken) return;
    if (performance.now() > until) throw new Error(`another program has kept it locked for ${LOCK_TIME} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOCK_PAUSE));
  }
}

async function isAt(path: string, file: OpenFile): Promise<boolean> {
  const [own, there] = [await file.stat(), await ifThere(() => system.stat(path))];
  return there !== null && own.ino === there.ino && own.dev === there.dev;
}

async function readAll(path: string, file: OpenFile): Promise<Bytes> {
  const { isFile, isDirectory, size } = await file.stat();
  if (isDirectory) throw new Error(`"${printable(path)}" is a folder`);
  // What is no file, such as /dev/null, holds nothing.
  if (!isFile) return new Uint8Array(0);
  const bytes = new Uint8Array(size);
  let length = 0;
  for (let n: number | null; length < size && (n = await file.read(bytes.subarray(length))) !== null;) length += n;
  return bytes.subarray(0, length);
}
