import { assert, assertEquals, assertFalse, assertStringIncludes } from "@std/assert";
import { matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import { authorizedLines, parseAuthorizedKeys } from "../../lib/keys/trust/authorized_keys.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { opensshKeys } from "../_support/key_vectors.ts";

const words = (i: number) => opensshKeys()[i]!.public.split(" ").slice(0, 2).join(" ");
const a = words(0), b = words(6), rsa = words(4);
const key = parsePublicKey(a);

Deno.test("parseAuthorizedKeys() reads keys, options and comments", () => {
  const { keys, rejected } = parseAuthorizedKeys(
    [
      "# comment",
      "",
      a,
      `  ${b}   me @ home  \r`,
      `restrict ${a} c`,
      `no-pty,command="echo \\"hi\\", \\there",No-X11-Forwarding\t${rsa}`,
      `environment="A=1",environment="B=2",permitopen="h:1",from="10.0.0.0/8,!10.1.*" ${a}`,
      `command="" ${a}`,
      `cert-authority,principals="a,b" ${a}`,
      `no-pty ${a} two\u2028lines`,
    ].join("\n"),
  );
  assertEquals(rejected, []);
  assertEquals(keys.map(({ line }) => line), [3, 4, 5, 6, 7, 8, 9, 10]);
  assertEquals(keys.map(({ comment }) => comment), ["", "me @ home", "c", "", "", "", "", "two\u2028lines"]);
  assertEquals(
    keys.map(({ options }) => options.map(({ name, value }) => value === null ? name : `${name}=${value}`)),
    [
      [],
      [],
      ["restrict"],
      ["no-pty", 'command=echo "hi", \\there', "no-x11-forwarding"],
      ["environment=A=1", "environment=B=2", "permitopen=h:1", "from=10.0.0.0/8,!10.1.*"],
      ["command="],
      ["cert-authority", "principals=a,b"],
      ["no-pty"],
    ],
  );
});

Deno.test("parseAuthorizedKeys() rejects a line with anything amiss, as a whole", () => {
  const base64 = a.split(" ")[1]!;
  const bad: [string, string][] = [
    [`ssh-rsa ${base64}`, "holds a key of type ssh-ed25519"],
    [`restrict ${base64}`, "no key follows"],
    [`restrict ${base64} ${a}`, ""],
    [base64, ""],
    [`restrict`, ""],
    [`restrict,${a}`, ""],
    [`frobnicate ${a}`, ""],
    [`frobnicate,restrict ${a}`, "an option"],
    [`restrict,frobnicate ${a}`, "an option"],
    [`frobnicate="x" ${a}`, "an option"],
    [`command ${a}`, ""],
    [`command=ls ${a}`, "not in quotes"],
    [`command="ls ${a}`, "a quote is not closed"],
    [`command="ls\\" ${a}`, "a quote is not closed"],
    [`command="ls"${a}`, "not followed"],
    [`command="ls"x ${a}`, "not followed"],
    [`command="a",command="b" ${a}`, "stands twice"],
    [`from="a",from="b" ${a}`, "stands twice"],
    [`restrict="yes" ${a}`, "an option"],
    [`restrict, ${a}`, "no name"],
    [`restrict ,no-pty ${a}`, ""],
    [`,restrict ${a}`, "no name"],
    [`="x" ${a}`, "no name"],
    [`restrict\u00a0${a}`, ""],
    [`restrict restrict ${a}`, ""],
    [`${a.replace(" ", "\u00a0")}`, ""],
    [`${a}!`, "base64"],
    [`${a.slice(0, -1)}`, "base64"],
    [`${a.slice(0, -4)}`, ""],
    [`restrict ${a}\r x`, "carriage return"],
    [`ssh-dss AAAAB3NzaC1kc3M=`, "not supported"],
    [`command="${"x".repeat(20_000)}" ${a}`, "longer than"],
    [`${"x".repeat(20_000)} ${a}`, "longer than"],
    [`${a} ${"x".repeat(20_000)}`, "longer than"],
    [`${"restrict,".repeat(500)}restrict x ${a}`, ""],
  ];
  for (const [line, reason] of bad) {
    const { keys, rejected } = parseAuthorizedKeys(line);
    const shown = line.slice(0, 80);
    assertEquals(keys, [], shown);
    assertEquals(rejected.length, 1, shown);
    assertStringIncludes(rejected[0]!.reason, reason, shown);
    assertFalse(rejected[0]!.reason.includes(base64), "the reason holds nothing of the line");
    assertEquals(matchAuthorizedKey(line, key), null, shown);
  }
  // Around them the good lines hold.
  const text = bad.map(([line]) => line).join("\n") + `\n${a}`;
  assertEquals(matchAuthorizedKey(text, key)?.line, bad.length + 1);
});

Deno.test("matchAuthorizedKey() gives the first line with this very key", () => {
  assertEquals(matchAuthorizedKey(`${b}\n${a} first\n${a} second`, key)?.comment, "first");
  assertEquals(matchAuthorizedKey(b, key), null);
  assertEquals(matchAuthorizedKey("", key), null);
  const many = `${b}\n`.repeat(2000) + a;
  assertEquals(matchAuthorizedKey(many, key)?.line, 2001);
});

Deno.test("matchAuthorizedKey() matches no line whose options nobody enforces", () => {
  const text = `no-pty,command="ls" ${a}\n${a} free`;
  assertEquals(matchAuthorizedKey(text, key, []), null);
  assertEquals(matchAuthorizedKey(text, key, ["command"]), null);
  const entry = matchAuthorizedKey(text, key, ["command", "no-pty", "restrict"]);
  assert(entry !== null);
  assertEquals(entry.options, [{ name: "no-pty", value: null }, { name: "command", value: "ls" }]);
  assertEquals(matchAuthorizedKey(`cert-authority ${a}`, key, ["cert-authority"]), null);
  assertEquals(matchAuthorizedKey(`cert-authority ${a}\n${a} plain`, key)?.comment, "plain");
});

Deno.test("authorizedLines() numbers the lines that hold a text as it does all of them, and passes over millions of others", () => {
  const text = "\none\n\n # one\r\nanother one\r\n\ntwo\none",
    lines = (wanted: string): (number | undefined)[] =>
      [...authorizedLines(text, {}, wanted)].map((one) => "reason" in one ? one.line : undefined);
  assertEquals([lines(""), lines("one"), lines("two"), lines("three")], [[2, 5, 7, 8], [2, 5, 8], [7], []]);
  assertEquals([...authorizedLines("\n".repeat(16_000_000), {}, "one")], []);
});
