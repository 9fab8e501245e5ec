/** Lines, words, places and patterns of ssh_config, by themselves. */
import { assertEquals, assertThrows } from "@std/assert";
import { SshConfigError } from "../../lib/config/config_error.ts";
import { parseDestination } from "../../lib/config/destinations.ts";
import { globPaths } from "../../lib/config/glob_paths.ts";
import { linesOf } from "../../lib/config/lines.ts";
import { plainAddress } from "../../lib/config/names.ts";
import { parsePort, parseSize, parseTime } from "../../lib/config/numbers.ts";
import { fitsList, fitsPattern } from "../../lib/config/patterns.ts";

Deno.test("linesOf() splits as a shell would, and knows comments, quotes and one =", () => {
  const words = (line: string): readonly string[] | null | undefined => linesOf(line, "f")[0]?.words;
  assertEquals(words("User a b"), ["a", "b"]);
  assertEquals(words("User=a"), ["a"]);
  assertEquals(words("User = =a"), ["=a"]);
  assertEquals(words(`User "a b"c 'd "e' f\\ g h\\"i "j\\\\k" #x`), ["a bc", 'd "e', "f g", 'h"i', "j\\k"]);
  assertEquals(words("User a#b # c"), ["a#b"]);
  assertEquals(words('User ""'), [""]);
  assertEquals(words('User "a'), null);
  assertEquals(words("User a\r"), ["a"]);
  assertEquals(words("  # User a"), undefined);
  assertEquals(words(" \t\f"), undefined);
  assertEquals(linesOf('"User" a\n=User a\n"" User a\n== a\n', "f").map(({ keyword }) => keyword), [
    "user",
    "user",
    "user",
  ]);
  assertThrows(() => linesOf("User", "f"), SshConfigError, "f:1: no argument");
  assertThrows(() => linesOf("\n\nUser a\0b", "f"), SshConfigError, "f:3: it has a zero byte");
});

Deno.test("patterns are as ssh has them, in time that their length does not multiply", () => {
  assertEquals(["a", "ab", "abc", ""].map((text) => fitsPattern(text, "a?*")), [false, true, true, false]);
  assertEquals([fitsList("a", "b,a"), fitsList("a", "*,!a"), fitsList("a", "!b"), fitsList("a", "")], [
    true,
    false,
    false,
    false,
  ]);
  assertEquals(fitsPattern("a".repeat(1000), "*a".repeat(1_000_000)), false);
});

Deno.test("numbers, times and ports are as ssh has them", () => {
  assertEquals(["90", "1h30m", "1w2d", "1h30", "", "m", "1x", "-1", "9".repeat(30)].map(parseTime), [
    ...[90, 5400, 777_600, 3630],
    ...[null, null, null, null, null],
  ]);
  assertEquals(["16", "1.5K", "1G", "1z", "", "G"].map(parseSize), [16, 1536, 2 ** 30, null, null, null]);
  assertEquals(["22", "0", "65535", "65536", "ssh", "constructor", "2 2"].map(parsePort), [
    ...[22, 0, 65535, null, 22, null, null],
  ]);
});

Deno.test("parseDestination() reads what people write", () => {
  const read = (text: string): unknown => {
    const found = parseDestination(text);
    return found && [found.username, found.host, found.port];
  };
  assertEquals(read("web"), [null, "web", null]);
  assertEquals(read("a@web:2222"), ["a", "web", 2222]);
  assertEquals(read("a@b@web"), ["a@b", "web", null]);
  assertEquals(read("[::1]:2222"), [null, "::1", 2222]);
  assertEquals(read("a@[fe80::1%eth0]"), ["a", "fe80::1%eth0", null]);
  assertEquals(read("::1"), [null, "::1", null]);
  assertEquals(read("ssh://a%40b@web:33/"), ["a@b", "web", 33]);
  assertEquals(read("ssh://a;fingerprint=x@web"), ["a", "web", null]);
  assertEquals(read("SSH://[::1]:22"), [null, "::1", 22]);
  for (
    const bad of [
      "",
      "@web",
      "web:",
      "web:0",
      "web:x",
      "web:70000",
      "[::1",
      "[::1]x",
      "a@",
      "ssh://",
      "ssh://a/b",
      "ssh://%@a",
      "ssh://@a",
    ]
  ) {
    assertEquals(read(bad), null, bad);
  }
});

Deno.test("plainAddress() knows every form of an address, and no name", () => {
  assertEquals(["127.1", "0x7f.1", "::0:1", "::ffff:1.2.3.4", "fe80::1%lo"].map(plainAddress), [
    ...["127.0.0.1", "127.0.0.1", "::1", "::ffff:1.2.3.4", "fe80::1%lo"],
  ]);
  assertEquals(["web", "1.2.3.4.5", "a.b", ":::", "1.2.3.x", "dead.beef", "256.1.1.1"].map(plainAddress), [
    ...[null, null, null, null, null, null, null],
  ]);
});

Deno.test("globPaths() finds what glob(7) does, in order, and nothing hidden", async () => {
  const files = ["/d/a.conf", "/d/b.conf", "/d/.c.conf", "/d/x/1", "/d/y/1", "/d/y/2", "/d/a[1]"];
  const find = async (pattern: string): Promise<readonly string[]> =>
    await globPaths(pattern, {
      async *list(folder): AsyncGenerator<string> {
        const prefix = folder === "/" ? "/" : `${folder}/`;
        const inside = files.filter((file) => file.startsWith(prefix)).map((file) => file.slice(prefix.length));
        yield* new Set(inside.map((file) => file.split("/")[0]!));
      },
      exists: (path) => Promise.resolve(files.some((file) => file === path || file.startsWith(`${path}/`))),
    });
  assertEquals(await find("/d/*.conf"), ["/d/a.conf", "/d/b.conf"]);
  assertEquals(await find("/d/.*.conf"), ["/d/.c.conf"]);
  assertEquals(await find("/*/[!y]/?"), ["/d/x/1"]);
  assertEquals(await find("/d/[x-y]/1"), ["/d/x/1", "/d/y/1"]);
  assertEquals(await find("/d/a\\[1\\]"), ["/d/a[1]"]);
  assertEquals(await find("/d/a.conf"), ["/d/a.conf"]);
  assertEquals(await find("/none/*"), []);
  assertEquals(await find(`/${"*a".repeat(5000)}`), []);
});
