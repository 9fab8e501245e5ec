import { assertEquals, assertThrows } from "@std/assert";
import { checkCommand, expandCommand } from "../../lib/proxy/command.ts";

const tokens = { hostname: "host", port: 2222, username: "me" };

Deno.test("expandCommand() puts host, port and user into the words", () => {
  assertEquals(expandCommand(["nc", "%h", "%p"], tokens), ["nc", "host", "2222"]);
  assertEquals(expandCommand(["ssh", "-W%h:%p", "%r@x", "100%%", "%%h", ""], tokens), [
    "ssh",
    "-Whost:2222",
    "me@x",
    "100%",
    "%h",
    "",
  ]);
  // What is put in is not looked through again.
  assertEquals(expandCommand(["x", "%h"], { ...tokens, hostname: "%p" }), ["x", "%p"]);
});

Deno.test("expandCommand() lets no host or user be taken for an option", () => {
  assertThrows(() => expandCommand(["nc", "%h"], { ...tokens, hostname: "-e/bin/sh" }), TypeError, 'begins with "-"');
  assertThrows(() => expandCommand(["ssh", "%r@x"], { ...tokens, username: "-oX" }), TypeError, "`username`");
  assertEquals(expandCommand(["x", "a%h"], { ...tokens, hostname: "-b" }), ["x", "a-b"]);
});

Deno.test("checkCommand() wants words without unknown tokens", () => {
  checkCommand(["nc"]);
  for (
    const [value, words] of [
      ["nc %h %p", "no shell"],
      [5, "a number"],
      [[], "no program"],
      [["", "x"], "no program"],
      [["nc", 5], "no word"],
      [["nc", "a\0b"], "zero bytes"],
      [["nc", "%d"], '"%d"'],
      [["nc", "50%"], "end of a word"],
      [["nc", "%%%"], "end of a word"],
    ] as const
  ) {
    assertThrows(() => checkCommand(value), TypeError, words);
  }
});
