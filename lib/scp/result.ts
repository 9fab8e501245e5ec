/**
 * What an SCP exchange is asked to do, and what it did. No I/O.
 *
 * @module
 */

import type { Exclusion } from "../files/exclude.ts";
import type { TreeMeter } from "../files/tree_progress.ts";

/** What both sides of an exchange are told. */
export interface ScpPlan {
  /** Directories too. */
  readonly recursive: boolean;
  /** Times and permission bits too. */
  readonly preserve: boolean;
  /** Told of bytes done, per file. */
  readonly onProgress?: (progress: { path: string; bytes: number; total: number | null }) => void;
  /** Counts how far the whole is. */
  readonly meter?: TreeMeter | undefined;
  /** What is left out at the top of the tree. */
  readonly exclude?: Exclusion;
}

/** Errors kept to be told: the other side sends as many as it likes. */
const MAX_ERRORS = 100;

/** What an exchange did. */
export class ScpResult {
  /** Files copied. */
  files = 0;
  /** Bytes copied. */
  bytes = 0;
  /** What the other side sent, or would have, and was left out. */
  excluded = 0;
  /** What went wrong without ending it. */
  failed = 0;
  /** The first of what went wrong. */
  readonly errors: Error[] = [];

  /** Counts an error that does not end the exchange. */
  fail(error: Error): void {
    this.failed++;
    if (this.errors.length < MAX_ERRORS) this.errors.push(error);
  }
}
