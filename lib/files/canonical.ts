/**
 * The one form of a path that a server's backend sees. No I/O.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { MAX_PATH, Status } from "./limits.ts";
import { encodeName } from "./names.ts";

/**
 * Whether a path can only be that of a directory, as it is written: it ends in a slash or a dot. Its canonical form does not
 * tell any more.
 */
export function namesDirectory(path: string): boolean {
  return /(^|\/)\.{0,2}$/.test(path);
}

/**
 * An absolute path without `.`, `..`, empty components or a slash at its end. `..` takes a component away as the path is
 * written; at `/` it stays. Throws BAD_MESSAGE for NUL and for what is too long.
 */
export function canonicalPath(path: string): string {
  if (path.includes("\0")) throw new SftpError("Bad path: it holds NUL", Status.BAD_MESSAGE);
  if (path.length > MAX_PATH || encodeName(path).length > MAX_PATH) {
    throw new SftpError(`Bad path: longer than ${MAX_PATH} bytes`, Status.BAD_MESSAGE);
  }
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return "/" + parts.join("/");
}
