/**
 * Test support. A long-lived signal that counts who listens to it: whatever takes a signal must have let go of it when it is done.
 * Imports nothing from lib/.
 *
 * @module
 */

/** A signal, and the functions that wait for it to abort. */
export interface CountedSignal {
  readonly signal: AbortSignal;
  /** How many functions listen now. */
  readonly listeners: number;
  /** How many have listened in all. */
  readonly added: number;
  /** Aborts the signal. */
  abort(reason?: unknown): void;
  /** Waits until nobody listens any more. Gives up after many turns of the event loop, not after some time. */
  released(): Promise<void>;
}

/** Makes one. */
export function countedSignal(): CountedSignal {
  const controller = new AbortController(), { signal } = controller;
  const listening = new Set<unknown>();
  let added = 0;
  const add = signal.addEventListener.bind(signal), remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (type: string, listener: unknown, options?: boolean | AddEventListenerOptions) => {
    if (!listening.has(listener)) {
      added++;
      listening.add(listener);
      if (typeof options === "object" && options.once === true) add("abort", () => void listening.delete(listener));
    }
    add(type as "abort", listener as () => void, options);
  };
  signal.removeEventListener = (type: string, listener: unknown, options?: boolean | EventListenerOptions) => {
    listening.delete(listener);
    remove(type as "abort", listener as () => void, options);
  };
  return {
    signal,
    get listeners() {
      return listening.size;
    },
    get added() {
      return added;
    },
    abort: (reason) => controller.abort(reason),
    async released() {
      for (let turn = 0; listening.size > 0 && turn < 5000; turn++) {
        await new Promise((resolve) => setTimeout(resolve, turn < 100 ? 0 : 1));
      }
      if (listening.size > 0) throw new Error(`${listening.size} of ${added} functions still listen to the signal`);
    },
  };
}
