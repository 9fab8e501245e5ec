/**
 * L5. An entry of a directory, as the client gives it and a server's backend takes it. No I/O.
 *
 * @module
 */
import type { SftpFileInfo } from "./attrs.ts";

/** Directory entry. */
export interface SftpDirEntry extends Deno.DirEntry {
  /** Metadata that came with the entry; of a link, not of what it points to. */
  readonly info: SftpFileInfo;
}
