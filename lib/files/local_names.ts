/**
 * Which names a system can give to files. No I/O.
 *
 * @module
 */
import { encodeName, isEntryName } from "./names.ts";

/** Names that Windows takes for devices, whatever follows a dot. */
const DEVICE = /^(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$)(\.|$)/i;

/**
 * What a peer's name of one entry is called here; null where it is no single name, or none that this system can have. Linux and
 * macOS take whatever holds no slash. Bytes that are not UTF-8, which Deno cannot spell, become `%XX`.
 */
export function localNameOf(name: string, system: string): string | null {
  if (!isEntryName(name)) return null;
  if (system === "windows") {
    // Streams, drives, separators, wildcards, what is cut off at the end, and devices: each would lead elsewhere.
    // deno-lint-ignore no-control-regex
    if (/[\x00-\x1f<>:"/\\|?*]|[. ]$/.test(name) || DEVICE.test(name)) return null;
  }
  if (name.isWellFormed()) return name;
  return Array.from(name, (character) => {
    if (character.isWellFormed()) return character;
    return Array.from(encodeName(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  }).join("");
}
