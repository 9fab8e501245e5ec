/**
 * The shape of the source: layers, dependencies and layout, read from the files themselves.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { leftOut, own, reached } from "./_support/chunked.ts";

const root = new URL("../", import.meta.url);

/**
 * The folders of lib/ and their layers. A file may import its own folder and folders of lower layers; where an inner folder has a row
 * of its own, so may its files, and no others beside it.
 */
const layers: Readonly<Record<string, number>> = {
  "wire": 0,
  "crypto": 1,
  "proxy": 1,
  "system": 1,
  "keys": 2,
  "transport": 3,
  "auth": 4,
  "connection": 4,
  "host_keys": 5,
  "session": 5,
  "forward": 5,
  "files": 5,
  "sftp/wire": 6,
  "sftp/remote": 7,
  "sftp/server": 7,
  "sftp/transfer": 8,
  "sftp": 9,
  "scp": 6,
  "agent": 6,
  "x11": 6,
  "pty": 6,
  "config": 6,
  "http": 6,
  "terminal": 6,
  "api": 10,
  "testing": 11,
};

/** The row of {@linkcode layers} that a file of lib/ belongs to. */
function roomOf(path: string): string | undefined {
  const folders = path.split("/").slice(1, -1);
  for (; folders.length > 0; folders.pop()) {
    if (layers[folders.join("/")] !== undefined) return folders.join("/");
  }
  return undefined;
}

/** What users import: these files only re-export, from wherever. */
const entryFiles = /^lib\/[a-z]+\/mod\.ts$/;

/** Files of lib/ that belong to no folder; every layer may import them, and they import wire at most. */
const commonFiles = ["lib/errors.ts"];

/** Entry points above all layers. */
const entryPoints = ["mod.ts", "client.ts", "server.ts"];

/** Packages that the library may import, and the folders and files that may. */
const packages: Readonly<Record<string, readonly string[]>> = {
  "@std/bytes": ["lib/"],
  "@std/streams": ["lib/"],
  "@noble/curves": ["lib/crypto/", "lib/keys/"],
  "@noble/hashes": ["lib/keys/format/", "lib/keys/sshsig/"],
  "@noble/post-quantum": ["lib/keys/mldsa44_ed25519.ts"],
  "pako": ["lib/transport/compression.ts"],
  // The server's file system: handles that must not follow links need more than Deno's own calls.
  "node:fs": ["lib/files/rooted/", "lib/system/"],
  "node:crypto": ["lib/crypto/node_crypto.ts"],
  // Types: the modules are found at run time.
  "node:": ["lib/system/"],
};

/** Below the facade nothing names `Deno` or imports lib/system/, but for these: they reach what only the system has. */
const systemUsers: readonly string[] = [
  "lib/api/",
  "lib/wire/system.ts",
  "lib/system/",
  "lib/agent/agent_socket.ts",
  "lib/forward/sockets.ts",
  "lib/forward/local_sockets.ts",
  "lib/x11/local_display.ts",
  "lib/http/",
  "lib/pty/",
  "lib/keys/user_files.ts",
  "lib/keys/changed_file.ts",
  "lib/files/local_files.ts",
  "lib/files/rooted/",
];

function isWithin(path: string, places: readonly string[]): boolean {
  return places.some((place) => place.endsWith("/") ? path.startsWith(place) : path === place);
}

interface Source {
  readonly path: string;
  readonly text: string;
  /** Without comments and the contents of strings. */
  readonly code: string;
}

function* filesUnder(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(new URL(folder, root))) {
    if (entry.isDirectory) yield* filesUnder(`${folder}${entry.name}/`);
    else yield `${folder}${entry.name}`;
  }
}

function read(path: string): Source {
  const text = Deno.readTextFileSync(new URL(path, root));
  return { path, text, code: bareCode(text) };
}

/** Drops comments and what stands in quotes, so that a word in a sentence is not taken for code. */
function bareCode(text: string): string {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g,
    (match) => match.startsWith("/") ? "" : '""',
  );
}

