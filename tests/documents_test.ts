/**
 * The documents: what they point at is there, what they tell to run exists, and their code compiles.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { keptResults, withResults } from "../bench/document.ts";
import { picture } from "../bench/picture.ts";

const root = new URL("../", import.meta.url);
const documents = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "SECURITY.md",
  "bench/README.md",
  "docs/README.md",
  "docs/browser.md",
  "docs/coming_from.md",
  "docs/compatibility.md",
  "docs/cookbook.md",
  "docs/life_of_a_packet.md",
  "docs/runtimes.md",
  "docs/terminals.md",
  "docs/threats.md",
] as const;

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(new URL(path, root));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Fenced blocks of one language, with the fences left out. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter((match) => match[1] === language)
    .map((match) => match[2]!);
}

function withoutBlocks(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, "");
}

/** The anchors that headings give: GitHub's way, which is JSR's too. */
function anchors(text: string): Set<string> {
  return new Set(
    [...withoutBlocks(text).matchAll(/^#+ (.+)$/gm)].map((match) =>
      match[1]!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
    ),
  );
}

/** Where the Markdown of a document links to. */
function links(text: string): string[] {
  return [...withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
}

/** The path from the root that a link of a document leads to. */
function fromRoot(document: string, link: string): string {
  return new URL(link, new URL(document, "file:///")).pathname.slice(1);
}

interface Config {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly tasks: Readonly<Record<string, string>>;
  readonly publish: { readonly include: readonly string[] };
}

const config: Config = JSON.parse(read("deno.json"));

async function deno(...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** The files that a commit would hold; without git, all that .gitignore does not leave out. */
async function trackedFiles(): Promise<string[]> {
  try {
    const { code, stdout } = await new Deno.Command("git", {
      args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
      cwd: root,
      stderr: "null",
    }).output();
    const listed = new TextDecoder().decode(stdout).split("\0").filter((path) => path !== "" && exists(path));
    if (code === 0 && listed.length > 0) return listed;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return [...filesUnder("")];
}

function* filesUnder(folder: string): Generator<string> {
  const ignored = [".git", "node_modules", "coverage", ".cache", "__pycache__"];
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder === "" ? "./" : folder, root))) {
    if (ignored.includes(name) || name.endsWith(".log")) continue;
    if (isDirectory) yield* filesUnder(`${folder}${name}/`);
    else yield `${folder}${name}`;
  }
}

Deno.test("README.md begins with the two commands that do everything", () => {
  const shell = blocks(read("README.md"), "sh");
  assertEquals(shell[0]?.trim().split("\n"), ["npx --yes deno@2 task demo", "npx --yes deno@2 task test"]);
});

Deno.test("documents name no task that deno.json does not have", () => {
  const named = documents.flatMap((path) =>
    [...read(path).matchAll(/deno(?:@2)? task (\w+)/g)].map((match) => match[1]!)
  );
  assert(new Set(named).size >= 4);
  assertEquals(named.filter((name) => config.tasks[name] === undefined), []);
});

Deno.test("tasks of deno.json name files that are there", () => {
  const named = Object.values(config.tasks).flatMap((task) =>
    [...task.matchAll(/(?<=\s)[\w./-]+(?:\.ts|\.md|\/)(?=\s|$)/g)].map((match) => match[0])
  );
  assert(named.length >= 10);
  assertEquals(named.filter((path) => !exists(path)), []);
});

Deno.test("the documentation lint of deno.json reads every entry point", () => {
  const lint = /deno doc --lint ([^&]+)/.exec(config.tasks["ok"]!)![1]!.trim().split(/\s+/);
  assertEquals(lint.toSorted(), Object.values(config.exports).map((path) => path.replace("./", "")).toSorted());
});

Deno.test("links in documents lead to files and headings that are there", () => {
  const broken: string[] = [];
  let count = 0;
  for (const path of documents) {
    const text = read(path);
    for (const link of links(text)) {
      if (/^[a-z]+:/.test(link)) continue;
      count++;
      const [target, anchor] = link.split("#") as [string, string?];
      const file = target === "" ? "" : fromRoot(path, target);
      if (file !== "" && !exists(file)) broken.push(`${path}: ${link}`);
      else if (anchor !== undefined && !anchors(file === "" ? text : read(file)).has(anchor)) {
        broken.push(`${path}: ${link}`);
      }
    }
  }
  assert(count > 100);
  assertEquals(broken, []);
});

Deno.test("paths in documents are those of files that are there, and links show where they lead", () => {
  const wrong: string[] = [];
  for (const path of documents) {
    const text = withoutBlocks(read(path));
    for (const [, name] of text.matchAll(/`((?:lib|tests|bench|examples|\.ci|\.jsr)\/[\w./-]*)`/g)) {
      if (!exists(name!)) wrong.push(`${path}: ${name}`);
    }
    for (const [whole, name, link] of text.matchAll(/\[`([^`]+)`\]\(([^)]+)\)/g)) {
      if (name!.replace(/\/$/, "") !== fromRoot(path, link!)) wrong.push(`${path}: ${whole}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("every row of docs/compatibility.md names tests that are there", () => {
  const lines = withoutBlocks(read("docs/compatibility.md")).split("\n").filter((line) => line.startsWith("|"));
  const rows = lines.filter((line) => !/^\| (?:what|-)/.test(line));
  const wrong: string[] = [];
  for (const row of rows) {
    const named = [...row.split("|").at(-2)!.matchAll(/\[`([^`]+)`\]\([^)]+\)((?:,? ?"[^"]+")+)/g)];
    if (named.length === 0) wrong.push(`No test: ${row}`);
    for (const [, file, names] of named) {
      const text = exists(file!) ? read(file!) : "";
      // A name may be put together from a table of cases: its words are looked up up to the first hole.
      for (const [, name] of names!.matchAll(/"([^"]+)"/g)) {
        if (!text.includes(name!.split("…")[0]!)) wrong.push(`${file}: ${name}`);
      }
    }
  }
  assertEquals(wrong, []);
});

/**
 * The cases of other people's software that this module was tried on: C of transport, login, keys and sessions, S of SFTP and SCP. The
 * numbers that are missing were of cases that fared well before.
 */
const cases = [
  ...[1, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 25].map((row) => `C${row}`),
  ...[1, 2, 4, 5, 7, 10, 11, 12, 13, 14, 15, 19, 23, 24].map((row) => `S${row}`),
];

Deno.test("every case of other people's software is named in a comment beside a test", async () => {
  const files = (await trackedFiles()).filter((path) => path.startsWith("tests/") && path.endsWith("_test.ts"));
  assert(files.length > 100);
  // The comment may stand in front of the loop that the test is in.
  const beside = /((?:^ *\/\/.*\n)+)(?:^ *for \(.*\n)*^ *(?:Deno\.test|\w+Test)\(/gm;
  const named = new Set(
    files.flatMap((path) =>
      [...read(path).matchAll(beside)].flatMap(([, comment]) => comment!.match(/\b[CS]\d+\b/g) ?? [])
    ),
  );
  assertEquals(cases.filter((row) => !named.has(row)), []);
});

/** The comment that a file begins with, on one line. */
function headOf(path: string): string {
  return read(path).split("*/")[0]!.replaceAll(/\n \* ?/g, " ");
}

/** A text of the field, or a part of its name: what heads and the table of CONTRIBUTING.md lead to. */
const authority = /RFC \d+|draft-[\w-]+|OpenSSH PROTOCOL(?:\.\w+)?|sshd\(8\)/g;

/** Whether `head` names `section` of `text`, as it stands or within what it names; a head that names none means all of them. */
function namesSection(head: string, text: string, section: string): boolean {
  return head.split(text).slice(1).some((behind) => {
    const list = /^(?: sections?)? ((?:\d+(?:\.\d+)*(?:, | and | to )?)+)/.exec(behind)?.[1];
    if (list === undefined) return true;
    return list.split(/, | and /).some((part) => {
      const [from, to = from] = part.split(" to ") as [string, string?];
      const number = Number.parseInt(section);
      return [from, to].some((one) => `${section}.`.startsWith(`${one}.`) || `${one}.`.startsWith(`${section}.`)) ||
        Number.parseInt(from) < number && number < Number.parseInt(to);
    });
  });
}

Deno.test("the table of CONTRIBUTING.md leads from RFC sections to files whose heads name them, and to every RFC", () => {
  const rows = [...read("CONTRIBUTING.md").matchAll(/^\| ((?:RFC|draft-|OpenSSH PROTOCOL|sshd)[^|]*)\|([^|]*)\|$/gm)];
  assert(rows.length > 60);
  const wrong: string[] = [], named = new Set<string>();
  for (const [, cell, files] of rows) {
    const heads = [...files!.matchAll(/`([^`]+)`/g)].map(([, path]) => [path, headOf(`lib/${path}`)] as const);
    assert(heads.length > 0, cell);
    for (const one of cell!.trim().split("; ")) {
      const text = one.match(authority)![0], sections = one.slice(text.length).trim().split(", ");
      named.add(text);
      for (const [path, head] of heads) {
        const fits = head.includes(text) &&
          sections.every((section) => section === "" || namesSection(head, text, section));
        if (!fits) wrong.push(`${path} does not begin with ${one}`);
      }
    }
  }
  assertEquals(wrong, []);
  const all = [...filesUnder("lib/")].filter((path) => path.endsWith(".ts")).flatMap((path) =>
    headOf(path).match(authority) ?? []
  );
  assertEquals([...new Set(all)].filter((text) => !named.has(text)), []);
});

Deno.test("every folder of lib/ stands in the tour of CONTRIBUTING.md", () => {
  const text = read("CONTRIBUTING.md");
  const folders = [...Deno.readDirSync(new URL("lib/", root))].filter((entry) => entry.isDirectory)
    .map(({ name }) => `lib/${name}/`)
    .filter((folder) => [...Deno.readDirSync(new URL(folder, root))].length > 0);
  assert(folders.length >= 8);
  assertEquals(folders.filter((folder) => !text.includes(`(${folder.slice(0, -1)})`)), []);
});

Deno.test("code in documents compiles", async () => {
  assert(blocks(read("README.md"), "ts").length >= 4);
  const { code, text } = await deno("check", "--doc-only", ...documents);
  assertEquals(code, 0, text);
});

Deno.test("README.md names every algorithm that is offered, and no other", async () => {
  const { defaultAlgorithms, serverDefaultAlgorithms } = await import("../lib/crypto/algorithms.ts");
  const text = read("README.md").replaceAll(/\n  +/g, " ");
  // GitHub makes an address to write to of a name with a domain that is no code.
  assertEquals(text.match(/(?<![`\w@./-])[\w.-]+@[\w.-]+\.com(?!`)/g), null);
  /** What a list names: a name that begins with a dash goes on where the one before it ends. */
  const names = (list: string): string[] => {
    let stem = "";
    return list.split(/, | and /).map((name) => {
      if (!name.startsWith("-")) stem = name.replace(/-nistp\d+$/, "");
      return name.startsWith("-") ? stem + name : name;
    });
  };
  const shown = { kex: "Key exchange", hostKey: "Host keys", cipher: "Ciphers", mac: "MACs" } as const;
  for (const [list, title] of Object.entries(shown) as [keyof typeof shown, string][]) {
    const found = new RegExp(`^- ${title}: (.+?)\\.(?: A server leaves out (.+?)\\.)?$`, "m")
      .exec(text.replaceAll("`", ""));
    assert(found !== null, `no list "${title}"`);
    const own = (all: readonly string[]): string[] => all.filter((name) => name !== "curve25519-sha256@libssh.org");
    assertEquals(names(found[1]!), own(defaultAlgorithms[list]), title);
    const left = found[2] === undefined ? [] : names(found[2]);
    assertEquals(names(found[1]!).filter((name) => !left.includes(name)), own(serverDefaultAlgorithms[list]), title);
  }
});

Deno.test("README.md says of every error code what to do, and names no other", () => {
  const union = /export type SshErrorCode =([^;]+);/.exec(read("lib/errors.ts"))![1]!;
  const codes = [...union.matchAll(/"(\w+)"/g)].map((match) => match[1]!);
  assert(codes.length > 10);
  const table = read("README.md").split("## Errors")[1]!.split("\n## ")[0]!;
  const cells = [...table.matchAll(/^\| (`[^|]+)\|/gm)].map((match) => match[1]!).join();
  assertEquals([...cells.matchAll(/`(\w+)`/g)].map((match) => match[1]!).toSorted(), codes.toSorted());
});

Deno.test("README.md leads only to what is published", () => {
  const published = config.publish.include;
  const missing = links(read("README.md")).filter((link) => !/^[a-z]+:|^#/.test(link)).map((link) =>
    link.split("#")[0]!
  )
    .filter((link) => !published.some((path) => link === path || link.startsWith(`${path}/`)));
  assertEquals(missing, []);
});

Deno.test("README.md is read in three minutes and in any terminal", () => {
  const lines = read("README.md").split("\n");
  assert(lines.length <= 151, `${lines.length} lines`);
  assertEquals(lines.filter((line) => line.length > 120), []);
});

Deno.test("bench/README.md and bench/speed.svg show the results in bench/results (`deno task bench -- --write` writes them)", () => {
  const results = keptResults(), text = read("bench/README.md");
  assertEquals(withResults(text, results), text);
  assertEquals(read("bench/speed.svg"), picture(results));
});

Deno.test("docs/threats.md names only tests that are there and run", () => {
  const named = links(read("docs/threats.md")).map((link) => fromRoot("docs/threats.md", link))
    .filter((path) => path.startsWith("tests/"));
  assert(named.length > 30);
  assertEquals(named.filter((path) => !path.endsWith("_test.ts") || !exists(path)), []);
});

Deno.test("mod.ts begins with a client, and leads to published documents of its own version", () => {
  const head = headOf("mod.ts");
  assert(head.indexOf("connect(") < head.indexOf("serve({"));
  const links = [...head.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1]!);
  const place = `https://jsr.io/${config.name}/${config.version}/`;
  assert(links.length > 0);
  assertEquals(links.filter((link) => !config.publish.include.includes(link.replace(place, ""))), []);
});

Deno.test("CHANGELOG.md has the version of deno.json, and LICENSE its license", () => {
  assert(read("CHANGELOG.md").includes(`\n## [${config.version}]`));
  assertEquals(config.license, "MIT");
  assert(read("LICENSE").startsWith("MIT License\n\nCopyright 2026 the amiko authors\n"));
});

Deno.test("no file names a place that only some machine has, or a registry's host", async () => {
  // Each is put together here, so that this file does not hold what it looks for.
  const forbidden = [
    ["\\.\\./", "shared\\b"],
    ["(?<![\\w.:/-])/", "work/"],
    ["/npm", "test/"],
    ["\\bregistry\\.", "(?:npm|yarn|deno)"],
    ["\\bnpm", "js\\.(?:org|com)"],
    ["\\bnpm\\.", "jsr\\.io"],
    ["\\b_auth", "Token"],
  ];
  const pattern = new RegExp(forbidden.map((parts) => parts.join("")).join("|"));
  const files = await trackedFiles();
  assert(files.includes("mod.ts"));
  const found = files.flatMap((path) =>
    read(path).split("\n").flatMap((line, i) => pattern.test(line) ? [`${path}:${i + 1}`] : [])
  );
  assertEquals(found, []);
});

Deno.test("deno.lock names packages of npm and no hosts", () => {
  const lock = read("deno.lock");
  assertEquals(lock.match(/\w+:\/\/[^"]*/g) ?? [], []);
  const { specifiers } = JSON.parse(lock) as { specifiers: Record<string, string> };
  assert(Object.keys(specifiers).length >= 3);
  assertEquals(Object.keys(specifiers).filter((name) => !name.startsWith("npm:")), []);
});

Deno.test("deno publish takes the library, its documents, and what links need of .jsr/", async () => {
  const { code, text } = await deno("publish", "--dry-run", "--allow-dirty", "--no-check");
  assertEquals(code, 0, text);
  const files = [...text.matchAll(/^ +(file:\S+) \(/gm)].map((match) => decodeURI(match[1]!.slice(root.href.length)));
  assertEquals(files.filter((path) => !path.startsWith("lib/")).toSorted(), [
    ".jsr/bytes/mod.d.ts",
    ".jsr/bytes/mod.ts",
    ".jsr/noble-curves/nist.ts",
    ".jsr/noble-hashes/argon2.ts",
    ".jsr/noble-hashes/scrypt.ts",
    ".jsr/noble-hashes/sha2.ts",
    ".jsr/noble-post-quantum/ml-dsa.ts",
    ".jsr/streams/text_line_stream.d.ts",
    ".jsr/streams/text_line_stream.ts",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "bench/README.md",
    "bench/speed.svg",
    "client.ts",
    "deno.json",
    "docs/README.md",
    "docs/browser.md",
    "docs/coming_from.md",
    "docs/compatibility.md",
    "docs/cookbook.md",
    "docs/life_of_a_packet.md",
    "docs/runtimes.md",
    "docs/terminals.md",
    "docs/threats.md",
    "docs/web_terminal.png",
    "mod.ts",
    "server.ts",
  ]);
  assert(files.filter((path) => path.startsWith("lib/")).length > 50);
  assertEquals(files.filter((path) => path.startsWith("lib/") && !path.endsWith(".ts")), []);
});
