/**
 * Remote trees as a tally looks at them, and what a glob stands for there. draft-ietf-secsh-filexfer-02 sections 6.7 and 6.8.
 *
 * @module
 */
import type { Exclusion } from "../../files/exclude.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import { FileType } from "../../files/limits.ts";
import { baseName, isEntryName } from "../../files/names.ts";
import type { TallyInfo, TallyRoot, TallyTree } from "../../files/tally.ts";
import { listDirectory } from "../remote/listing.ts";
import type { RemoteFiles } from "../remote/remote_files.ts";
import type { SftpSession } from "../remote/session.ts";

/** What a server tells of something, as far as it counts. */
export function tallyInfo({ isDirectory, isSymlink, isFile, mode, size }: SftpFileInfo): TallyInfo {
  if (isDirectory) return { kind: "directory", size };
  if (isSymlink) return { kind: "link", size };
  // What nothing tells the type of may be a file, and is copied as one.
  return { kind: isFile || ((mode ?? 0) & FileType.MASK) === 0 ? "file" : "other", size };
}

/** The files of a session. */
export function remoteTally(client: RemoteFiles, session: SftpSession): TallyTree {
  return {
    async *list(path) {
      for await (const entries of listDirectory(session, path)) {
        yield entries.filter(({ name }) => isEntryName(name)).map(({ name, info, partial }) => ({
          name,
          info: partial ? null : tallyInfo(info),
        }));
      }
    },
    look: async (path, followLinks) => tallyInfo(await (followLinks ? client.stat(path) : client.lstat(path))),
    realPath: (path) => session.realPath(path),
  };
}

/** What a glob stands for, to be counted: the top of a tree. */
export async function* remoteRoots(
  client: RemoteFiles,
  pattern: string,
  within: Exclusion,
): AsyncGenerator<TallyRoot> {
  for await (const path of client.glob(pattern)) {
    const info = await client.stat(path).catch(() => null);
    if (info !== null) yield { path, info: tallyInfo(info), within, name: baseName(path) };
  }
}
