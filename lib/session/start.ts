/**
 * Whether a command, a shell or a subsystem has started. RFC 4254 sections 5.4 and 6.5. No I/O.
 *
 * Some servers run what they are asked for and never answer CHANNEL_SUCCESS, and some answer behind the first output. What only a
 * process that runs can send counts as the answer: data, or how it ended. A refusal that still comes then ends the channel.
 *
 * @module
 */
import { type BaseChannel, channelCore } from "../connection/channel.ts";

/** A request that has to be granted, and what a refusal means. */
export interface StartRequest {
  /** Name on the wire. */
  readonly name: string;
  /** What follows want_reply. */
  readonly data: Uint8Array;
  /** It was granted. */
  readonly granted?: (() => void) | undefined;
  /** The error of a refusal; null where it counts as granted. */
  readonly refused: () => Error | null;
}

/**
 * Sends requests in one go, and resolves when all are granted or the peer speaks; `spoken` says of a refusal that it comes too late to
 * be told here. Rejects as `BaseChannel.request()` does, and with the error of the first refusal.
 */
export function startOn(
  channel: BaseChannel,
  requests: readonly StartRequest[],
  onRefused: (error: Error, spoken: boolean) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let left = requests.length, spoken = false;
  for (const { name, data, granted: onGranted, refused } of requests) {
    channel.request(name, data).then((granted) => {
      const error = granted ? null : refused();
      if (granted) onGranted?.();
      if (error === null) return void (--left === 0 && resolve());
      onRefused(error, spoken);
      reject(error);
    }, reject);
  }
  // A refusal that came before it counts first.
  channelCore(channel).whenSpeaks(() =>
    queueMicrotask(() => {
      spoken = true;
      resolve();
    })
  );
  return promise;
}
