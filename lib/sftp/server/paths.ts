/**
 * Paths of requests as a server's backend gets them. No I/O but the backend's.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { AuthInfo } from "../../auth/types.ts";
import type { MaybePromise } from "../../wire/types.ts";
import type { SftpBackend } from "../../files/backend.ts";
import { canonicalPath, namesDirectory } from "../../files/canonical.ts";
import { Status } from "../../files/limits.ts";
import { after } from "../../wire/pending.ts";

/** Whose files, and who asks. */
interface Asker {
  readonly backend: SftpBackend;
  readonly info: AuthInfo;
}

/**
 * The one form of a path, which for one that only a directory can have, as it is written, is that of a directory: of the form
 * itself a file would be taken, or made.
 */
export function placeOf(context: Asker, path: string, followLinks = true): MaybePromise<string> {
  const place = canonicalPath(path);
  if (!namesDirectory(path)) return place;
  return after(context.backend.stat(place, followLinks, context.info), ({ isDirectory }) => {
    if (!isDirectory) throw notDirectory();
    return place;
  });
}
/** The error for what is written as a directory, and is none. */
export function notDirectory(): SftpError {
  return new SftpError("Not a directory", Status.NO_SUCH_FILE);
}

/** The same for what is never a directory: to be opened, or to be made. */
export function namePlaceOf(context: Asker, path: string): MaybePromise<string> {
  const place = placeOf(context, path);
  if (!namesDirectory(path)) return place;
  return after(place, () => {
    throw new SftpError("Is a directory", Status.FAILURE);
  });
}
