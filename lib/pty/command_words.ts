/**
 * The words that start a shell for a session: a login shell, or one that runs a command. RFC 4254 section 6.5. No I/O.
 *
 * @module
 */
import { encodeText } from "../wire/byte_text.ts";

/** Has `printf` make the command of `$2` and hands it to the shell; the dot keeps newlines at its end. */
const DECODED = 'command=$(printf %b. "$2"); exec "$1" -c "${command%.}"';

/** Program and arguments. The command is one argument whatever is in it, also where it is no UTF-8, which arguments of Deno's must be. */
export function commandWords(shell: string, command: string | null): string[] {
  if (command === null) return [shell, "-l"];
  if (command.isWellFormed()) return [shell, "-c", command];
  return ["/bin/sh", "-c", DECODED, "sh", shell, Array.from(encodeText(command), escaped).join("")];
}

function escaped(byte: number): string {
  const char = String.fromCharCode(byte);
  return /[A-Za-z0-9 ]/.test(char) ? char : `\\0${byte.toString(8).padStart(3, "0")}`;
}
