/** What the patterns of `exclude` match, and what are none. */
import { assert, assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { exclusionOf } from "../../lib/files/exclude.ts";
import { decodeName } from "../../lib/files/names.ts";

/** Files of a tree, whose directories are those that their paths name. */
const tree = [
  ".git/config",
  ".hidden",
  "a.log",
  "build/out.js",
  "build/sub/x.log",
  "docs/a.txt",
  "docs/build/y",
  "docs/deep/er/a.txt",
  "node_modules/m/index.js",
  "src/a.ts",
  "src/b.log",
  "src/build",
  "src/node_modules/n/index.js",
  "src/deep/er/est/a.ts",
];

/** What is left of it, as a walk meets it: what lies in a directory that is left out is never asked about. */
function left(...patterns: string[]): string[] {
  return tree.filter((path) => {
    let at = exclusionOf(patterns);
    const parts = path.split("/");
    return parts.every((name, i) => {
      const isOut = at.excludes(name, i < parts.length - 1);
      at = at.enter(name);
      return !isOut;
    });
  });
}

const out = (...patterns: string[]): string[] => {
  const kept = left(...patterns);
  return tree.filter((path) => !kept.includes(path));
};

Deno.test("a pattern without a slash matches a name in any directory, also one with a leading dot", () => {
  assertEquals(out(), []);
  assertEquals(out("*.log"), ["a.log", "build/sub/x.log", "src/b.log"]);
  assertEquals(out("build"), ["build/out.js", "build/sub/x.log", "docs/build/y", "src/build"]);
  assertEquals(out("build/"), ["build/out.js", "build/sub/x.log", "docs/build/y"]);
  assertEquals(out("*hidden", "?git"), [".git/config", ".hidden"]);
  assertEquals(out("*"), tree);
  assertEquals(out("{node_modules,.git}/"), [
    ".git/config",
    "node_modules/m/index.js",
    "src/node_modules/n/index.js",
  ]);
  assertEquals(out("[ab].{ts,log}"), ["a.log", "src/a.ts", "src/b.log", "src/deep/er/est/a.ts"]);
  assertEquals(out("A.LOG"), []);
});

Deno.test("a pattern with a slash matches the path from the top, and `**` any number of directories", () => {
  assertEquals(out("/build"), ["build/out.js", "build/sub/x.log"]);
  assertEquals(out("./build/"), ["build/out.js", "build/sub/x.log"]);
  assertEquals(out("src/build"), ["src/build"]);
  assertEquals(out("src/build/"), []);
  assertEquals(out("er/a.txt"), []);
  assertEquals(out("**/er/a.txt"), ["docs/deep/er/a.txt"]);
  assertEquals(out("**/build"), out("build"));
  assertEquals(out("docs/**/a.txt"), ["docs/a.txt", "docs/deep/er/a.txt"]);
  assertEquals(out("docs/**/**/a.txt"), ["docs/a.txt", "docs/deep/er/a.txt"]);
  assertEquals(out("docs/**"), ["docs/a.txt", "docs/build/y", "docs/deep/er/a.txt"]);
  assertEquals(out("src/**/"), ["src/node_modules/n/index.js", "src/deep/er/est/a.ts"]);
  assertEquals(out("*/er"), []);
  assertEquals(out("*/deep/er"), ["docs/deep/er/a.txt", "src/deep/er/est/a.ts"]);
  assertEquals(out("*/*.txt"), ["docs/a.txt"]);
  assertEquals(out("**"), tree);
  assertEquals(out("/*.log", "**/x.log"), ["a.log", "build/sub/x.log"]);
});

Deno.test("the directory of `docs/**` is there, and the tree itself is never left out", () => {
  const top = exclusionOf(["docs/**", "*"]);
  assert(!top.excludes(null, true));
  assertEquals(top.enter(null), top);
  assert(!exclusionOf(["docs/**"]).excludes("docs", true));
  assert(exclusionOf(["docs/**"]).enter("docs").excludes(".x", false));
});

Deno.test("names whose bytes are no UTF-8 are matched byte by byte", () => {
  const name = decodeName(new Uint8Array([0x66, 0xff, 0x2e, 0x6f]));
  for (const pattern of ["*.o", "f?.o", name, "f*"]) assert(exclusionOf([pattern]).excludes(name, false), pattern);
  for (const pattern of ["f??.o", "f.o", "g*"]) assert(!exclusionOf([pattern]).excludes(name, false), pattern);
  assert(exclusionOf(["\\*\\!"]).excludes("*!", false));
  assert(exclusionOf(["\\!x"]).excludes("!x", false));
});

Deno.test("a pattern with many stars takes no longer than its length times that of a name", () => {
  const name = "a".repeat(3000);
  assert(!exclusionOf(["*a".repeat(300) + "b"]).excludes(name, false));
  assert(exclusionOf(["*a".repeat(300)]).excludes(name, false));
  let at = exclusionOf([`${"**/a/".repeat(300)}b`]);
  for (let i = 0; i < 64; i++) at = at.enter("a");
  assert(!at.excludes("c", false));
});

Deno.test("what are no patterns is refused in words", () => {
  // deno-lint-ignore no-explicit-any
  const bad: [new (...args: any[]) => Error, string, unknown[]][] = [
    [TypeError, "must be an array of patterns", [5, null, {}, true, () => [], new Set(["a"])]],
    [TypeError, "write it in `[]`", ["*.log"]],
    [TypeError, "must hold patterns, which are texts", [[""], [5], ["a", undefined], [null], [/x/], [["a"]]]],
    [TypeError, "it names the tree itself, or nothing", [["/"], ["."], ["./"], ["//"]]],
    [TypeError, "`..` is no name in a tree", [["../x"], ["a/../b"], [".."]]],
    [TypeError, "cannot be taken in again", [["!a"], ["*", "!keep"]]],
    [TypeError, "no name holds a NUL", [["a\0"]]],
    [RangeError, "4096 at most", [["a".repeat(4097)]]],
    [RangeError, "more than 1024 patterns", [Array(1025).fill("a"), ["{a,b}".repeat(10), "c"]]],
    [RangeError, "Cannot expand glob", [["{a,b}".repeat(11)]]],
  ];
  for (const [type, text, values] of bad) {
    for (const value of values) {
      const error = assertThrows(() => exclusionOf(value));
      assertInstanceOf(error, type, Deno.inspect(value));
      assertStringIncludes(error.message, text);
      assert(error.message.startsWith("Cannot ") && !error.message.endsWith("."), error.message);
    }
  }
  for (const good of [undefined, [], ["a".repeat(4096)], Array(1024).fill("a"), ["{a,b}".repeat(10)]]) {
    exclusionOf(good);
  }
});
