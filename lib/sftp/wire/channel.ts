/**
 * What an SFTP session runs over, in either role. No I/O of its own.
 *
 * @module
 */
import { ChunkSource } from "../../wire/chunk_source.ts";
import type { ByteDuplex, PlainSink, PlainSource } from "../../wire/types.ts";

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

/** A channel of this module's own: no streams stand in between, which cost more than all else of a small request. */
export class OwnChannel {
  readonly received: PlainSource;
  readonly sent: PlainSink;
  readonly releasesChunks = true;
  readonly close?: () => Promise<void>;
  readonly ended?: Promise<unknown>;
  readonly sending?: () => SendingState;

  /** Nobody else reads or writes it. */
  constructor(
    { received, sent }: { readonly received: PlainSource; readonly sent: PlainSink },
    more: Pick<MeasuredChannel, "close" | "ended" | "sending"> = {},
  ) {
    this.received = received;
    this.sent = sent;
    Object.assign(this, more);
  }
}

/** What comes in on a channel; locks its stream. */
export function sourceOf(channel: SftpChannel | OwnChannel): ChunkSource {
  return new ChunkSource(channel instanceof OwnChannel ? channel.received : channel.readable);
}

/** What leaves on a channel; locks its stream. */
export function sinkOf(channel: SftpChannel | OwnChannel): PlainSink {
  if (channel instanceof OwnChannel) return channel.sent;
  const writer = channel.writable.getWriter();
  writer.closed.catch(() => {});
  return {
    write: (chunk) => writer.write(chunk),
    end: () => writer.close(),
    abort: (reason) => void writer.abort(reason).catch(() => {}),
  };
}
