/**
 * What all terminals of the program share, for as long as there is one: the C library and the poll.
 *
 * @module
 */
import { type Libc, loadLibc } from "./libc.ts";
import { Poller } from "./poller.ts";

interface Shared {
  readonly lib: Libc;
  readonly poller: Poller;
  readonly close: () => void;
}

let shared: Shared | null = null, users = 0;

/** For one more terminal, until `releaseTerminals()`. Throws as `loadLibc()` does, and where there are no descriptors left. */
export function acquireTerminals(): Shared {
  shared ??= open();
  users++;
  return shared;
}

/** A terminal is closed, and nobody waits for it. */
export function releaseTerminals(): void {
  if (--users > 0) return;
  shared?.close();
  shared = null;
}

/** Throws where terminals cannot be made. */
export function checkTerminals(): void {
  acquireTerminals();
  releaseTerminals();
}

function open(): Shared {
  const library = loadLibc(), lib = library.symbols;
  try {
    const poller = new Poller(lib);
    return {
      lib,
      poller,
      close: () => {
        poller.close();
        library.close();
      },
    };
  } catch (error) {
    library.close();
    throw error;
  }
}
