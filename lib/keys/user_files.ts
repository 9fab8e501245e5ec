/**
 * The user's own SSH files: where they are, and reading them and adding to them. The only file of this folder that touches files or the
 * environment's HOME; everything else takes text.
 *
 * @module
 */

/** A file that was found. */
export interface UserFile {
  /** Path. */
  readonly path: string;
  /** Content. */
  readonly text: string;
}

/** The path of a file in the user's .ssh folder, or null where no home folder is known. */
export function userSshPath(name: string): string | null {
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE");
  return home === undefined || home === "" ? null : `${home}/.ssh/${name}`;
}

/** The known_hosts files that `ssh` reads, the user's first. */
export function knownHostsPaths(): readonly string[] {
  const own = ["known_hosts", "known_hosts2"].map(userSshPath).filter((path) => path !== null);
  return [...own, "/etc/ssh/ssh_known_hosts"];
}

/** Adds a line to a file, which is made where it is missing, with its folder: for the user alone. */
export async function appendLine(path: string, line: string): Promise<void> {
  const before = await readIfThere(path) ?? "";
  const text = `${before === "" || before.endsWith("\n") ? "" : "\n"}${line}\n`;
  const write = (): Promise<void> => Deno.writeTextFile(path, text, { append: true, mode: 0o600 });
  try {
    await write();
  } catch (error) {
    const folder = /^(.+)[\/\\][^\/\\]*$/.exec(path)?.[1];
    if (!(error instanceof Deno.errors.NotFound) || folder === undefined) throw error;
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    await write();
  }
}

/** How a program reads a file, for errors that tell it to. */
export const howToRead = { text: "await Deno.readTextFile(path)", bytes: "await Deno.readFile(path)" } as const;

/** A file's text without a byte order mark, or null when it is not there. Any other trouble is the caller's to report. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return (await Deno.readTextFile(path)).replace(/^\ufeff/, "");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
    throw error;
  }
}
