/**
 * Files of known_hosts that are changed: what is meant, and nothing else.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { HostKeyError } from "../../lib/errors.ts";
import { certifiedKeyFromText } from "../../lib/keys/certificate.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { appendTo, mayRewrite, rewrite, writeWhole } from "../../lib/keys/changed_file.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { addition, linesFor, withHashedNames, withoutHost } from "../../lib/keys/trust/known_hosts_edit.ts";
import {
  findKnownHost,
  hashKnownHosts,
  removeKnownHost,
  replaceKnownHost,
} from "../../lib/keys/trust/known_hosts_files.ts";
import { certificates } from "../_support/certificates.ts";
import { opensshKeys, utf8 } from "../_support/key_vectors.ts";
import { Prng } from "../_support/fuzz.ts";

const line = (i: number) => opensshKeys()[i]!.public.split(" ").slice(0, 2).join(" ");
const [a, b, c] = [6, 7, 1].map(line) as [string, string, string];
const key = (text: string) => parsePublicKey(text);
const host = { hostname: "host", port: 22 };

async function inFolder(action: (folder: string, file: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    await action(folder, `${folder}/known_hosts`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("knownHosts({ acceptNew }) adds a host hashed or plain, and with the ends of lines, as the file's others are", () =>
  inFolder(async (folder, file) => {
    const hashed = /^\|1\|[^|]+=\|[^|]+= /;
    const cases: [before: string, isHashed: boolean, start?: string, end?: string, hash?: boolean][] = [
      ["", false],
      ["", true, "", "\n", true],
      [`other ${a}\n`, false],
      [`|1|AAECAwQFBgcICQoLDA0ODxAREhM=|AAECAwQFBgcICQoLDA0ODxAREhM= ${a}\n`, true],
      [`|1|AAECAwQFBgcICQoLDA0ODxAREhM=|AAECAwQFBgcICQoLDA0ODxAREhM= ${a}\n`, false, "", "\n", false],
      [
        `# comment\n@cert-authority * ${a}\n*.example ${a}\n|1|AAECAwQFBgcICQoLDA0ODxAREhM=|AAECAwQFBgcICQoLDA0ODxAREhM= ${a}`,
        true,
        "\n",
      ],
      [`|1|AAECAwQFBgcICQoLDA0ODxAREhM=|AAECAwQFBgcICQoLDA0ODxAREhM= ${a}\nx ${a}\ny ${b}\n`, false],
      [`other ${a}`, false, "\n"],
      [`other ${a}\r\n`, false, "", "\r\n"],
      [`other ${a}\r\nmore ${a}`, false, "\r\n", "\r\n"],
      [`other ${a}\r`, false, "\n"],
      [`other ${a}\r\nlast ${b}\n`, false],
      ["no line of known_hosts \0 at all\n\n\n", false],
      [`\ufeffother ${a}\n`, false],
    ];
    for (const [before, isHashed, start = "", end = "\n", hash] of cases) {
      await Deno.writeTextFile(file, before);
      const verify = knownHosts({ files: [file], acceptNew: true, hash });
      assertEquals(await verify(key(c), { hostname: "Host", port: 2222 }), true);
      const after = await Deno.readTextFile(file), added = after.slice(before.length);
      assertEquals(after.slice(0, before.length), before);
      if (isHashed) {
        assertMatch(added.slice(start.length), hashed);
        assert(added.startsWith(start) && added.endsWith(`= ${c}${end}`) && !added.includes("host]"), added);
      } else assertEquals(added, `${start}[host]:2222 ${c}${end}`);
      assertEquals(await knownHosts({ files: [file] })(key(c), { hostname: "host", port: 2222 }), true);
    }
    // What an accepter is shown has the name in it.
    await Deno.remove(file);
    let shown = "";
    await knownHosts({ files: [file], hash: true, acceptNew: (line) => (shown = line) !== "" })(key(c), host);
    assertEquals(shown, `host ${c}`);
    assertEquals(names(folder), ["known_hosts"]);
  }));

Deno.test("a link to a known_hosts file stays, and so do the file's mode and owner, whatever is changed in it", () =>
  inFolder(async (folder, file) => {
    const real = `${folder}/dotfiles/hosts`;
    await Deno.mkdir(`${folder}/dotfiles`);
    await Deno.writeTextFile(real, `host ${a}\nother ${b}\n`);
    await Deno.chmod(real, 0o640);
    const asRoot = Deno.uid() === 0;
    if (asRoot) await Deno.chown(real, 12345, 54321);
    await Deno.symlink("dotfiles/hosts", file);
    const changes: [() => Promise<unknown>, string][] = [
      [
        () => knownHosts({ files: [file], acceptNew: true })(key(c), { hostname: "new", port: 22 }),
        `host ${a}\nother ${b}\nnew ${c}\n`,
      ],
      [() => removeKnownHost("host", { file }), `other ${b}\nnew ${c}\n`],
      [() => replaceKnownHost("other", key(c), { file }), `new ${c}\nother ${c}\n`],
      [() => hashKnownHosts({ file }), ""],
    ];
    for (const [change, text] of changes) {
      await change();
      if (text !== "") assertEquals(await Deno.readTextFile(real), text);
      assertEquals((await Deno.lstat(file)).isSymlink, true);
      const { mode, uid, gid } = await Deno.stat(real);
      assertEquals(mode! & 0o7777, 0o640);
      if (asRoot) assertEquals([uid, gid], [12345, 54321]);
    }
    assertEquals(names(`${folder}/dotfiles`), ["hosts"]);
    // A link that leads nowhere is followed as well.
    await Deno.symlink("dotfiles/more", `${folder}/dangling`);
    await knownHosts({ files: [`${folder}/dangling`], acceptNew: true })(key(a), host);
    assertEquals(await Deno.readTextFile(`${folder}/dotfiles/more`), `host ${a}\n`);
  }));

Deno.test("a file may be changed unasked where a link to it leads to, and not where the link is alone", () =>
  inFolder(async (folder, file) => {
    const { query } = Deno.permissions, real = await Deno.realPath(folder), link = `${real}/links/known_hosts`;
    await Deno.writeTextFile(file, "");
    await Deno.mkdir(`${real}/links`);
    await Deno.symlink("../known_hosts", link);
    let granted = `${real}/links/`;
    try {
      Deno.permissions.query = (descriptor) => {
        const path = String((descriptor as Deno.WritePermissionDescriptor).path);
        return Promise.resolve({ state: path.startsWith(granted) ? "granted" : "prompt" } as Deno.PermissionStatus);
      };
      assertEquals([await mayRewrite(link), await mayRewrite(`${granted}missing`)], [false, true]);
      granted = real;
      assertEquals(await mayRewrite(link), true);
    } finally {
      Deno.permissions.query = query;
    }
  }));

Deno.test("removeKnownHost() and replaceKnownHost() tell what is gone, and keep markers, other hosts and what they cannot read", () =>
  inFolder(async (folder, file) => {
    const kept = [
      `@revoked host ${a}`,
      `@cert-authority * ${b}`,
      "# host",
      "host",
      "host 1024 65537 99",
      `other ${a} \0\u0007`,
    ];
    await Deno.writeTextFile(file, `\ufeffhost ${a} mine\r\n${kept.join("\n")}\n*st,other ${c}\n[host]:2222 ${c}`);
    const gone = [
      { line: 1, marker: "host" as const, text: `host ${a} mine` },
      { line: 8, marker: "host" as const, text: `*st,other ${c}` },
    ];
    assertEquals((await findKnownHost("HOST", { file })).map(({ line }) => line), [1, 2, 3, 8]);
    assertEquals(await removeKnownHost("Host", { file }), gone);
    assertEquals(await Deno.readTextFile(file), `\ufeff${kept.join("\n")}\n[host]:2222 ${c}\n`);
    assertEquals(await removeKnownHost("host", { file }), []);
    assertEquals((await replaceKnownHost("host", [key(a), key(b)], { file, port: 2222 })).length, 1);
    assertEquals(
      await Deno.readTextFile(file),
      `\ufeff${kept.join("\n")}\n[host]:2222 ${a}\n[host]:2222 ${b}\n`,
    );
    // Files that are missing.
    const missing = `${folder}/made/known_hosts`;
    assertEquals(await findKnownHost("host", { file: missing }), []);
    assertEquals(await removeKnownHost("host", { file: missing }), []);
    assertEquals(await hashKnownHosts({ file: missing }), false);
    assertEquals(names(folder), ["known_hosts"]);
    assertEquals(await replaceKnownHost("host", key(a), { file: missing, hash: false }), []);
    assertEquals(await Deno.readTextFile(missing), `host ${a}\n`);
    assertEquals(await hashKnownHosts({ file: missing }), true);
    assertEquals(await hashKnownHosts({ file: missing }), false);
    assertEquals((await findKnownHost("host", { file: missing })).length, 1);
    await replaceKnownHost("host", key(b), { file: missing });
    assertMatch(await Deno.readTextFile(missing), /^\|1\|\S+\|\S+ ssh-ed25519 \S+\n$/);
    assertEquals((await removeKnownHost("host", { file: missing })).map(({ line }) => line), [1]);
    assertEquals(await Deno.readTextFile(missing), "");
    // A host that shows a certificate is known by its key.
    const shown = certificates()[0]!;
    await replaceKnownHost("host", certifiedKeyFromText(shown.certificate), { file: missing, hash: false });
    assertEquals(await Deno.readTextFile(missing), `host ${key(shown.key)}\n`);
  }));

Deno.test("rewrite() begins anew where somebody who knows no locks changes the file, or puts another in its place", () =>
  inFolder(async (folder, file) => {
    await Deno.writeTextFile(file, "first\n");
    const seen: string[] = [];
    const changed = await rewrite(file, (before) => {
      const text = new TextDecoder().decode(before);
      // As `ssh` does at that moment, and as `ssh-keygen -R` does at the next.
      if (seen.push(text) === 1) Deno.writeTextFileSync(file, "second\n", { append: true });
      if (seen.length === 2) {
        Deno.writeTextFileSync(`${folder}/new`, `${text}third\n`);
        Deno.renameSync(`${folder}/new`, file);
      }
      return utf8(text.toUpperCase());
    });
    assertEquals(changed, true);
    assertEquals(seen, ["first\n", "first\nsecond\n", "first\nsecond\nthird\n"]);
    assertEquals(await Deno.readTextFile(file), "FIRST\nSECOND\nTHIRD\n");
    assertEquals(names(folder), ["known_hosts"]);
  }));

Deno.test("appendTo() begins anew where somebody puts another file in the place of the one that it adds to", () =>
  inFolder(async (folder, file) => {
    await Deno.writeTextFile(file, "first\n");
    const seen: string[] = [];
    await appendTo(file, (before) => {
      // As `ssh-keygen -R` does at that moment, and as somebody does who takes the file away.
      if (seen.push(new TextDecoder().decode(before)) === 1) {
        Deno.writeTextFileSync(`${folder}/new`, "other\n");
        Deno.renameSync(`${folder}/new`, file);
      } else if (seen.length === 2) Deno.removeSync(file);
      return utf8("added\n");
    });
    assertEquals(seen, ["first\n", "other\n", ""]);
    assertEquals(await Deno.readTextFile(file), "added\n");
  }));

Deno.test("appendTo() gives up in its time where the file is never the one that it has opened", () =>
  inFolder(async (_folder, file) => {
    const { stat } = Deno, { now } = performance;
    let looks = 0;
    performance.now = () => looks * 1000;
    // Somebody puts another file there each time, or a file system has a new number for it.
    Deno.stat = async (path) => ({ ...await stat(path), ino: -++looks });
    try {
      await assertRejects(() => appendTo(file, () => utf8("added\n")), Error, "others have kept changing it");
    } finally {
      Deno.stat = stat;
      performance.now = now;
    }
    assert(looks < 20, String(looks));
    assertEquals(await Deno.readTextFile(file), "");
  }));

Deno.test("what cannot be written leaves the file as it was", () =>
  inFolder(async (folder, file) => {
    // A disk that fills up in the middle of a line.
    for (const [room, grown] of [[0, 0], [1, 0], [7, 0], [7, 1]] as const) {
      let length = 100, left: number = room;
      const full = {
        write: (bytes: Uint8Array) => {
          if (left === 0) return Promise.reject(new Error("No space left on device"));
          const n = Math.min(left, bytes.length, 3);
          left -= n;
          length += n;
          if (left === 0) length += grown;
          return Promise.resolve(n);
        },
        stat: () => Promise.resolve({ size: length } as Deno.FileInfo),
        truncate: (size?: number) => Promise.resolve(void (length = size ?? 0)),
      };
      await assertRejects(() => writeWhole(full, new Uint8Array(10)), Error, "No space left");
      // What somebody else has added meanwhile is not taken back with it.
      assertEquals(length, grown === 0 ? 100 : 100 + room + grown);
    }
    // A folder in which nothing can be made.
    await Deno.writeTextFile(file, `host ${a}\n`);
    await Deno.mkdir(`${folder}/taken`);
    await assertRejects(() => removeKnownHost("host", { file: `${folder}/taken` }));
    await assertRejects(
      () => knownHosts({ files: [file, `${folder}/taken`], acceptNew: true })(key(b), { hostname: "new", port: 22 }),
      HostKeyError,
      "cannot be read",
    );
    assertEquals(await Deno.readTextFile(file), `host ${a}\n`);
    assertEquals(names(folder), ["known_hosts", "taken"]);
    // What is no file takes all and keeps nothing.
    const nowhere = knownHosts({ files: ["/dev/null"], acceptNew: true });
    for (const text of [a, b]) assertEquals(await nowhere(key(text), host), true);
  }));

Deno.test("the functions that change known_hosts refuse what makes no sense", () =>
  inFolder(async (_, file) => {
    for (const hostname of ["", "a b", "*", "[host]:22", "a,b"]) {
      for (const call of [findKnownHost, removeKnownHost]) {
        await assertRejects(() => call(hostname, { file }), HostKeyError, "is not a host name");
      }
      await assertRejects(() => replaceKnownHost(hostname, key(a), { file }), HostKeyError);
    }
    const wrong: [unknown, unknown, typeof TypeError | typeof RangeError][] = [
      [5, { file }, TypeError],
      ["host", { file, port: 0 }, RangeError],
      ["host", { file, port: 65536 }, RangeError],
      ["host", { file: "" }, TypeError],
      ["host", { file: 5 }, TypeError],
      ["host", { files: [file] }, TypeError],
    ];
    for (const [hostname, options, error] of wrong) {
      await assertRejects(() => removeKnownHost(hostname as string, options as { file: string }), error);
    }
    for (const keys of [[], "key", [key(a), "key"], undefined]) {
      await assertRejects(() => replaceKnownHost("host", keys as [], { file }), TypeError, "`keys`");
    }
    await assertRejects(() => replaceKnownHost("host", key(a), { file, hash: 1 as unknown as boolean }), TypeError);
    assertEquals(await Deno.stat(file).catch(() => null), null);
  }));

Deno.test("changes of known_hosts take any bytes, and keep those of every line that is not meant", () => {
  const prng = new Prng(11);
  const pieces = [
    ...[
      "host",
      "other",
      "@revoked",
      "@cert-authority",
      "*",
      "!",
      "?",
      ",",
      "#",
      " ",
      "\t",
      "\n",
      "\r\n",
      "\0",
      "[host]:2222",
    ],
    ...[
      a,
      b,
      c,
      "ssh-ed25519",
      "AAAA",
      "|1|AAECAwQFBgcICQoLDA0ODxAREhM=|AAECAwQFBgcICQoLDA0ODxAREhM=",
      "\ufeff",
      "\u00e9",
    ],
  ].map(utf8);
  for (let round = 0; round < 400; round++) {
    const parts = Array.from(
      { length: prng.below(24) },
      () => prng.below(12) === 0 ? prng.bytes(3) : prng.pick(pieces),
    );
    const file = new Uint8Array(parts.flatMap((part) => [...part]));
    const lines = (bytes: Uint8Array) => String.fromCharCode(...bytes).split("\n").filter((line) => line !== "");
    const found = linesFor(file, "host"), rest = withoutHost(file, "host");
    assertEquals(rest === null, !found.some(({ marker }) => marker === "host"));
    if (rest !== null) {
      const all = lines(file), gone = new Set(rest.removed.map(({ line }) => line));
      const kept = String.fromCharCode(...file).split("\n").filter((line, i) => !gone.has(i + 1) && line !== "");
      // A mark at the beginning is no line's.
      const bare = (list: string[]) =>
        list.map((line) => line.replace("\u00ef\u00bb\u00bf", "")).filter((line) => line !== "");
      assertEquals(bare(lines(rest.bytes)), bare(kept), JSON.stringify(all));
      assertEquals(withoutHost(rest.bytes, "host"), null);
    }
    const hashed = withHashedNames(file);
    if (hashed !== null) assertEquals(withHashedNames(hashed), null);
    const added = new Uint8Array([...file, ...addition(file, "new.example", [key(c)], undefined)]);
    assertEquals(linesFor(added, "new.example").at(-1)!.text.endsWith(c), true);
  }
});
