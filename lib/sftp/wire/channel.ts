/**
 * What an SFTP session runs over, in either role. No I/O of its own.
 *
 * @module
 */
import type { ByteDuplex } from "../../wire/types.ts";

/** How the far end holds up what is sent to it, where that can be told. */
export interface SendingState {
  /** Most bytes that it has let be under way at once. */
  readonly window: number;
  /** Milliseconds for which bytes have waited to be let go. */
  readonly held: number;
}

/** The streams of a session, with a way to end them at once. */
export type SftpChannel = ByteDuplex & {
  /** Ends both directions. */
  close?(): Promise<void>;
  /** Resolves when the other end is done with it, which may be later than its streams end. */
  readonly ended?: Promise<unknown>;
  /** Whether a chunk is free for other bytes as soon as its write has ended, as with the channels of this module. */
  readonly releasesChunks?: boolean;
};

/** A channel that tells how sending goes. */
export type MeasuredChannel = SftpChannel & {
  /** As of now. */
  readonly sending?: () => SendingState;
};
