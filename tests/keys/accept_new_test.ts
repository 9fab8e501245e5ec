/**
 * `knownHosts({ files, acceptNew })`: new hosts are added to a file, and nothing else is.
 *
 * @module
 */
import { assert, assertEquals, assertFalse, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { HostKeyChangedError, HostKeyError, HostKeyRevokedError, HostKeyUnknownError } from "../../lib/errors.ts";
import { knownHosts, type KnownHostsOptions } from "../../lib/keys/trust/known_hosts.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { opensshKeys } from "../_support/key_vectors.ts";

const line = (i: number) => opensshKeys()[i]!.public.split(" ").slice(0, 2).join(" ");
const [ed, ecdsa, otherEd] = [0, 1, 6].map((i) => parsePublicKey(line(i))) as [
  ReturnType<typeof parsePublicKey>,
  ReturnType<typeof parsePublicKey>,
  ReturnType<typeof parsePublicKey>,
];
const host = { hostname: "Host", port: 22 };

async function inFolder(action: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    await action(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("knownHosts({ acceptNew: true }) adds a new host to the first file, once, and knows it from then on", () =>
  inFolder(async (folder) => {
    const files = [`${folder}/made/known_hosts`, `${folder}/second`];
    const verify = knownHosts({ files, acceptNew: true });
    assertEquals(await verify.keyTypes(host), []);
    for (let i = 0; i < 2; i++) assertEquals(await verify(ed, host), true);
    assertEquals(await Deno.readTextFile(files[0]!), `host ${line(0)}\n`);
    assertEquals((await Deno.stat(files[0]!)).mode! & 0o777, 0o600);
    assertEquals((await Deno.stat(`${folder}/made`)).mode! & 0o777, 0o700);
    assertEquals(await verify.keyTypes(host), ["ssh-ed25519"]);
    assertEquals(await verify(ecdsa, { hostname: "::1", port: 2222 }), true);
    assertEquals(await Deno.readTextFile(files[0]!), `host ${line(0)}\n[::1]:2222 ${line(1)}\n`);
    await assertRejects(() => Deno.stat(files[1]!), Deno.errors.NotFound);
    assertEquals(await knownHosts({ files })(ed, host), true);
  }));

Deno.test("knownHosts({ acceptNew: true }) adds no key to a host that is known, and none that is revoked", () =>
  inFolder(async (folder) => {
    const file = `${folder}/known_hosts`, second = `${folder}/second`;
    const verify = knownHosts({ files: [file, second], acceptNew: true });
    for (
      const [text, error] of [[`host ${line(0)}`, HostKeyChangedError], [
        `@revoked * ${line(6)}`,
        HostKeyRevokedError,
      ]] as const
    ) {
      for (const place of [file, second]) {
        await Deno.writeTextFile(file, "");
        await Deno.writeTextFile(place, text);
        await assertRejects(() => verify(otherEd, host), error);
        if (error === HostKeyChangedError) await assertRejects(() => verify(ecdsa, host), error);
        assertEquals(await Deno.readTextFile(place), text);
        await Deno.remove(second).catch(() => {});
      }
    }
    // A last line without an end is not run into.
    await Deno.writeTextFile(file, `other ${line(0)}`);
    assertEquals(await verify(ecdsa, host), true);
    assertEquals(await Deno.readTextFile(file), `other ${line(0)}\nhost ${line(1)}\n`);
  }));

Deno.test("knownHosts({ acceptNew }) with a function adds what it says yes to, and nothing without it", () =>
  inFolder(async (folder) => {
    const files = [`${folder}/known_hosts`];
    const lines: string[] = [];
    for (const answer of [false, undefined, 1, "yes", Promise.resolve(false)]) {
      const verify = knownHosts({ files, acceptNew: (line) => (lines.push(line), answer as boolean) });
      await assertRejects(() => verify(ed, host), HostKeyUnknownError);
    }
    assertEquals(new Set(lines), new Set([`host ${line(0)}`]));
    for (const options of [{ files }, { files, acceptNew: false }, { files, acceptNew: undefined }]) {
      await assertRejects(() => knownHosts(options)(ed, host), HostKeyUnknownError);
    }
    const fails = knownHosts({ files, acceptNew: () => Promise.reject(new Error("asked nobody")) });
    await assertRejects(() => fails(ed, host), Error, "asked nobody");
    await assertRejects(() => Deno.stat(files[0]!), Deno.errors.NotFound);
    assertEquals(await knownHosts({ files, acceptNew: async () => await Promise.resolve(true) })(ed, host), true);
    assertEquals(await Deno.readTextFile(files[0]!), `host ${line(0)}\n`);
  }));

Deno.test("a changed key of a host in files is refused with what is known, where, and the command for each file", () =>
  inFolder(async (folder) => {
    const files = [`${folder}/first`, `${folder}/second`];
    await Deno.writeTextFile(files[0]!, `# one\n[host]:2222 ${line(0)}\n`);
    await Deno.writeTextFile(files[1]!, `[host]:2222 ${line(1)}\n`);
    const verify = knownHosts({ files, acceptNew: true });
    const error = await assertRejects(() => verify(otherEd, { hostname: "HOST", port: 2222 }), HostKeyChangedError);
    assertEquals(error.places, [{ file: files[0]!, line: 2 }, { file: files[1]!, line: 1 }]);
    const wanted = [
      `expected ssh-ed25519 ${await ed.fingerprint()} (${files[0]}:2)`,
      `${await ecdsa.fingerprint()} (${files[1]}:1)`,
      `offered ssh-ed25519 ${await otherEd.fingerprint()}`,
      ...files.map((file) => `'ssh-keygen -f "${file}" -R "[host]:2222"'`),
    ];
    assertEquals(wanted.filter((text) => !error.message.includes(text)), [], error.message);
  }));

Deno.test("knownHosts({ acceptNew: true }) trusts no host that it cannot add", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    const verify = knownHosts({ files: [`${folder}/file/known_hosts`], acceptNew: true });
    const error = await assertRejects(() => verify(ed, host), HostKeyError, "Cannot add host key");
    assertFalse(error instanceof HostKeyUnknownError);
  }));

Deno.test("knownHosts() refuses options that are none", () => {
  const wrong: unknown[] = [
    { file: "x" },
    { acceptnew: true },
    { files: "known_hosts" },
    { files: [] },
    { files: [""] },
    { files: [5] },
    { acceptNew: "yes" },
    { acceptNew: 1 },
  ];
  for (const options of wrong) assertThrows(() => knownHosts(options as KnownHostsOptions), TypeError, "knownHosts()");
});

Deno.test("of connections to a new host at once, each is given the same key, or refused", () =>
  inFolder(async (folder) => {
    const file = `${folder}/known_hosts`;
    let asked = 0;
    const both = Promise.withResolvers<void>();
    const acceptNew = async (): Promise<boolean> => {
      if (++asked === 3) both.resolve();
      await both.promise;
      return true;
    };
    const [first, second, third] = await Promise.allSettled([
      knownHosts({ files: [file], acceptNew })(ed, host),
      knownHosts({ files: [file], acceptNew })(ed, host),
      knownHosts({ files: [file], acceptNew })(ecdsa, host),
    ]);
    // Whichever comes first is taken; who was given the other key is refused.
    const edFirst = first.status === "fulfilled";
    const [taken, refused, key] = edFirst ? [[first, second], [third], 0] : [[third], [first, second], 1];
    assertEquals(taken.map(({ status }) => status), taken.map(() => "fulfilled"));
    for (const one of refused) {
      assertEquals(one.status, "rejected");
      assertInstanceOf((one as PromiseRejectedResult).reason, HostKeyChangedError);
    }
    assertEquals(await Deno.readTextFile(file), `host ${line(key)}\n`);
    // What fails keeps nobody from the next turn.
    await assertRejects(() => knownHosts({ files: [`${file}/in/it`], acceptNew: true })(ed, host), HostKeyError);
    assertEquals(await knownHosts({ files: [`${folder}/other`], acceptNew: true })(ed, host), true);
  }));

Deno.test("a byte order mark hides no line of a known_hosts file, a revocation least of all", () =>
  inFolder(async (folder) => {
    const file = `${folder}/known_hosts`, verify = knownHosts({ files: [file], acceptNew: true });
    await Deno.writeTextFile(file, `\ufeff@revoked * ${line(0)}\n`);
    await assertRejects(() => verify(ed, host), HostKeyRevokedError);
    await Deno.writeTextFile(file, `\ufeffhost ${line(0)}\n`);
    assertEquals(await verify(ed, host), true);
    await assertRejects(() => verify(otherEd, host), HostKeyChangedError);
  }));

Deno.test("a program that may not write known_hosts is told so, with the file and the line", () =>
  inFolder(async (folder) => {
    const file = `${folder}/known_hosts`;
    await Deno.writeTextFile(file, `other ${line(0)}\n`);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-check", "--no-lock", "--allow-read", "--allow-env"],
        new URL("_add_hosts.ts", import.meta.url).pathname,
        ...["0", file, "1", line(0)],
      ],
      stdin: "null",
      stdout: "null",
      env: { NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stderr);
    assertEquals(code, 1);
    for (
      const part of [
        `HostKeyError: Cannot add host key to "${file}":`,
        "--allow-write",
        `the line is: own0.of0 ${line(0)}`,
      ]
    ) {
      assert(said.includes(part), said);
    }
    assertEquals(await Deno.readTextFile(file), `other ${line(0)}\n`);
  }));

