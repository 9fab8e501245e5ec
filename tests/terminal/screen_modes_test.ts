/** What a program has left switched on. */
import { assertEquals } from "@std/assert";
import { ScreenModes } from "../../lib/terminal/screen_modes.ts";

function resetOf(pieces: readonly string[]): string | null {
  const modes = new ScreenModes();
  for (const piece of pieces) modes.see(new TextEncoder().encode(piece));
  const reset = modes.reset();
  assertEquals(modes.reset(), null);
  return reset === null ? null : new TextDecoder().decode(reset);
}

Deno.test("ScreenModes sets back what was switched on and not off, wherever what is shown is cut", () => {
  const rows: readonly [shown: string, reset: string | null][] = [
    ["plain text\r\n\x1b[31mred\x1b[0m", null],
    ["\x1b[?1049h\x1b[2Jvi", "\x1b[0m\x1b[?1049l"],
    ["\x1b[?1049hvi\x1b[?1049l$ ", null],
    ["\x1b[?25lx", "\x1b[0m\x1b[?25h"],
    ["\x1b[?25l\x1b[?25h", null],
    ["a\x1b[?1000;1006hb\x1b[?2004h\x1b[?1000l", "\x1b[0m\x1b[?1006l\x1b[?2004l"],
    ["\x1b[?1h\x1b=", "\x1b[0m\x1b[?1l"],
    // Modes that terminals are used to, and what is no such sequence.
    ["\x1b[?7l\x1b[?12h\x1b[4h\x1b[?h\x1b[?1049x\x1b[?1049\x18h", null],
    ["\x1b\x1b[?1049h", "\x1b[0m\x1b[?1049l"],
    ["\x1b[\x1b[?\x1b[?1049h", "\x1b[0m\x1b[?1049l"],
    [`\x1b[?${"1;".repeat(40)}1049h`, null],
  ];
  for (const [shown, reset] of rows) {
    assertEquals(resetOf([shown]), reset, JSON.stringify(shown));
    assertEquals(resetOf([...shown]), reset, `${JSON.stringify(shown)} in bytes`);
    for (let cut = 1; cut < shown.length; cut++) {
      assertEquals(resetOf([shown.slice(0, cut), shown.slice(cut)]), reset, `${JSON.stringify(shown)} cut at ${cut}`);
    }
  }
});
