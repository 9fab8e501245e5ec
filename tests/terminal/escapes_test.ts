/** Keys for this side, as `ssh` has them. */
import { assertEquals } from "@std/assert";
import { type EscapeAction, EscapeFilter, escapeHelp } from "../../lib/terminal/escapes.ts";

/** What goes on, with actions at their place in braces. */
function filtered(pieces: readonly string[], character = "~"): string {
  let out = "";
  const filter = new EscapeFilter(character, (action: EscapeAction) => out += `{${action}}`);
  for (const piece of pieces) {
    const rest = filter.take(new TextEncoder().encode(piece));
    out += new TextDecoder().decode(rest);
  }
  return out;
}

Deno.test("EscapeFilter finds sequences at the start of a line only, however they are cut", () => {
  const rows: readonly [typed: string, goesOn: string][] = [
    ["~.", "{end}"],
    ["a~.", "a~."],
    ["a\r~.", "a\r{end}"],
    ["a\n~.", "a\n{end}"],
    ["~~", "~"],
    ["~~.", "~."],
    ["\r~~~.", "\r~~."],
    ["~~\r~.", "~\r{end}"],
    ["~x\r", "~x\r"],
    ["~\r~.", "~\r{end}"],
    ["~\u001a", "{suspend}"],
    ["~B~B~?", "{break}{break}{help}"],
    ["~?~.", "{help}{end}"],
    ["~?x~.", "{help}x~."],
    ["\r\r~b", "\r\r~b"],
    ["~é", "~é"],
    ["\u0003\u0004\u001a", "\u0003\u0004\u001a"],
    ["", ""],
  ];
  for (const [typed, goesOn] of rows) {
    // At once, what goes on stands behind what was done: taken apart it is in order.
    assertEquals(filtered([...typed]), goesOn, JSON.stringify(typed));
    const sorted = (text: string): string => [...text].sort().join("");
    assertEquals(sorted(filtered([typed])), sorted(goesOn), JSON.stringify(typed));
    for (let cut = 1; cut < typed.length; cut++) {
      assertEquals(sorted(filtered([typed.slice(0, cut), typed.slice(cut)])), sorted(goesOn), JSON.stringify(typed));
    }
  }
  assertEquals(filtered([..."%.~."], "%"), "{end}~.");
});

Deno.test("EscapeFilter keeps every byte of what is no sequence", () => {
  const bytes = Uint8Array.from({ length: 4096 }, (_, i) => i & 255), filter = new EscapeFilter("~", () => {});
  const kept = filter.take(bytes);
  // A line begins behind 10 and 13, and 126 stands behind neither.
  assertEquals(kept, bytes);
  assertEquals(filter.take(new Uint8Array(0)).length, 0);
});

Deno.test("escapeHelp() names each sequence", () => {
  for (const key of ["%.", "%^Z", "%B", "%?", "%%"]) assertEquals(escapeHelp("%").includes(` ${key} `), true, key);
});
