/**
 * What a copy to a server reads: the files here, or those of another server. No I/O.
 *
 * @module
 */
import type { Exclusion } from "./exclude.ts";
import type { GlobTree } from "./glob.ts";
import type { SourceInfo, TallyRoot, TallyTree } from "./tally.ts";

export type { SourceInfo } from "./tally.ts";

/** A file open for reading. */
export interface SourceFile extends Disposable {
  /** Metadata. */
  stat(): SourceInfo;
  /** Reads at the position, as much as there is just now; null at the end. */
  read(p: Uint8Array): Promise<number | null>;
  /** Moves the position. */
  seek(offset: number): Promise<void>;
}

/** Files to copy. */
export interface CopySource extends TallyTree {
  /** What is done with them, for errors. */
  readonly action: "upload" | "copy";
  /** Whether they are another's: names, links and sizes are what it says, and not to be trusted. */
  readonly isForeign: boolean;
  /** The same as a glob looks at them, */
  readonly globs: GlobTree;
  /** and what a glob stands for, to be counted: the top of a tree. */
  roots(pattern: string, within: Exclusion): AsyncIterable<TallyRoot>;
  /** What is at a path; null for nothing. */
  look(path: string, followLinks: boolean): Promise<SourceInfo | null>;
  /** Reads a link. */
  readLink(path: string): Promise<string>;
  /** Opens a file to read, for which no more than so many requests are to be under way, where there are any. */
  open(path: string, requests: number | undefined): Promise<SourceFile>;
  /** The last component of a path. */
  base(path: string): string;
}
