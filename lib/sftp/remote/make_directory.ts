/**
 * Makes remote directories, with their parents. draft-ietf-secsh-filexfer-02 section 6.6.
 *
 * @module
 */
import type { SftpAttributes } from "../../files/file_info.ts";
import { whatIsAt } from "./look.ts";
import { Mkdir } from "../wire/messages.ts";
import { dirName } from "../../files/names.ts";
import { refusalOf } from "../../files/refusals.ts";
import type { SftpSession } from "./session.ts";

/** Makes a directory; with `recursive` its parents too, and it may exist already. */
export async function makeDirectory(
  session: SftpSession,
  path: string,
  options: { mode?: number | undefined; recursive?: boolean | undefined },
  signal: AbortSignal | undefined,
): Promise<void> {
  const attrs: SftpAttributes = options.mode === undefined ? {} : { mode: options.mode & 0o7777 };
  const make = (): Promise<void> => session.status(Mkdir, { path, attrs }, { action: "make directory", path, signal });
  if (!options.recursive) return await make();
  try {
    await make();
  } catch (error) {
    const parent = dirName(path), isTop = parent === path || parent === "." || parent === "/";
    if (isTop || refusalOf(error) !== "missing") {
      if (await mayBeMissing(session, path, error, isTop) === false) return;
    }
    await makeDirectory(session, parent, options, signal);
    await make().catch((second) => mayBeMissing(session, path, second, true));
  }
}

/** False where a directory that could not be made is there already; throws where its parents do not matter. */
async function mayBeMissing(session: SftpSession, path: string, error: unknown, isLast: boolean): Promise<boolean> {
  const refusal = refusalOf(error);
  if (refusal === null || session.ended !== null) throw error;
  const there = await whatIsAt(session, path);
  if (there === "directory") return false;
  // A server that does not let it be looked at has said enough.
  if (refusal === "exists" && there !== "other") return false;
  // FAILURE, or that it is not allowed, is all that some servers say of a missing parent.
  const isOpen = ["unclear", "malformed", "not a directory"].includes(refusal) ||
    refusal === "denied" && there === "nothing";
  if (isLast || there === "other" || !isOpen) throw error;
  return true;
}
