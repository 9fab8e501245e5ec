import { assert, assertEquals, assertThrows } from "@std/assert";
import { componentMatcher, expandBraces, expandGlob, isGlob } from "../../lib/sftp/glob.ts";

Deno.test("expandBraces() expands what a shell expands", () => {
  for (
    const [pattern, expected] of [
      ["a", ["a"]],
      ["a{b,c}d", ["abd", "acd"]],
      ["{a,b{c,d}}e", ["ae", "bce", "bde"]],
      ["{a}{b,}", ["{a}b", "{a}"]],
      ["{a", ["{a"]],
      ["a}", ["a}"]],
      ["\\{a,b}", ["\\{a,b}"]],
    ] as const
  ) assertEquals(expandBraces(pattern), [...expected], pattern);
  assertThrows(() => expandBraces("{a,b}".repeat(20)), RangeError);
});

Deno.test("componentMatcher() matches single names", () => {
  const yes = [
    ["*", "a"],
    ["*.ts", "x.ts"],
    ["?", "é"],
    ["?", "😀"],
    ["[a-c]x", "bx"],
    ["[!a]", "b"],
    ["a.b", "a.b"],
    [".*", ".x"],
    ["\\*", "*"],
    ["[", "["],
    ["*", "a\nb"],
    ["?", "\udce9"],
  ];
  const no = [["*", ".x"], ["*.ts", "xts"], ["?", "ab"], ["[a-c]", "d"], ["[!a]", "a"], ["a.b", "axb"], ["\\*", "a"], [
    "?x",
    ".x",
  ]];
  for (const [pattern, name] of yes) assert(componentMatcher(pattern!)(name!), `${pattern} ${name}`);
  for (const [pattern, name] of no) assert(!componentMatcher(pattern!)(name!), `${pattern} ${name}`);
  assert(isGlob("a*") && isGlob("a{b,c}") && !isGlob("a/b"));
});

Deno.test("expandGlob() walks a tree, each path once, and not below what does not match", async () => {
  const tree: Record<string, { name: string; isDirectory: boolean }[]> = {
    "/": [{ name: "src", isDirectory: true }, { name: "x.ts", isDirectory: false }, {
      name: ".git",
      isDirectory: true,
    }],
    "/src": [{ name: "a.ts", isDirectory: false }, { name: "deep", isDirectory: true }],
    "/src/deep": [{ name: "b.ts", isDirectory: false }, { name: "c.js", isDirectory: false }],
    "/.git": [{ name: "c.ts", isDirectory: false }],
  };
  const listed: string[] = [];
  const glob = (pattern: string): Promise<string[]> =>
    Array.fromAsync(expandGlob({
      list: (path) => {
        listed.push(path);
        return Promise.resolve(tree[path] ?? []);
      },
      exists: (path) => Promise.resolve(path in tree || path === "/src/a.ts"),
    }, pattern));
  assertEquals(await glob("/*.ts"), ["/x.ts"]);
  assertEquals(await glob("/**/*.ts"), ["/x.ts", "/src/a.ts", "/src/deep/b.ts"]);
  assertEquals(await glob("/src/**"), ["/src/a.ts", "/src/deep", "/src/deep/b.ts", "/src/deep/c.js"]);
  assertEquals(await glob("/{src,src}/*.ts"), ["/src/a.ts"]);
  assertEquals(await glob("/.git/*"), ["/.git/c.ts"]);
  assertEquals(await glob("/s*/a.ts"), ["/src/a.ts"]);
  assertEquals(await glob("/none/*"), []);
  listed.length = 0;
  await glob("/src/*.ts");
  assertEquals(listed, ["/src"]);
});
