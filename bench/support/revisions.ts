/**
 * Bench. Revisions of this module: checked out by `git worktree` in a temporary folder, with the programs of today's bench.
 *
 * @module
 */

import { atInterrupt } from "./ending.ts";
import { programsHere } from "./run.ts";

const root = new URL("../../", import.meta.url).pathname;

/** One of the revisions that are compared. */
export interface Side extends AsyncDisposable {
  /** Which it is. */
  readonly name: "new" | "old";
  /** The revision and its date. */
  readonly about: string;
  /** The folder of its programs. */
  readonly programs: URL;
}

function git(...args: readonly string[]): string {
  const { success, stdout, stderr } = new Deno.Command("git", {
    args: ["-C", root, "-c", "core.hooksPath=/dev/null", ...args],
    stdin: "null",
  }).outputSync();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`git ${args[0]} failed: ${text(stderr)}`);
  return text(stdout);
}

const about = (revision: string): string => git("log", "-1", "--format=%h of %cs", revision);

const isChanged = (): boolean => git("status", "--porcelain", "--", "lib", "mod.ts", "client.ts", "server.ts") !== "";

/** The revision of the files here, with a plus where they have changed since; nothing where git does not say. */
export function revisionHere(): string {
  try {
    return git("rev-parse", "--short", "HEAD") + (isChanged() ? "+" : "");
  } catch {
    return "";
  }
}

/** The files as they are. */
export function workingTree(): Side {
  const changed = isChanged();
  return {
    name: "new",
    about: about("HEAD") + (changed ? ", with changes that are not committed" : ""),
    programs: programsHere,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Checks a revision out, until it is disposed of. */
export async function checkOut(name: Side["name"], revision: string): Promise<Side> {
  const commit = git("rev-parse", "--verify", "--end-of-options", `${revision}^{commit}`);
  const folder = await Deno.makeTempDir({ prefix: "amiko-bench-" }), tree = `${folder}/${name}`;
  const remove = (): void => {
    try {
      git("worktree", "remove", "--force", tree);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  };
  const forget = atInterrupt(remove);
  const side: Side = {
    name,
    about: about(commit),
    programs: new URL(`file://${tree}/bench/programs/`),
    [Symbol.asyncDispose]() {
      forget();
      remove();
      return Promise.resolve();
    },
  };
  try {
    git("worktree", "add", "--detach", "--quiet", tree, commit);
    await Deno.mkdir(side.programs, { recursive: true });
    for await (const { name: file, isFile } of Deno.readDir(programsHere)) {
      if (isFile) await Deno.copyFile(new URL(file, programsHere), new URL(file, side.programs));
    }
  } catch (error) {
    await side[Symbol.asyncDispose]();
    throw error;
  }
  return side;
}
