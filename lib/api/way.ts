/**
 * A way to a server: streams, and what holds them.
 *
 * @module
 */
import type { ByteDuplex, MaybePromise } from "../wire/types.ts";

/** What holds streams. */
export interface Held {
  /** What a close waits for before it ends the streams: a moment at most. Never rejects. */
  readonly settle?: () => Promise<void>;
  /** Lets go of it, once the streams have ended. Never rejects. */
  readonly close?: () => Promise<void>;
  /** Whether it keeps the program alive. */
  readonly setRef?: (refed: boolean) => void;
}

/** A way to a server that is open. Whoever takes it ends its streams, and then calls `close()`. */
export interface Way extends Held {
  /** What SSH runs over. */
  readonly conn: ByteDuplex;
  /** The writable has copied a chunk when its write resolves; what the application brings may keep chunks. */
  readonly copies: boolean;
  /** The error to use where the streams have failed or ended by themselves, for a way that knows more of that. Never rejects. */
  readonly lost?: (error: Error) => MaybePromise<Error>;
}
