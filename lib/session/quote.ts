/**
 * Words for a POSIX shell (POSIX.1-2024, Shell Command Language, section 2.2). No I/O.
 *
 * @module
 */
import { kindOf } from "../wire/check.ts";

/** What may stand in a command: a text or a number is one word, and an array as many as it has. */
export type ShellValue = string | number | readonly (string | number)[];

function word(value: unknown): string {
  if (typeof value !== "string" && typeof value !== "number") {
    throw new TypeError(`Cannot quote ${kindOf(value)} for a shell: it must be a text, a number, or an array of those`);
  }
  const text = String(value);
  if (text.includes("\0")) throw new TypeError("Cannot quote a text with a NUL for a shell: no word can hold one");
  // Always, however harmless it looks: a word may be a keyword or an alias, and a digit before `>` is no word at all.
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * Quotes a value for a POSIX shell, so that a command gets it as one word and exactly as it is; an array becomes words with spaces
 * between, and nothing where it is empty. A value that begins with a dash is still an option for most commands: put `--` or `./` before
 * it. Throws `TypeError` for a NUL, which no word can hold, and for what is neither text nor number.
 *
 * @example Words in a command line
 * ```ts
 * import { quote } from "@amiko/ssh";
 *
 * console.log(`grep -e ${quote("it's $HOME")} -- ${quote(["a b", "c"])}`); // grep -e 'it'\''s $HOME' -- 'a b' 'c'
 * ```
 */
export function quote(value: ShellValue): string {
  return Array.isArray(value) ? value.map(word).join(" ") : word(value);
}

/** An expansion that can be passed over: nothing in it is a quote, or ends it early, as what follows the patterns of a `case` would. */
const PLAIN = /\$(?:\{[^'"\\`${}]*\}|\((?![^)]*\bcase\b)[^'"\\`$()#<]*\))/y;

/** What stands before a word. */
const BETWEEN_WORDS = /[\s;|&()<>]/;

/**
 * Why a quoted word cannot stand behind `written`, or null. What this cannot follow is refused: quotes make the quotes around a value
 * plain text, and what was kept from the shell runs.
 */
function obstacle(written: string): string | null {
  let isQuoted = false;
  for (let i = 0; i < written.length; i++) {
    const char = written[i]!, next = written[i + 1];
    if (char === "\\") {
      if (++i === written.length) return "behind a backslash";
    } else if (char === '"') isQuoted = !isQuoted;
    else if (char === "`") return "behind a backquote";
    else if (char === "$" && next === "{" || isQuoted && char === "$" && next === "(") {
      PLAIN.lastIndex = i;
      const plain = PLAIN.exec(written);
      if (plain === null) return `in or behind \`$${next}\` with more in it than this can follow`;
      i += plain[0].length - 1;
    } else if (isQuoted) continue;
    else if (char === "'") {
      i = written.indexOf("'", i + 1);
      if (i < 0) return "between '…'";
    } else if (char === "$" && next === "'") return "behind `$'`, in which a backslash hides the end";
    else if (char === "(" && next === "(") return "behind `((`, where the shell expands what is quoted";
    else if (char === "<" && next === "<") return "behind `<<`, in whose text nothing is quoted";
    else if (char === "#" && (i === 0 || BETWEEN_WORDS.test(written[i - 1]!))) return "in or behind a comment";
  }
  if (isQuoted) return 'between "…"';
  return written.endsWith("$") ? "behind a `$`" : null;
}

/**
 * The command line of a template: its values are quoted. Throws `TypeError` for a value in a place where quoting does not hold, such as
 * within quotes, or where this cannot tell.
 */
export function commandLine(strings: readonly (string | undefined)[], values: readonly ShellValue[]): string {
  let written = "", line = "";
  strings.forEach((text, i) => {
    if (text === undefined) throw new TypeError("Cannot run command: its template has an escape that is none");
    line += text;
    written += text;
    if (i >= values.length) return;
    const where = obstacle(written);
    if (where !== null) {
      throw new TypeError(
        `Cannot run command: value ${
          i + 1
        } stands ${where}; write it bare, as it is quoted here, or build the line with quote()`,
      );
    }
    const quoted = quote(values[i]!);
    line += quoted;
    // A word that stands for the value in what is looked at next; an empty array is none.
    written += quoted === "" ? "" : "x";
  });
  return line;
}

/** Begins in another directory, and does nothing at all where that is not possible. A relative one begins where the session does. */
export function inDirectory(cwd: string, command: string): string {
  // Neither an option nor a word that `cd` takes otherwise, such as `-`, nor one that CDPATH leads elsewhere.
  return `cd ${quote(cwd.startsWith("/") ? cwd : `./${cwd}`)} || exit\n${command}`;
}

/** Begins with variables set, whose names are those that a shell knows, and does nothing at all where that is not possible. */
export function exported(env: Readonly<Record<string, string>>, command: string): string {
  const words = Object.entries(env).map(([name, value]) => `${name}=${quote(value)}`);
  return words.length === 0 ? command : `export ${words.join(" ")} || exit\n${command}`;
}
