/**
 * `ssh-keygen -F`, `-R` and `-H`, and the functions that do the same here, over files of every kind.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { hostHash } from "../../lib/keys/trust/host_hash.ts";
import { lookupName } from "../../lib/keys/trust/host_patterns.ts";
import { lineFields } from "../../lib/keys/trust/known_hosts_lines.ts";
import { findKnownHost, hashKnownHosts, removeKnownHost } from "../../lib/keys/trust/known_hosts_files.ts";
import { openSsh10, peerTest } from "../_support/peers.ts";
import { knownHostsFiles } from "./_known_hosts_files.ts";

const keygens = { openssh: "/usr/bin/ssh-keygen", openssh10: `${openSsh10()}/bin/ssh-keygen` } as const;

/**
 * For each NUMBER.name beside its NUMBER.in: what -F writes into NUMBER.find; NUMBER.remove, which is the same file, after -R, and NUMBER.hash
 * after -H. From both it takes the lines that ssh-keygen cannot read, which would keep it from changing anything: NUMBER.bad is a script for sed.
 * Each word more that starts a program costs milliseconds, and there are hundreds of them.
 */
const script = `
cd "$2"
for name in *.name; do
  n=\${name%.name}; host=$(<$name)
  "$1" -F "$host" -f $n.in >$n.find 2>/dev/null
  if ! "$1" -R "$host" -f $n.remove >$n.said 2>&1 && [[ $(<$n.said) = *"invalid line"* ]]; then
    sed -n 's/.*:\\([0-9]*\\): invalid line.*/\\1d/p' $n.said >$n.bad
    sed -i -f $n.bad $n.remove $n.hash
    "$1" -R "$host" -f $n.remove >$n.said 2>&1
  fi
  "$1" -H -f $n.hash >>$n.said 2>&1
done; true`;

/** Each byte a character. */
const text = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** What -F says, taken apart. */
function found(said: string): { line: number; marker: string; text: string }[] {
  return [...said.matchAll(/^# Host [^\n]* found: line (\d+) ([A-Z]*)\n([^\n]*)\n/gm)].map((
    [, line, marker, text],
  ) => ({
    line: Number(line),
    marker: { CA: "cert-authority", REVOKED: "revoked" }[marker!] ?? "host",
    text: text!.replace(/\r$/, ""),
  }));
}

/** Hashes are different each time: those of the names that the file before has are shown as these names. */
function unhashed(after: string, before: string): string {
  const utf8 = new TextDecoder().decode(Uint8Array.from(before, (character) => character.charCodeAt(0)));
  const names = utf8.split("\n").flatMap((line) => lineFields(line)?.names.toLowerCase().split(",") ?? []);
  return after.replaceAll(/^\|1\|(\S+)\|(\S+)/gm, (whole, salt, hash) => {
    const bytes = Uint8Array.fromBase64(salt);
    return names.find((name) => hostHash(bytes, name).toBase64() === hash) ?? whole;
  });
}

/** As ssh-keygen writes it: the last line has an end. */
const ended = (file: string) => file === "" || file.endsWith("\n") ? file : `${file}\n`;

for (const id of ["openssh", "openssh10"] as const) {
  peerTest(
    id,
    `${id}: ssh-keygen -F, -R and -H find, remove and hash the same lines of dozens of files`,
    async () => {
      const folder = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
      try {
        // Between the two versions nothing differs here: one of them shows it for all files, the other for each third.
        const files = knownHostsFiles().filter((_, i) => id === "openssh" || i % 3 === 0);
        assert(files.length > (id === "openssh" ? 60 : 20));
        for (const [n, { bytes, hostname, port }] of files.entries()) {
          for (const name of ["in", "remove", "hash"]) Deno.writeFileSync(`${folder}/${n}.${name}`, bytes);
          Deno.writeTextFileSync(`${folder}/${n}.bad`, "");
          Deno.writeTextFileSync(`${folder}/${n}.name`, lookupName(hostname, port));
        }
        const { success } = await new Deno.Command("bash", { args: ["-c", script, "bash", keygens[id], folder] })
          .output();
        assert(success);
        let changed = 0, hashed = 0;
        for (const [n, { hostname, port }] of files.entries()) {
          const path = `${folder}/${n}`, before = text(await Deno.readFile(`${path}.in`)), where = `${n}: ${before}`;
          const read = async (name: string) => text(await Deno.readFile(`${path}.${name}`));
          const bad = new Set((await read("bad")).split("\n").map((line) => Number.parseInt(line)));
          /** Without the lines that ssh-keygen cannot read, which stay here. */
          const readable = (file: string) => {
            const lines = new Set(before.split("\n").filter((_, i) => bad.has(i + 1)));
            return file.split("\n").filter((line) => !lines.has(line)).join("\n");
          };
          const file = `${path}.in`;
          const said = found(await read("find"));
          assertEquals(
            (await findKnownHost(hostname, { port, file })).map((line, i) => {
              // What is no UTF-8 is a character a byte already.
              const bytes = line.text === said[i]?.text ? line.text : text(new TextEncoder().encode(line.text));
              return { ...line, text: bytes };
            }),
            said,
            where,
          );
          const removed = await removeKnownHost(hostname, { port, file });
          const rest = text(await Deno.readFile(file));
          assertEquals(readable(removed.length > 0 ? rest : ended(rest)), ended(await read("remove")), where);
          changed += removed.length;
          await Deno.writeFile(file, Uint8Array.from(before, (character) => character.charCodeAt(0)));
          if (await hashKnownHosts({ file })) hashed++;
          const after = ended(text(await Deno.readFile(file)));
          // ssh-keygen loses the names behind an empty one.
          if (/^,|,,/m.test(before)) continue;
          assertEquals(unhashed(readable(after), before), unhashed(ended(await read("hash")), before), where);
        }
        assert(changed > files.length / 2 && hashed > files.length / 3, `${changed} ${hashed}`);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  );
}