/** What a file imports or re-exports, statically and by `import()`. */
function importsOf({ text }: Source): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/[^\n]*/gm, "");
  const pattern = /^(?:import\s+|(?:import|export|\})[^"=()\n]*\bfrom\s+)"([^"\n]+)"|\bimport\(\s*"([^"\n]+)"/gm;
  return [...code.matchAll(pattern)].map((match) => match[1] ?? match[2]!);
}

/** A relative import as a path from the root. */
function resolve(from: string, specifier: string): string {
  return new URL(specifier, new URL(from, "file:///")).pathname.slice(1);
}

const library = [...filesUnder("lib/")].filter((path) => path.endsWith(".ts")).map(read);

function problems(check: (source: Source) => string[], sources = library): string[] {
  return sources.flatMap((source) => check(source).map((problem) => `${source.path}: ${problem}`));
}

Deno.test("lib/ imports go down only, and siblings do not import each other", () => {
  assertEquals(
    problems((source) => {
      if (entryFiles.test(source.path)) return [];
      const room = roomOf(source.path), own = commonFiles.includes(source.path) ? 0 : layers[room ?? ""];
      if (own === undefined) return ["the folder has no layer in tests/architecture_test.ts"];
      return importsOf(source).filter((specifier) => specifier.startsWith(".")).flatMap((specifier) => {
        const target = resolve(source.path, specifier);
        if (commonFiles.includes(target)) return [];
        const other = roomOf(target);
        if (!target.startsWith("lib/") || other === undefined) return [`imports ${target}`];
        return other === room || layers[other]! < own ? [] : [`imports ${target}, which is not below it`];
      });
    }),
    [],
  );
});

Deno.test("no files of lib/ import each other in a circle", () => {
  const imports = new Map(library.map((source) => [
    source.path,
    importsOf(source).filter((specifier) => specifier.startsWith(".")).map((one) => resolve(source.path, one)),
  ]));
  const done = new Set<string>(), circles: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at !== -1) circles.push([...trail.slice(at), path].join(" -> "));
    if (at !== -1 || done.has(path)) return;
    done.add(path);
    for (const target of imports.get(path) ?? []) walk(target, [...trail, path]);
  };
  for (const path of imports.keys()) walk(path, []);
  assertEquals(circles, []);
});

Deno.test("no file of lib/ is longer than 500 lines", () => {
  const long = library.filter(({ text }) => text.split("\n").length > 501).map(({ path }) => path);
  assertEquals(long, []);
});

Deno.test("mod.ts, client.ts and server.ts only re-export", () => {
  const sources = [...entryPoints, ...library.map(({ path }) => path).filter((path) => entryFiles.test(path))].map(
    read,
  );
  assertEquals(
    problems((source) => {
      const rest = source.code.replace(/export\s+(?:type\s+)?(?:\{[^}]*\}|\*)\s+from\s+"";/g, "").trim();
      return rest === "" ? [] : [`holds more than exports: ${rest.slice(0, 80)}`];
    }, sources),
    [],
  );
});

Deno.test("lib/ imports only the packages that the design names, where it names them", () => {
  assertEquals(
    problems((source) =>
      importsOf(source).filter((specifier) => !specifier.startsWith(".")).flatMap((specifier) => {
        const name = Object.keys(packages).find((one) =>
          specifier === one || specifier.startsWith(one.endsWith(":") ? one : `${one}/`)
        );
        if (name === undefined) return [`imports "${specifier}"`];
        return isWithin(source.path, packages[name]!) ? [] : [`imports "${specifier}", which belongs elsewhere`];
      })
    ),
    [],
  );
});

