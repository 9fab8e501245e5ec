/**
 * What a remote program has switched on at a terminal, so that it can be switched off where the program does not come to that: the
 * alternate screen, reports of the mouse, a hidden cursor. Modes are those of xterm (`CSI ? … h`). No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

/** Those that a shell that comes next would not expect, and whether they are on where nobody has said so. */
const modes: ReadonlyMap<number, boolean> = new Map([
  ...[1, 9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004].map((mode) =>
    [mode, false] as const
  ),
  // The cursor.
  [25, true],
]);

const ESC = 0x1b;
/** Bytes of a sequence that is looked at; what is longer is no such sequence. */
const LONGEST = 64;
/** One of them, behind its ESC. */
const SEQUENCE = /^\[\?([0-9;]*)([hl])/;
/** What may still become one, behind its ESC. */
const BEGINNING = /^(?:\[(?:\?[0-9;]*)?)?$/;

/** Looks at what is shown. */
export class ScreenModes {
  readonly #changed = new Set<number>();
  /** The beginning of a sequence at the end of what was seen last. */
  #cut = "";

  /** Looks at some more of it. */
  see(shown: Uint8Array): void {
    let at = 0;
    if (this.#cut !== "") {
      const start = this.#cut;
      this.#cut = "";
      this.#look(start + asText(shown.subarray(0, LONGEST - start.length)));
    }
    for (; (at = shown.indexOf(ESC, at)) !== -1; at++) {
      // Most are others, such as colours.
      const [, bracket = 0x5b, mark = 0x3f] = shown.subarray(at, at + 3);
      if (bracket === 0x5b && mark === 0x3f) this.#look(asText(shown.subarray(at, at + LONGEST)));
    }
  }

  #look(text: string): void {
    if (BEGINNING.test(text.slice(1))) {
      if (text.length < LONGEST) this.#cut = text;
      return;
    }
    const found = SEQUENCE.exec(text.slice(1));
    if (found === null) return;
    for (const mode of found[1]!.split(";").map(Number)) {
      const usual = modes.get(mode);
      if (usual === undefined) continue;
      if (usual === (found[2] === "h")) this.#changed.delete(mode);
      else this.#changed.add(mode);
    }
  }

  /** What sets it back to how it is without programs; null where it is so. */
  reset(): Bytes | null {
    if (this.#changed.size === 0) return null;
    const parts = [...this.#changed].map((mode) => `\x1b[?${mode}${modes.get(mode) ? "h" : "l"}`);
    this.#changed.clear();
    // Colours of what was shown last would go on.
    return new TextEncoder().encode(`\x1b[0m${parts.join("")}`);
  }
}

function asText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
