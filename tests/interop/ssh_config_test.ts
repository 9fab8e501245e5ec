/** ssh_config as `ssh -G` reads it, field by field. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SshConfigError } from "../../lib/config/config_error.ts";
import { complete, shown } from "../../lib/config/complete.ts";
import { evaluate } from "../../lib/config/evaluate.ts";
import { denoSystem } from "../../lib/api/config/deno_system.ts";
import { openSsh10, peerTest } from "../_support/peers.ts";
import { cases, included, refused, type SshConfigCase } from "./_ssh_configs.ts";

type Values = ReadonlyMap<string, readonly string[]>;

async function ours(path: string, alias: string): Promise<Values> {
  const context = { system: denoSystem, exec: true, notice: () => {} };
  const found = await evaluate([{ path, isUser: true }], { alias }, context, new Map());
  return shown(await complete(found, denoSystem));
}

/** What `ssh -G` prints; null where it refuses the configuration. */
async function theirs(ssh: string, path: string, alias: string): Promise<Values | null> {
  const command = new Deno.Command(ssh, { args: ["-F", path, "-G", alias], stdin: "null", stderr: "null" });
  const { success, stdout } = await command.output();
  if (!success) return null;
  const values = new Map<string, string[]>();
  for (const line of new TextDecoder().decode(stdout).split("\n")) {
    const [, name, value] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (name !== undefined) values.set(name.toLowerCase(), [...values.get(name.toLowerCase()) ?? [], value!]);
  }
  return values;
}

/** Runs `act` for all items, a few at a time. */
async function each<T>(items: readonly T[], act: (item: T, i: number) => Promise<void>): Promise<void> {
  const queue = [...items.entries()];
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let next; (next = queue.shift()) !== undefined;) await act(next[1], next[0]);
  }));
}

async function compare(ssh: string, version: 9 | 10): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(included)) {
      await Deno.mkdir(`${dir}/${name.replace(/\/[^/]*$/, "")}`, { recursive: true });
      await Deno.writeTextFile(`${dir}/${name}`, text.replaceAll("DIR", dir), { mode: 0o644 });
    }
    const write = async (name: string, text: string): Promise<string> => {
      await Deno.writeTextFile(`${dir}/${name}`, text.replaceAll("DIR", dir), { mode: 0o644 });
      return `${dir}/${name}`;
    };
    const empty = await write("empty", "");
    // What is no line's doing: defaults, which have changed with the versions.
    const defaults = { theirs: (await theirs(ssh, empty, "web"))!, ours: await ours(empty, "web") };
    const differ = (name: string): boolean =>
      JSON.stringify(defaults.theirs.get(name)) !== JSON.stringify(defaults.ours.get(name));
    const names = [...new Set([...defaults.theirs.keys(), ...defaults.ours.keys()])];
    if (version === 10) assertEquals(names.filter(differ), [], "defaults");
    let compared = 0;
    await each(cases.filter(({ since = 9 }) => since <= version), async ({ text, alias = "web" }: SshConfigCase, i) => {
      const path = await write(`config${i}`, text);
      const them = await theirs(ssh, path, alias);
      assert(them !== null, `ssh refuses ${JSON.stringify(text)}`);
      const us = await ours(path, alias);
      for (const name of new Set([...them.keys(), ...us.keys()])) {
        // Lists that start from the defaults differ as those do, and a later version's %C knows the jump as well.
        const fromDefaults = differ(name) && !new RegExp(`^\\s*${name}\\s+[^-+^]`, "im").test(text);
        if (fromDefaults || name === "identityfile" && !/IdentityFile/.test(text)) continue;
        assertEquals(us.get(name), them.get(name), `${name} of ${JSON.stringify(text)}`);
        compared++;
      }
    });
    assert(compared > 60 * 80, String(compared));
    await each(version === 10 ? refused : [], async (text, i) => {
      const path = await write(`refused${i}`, `${text}\n`);
      assertEquals(await theirs(ssh, path, "web"), null, `ssh takes ${text}`);
      await assertRejects(() => ours(path, "web"), SshConfigError, "Cannot", `we take ${text}`);
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("there are sixty configurations and more to compare", () => {
  assert(cases.length >= 60 && new Set(cases.map(({ text }) => text)).size === cases.length, String(cases.length));
});

peerTest(
  ["openssh"],
  "each value of ssh_config is what ssh -G of OpenSSH 9.2 prints",
  () => compare("/usr/bin/ssh", 9),
);

peerTest(
  ["openssh10"],
  "each value of ssh_config is what ssh -G of OpenSSH 10 prints",
  () => compare(`${openSsh10()}/bin/ssh`, 10),
);
