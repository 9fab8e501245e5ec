/**
 * File names. SFTP version 3 carries them as bytes of no stated encoding: lib/wire/byte_text.ts says how they become strings.
 * No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";

export { decodeText as decodeName, encodeText as encodeName, isEncodable } from "../wire/byte_text.ts";

/** A name in quotes for an error message. */
export function quoted(name: string): string {
  return `"${printable(name, 1024).toWellFormed()}"`;
}

/** Joins a directory and a name with `/`. */
export function joinPath(directory: string, name: string): string {
  if (directory === "" || directory === ".") return name;
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}

/** The last component of a path, or "" for a root. */
export function baseName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

/** All but the last component of a path: ".", "/" or a path without a slash at its end. */
export function dirName(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  if (slash < 0) return trimmed === "" && path.startsWith("/") ? "/" : ".";
  return trimmed.slice(0, slash).replace(/\/+$/, "") || "/";
}

/**
 * Whether a name that a peer gave for an entry of a directory is one component and nothing else: not empty, not `.` or `..`,
 * without `/` or NUL. What else a system makes of it local_names.ts knows.
 */
export function isEntryName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
}

/**
 * Whether a link's target stays inside a tree, for a link `depth` directories below its top. An absolute target counts from
 * the top. `..` may only come first, and not more often than there are directories: behind a name, which may be a link itself,
 * it could lead anywhere.
 */
export function isContainedTarget(target: string, depth: number): boolean {
  let left = target.startsWith("/") ? 0 : depth, named = false;
  for (const part of target.split("/")) {
    if (part === "..") {
      if (named || left-- <= 0) return false;
    } else if (part !== "" && part !== ".") named = true;
  }
  return true;
}
