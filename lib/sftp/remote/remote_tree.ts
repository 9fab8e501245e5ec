/**
 * A remote tree as a glob looks at it. draft-ietf-secsh-filexfer-02 sections 6.7 and 6.8.
 *
 * @module
 */
import type { GlobEntry, GlobTree } from "../../files/glob.ts";
import { Lstat, Stat } from "../wire/messages.ts";
import { refusalOf } from "../../files/refusals.ts";
import type { WaitOptions } from "../../wire/deadline.ts";
import { asked } from "./asked.ts";
import type { SftpSession } from "./session.ts";
import { unsupportedError } from "./errors.ts";

/** The tree of a session; the time of `options` is that of each answer. */
export function remoteTree(
  session: SftpSession,
  readDir: (path: string) => AsyncIterable<GlobEntry>,
  options: WaitOptions,
): GlobTree {
  return {
    list: async (path) => {
      const list: { name: string; isDirectory: boolean }[] = [];
      try {
        for await (const entry of readDir(path)) list.push(entry);
      } catch (error) {
        // The reason of an abort may be an error of another request.
        options.signal?.throwIfAborted();
        // What is no directory, or may not be read, has nothing that matches.
        const refusal = refusalOf(error), isHarmless = refusal !== "unsupported" && refusal !== "malformed";
        if (refusal === null || !isHarmless || session.ended !== null) throw error;
      }
      return list;
    },
    exists: async (path) => {
      for (const look of [Lstat, Stat]) {
        try {
          await asked("stat", path, options, (purpose) => session.attrs(look, { path }, purpose));
          return true;
        } catch (error) {
          options.signal?.throwIfAborted();
          const refusal = refusalOf(error);
          if (refusal === null || session.ended !== null) throw error;
          if (refusal !== "unsupported") return false;
        }
      }
      throw unsupportedError({ action: "glob", path }, "LSTAT and STAT");
    },
  };
}
