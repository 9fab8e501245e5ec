/**
 * Keys that are meant for this side, behind a newline and an escape character, as `ssh` has them. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";

/** What a sequence asks for. */
export type EscapeAction = "end" | "suspend" | "break" | "help";

const actions: Readonly<Record<string, EscapeAction>> = { ".": "end", "\x1a": "suspend", "B": "break", "?": "help" };

/** Finds sequences in what is typed, however it is cut. */
export class EscapeFilter {
  readonly #character: number;
  readonly #onAction: (action: EscapeAction) => void;
  /** Whether a sequence may begin here. */
  #atStart = true;
  /** Whether the last byte was the escape character of one. */
  #escaped = false;

  /** Takes the character that begins one. `onAction` is called at its place among the bytes. */
  constructor(character: string, onAction: (action: EscapeAction) => void) {
    this.#character = character.charCodeAt(0);
    this.#onAction = onAction;
  }

  /** What is for the other side. */
  take(typed: Uint8Array): Bytes {
    const kept = new Uint8Array(typed.length + 1);
    let length = 0;
    for (const byte of typed) {
      if (this.#escaped) {
        this.#escaped = false;
        const action = actions[String.fromCharCode(byte)];
        if (action !== undefined) {
          this.#onAction(action);
          continue;
        }
        // Twice is the character itself; before anything else it was none.
        kept[length++] = this.#character;
        this.#atStart = byte === 13 || byte === 10;
        if (byte !== this.#character) kept[length++] = byte;
      } else if (this.#atStart && byte === this.#character) {
        this.#escaped = true;
      } else {
        kept[length++] = byte;
        this.#atStart = byte === 13 || byte === 10;
      }
    }
    return kept.slice(0, length);
  }
}

/** What the sequences are, for who asks. */
export function escapeHelp(character: string): string {
  const rows = [
    [".", "end the session, also where the connection hangs"],
    ["^Z", "suspend this program"],
    ["B", "send a BREAK"],
    ["?", "this text"],
    [character, `send ${character}`],
  ];
  const lines = rows.map(([key, what]) => ` ${character}${key!.padEnd(3)} ${what}`);
  return ["", "Keys for this side, behind a newline:", ...lines, ""].join("\r\n");
}