Deno.test("lib/ loads node:crypto without naming it in an import", () => {
  // A browser that fetches the module must not fail on a name it cannot resolve.
  assertEquals(
    problems((source) => /from\s+"node:/.test(source.text) ? ["imports a node: module statically"] : []),
    [],
  );
});

Deno.test("lib/ turns bytes into hexadecimal and base64 by base_text.ts alone, as Node 24 has nothing of its own", () => {
  const own = /\.to(?:Hex|Base64)\(|\bUint8Array\.from(?:Hex|Base64)\b|\.setFrom(?:Hex|Base64)\b/;
  assertEquals(
    problems(({ path, code }) => path !== "lib/wire/base_text.ts" && own.test(code) ? ["uses the runtime's own"] : []),
    [],
  );
});

Deno.test("lib/ does not write to the console, but for errors of a server that has no onError", () => {
  const named = "lib/api/error_reports.ts";
  assertEquals(
    problems((source) => source.path !== named && /\bconsole\b/.test(source.code) ? ["names console"] : []),
    [],
  );
  assertEquals(Deno.readTextFileSync(new URL(`../${named}`, import.meta.url)).match(/console\.\w+/g), [
    "console.error",
  ]);
});

Deno.test("lib/ names Deno only in the facade and the files that reach the system", () => {
  // Types such as Deno.NetAddr are no dependency: they are gone when the code runs.
  const types =
    /\bDeno\.(?:NetAddr|UnixAddr|Addr|SeekMode|OpenOptions|DirEntry|WriteFileOptions|FileInfo|ConnectOptions)\b/g;
  assertEquals(
    problems((source) =>
      !isWithin(source.path, systemUsers) && /\bDeno\b/.test(source.code.replace(types, "")) ? ["names Deno"] : []
    ),
    [],
  );
  assertEquals(
    problems((source) =>
      isWithin(source.path, systemUsers) ? [] : importsOf(source).filter((name) => /\/system\/\w+\.ts$/.test(name))
    ),
    [],
  );
});

Deno.test("lib/ begins each file with what it is", () => {
  assertEquals(
    problems(({ text }) => /^\/\*\*\n \* [A-Za-z`][^\n]{15}/.test(text) ? [] : ["does not begin with a sentence"]),
    [],
  );
});

Deno.test("lib/ has no any, no enum and no default export", () => {
  assertEquals(
    problems(({ code }) => [
      .../\b(?:as|:|<)\s*any\b/.test(code) ? ["any"] : [],
      .../^\s*(?:export\s+)?(?:const\s+|declare\s+)?enum\b/m.test(code) ? ["enum"] : [],
      .../\bexport\s+default\b/.test(code) ? ["default export"] : [],
    ]),
    [],
  );
});

Deno.test("lib/ draws no secret from Math.random()", () => {
  assertEquals(problems(({ code }) => /\bMath\.random\b/.test(code) ? ["names Math.random"] : []), []);
});

Deno.test("the top level holds what the design says", () => {
  const expected = [
    ".ci",
    ".gitignore",
    ".jsr",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "bench",
    "client.ts",
    "deno.json",
    "deno.lock",
    "docs",
    "examples",
    "lib",
    "mod.ts",
    "server.ts",
    "tests",
  ];
  const local = [".git", ".cache", "node_modules", "coverage"];
  const actual = [...Deno.readDirSync(root)].map((entry) => entry.name).filter((name) => !local.includes(name));
  assertEquals(actual.sort(), expected);
});

Deno.test("tests/ mirrors lib/", () => {
  const folders = new Set(library.map((source) => source.path.split("/")[1]!).filter((name) => !name.endsWith(".ts")));
  const tested = new Set(
    [...filesUnder("tests/")].filter((path) => path.endsWith("_test.ts")).map((path) => path.split("/")[1]!),
  );
  assertEquals([...folders].filter((folder) => !tested.has(folder)), []);
});

Deno.test("helpers of one folder of tests are `_name.ts`, and used there only; shared ones stand in tests/_support", () => {
  const sources = [...filesUnder("tests/")].filter((path) => path.endsWith(".ts"));
  const folderOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));
  const wrong: string[] = [];
  for (const path of sources) {
    const name = path.slice(path.lastIndexOf("/") + 1), folder = folderOf(path);
    const isShared = path.startsWith("tests/_support/"), isProgram = path.startsWith("tests/mutants/");
    if (isShared ? name.startsWith("_") : !isProgram && !name.startsWith("_") && !name.endsWith("_test.ts")) {
      wrong.push(path);
    }
    const { text } = read(path);
    for (const [, specifier] of text.matchAll(/"(\.\.?\/[^"]*\/_\w+\.ts)"/g)) {
      const target = resolve(path, specifier!);
      if (folderOf(target) !== folder) wrong.push(`${path} names ${target}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("the run over one-byte chunks leaves out only what has no such streams, or is said to bring its own", () => {
  const files = reached(), run = files.filter((path) => !leftOut(path));
  for (const path of ["tests/api/exec_test.ts", "tests/attacks/kexinit_test.ts", "tests/transport/rekey_test.ts"]) {
    assertEquals(run.includes(path), true, path);
  }
  // What names no such stream has no row, and what is gone has none.
  assertEquals(Object.keys(own).filter((row) => !files.some((path) => path.startsWith(row))), []);
  // Nothing makes a pair behind the back of this list.
  const makers = [...filesUnder("tests/")].filter((path) => path.endsWith("_test.ts") && !leftOut(path))
    .filter((path) => /\bmemoryPair\(/.test(read(path).code));
  assertEquals(makers.filter((path) => !run.includes(path)), []);
});
