/**
 * This program's terminal and its standard streams, as far as a session needs them. No I/O.
 *
 * @module
 */
import type { WindowSize } from "../session/types.ts";
import { Timer } from "../wire/timer.ts";
import type { Bytes } from "../wire/types.ts";

/** Milliseconds that a terminal has to take the last that is written to it. */
const STUCK = 1_000;

/** What the system gives. */
export interface OwnTerminal {
  /** Whether standard input is a terminal. */
  readonly isTerminal: boolean;
  /** Size of the terminal; null where there is none, or none that is known. */
  size(): WindowSize | null;
  /** What the terminal understands: TERM of the environment. */
  term(): string;
  /**
   * Every key as it is pressed, without echo, or lines as the terminal makes them. With `"both ways"`, what is written comes as it is, too,
   * where this program may see to that.
   */
  setRaw(raw: boolean | "both ways"): void;
  /**
   * Standard input, one reader at a time: throws `TypeError` where there is another. Nothing is read before it is asked for. Cancelling
   * lets go of it at once, for the next one.
   */
  input(): ReadableStream<Bytes>;
  /** Gives bytes back that were read too much: the next reader gets them first. */
  unread(bytes: Bytes): void;
  /** Writes all of it. */
  write(name: "stdout" | "stderr", chunk: Uint8Array): Promise<void>;
  /** Calls `act` when the terminal's size may have changed. Returns how to stop that. */
  onResize(act: () => void): () => void;
  /** Calls `act` with the name of a signal that wants this program's end, which it does not bring by itself then. */
  onSignal(act: (name: string) => void): () => void;
  /** Calls `act` when the program goes on after it was stopped: a shell may have set the terminal as it likes it. */
  onContinue(act: () => void): () => void;
  /** Stops this program, as ^Z does, and returns when it goes on. */
  suspend(): void;
}

/** Sets the terminal raw, and returns how to set it back: safe to call twice, and on a terminal that is gone. */
export function rawMode(terminal: OwnTerminal, how: true | "both ways" = true): () => void {
  let raw = true;
  const set = (): void => {
    if (raw) terminal.setRaw(how);
  };
  set();
  const stop = terminal.onContinue(() => {
    try {
      set();
    } catch {
      // It is gone, which who reads it sees.
    }
  });
  return () => {
    if (!raw) return;
    raw = false;
    stop();
    try {
      terminal.setRaw(false);
    } catch {
      // There is nothing left to be set.
    }
  };
}

/** Waits for a write, but not for a terminal that takes nothing. */
export async function briefly(writing: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>(), timer = new Timer(resolve);
  timer.start(STUCK);
  await Promise.race([writing.catch(() => {}), promise]);
  timer.stop();
}
