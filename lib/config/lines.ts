/**
 * Lines of ssh_config, and the words that they are made of: ssh_config(5). Quotes, escapes and comments are those that `ssh` knows. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { type ConfigPlace, lineError, type SshConfigError } from "./config_error.ts";

/** Words that one line may have: enough for any list, and no more than a program holds easily. */
const MAX_WORDS = 100_000;

/** A line that says something. */
export interface ConfigLine {
  /** Its keyword, in lower case. */
  readonly keyword: string;
  /** What follows the keyword, as it stands there. */
  readonly rest: string;
  /** The words of it, or null where quotes do not match. */
  readonly words: readonly string[] | null;
  /** Where it stands. */
  readonly place: ConfigPlace;
}

const isBlank = (char: string | undefined): boolean => char === " " || char === "\t" || char === "\r";

/** The lines of a file that say something. */
export function linesOf(text: string, file: string): ConfigLine[] {
  const lines: ConfigLine[] = [];
  text.split("\n").forEach((line, i) => {
    const found = parseLine(line, { file, line: i + 1 });
    if (found !== null) lines.push(found);
  });
  return lines;
}

/** The line, or null for one that is empty or a comment. */
function parseLine(line: string, place: ConfigPlace): ConfigLine | null {
  // What stands behind a zero byte `ssh` does not see; whoever reads the file may.
  if (line.includes("\0")) {
    if (/^[ \t\r]*#/.test(line)) return null;
    throw lineError(place, "it has a zero byte");
  }
  let end = line.length;
  while (end > 0 && (isBlank(line[end - 1]) || line[end - 1] === "\f")) end--;
  if (end === 0) return null;
  const cut = cutKeyword(line.slice(0, end));
  if (cut === null) return null;
  const keyword = cut.keyword.toLowerCase();
  if (cut.rest === "") throw lineError(place, `no argument after keyword "${printable(keyword, 64)}"`);
  return { keyword, rest: cut.rest, words: splitWords(cut.rest, place), place };
}

/** The keyword and what follows it; one `=` between the two may take the place of blanks, and quotes around the keyword mean nothing. */
function cutKeyword(line: string, isAgain = false): { keyword: string; rest: string } | null {
  let at = 0;
  const blanks = (): void => {
    while (isBlank(line[at])) at++;
  };
  blanks();
  if (at === line.length || line[at] === "#") return null;
  const begin = at;
  while (at < line.length && !isBlank(line[at]) && line[at] !== '"' && line[at] !== "=") at++;
  let keyword = line.slice(begin, at), hadEquals = false;
  if (line[at] === '"') {
    const close = line.indexOf('"', at + 1);
    if (close === -1) return null;
    keyword += line.slice(at + 1, close);
    at = close + 1;
    blanks();
  } else {
    hadEquals = line[at] === "=";
    at++;
    blanks();
    if (line[at] === "=" && !hadEquals) {
      at++;
      blanks();
    }
  }
  // Quotes around nothing, or an `=`, may stand before the keyword, once.
  if (keyword === "" && !isAgain) return cutKeyword(line.slice(at), true);
  return keyword === "" || keyword.startsWith("#") ? null : { keyword, rest: line.slice(at) };
}

/**
 * Takes a line apart as a shell would, by blanks, quotes of both kinds and backslashes before quotes, backslashes and blanks; what follows
 * a `#` where a word could begin is a comment. Null where a quote is not closed.
 */
export function splitWords(line: string, place: ConfigPlace): string[] | null {
  // As most lines are, and long files have many of them.
  if (line.length < 1024 && !/["'\\#]/.test(line)) return line.split(/[ \t]+/).filter((word) => word !== "");
  const words: string[] = [];
  for (let at = 0; at < line.length;) {
    const char = line[at]!;
    if (char === " " || char === "\t") {
      at++;
      continue;
    }
    if (char === "#") break;
    if (words.length === MAX_WORDS) throw lineError(place, `more than ${MAX_WORDS} words`);
    let word = "", quote = "", from = at;
    const take = (): void => {
      word += line.slice(from, at);
    };
    for (; at < line.length; at++) {
      const char = line[at]!, next = line[at + 1];
      if (char === "\\" && (next === "'" || next === '"' || next === "\\" || quote === "" && next === " ")) {
        take();
        from = ++at;
      } else if (quote === "" && (char === " " || char === "\t")) break;
      else if (quote === "" && (char === '"' || char === "'") || quote !== "" && char === quote) {
        take();
        quote = quote === "" ? char : "";
        from = at + 1;
      }
    }
    if (quote !== "") return null;
    take();
    words.push(word);
  }
  return words;
}

/** Reads the words of a line in order. */
export class Words {
  readonly #line: ConfigLine;
  readonly #words: readonly string[];
  #at = 0;

  /** Throws `SshConfigError` for a line whose quotes do not match. */
  constructor(line: ConfigLine) {
    this.#line = line;
    if (line.words === null) throw lineError(line.place, "a quote is not closed");
    this.#words = line.words;
  }

  /** The keyword. */
  get keyword(): string {
    return this.#line.keyword;
  }

  /** Where the line stands. */
  get place(): ConfigPlace {
    return this.#line.place;
  }

  /** Words that are left. */
  get left(): number {
    return this.#words.length - this.#at;
  }

  /** The next word, or undefined where there is none. */
  next(): string | undefined {
    return this.#words[this.#at++];
  }

  /** The next word, which must not be empty. */
  need(): string {
    const word = this.next();
    if (word === undefined || word === "") throw this.error("it lacks an argument");
    return word;
  }

  /** All words that are left, of which none may be empty. */
  all(): string[] {
    const words: string[] = [];
    for (let word; (word = this.next()) !== undefined;) {
      if (word === "") throw this.error("an argument is empty");
      words.push(word);
    }
    return words;
  }

  /** Passes over what is left. */
  skip(): void {
    this.#at = this.#words.length;
  }

  /** What follows the keyword as it stands there: a command, for a shell. */
  raw(): string {
    this.skip();
    return this.#line.rest.replace(/^[ \t\r=]+/, "");
  }

  /** Throws where words are left. */
  end(): void {
    if (this.#at < this.#words.length) throw this.error("extra arguments at the end of the line");
  }

  /** The error that says why the line cannot be used. */
  error(why: string): SshConfigError {
    return lineError(this.#line.place, `${printable(this.keyword, 64)}: ${why}`);
  }

  /** The error for a value that the keyword does not take. */
  bad(value: string, wanted: string): SshConfigError {
    return this.error(`"${printable(value, 128)}" is no ${wanted}`);
  }
}
