/**
 * Reads directories, with READDIR requests under way ahead of their answers. draft-ietf-secsh-filexfer-02 section 6.7.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import { fileInfo, typeOf, typeOfLongName } from "../wire/attrs.ts";
import type { SftpFileInfo } from "../../files/file_info.ts";
import { FileType, Status } from "../../files/limits.ts";
import { type NameEntry, Opendir, Readdir } from "../wire/messages.ts";
import { quoted } from "../../files/names.ts";
import type { WaitOptions } from "../../wire/deadline.ts";
import { asked, heeding } from "./asked.ts";
import type { SftpSession } from "./session.ts";

/** READDIR requests under way. */
const AHEAD = 4;
/** A listing longer than this is one without end. */
const MAX_ENTRIES = 16_777_216;

/** An entry as the server named it: the name is not checked. */
export interface DirectoryEntry {
  /** Name. */
  readonly name: string;
  /** Attributes. */
  readonly info: SftpFileInfo;
  /** Whether the server left out what kind of file it is, or how long a regular one is. */
  readonly partial: boolean;
}

/**
 * Entries of a directory but `.` and `..`, in the server's order, as many at a time as one of its replies holds. The time of `options`
 * is that of each answer that is waited for.
 */
export async function* listDirectory(
  session: SftpSession,
  path: string,
  options: WaitOptions = {},
): AsyncGenerator<readonly DirectoryEntry[]> {
  const handle = await heeding(
    "open directory",
    path,
    options,
    (purpose) => session.handle(Opendir, { path }, purpose),
  );
  const purpose = { action: "list", path };
  const ahead: Promise<readonly NameEntry[] | null>[] = [];
  const ask = (): void => {
    const names = session.names(Readdir, { handle }, purpose);
    // An answer that is not waited for any more must not count as unhandled.
    names.catch(() => {});
    ahead.push(names);
  };
  try {
    ask();
    for (let total = 0;;) {
      const entries = await asked("list", path, options, () => ahead.shift()!);
      // An empty list that is no end would come again for ever.
      if (entries === null || entries.length === 0) return;
      total += entries.length;
      if (total > MAX_ENTRIES) {
        throw new SftpError(`Cannot list ${quoted(path)}: it does not end`, Status.FAILURE, path);
      }
      // A server that gives few names at a time gets more requests at a time.
      while (ahead.length < AHEAD) ask();
      const found: DirectoryEntry[] = [];
      for (const { name, longName, attrs } of entries) {
        if (name === "." || name === "..") continue;
        const type = typeOf(attrs, typeOfLongName(longName));
        const partial = type === 0 || type === FileType.REGULAR && attrs.size === undefined;
        found.push({ name, info: fileInfo(attrs, type), partial });
      }
      yield found;
    }
  } finally {
    session.dropHandle(handle, path);
  }
}
