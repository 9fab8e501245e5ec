/** meantBy() against a plain edit distance. */
import { assertEquals } from "@std/assert";
import { meantBy } from "../../lib/wire/near.ts";
import { Prng } from "../_support/fuzz.ts";

/** Letters to add, take away, change or swap with their neighbour until `a` is `b` (optimal string alignment), the slow way. */
function distance(a: string, b: string): number {
  const table = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => i + j));
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(table[i - 1]![j]! + 1, table[i]![j - 1]! + 1, table[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, table[i - 2]![j - 2]! + 1);
      }
      table[i]![j] = least;
    }
  }
  return table[a.length]![b.length]!;
}

Deno.test("meantBy() finds a name one slip away, and none that is further", () => {
  const prng = new Prng(7), next = (n: number) => prng.below(n), letter = () => prng.pick(["a", "b", "c"]);
  let near = 0;
  for (let i = 0; i < 20_000; i++) {
    const name = Array.from({ length: 6 }, letter).join(""), word = name.split("");
    for (let slips = next(3); slips > 0; slips--) {
      const at = next(word.length), how = next(4);
      if (how === 0) word.splice(at, 1);
      else if (how === 1) word.splice(at, 0, letter());
      else if (how === 2) word[at] = letter();
      else if (at > 0) [word[at - 1], word[at]] = [word[at]!, word[at - 1]!];
    }
    const far = distance(word.join(""), name);
    near += Number(far <= 1);
    assertEquals(meantBy(word.join(""), [name]), far <= 1 ? name : null, `${name} ${word.join("")}`);
  }
  assertEquals(near > 5000 && near < 19_000, true, String(near));
});

Deno.test("meantBy() takes writing for the same, short names for themselves only, and long words for none", () => {
  const names = ["hostname", "port", "verifyHostKey", "auth"];
  for (
    const [word, meant] of [
      ["hostName", "hostname"],
      ["host_name", "hostname"],
      ["HOSTNAME", "hostname"],
      ["verify-host-key", "verifyHostKey"],
      ["Port", "port"],
      ["ports", null],
      ["pot", null],
      ["host", null],
      ["author", null],
      ["hostname".repeat(20), null],
      ["", null],
      ["\u00e4", null],
    ] as const
  ) {
    assertEquals(meantBy(word, names), meant, word);
  }
  assertEquals(meantBy("hostname", []), null);
});
