/**
 * What a program started in the background, or by `nohup`, ignores, the programs that it starts ignore as well, and a shell cannot take
 * that back: nobody's ^C would reach a command, and nothing would end with its terminal. So such signals are heeded for the moment in
 * which a program starts.
 *
 * @module
 */
import type { Libc } from "./libc.ts";

const KEYBOARD_AND_HANGUP = [1, /* HUP */ 2, /* INT */ 3 /* QUIT */];
/** More than any C library's `struct sigaction`, which begins with the handler. */
const SIGACTION_BYTES = 256;
const IGNORED = 1n;

/** Calls `start`, which starts a program that shall ignore none of these signals. */
export function heedingSignals<T>(lib: Libc, start: () => T): T {
  const ignored = KEYBOARD_AND_HANGUP.filter((signal) => {
    const action = new Uint8Array(SIGACTION_BYTES);
    return lib.sigaction(signal, null, action) === 0 &&
      new DataView(action.buffer).getBigUint64(0, true) === IGNORED;
  });
  try {
    for (const signal of ignored) lib.signal(signal, null);
    return start();
  } finally {
    for (const signal of ignored) lib.signal(signal, Deno.UnsafePointer.create(IGNORED));
  }
}