Deno.test("processes that add and remove hosts of one file at once lose none of them, and agree on who has which key", () =>
  inFolder(async (folder) => {
    const file = `${folder}/known_hosts`, count = 8, processes = 8, keys = [line(0), line(6)];
    const old = Array.from({ length: count * processes }, (_, i) => `old${i % count}.of${i / count | 0} ${line(1)}`);
    const others = ["# a comment", `other ${line(0)} of somebody`, "no line at all", ""];
    await Deno.writeTextFile(file, [...others, ...old, `last ${line(0)}`].join("\n"));
    const children = Array.from({ length: processes }, (_, i) =>
      new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "--no-check", "--no-lock", "--allow-read", "--allow-write", "--allow-env"],
          new URL("_add_hosts.ts", import.meta.url).pathname,
          ...[`${i}`, file, `${count}`, keys[i % 2]!],
        ],
        stdin: "piped",
        stdout: "piped",
      }).spawn());
    const ready = children.map(async (child) => {
      const reader = child.stdout.getReader();
      await reader.read();
      return reader;
    });
    const readers = await Promise.all(ready);
    const said = await Promise.all(children.map(async (child, i) => {
      await child.stdin.close();
      let text = "";
      for (let chunk; !(chunk = await readers[i]!.read()).done;) text += new TextDecoder().decode(chunk.value);
      assertEquals((await child.status).code, 0);
      return JSON.parse(text) as boolean[];
    }));
    const lines = (await Deno.readTextFile(file)).split("\n");
    assertEquals(lines.slice(0, 5), [...others, `last ${line(0)}`]);
    const added = lines.slice(5);
    assertEquals(added.pop(), "");
    const own = children.flatMap((_, i) => Array.from({ length: count }, (_, j) => `own${j}.of${i} ${keys[i % 2]}`));
    assertEquals(added.filter((line) => line.startsWith("own")).sort(), own.sort());
    const shared = added.filter((line) => line.startsWith("[shared")).sort();
    assertEquals(
      shared.map((line) => line.split(" ")[0]),
      Array.from({ length: count }, (_, i) => `[shared${i}]:2222`),
    );
    assertEquals(added.length, own.length + shared.length);
    for (const [i, taken] of said.entries()) {
      assertEquals(taken, shared.map((line) => line.endsWith(keys[i % 2]!)), `process ${i}`);
    }
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["known_hosts"]);
  }));
