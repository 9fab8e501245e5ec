/**
 * What an SCP exchange needs of the files that it reads and writes: local ones for a client, a backend's for a server. No I/O.
 *
 * @module
 */
import type { GlobEntry } from "../files/glob.ts";
import type { LocalInfo } from "../files/local_files.ts";

/** Times in seconds since 1970. */
export interface ScpTimes {
  /** Last change. */
  readonly mtime: number;
  /** Last access. */
  readonly atime: number;
}

/** A file being written. */
export interface ScpTarget {
  /** Takes the next bytes. */
  write(bytes: Uint8Array): Promise<void>;
  /** All bytes are there. Where this throws, nothing more is to be done; a file whose times cannot be kept is there whole. */
  finish(times: ScpTimes | null): Promise<void>;
  /** They will not come. Never throws. */
  abandon(): Promise<void>;
}

/** A file being read. */
export interface ScpSource {
  /** Metadata of what was opened. */
  readonly info: LocalInfo;
  /** The next bytes, at most as many as fit; 0 at the end. */
  read(p: Uint8Array): Promise<number>;
  /** Lets go of it. Never throws. */
  close(): Promise<void>;
}

/** What an exchange needs of a file system. */
export interface ScpFiles {
  /** Metadata, or null where there is nothing. */
  stat(path: string, followLinks: boolean): Promise<LocalInfo | null>;
  /** What is in a directory. */
  list(path: string): AsyncIterable<GlobEntry>;
  /** Opens a file to read. */
  open(path: string): Promise<ScpSource>;
  /** Opens a file to write. */
  create(path: string, mode: number, size: number): Promise<ScpTarget>;
  /** Makes a directory; one that is there is taken, but no link to one unless `top`. */
  makeDirectory(path: string, mode: number, top: boolean): Promise<void>;
  /** Sets what is kept of a directory when it is full. */
  finishDirectory(path: string, mode: number | null, times: ScpTimes | null): Promise<void>;
  /** What a name of the other side is called here, or null where it cannot be had. */
  spell(name: string): string | null;
  /** The last component of a path. */
  base(path: string): string;
  /** A path as the other side may read it in an error. */
  shown(path: string): string;
}
