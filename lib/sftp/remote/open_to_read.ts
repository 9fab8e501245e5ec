/**
 * Opens a remote file to read it, and asks what it is. draft-ietf-secsh-filexfer-02 sections 6.3 and 6.8.
 *
 * @module
 */
import type { SftpAttributes } from "../../files/file_info.ts";
import { abortable } from "../../wire/abortable.ts";
import type { Bytes } from "../../wire/types.ts";
import { OpenFlag } from "../wire/constants.ts";
import { Fstat, Open } from "../wire/messages.ts";
import type { SftpSession } from "./session.ts";

/** The handle, which is the caller's to drop, and the attributes: none where the server does not tell. Nothing is open where this rejects. */
export async function openToRead(
  session: SftpSession,
  path: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly handle: Bytes; readonly attrs: SftpAttributes }> {
  const request = { path, flags: OpenFlag.READ, attrs: {} };
  const handle = await session.handle(Open, request, { action: "open", path, signal });
  try {
    const attrs = await abortable(session.attrs(Fstat, { handle }, { action: "stat", path }), signal);
    return { handle, attrs };
  } catch (error) {
    // They are a hint, and a server without them has the file all the same.
    if (session.ended === null && !signal?.aborted) return { handle, attrs: {} };
    session.dropHandle(handle, path);
    throw error;
  }
}
