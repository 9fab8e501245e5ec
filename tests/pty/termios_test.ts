/** Terminal modes of RFC 4254 section 8 on a real terminal, as `stty` of this machine reads them back. */
import { assert, assertEquals } from "@std/assert";
import { spawnPty } from "../../lib/pty/mod.ts";
import { applyModes, endOfInput, TERMIOS_BYTES } from "../../lib/pty/termios.ts";
import { TerminalModes } from "../../lib/session/terminal_modes.ts";

/** What `stty` calls a character that it calls otherwise. */
const charNames: Readonly<Record<string, string>> = { VREPRINT: "rprnt" };
/** What `stty` does not show, what is no mode of Linux, and what none of its pseudo-terminals has, as they have no line. */
const unseen = ["VDSUSP", "VSTATUS", "VFLUSH", "VSWTCH", "PENDIN", "ONOCR", "ONLRET", "CS7", "CS8", "PARENB"];

async function stty(modes: Record<string, number>): Promise<string> {
  await using process = spawnPty("stty", { args: ["-a"], modes });
  return (await new Response(process.stdout).text()).replace(/\s+/g, " ").toLowerCase();
}

Deno.test({
  name: "a terminal gets the modes that a client names: every flag on and off, every character, sizes and speeds",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const names = Object.keys(TerminalModes).filter((name) => !unseen.includes(name) && !name.startsWith("TTY_OP"));
    const flags = names.filter((name) => !name.startsWith("V")), chars = names.filter((name) => name.startsWith("V"));
    assertEquals([flags.length, chars.length], [30, 14]);
    for (const on of [0, 1]) {
      const code = (i: number) => on === 1 ? 255 : i + 1;
      const said = await stty({
        ...Object.fromEntries(flags.map((name) => [name, on * 7])),
        ...Object.fromEntries(chars.map((name, i) => [name, code(i)])),
        ...on === 1 ? { CS7: 1, CS8: 0, TTY_OP_OSPEED: 115_200 } : { CS8: 1, TTY_OP_OSPEED: 50, TTY_OP_ISPEED: 9600 },
        VSTATUS: 9,
        NOPE: 1,
      });
      for (const name of flags) {
        assert(said.includes(` ${on === 1 ? "" : "-"}${name.toLowerCase()}`), `${name}: ${said}`);
      }
      for (const [i, name] of chars.entries()) {
        const shown = on === 1 ? "<undef>" : `^${String.fromCharCode(97 + i)}`;
        const called = charNames[name] ?? name.slice(1).toLowerCase();
        assert(said.includes(`${called} = ${shown};`), `${called} = ${shown}: ${said}`);
      }
      assert(said.startsWith(`speed ${on === 1 ? 115_200 : 50} baud;`), said);
      assert(said.includes(" cs8 "), said);
    }
    // What makes no sense to this system changes nothing.
    const plain = await stty({}), odd = await stty({ TTY_OP_OSPEED: 12_345, CS7: 0, VFLUSH: 3 });
    assertEquals(odd, plain);
  },
});

Deno.test("endOfInput() is VEOF where lines are edited, and null where they are not or it has none", () => {
  const termios = new Uint8Array(TERMIOS_BYTES);
  assertEquals(endOfInput(termios), null);
  applyModes(termios, { ICANON: 1 });
  assertEquals(endOfInput(termios), null);
  applyModes(termios, { VEOF: 4 });
  assertEquals(endOfInput(termios), 4);
  applyModes(termios, { VEOF: 256 + 255 });
  assertEquals(endOfInput(termios), 255);
  applyModes(termios, { VEOF: 255 });
  assertEquals(endOfInput(termios), null);
  applyModes(termios, { VEOF: 4, ICANON: 0 });
  assertEquals(endOfInput(termios), null);
});
