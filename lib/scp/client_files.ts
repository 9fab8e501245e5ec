/**
 * Local files as a client's SCP exchange reads and writes them.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { HERE, partName, takePart } from "../files/copied.ts";
import { statusOf } from "../files/errors.ts";
import { Status } from "../files/limits.ts";
import {
  createLocal,
  listLocal,
  localMode,
  localStat,
  localSystem,
  localTimes,
  makeLocalDirectory,
  namesLocalDirectory,
  openLocal,
  removeLocal,
  renameLocal,
  splitLocal,
} from "../files/local_files.ts";
import { localNameOf } from "../files/local_names.ts";
import { joinPath } from "../files/names.ts";
import type { ScpFiles } from "./files.ts";
import { reasonOf } from "./text.ts";

/**
 * Local files; a file is written beside its name and renamed when it is whole. One that replaces another has that one's permission bits,
 * as when scp writes to it, unless times and bits are kept.
 */
export const localScpFiles: ScpFiles = {
  stat: localStat,
  async *list(path) {
    for await (const { name, kind } of listLocal(path)) yield { name, isDirectory: kind === "directory" };
  },
  async open(path) {
    const file = await openLocal(path);
    return {
      info: file.stat(),
      read: async (p) => await file.read(p) ?? 0,
      close: () => Promise.resolve(file[Symbol.dispose]()),
    };
  },
  async create(path, mode, size) {
    if (namesLocalDirectory(path)) throw new SftpError("There is no such directory", Status.NO_SUCH_FILE, path);
    const { directory, base } = splitLocal(path);
    const there = await localStat(path, false), kept = there?.kind === "file" ? there.mode : null;
    const taken = takePart(HERE, (copy) => joinPath(directory, partName(base, path, size, 0, { copy }))),
      part = taken.path;
    // It is open to nobody, at no time, whom the one or the other keeps out.
    const file = await createLocal(part, kept === null ? mode : kept & mode).catch((error) => {
      taken[Symbol.dispose]();
      throw error;
    });
    return {
      write: (bytes) => file.write(bytes),
      async finish(times) {
        using _ = taken;
        file[Symbol.dispose]();
        let notKept: SftpError | null = null;
        try {
          if (times !== null) {
            await localMode(part, mode);
            await localTimes(part, times.atime, times.mtime);
          }
        } catch (error) {
          const message = `it is there whole, and its times cannot be set: ${reasonOf(error)}`;
          notKept = new SftpError(message, statusOf(error), path, { cause: error });
        }
        try {
          if (times === null && kept !== null) await localMode(part, kept);
          await renameLocal(part, path);
        } catch (error) {
          await removeLocal(part).catch(() => {});
          throw error;
        }
        if (notKept !== null) throw notKept;
      },
      async abandon() {
        using _ = taken;
        file[Symbol.dispose]();
        await removeLocal(part).catch(() => {});
      },
    };
  },
  async makeDirectory(path, _mode, top) {
    const there = await localStat(path, top);
    if (there === null) await makeLocalDirectory(path, top);
    else if (there.kind !== "directory") {
      throw new SftpError("something else of that name is here", Status.FAILURE, path);
    }
  },
  async finishDirectory(path, mode, times) {
    if (mode !== null) await localMode(path, mode);
    if (times !== null) await localTimes(path, times.atime, times.mtime);
  },
  spell: (name) => localNameOf(name, localSystem()),
  base: (path) => splitLocal(path).base,
  // The rest of it is none of the server's business.
  shown: (path) => splitLocal(path).base,
};
