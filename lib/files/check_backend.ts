/**
 * Whether what a server is to serve files from is that: options of a root, or a backend. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { checkFlag, checkNames, checkObject, checkText, wrongKind } from "../wire/check.ts";
import { meantBy } from "../wire/near.ts";
import type { SftpBackend } from "./backend.ts";

/** Methods of a backend; those that every one has come first. */
const methods: readonly (keyof SftpBackend)[] = [
  "open",
  "readDir",
  "stat",
  "setStat",
  "remove",
  "mkdir",
  "rmdir",
  "rename",
  "realPath",
  "readLink",
  "symlink",
  "link",
  "statfs",
  "homeDirectory",
  "usersGroups",
];
const NEEDED = 3;

/** What others call them. */
const habits: Readonly<Record<string, keyof SftpBackend>> = {
  list: "readDir",
  listDir: "readDir",
  openDir: "readDir",
  opendir: "readDir",
  readDirectory: "readDir",
  lstat: "stat",
  unlink: "remove",
  delete: "remove",
  deleteFile: "remove",
  removeFile: "remove",
  rm: "remove",
  makeDir: "mkdir",
  makeDirectory: "mkdir",
  createDirectory: "mkdir",
  removeDir: "rmdir",
  removeDirectory: "rmdir",
  deleteDirectory: "rmdir",
  move: "rename",
  setAttributes: "setStat",
  chmod: "setStat",
  utime: "setStat",
  hardlink: "link",
  hardLink: "link",
  makeSymlink: "symlink",
  statvfs: "statfs",
};

/** The same by its name in lower case, as the wire has it. */
const lower: readonly (keyof SftpBackend)[] = ["setstat", "realpath", "readlink"];

/** Throws `TypeError` for what is neither options of a root nor a backend. */
export function checkServed(value: unknown): void {
  const wanted = 'options such as `{ root: "/srv" }`, or a backend with the methods `open`, `readDir` and `stat`';
  checkObject("options", value, wanted);
  const given = value as Record<string, unknown>;
  if (typeof given.open === "function") return checkBackend(given);
  checkNames("a root", given, ["root", "readOnly"], {
    path: { ours: ["root"], write: "`root`" },
    dir: { ours: ["root"], write: "`root`" },
    directory: { ours: ["root"], write: "`root`" },
    cwd: { ours: ["root"], write: "`root`" },
  });
  if (given.root === undefined) throw wrongKind("options", value, wanted);
  checkText("root", given.root, "the path of a directory");
  if (given.root === "" || (given.root as string).includes("\0")) {
    throw new TypeError("Cannot use such a text as `root`: it is no path of a directory");
  }
  checkFlag("readOnly", given.readOnly);
}

/** The same for words that differ in the order of letters, or their case. */
function letters(word: string): string {
  return [...word.toLowerCase().replace(/[^a-z]/g, "")].sort().join("");
}

function checkBackend(backend: Record<string, unknown>): void {
  const has = (name: string): boolean => typeof backend[name] === "function";
  const lacks = (name: string): boolean =>
    !has(name) && !(lower as readonly string[]).some((one) => has(one) && meantBy(one, [name]));
  const refuse = (name: string, meant: string): never => {
    throw new TypeError(`Cannot serve by a backend with \`${printable(name, 64)}\`: write \`${meant}\` in its place`);
  };
  const known: readonly string[] = [...methods, ...lower];
  for (const name of Object.keys(backend)) {
    if (known.includes(name) || !has(name)) continue;
    const meant = Object.hasOwn(habits, name) ? habits[name]! : meantBy(name, methods);
    if (meant !== null && lacks(meant)) refuse(name, meant);
  }
  // What a class has besides is its own: only what can be nothing else is refused.
  for (
    let at = Object.getPrototypeOf(backend);
    at !== null && at !== Object.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    for (const name of Object.getOwnPropertyNames(at)) {
      const meant = known.includes(name) ? undefined : methods.find((method) => letters(method) === letters(name));
      if (
        meant !== undefined && lacks(meant) && typeof Object.getOwnPropertyDescriptor(at, name)?.value === "function"
      ) {
        refuse(name, meant);
      }
    }
  }
  for (const [at, name] of methods.entries()) {
    if (has(name) || backend[name] === undefined && at >= NEEDED) continue;
    if (backend[name] === undefined) throw new TypeError(`Cannot serve by a backend without the method \`${name}\``);
    throw wrongKind(name, backend[name], "a function");
  }
}
