import { assert, assertEquals, assertThrows } from "@std/assert";
import { componentMatcher, expandBraces, expandGlob, isGlob } from "../../lib/files/glob.ts";
import { fastest } from "../_support/until.ts";
import { dice } from "../_support/sftp_peers.ts";

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
      ["{a{b,c}}", ["{ab}", "{ac}"]],
      ["{x{a,b}", ["{xa", "{xb"]],
      ["{a,b{c,d}", ["{a,bc", "{a,bd"]],
      ["{,{,{,x}}}", ["", "", "", "x"]],
      ["a,b", ["a,b"]],
      ["\\", ["\\"]],
      ["", [""]],
    ] as const
  ) assertEquals(expandBraces(pattern), [...expected], pattern);
  assertEquals(expandBraces("{a,b}".repeat(10)).length, 1024);
  assertEquals(expandBraces(`{${"some/path,".repeat(1000)}x}`).length, 1001);
});

Deno.test("expandBraces() says that a pattern stands for too much, in no time", async () => {
  for (
    const pattern of [
      "{a,b}".repeat(11),
      "{a,b}".repeat(50_000),
      `{${"a,".repeat(2000)}}`,
      "{a,b}".repeat(10) + "{x}".repeat(80_000),
      "{,".repeat(80_000) + "}".repeat(80_000),
      "{a,b,".repeat(50_000),
      "{".repeat(250_000),
    ]
  ) {
    const expand = () =>
      assertThrows(() => expandBraces(pattern), RangeError, "Cannot expand glob: its braces stand for ");
    // Some 100 ms for the longest. What grows with the square of the length, or worse, takes minutes.
    const time = await fastest(5000, expand);
    assert(time < 5000, `${pattern.slice(0, 20)}: ${time} ms`);
  }
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

Deno.test("componentMatcher() reads sets as a shell does", () => {
  for (
    const [pattern, yes, no] of [
      ["[]a]", "]a", "[b"],
      ["[!]a]", "bc", "]a"],
      ["[^a]", "b", "a"],
      ["[a-]", "a-", "b"],
      ["[-a]", "-a", "b"],
      ["[z-a]", "", "azm-"],
      ["[!z-a]", "azm-", ""],
      ["[a\\-z]", "a-z", "bm\\"],
      ["[\\]]", "]", "\\a"],
      ["[[:digit:]x]", "07x", "a:[d"],
      ["[![:alpha:]]", "1_", "aZé"],
      ["[[:upper:][:space:]]", "A ", "a1"],
      ["[[:nothing:]]", "", "anothig:["],
      ["[[:digit]", "[:digt", "x"],
      ["[.]", "", "."],
      ["[é-ü]", "éöü", "ae"],
      ["[😀-😂]", "😁", "😃\ud83d\ude00"],
      ["[\udc80-\udc8f]", "\udc85", "\udc90a"],
      ["[$^.*+(){}|\\\\]", "$^*+(){}|\\", "a"],
    ] as const
  ) {
    const matches = componentMatcher(pattern);
    for (const c of yes) assert(matches(c), `${pattern} ${c}`);
    for (const c of no) assert(pattern.includes("😀") && c === "😀" || !matches(c), `${pattern} ${c}`);
  }
  // Without an end it stands for itself, and so does what is behind it.
  assert(componentMatcher("[a*")("[abc") && !componentMatcher("[a*")("a"));
});

Deno.test("componentMatcher() takes a pair of surrogates, or one that stands alone, for one character", () => {
  for (
    const [pattern, name, expected] of [
      ["?", "😀", true],
      ["??", "😀", false],
      ["?", "\udc80", true],
      ["??", "\udc80\udcff", true],
      ["?", "\udc80\udcff", false],
      ["*\ude00", "😀", false],
      ["\ud83d*", "😀", false],
      ["*?", "😀", true],
      ["*??", "😀", false],
      ["*a", "😀\udcffa", true],
      ["*\udcff*", "x\udcff", true],
    ] as const
  ) assertEquals(componentMatcher(pattern)(name), expected, `${pattern} ${name}`);
});

Deno.test("componentMatcher() agrees with a regular expression", () => {
  const random = dice(3), letters = ["a", "b", "😀", "\udc80"];
  for (let i = 0; i < 20_000; i++) {
    const parts = Array.from({ length: random(7) }, () => [...letters, "*", "?", "[ab]", "[!a]"][random(8)]!);
    const name = Array.from({ length: random(8) }, () => letters[random(4)]).join("");
    const source = parts.map((part) => part === "*" ? "[^]*" : part === "?" ? "[^]" : part.replace("!", "^")).join("");
    assertEquals(componentMatcher(parts.join(""))(name), new RegExp(`^${source}$`, "u").test(name), `${parts} ${name}`);
  }
});

Deno.test("componentMatcher() takes no more time for many stars than for one", async () => {
  const time = await fastest(5000, () => {
    for (
      const pattern of ["*a".repeat(60) + "*b", "*?a".repeat(60) + "b", "*[a]".repeat(60) + "b", "*".repeat(250) + "b"]
    ) {
      assert(!componentMatcher(pattern)("a".repeat(255)));
    }
    componentMatcher("[".repeat(100_000))("a");
    componentMatcher("[[:".repeat(50_000))("a");
    componentMatcher(`${"[a".repeat(50_000)}\\]`)("a");
  });
  // Some 50 ms; with a number of ways that grows with the stars it does not end.
  assert(time < 5000, `${time} ms`);
});

Deno.test("expandGlob() lists each directory once, whatever the pattern", async () => {
  const listed: string[] = [];
  const tree = {
    async *list(path: string) {
      listed.push(path);
      if (path.split("/").length < 5) { for (const name of ["a", "b"]) yield { name, isDirectory: true }; }
      yield { name: "x.ts", isDirectory: false };
    },
    exists: (path: string) => Promise.resolve(path.endsWith("/x.ts") && path.split("/").length <= 6),
  };
  for (
    const [pattern, count] of [
      ["/**/*.ts", 31],
      ["/**/**/**/**/*.ts", 31],
      ["/**/*.{ts,js,md}", 31],
      ["/{**,**/**,a/**,b/**}/x.*", 31],
      ["/**/a/**/b/**/x.ts", 16],
      ["/**/x.ts", 31],
      ["/**", 61],
    ] as const
  ) {
    listed.length = 0;
    const found = await Array.fromAsync(expandGlob(tree, pattern));
    assertEquals(new Set(listed).size, listed.length, pattern);
    assertEquals(new Set(found).size, found.length, pattern);
    assertEquals(found.length, count, pattern);
  }
  listed.length = 0;
  assertEquals(await Array.fromAsync(expandGlob(tree, "/{a,b}/x.ts")), ["/a/x.ts", "/b/x.ts"]);
  assertEquals(await Array.fromAsync(expandGlob(tree, "/\\a/{x.ts,c[}")), ["/a/x.ts"]);
  // What stands for one name only is not looked for.
  assertEquals(listed, []);
});

Deno.test("expandGlob() goes on when it is asked to, and tells of what it compares", async () => {
  let compared = 0, listed = 0;
  const tree = {
    list: () => Promise.resolve((listed++, [{ name: "d", isDirectory: true }, { name: "e", isDirectory: false }])),
    exists: () => Promise.resolve(false),
    look: (comparisons: number) => void (compared += comparisons),
  };
  const paths = expandGlob(tree, "/**");
  assertEquals((await paths.next()).value, "/d");
  assertEquals([listed, compared], [1, 2]);
  await paths.next();
  assertEquals((await paths.next()).value, "/d/d");
  assertEquals([listed, compared], [2, 4]);
  await paths.return(undefined);
  // It does not go deeper than anything else here.
  assertEquals((await Array.fromAsync(expandGlob(tree, "/**"))).length, 128);
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
