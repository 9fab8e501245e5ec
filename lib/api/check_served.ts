/**
 * Whether there is something to serve, when a handler for it is made: else each session would fail by it.
 *
 * @module
 */
import { checkServed } from "../files/check_backend.ts";
import { requireDeno } from "../wire/system.ts";

/** Throws `TypeError` for what is neither options of a root nor a backend, and for a root that is no directory. */
export function checkServedHere(options: unknown): void {
  checkServed(options);
  const { open, root } = options as { open?: unknown; root: string };
  if (typeof open === "function") return;
  requireDeno("serve local files", "a backend of your own does not");
  let isDirectory: boolean;
  try {
    // The dot asks for the right to go in, too.
    isDirectory = Deno.statSync(root).isDirectory && Deno.statSync(`${root}/.`).isDirectory;
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "there is no such directory"
      : error instanceof Deno.errors.NotCapable
      ? "Deno does not allow to read it; run the program with `--allow-read`"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new TypeError(`Cannot serve "${root}": ${why}`, { cause: error });
  }
  if (!isDirectory) throw new TypeError(`Cannot serve "${root}": it is no directory`);
}
