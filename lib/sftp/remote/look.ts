/**
 * Finds out what has a name there, whichever requests a server answers. draft-ietf-secsh-filexfer-02 sections 6.7 and 6.8.
 *
 * @module
 */
import { typeOf } from "../wire/attrs.ts";
import { FileType } from "../../files/limits.ts";
import { Lstat, Opendir, Stat } from "../wire/messages.ts";
import { isMissing } from "../../files/refusals.ts";
import type { SftpSession } from "./session.ts";

/** What has a name there; `unknown` where the server does not say. */
export type There = "directory" | "other" | "nothing" | "unknown";

/** Whether a path can be listed, and so leads to a directory. Like all here, it throws where the session is over: that is no answer. */
export async function isListable(session: SftpSession, path: string): Promise<boolean> {
  try {
    session.dropHandle(await session.handle(Opendir, { path }, { action: "open", path }), path);
    return true;
  } catch (error) {
    if (session.ended !== null) throw error;
    return false;
  }
}

/** What a path leads to. Where STAT is refused, or tells of no type, what can be listed is a directory. */
export async function whatIsAt(session: SftpSession, path: string): Promise<There> {
  let there: There = "unknown";
  try {
    const type = typeOf(await session.attrs(Stat, { path }, { action: "stat", path }), 0);
    if (type !== 0) return type === FileType.DIRECTORY ? "directory" : "other";
    there = "other";
  } catch (error) {
    if (session.ended !== null) throw error;
    if (isMissing(error)) return "nothing";
  }
  return await isListable(session, path) ? "directory" : there;
}

/** What has a name itself, no link being followed; `unknown` also where the server tells of no type. */
export async function whatIsNamed(session: SftpSession, path: string): Promise<There> {
  try {
    const type = typeOf(await session.attrs(Lstat, { path }, { action: "lstat", path }), 0);
    return type === 0 ? "unknown" : type === FileType.DIRECTORY ? "directory" : "other";
  } catch (error) {
    if (session.ended !== null) throw error;
    return isMissing(error) ? "nothing" : "unknown";
  }
}
