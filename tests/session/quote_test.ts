/**
 * Words for a shell: what `quote()` makes comes back from real shells as it was, and a template takes a value only where quoting holds.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { sized } from "../_support/resources.ts";
import { commandLine, inDirectory, quote, type ShellValue } from "../../lib/session/quote.ts";

function existing(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function line(strings: TemplateStringsArray, ...values: ShellValue[]): string {
  return commandLine(strings, values);
}

const alphabet = [
  ..."'\"\\$`!#&|;<>(){}[]*?~=%^@:,.-+/ \t\n\ra0Z\u00e9\u{1f600}\u2028",
  "$(id)",
  "${x}",
  "''",
  "\\'",
  "EOF",
];

/** Words of a few characters each, those that shells care about before all. */
function words(count: number): string[] {
  let state = 12345;
  const next = (below: number): number => (state = (state * 1103515245 + 12345) >>> 0) % 65_536 % below;
  return Array.from(
    { length: count },
    () => Array.from({ length: next(9) }, () => alphabet[next(alphabet.length)]!).join(""),
  );
}

const shells = ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/zsh", "/bin/busybox"];

/** Words that each shell is given; 10^5 of them in the long run. */
const COUNT = sized(10_000, 100_000);

/** Runs a line by a shell; gives the bytes that it writes. */
async function by(shell: string, line: string): Promise<string> {
  const args = [...shell.endsWith("busybox") ? ["sh"] : [], "-s"];
  // By its input, as a line is no longer than 128 KiB.
  const child = new Deno.Command(shell, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const writing = writer.write(new TextEncoder().encode(line)).then(() => writer.close());
  const { stdout, stderr } = await child.output();
  await writing;
  assertEquals(new TextDecoder().decode(stderr), "");
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(stdout);
}

for (const shell of shells) {
  const there = existing(shell);
  Deno.test({
    name: `${shell} gives back ${COUNT} random words as quote() got them${there ? "" : " (it is not installed)"}`,
    ignore: !there && Deno.env.get("CI") !== "true",
    fn: async () => {
      const given = ["", "-n", "--", "if", "time", "~", "=ls", "\ufeff", "{a,b}", "!!", "%1", ...words(COUNT)];
      let line = "";
      for (let i = 0; i < given.length; i += 2_000) line += `printf '%s\\0' ${quote(given.slice(i, i + 2_000))}\n`;
      assertEquals((await by(shell, line)).split("\0").slice(0, -1).join("\0"), given.join("\0"));
    },
  });
}

Deno.test("a template gives every kind of value to a command as it is, and runs nothing that is not written in it", async () => {
  const odd = [
    "",
    "-rf",
    "--",
    "a\nb\n",
    "it's",
    '"',
    "$(echo ran)",
    "`echo ran`",
    "; echo ran",
    "\\",
    "*",
    "~",
    "f\u00fcr \u{1f600}",
  ];
  const values: readonly ShellValue[] = [...odd, odd, [], 0, -1.5, 1e21, NaN, [1, "b"]];
  const shown = (value: ShellValue): string => [value].flat().map((one) => `${one}\0`).join("");
  for (const shell of shells.filter(existing)) {
    let all = "";
    for (const value of values) all += `${line`f ${value}`}\n`;
    const f = `f() { for word; do printf '%s\\0' "$word"; done; }\n`;
    assertEquals(await by(shell, f + all), values.map(shown).join(""), shell);
  }
  // Half of a character pair is none that UTF-8 can hold: it goes as any text does.
  assertEquals(await by("/bin/sh", line`printf %s ${"a\ud800b"}`), "a\ufffdb");
  for (const value of ["a\0b", ["a\0"], null, undefined, {}, true, 5n, [[1]], Symbol("x")]) {
    assertThrows(() => line`f ${value as string}`, TypeError, "for a shell");
  }
});

Deno.test("quote() makes one word of a text, a number or an empty text, and as many of an array as it has", () => {
  assertEquals(quote("it's"), "'it'\\''s'");
  assertEquals(quote(""), "''");
  assertEquals(quote(2), "'2'");
  assertEquals(quote(["a b", 3]), "'a b' '3'");
  assertEquals(quote([]), "");
});

Deno.test("quote() refuses a NUL, and what is neither text nor number", () => {
  for (const value of [undefined, null, true, {}, new Uint8Array(2), Symbol("x"), [["a"]], [null], 1n]) {
    assertThrows(() => quote(value as string), TypeError, "for a shell: it must be a text, a number, or an array");
  }
  for (const value of ["a\0b", ["a", "\0"]]) assertThrows(() => quote(value), TypeError, "NUL");
});

Deno.test("a template takes values wherever a word can stand", () => {
  const v = "$(id)";
  assertEquals(line`tar xf ${v} -C ${"a b"}`, "tar xf '$(id)' -C 'a b'");
  assertEquals(line`x --dir=${v}${v}/y`, "x --dir='$(id)''$(id)'/y");
  assertEquals(line`echo "done" 'and' \\" ${v} "more"`, `echo "done" 'and' \\" '$(id)' "more"`);
  assertEquals(
    line`a $HOME "$x" < ${v} > ${v} | (cat; ${["b", "c"]})`,
    `a $HOME "$x" < '$(id)' > '$(id)' | (cat; 'b' 'c')`,
  );
  assertEquals(
    line`a "$(date +%s)" "\${HOME}/x" \${HOME} a#b $# ${v}`,
    `a "$(date +%s)" "\${HOME}/x" \${HOME} a#b $# '$(id)'`,
  );
  assertEquals(line`x $(cat ${v}) ${v}`, "x $(cat '$(id)') '$(id)'");
  assertEquals(line`echo 'it\\' "a'b" ${v}`, `echo 'it\\' "a'b" '$(id)'`);
  assertEquals(line`no values`, "no values");
});

Deno.test("a template refuses a value where quotes would not hold: nothing runs that was not written", () => {
  const v = "$(id)";
  for (
    const [make, words] of [
      [() => line`echo "${v}"`, 'value 1 stands between "…"'],
      [() => line`echo ${v} '${v}'`, "value 2 stands between '…'"],
      [() => line`echo \`cat ${v}\``, "behind a backquote"],
      [() => line`echo "$(cat ${v})"`, "in or behind `$(`"],
      [() => line`echo "$(cat "${v}")"`, "in or behind `$(`"],
      [() => line`echo "$(echo ")" "${v}")"`, "in or behind `$(`"],
      [() => line`echo "$(case x in a) echo "${v}";; esac)"`, "in or behind `$(`"],
      [() => line`echo "\`cat "${v}"\`"`, "behind a backquote"],
      [() => line`echo ${"a"} "\${x:-"${v}"}"`, "value 2 stands in or behind `${`"],
      [() => line`echo \${x:-${v}}`, "in or behind `${`"],
      [() => line`echo $'\\'${v}'`, "behind `$'`"],
      [() => line`echo $((${v}))`, "behind `((`"],
      [() => line`(( x = ${v} ))`, "behind `((`"],
      [() => line`# it's here\necho 'x ${v}'`, "in or behind a comment"],
      [() => line`true;# ${v}`, "in or behind a comment"],
      [() => line`echo $${v}`, "behind a `$`"],
      [() => line`echo \\${v}`, "behind a backslash"],
      [() => line`cat <<EOF\n${v}\nEOF`, "behind `<<`"],
      [() => line`cat <<-'EOF'\n${v}\nEOF`, "behind `<<`"],
      [() => line`cat <<< ${v}`, "behind `<<`"],
      [() => line`echo "it's ${v}"`, 'between "…"'],
      [() => line`echo $'it\\'s' ${v}`, "behind `$'`"],
    ] as const
  ) assertThrows(make, TypeError, words, words);
  assertThrows(() => line`echo \u{zz} ${v}`, TypeError, "an escape that is none");
});

Deno.test("a directory is neither an option, nor a word of `cd`, nor looked for in CDPATH, and nothing runs where it is not there", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    for (const name of ["-", "-P", "it's $HOME", "~", "sub"]) await Deno.mkdir(`${dir}/${name}`);
    await Deno.mkdir(`${dir}/elsewhere/sub`, { recursive: true });
    const run = async (cwd: string): Promise<[string, number]> => {
      const { stdout, code } = await new Deno.Command("/bin/sh", {
        args: ["-c", inDirectory(cwd, "false; pwd")],
        cwd: dir,
        env: { CDPATH: `${dir}/elsewhere`, OLDPWD: "/" },
        stderr: "null",
      }).output();
      return [new TextDecoder().decode(stdout), code];
    };
    for (const name of ["-", "-P", "it's $HOME", "~", "sub"]) assertEquals(await run(name), [`${dir}/${name}\n`, 0]);
    assertEquals(await run(`${dir}/sub`), [`${dir}/sub\n`, 0]);
    const [nothing, code] = await run("missing");
    assertEquals([nothing, code === 0], ["", false]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
