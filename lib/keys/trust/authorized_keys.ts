/**
 * authorized_keys: its lines, with the keys that may log in and the options that restrict them. sshd(8), AUTHORIZED_KEYS FILE FORMAT. No I/O.
 *
 * @module
 */
import { SshError } from "../../errors.ts";
import { keyFormatError } from "../format/format_error.ts";
import { characters, type KeyText } from "../key_text.ts";
import { publicKeyFromWords } from "../public_key.ts";
import type { RsaKeyOptions } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";
import { isFlag, optionProblem } from "./key_options.ts";

/** Longest line that is looked at; a longer one is rejected whole. */
const MAX_LINE = 16_384;

/** An option of a line, its name in lower case. */
export interface AuthorizedKeyOption {
  /** Name, such as `command` or `no-pty`. */
  readonly name: string;
  /** What stood between the quotes, or null for an option without a value. */
  readonly value: string | null;
}

/** A line of authorized_keys. */
export interface AuthorizedKey {
  /** Line number, counted from 1. */
  readonly line: number;
  /** Options in the order of the line. */
  readonly options: readonly AuthorizedKeyOption[];
  /** The key. */
  readonly key: PublicKey;
  /** What follows the key. */
  readonly comment: string;
}

/** A line that was rejected. */
export interface RejectedLine {
  /** Line number, counted from 1. */
  readonly line: number;
  /** Why; holds nothing of the line. */
  readonly reason: string;
}

/** Reads the options at the start of `line`; returns them and the offset of what follows the blanks behind them. */
function readOptions(line: string): { options: AuthorizedKeyOption[]; end: number } {
  const options: AuthorizedKeyOption[] = [];
  let at = 0;
  for (;;) {
    const name = /^[A-Za-z0-9-]+/.exec(line.slice(at, at + 64))?.[0];
    if (name === undefined) throw keyFormatError("an option has no name");
    at += name.length;
    let value: string | null = null;
    if (line[at] === "=") {
      if (line[at + 1] !== '"') throw keyFormatError("an option's value is not in quotes");
      value = "";
      for (at += 2; line[at] !== '"'; at++) {
        if (at >= line.length) throw keyFormatError("a quote is not closed");
        // Only a quote is escaped: any other backslash stands for itself.
        if (line[at] === "\\" && line[at + 1] === '"') at++;
        value += line[at];
      }
      at++;
    }
    const lower = name.toLowerCase();
    const problem = optionProblem(lower, value, options);
    if (problem !== null) throw keyFormatError(problem);
    options.push({ name: lower, value });
    if (line[at] === ",") at++;
    else if (line[at] === " " || line[at] === "\t") break;
    else throw keyFormatError("the options are not followed by a key");
  }
  while (line[at] === " " || line[at] === "\t") at++;
  return { options, end: at };
}

/** Reads `type base64 comment`, or null where the first word is no key type, and so perhaps an option. */
function readKey(text: string, rsa: RsaKeyOptions): { key: PublicKey; comment: string } | null {
  // Each key begins with the length of its type's name: where the third word does and the second does not, the first is an option.
  const match = /^([^ \t"=,]+)[ \t]+(AAAA[^ \t]+|(?![^ \t]+[ \t]+AAAA)[^ \t]+)(?:[ \t]+(.*))?$/s.exec(text);
  if (match === null || isFlag(match[1]!)) return null;
  return { key: publicKeyFromWords(match[1]!, match[2]!, rsa), comment: match[3] ?? "" };
}

function parseLine(line: string, rsa: RsaKeyOptions): Omit<AuthorizedKey, "line"> {
  if (line.length > MAX_LINE) throw keyFormatError(`it is longer than ${MAX_LINE} characters`);
  if (/[\0\r]/.test(line)) throw keyFormatError("it holds a NUL or a lone carriage return");
  const bare = readKey(line, rsa);
  if (bare !== null) return { options: [], ...bare };
  const { options, end } = readOptions(line);
  const restricted = readKey(line.slice(end), rsa);
  if (restricted === null) throw keyFormatError("no key follows the options");
  return { options, ...restricted };
}

/** The lines of a text that hold something, each of them read or rejected, in their order; with `wanted`, only those that hold that text. */
export function* authorizedLines(
  text: KeyText,
  rsa: RsaKeyOptions = {},
  wanted = "",
): Generator<AuthorizedKey | RejectedLine> {
  const all = characters("Cannot read authorized keys", text);
  // Lines are not taken apart before they are wanted: a file may be millions of empty ones. `next` is where `wanted` is found next.
  let number = 0, next = all.indexOf(wanted);
  for (let from = 0, end = 0; from <= all.length; from = end + 1) {
    if (next >= 0 && next < from) next = all.indexOf(wanted, from);
    if (next < 0) return;
    const found = all.indexOf("\n", from);
    end = found < 0 ? all.length : found;
    number++;
    if (next > end) continue;
    const line = all.slice(from, end).replace(/\r$/, "").replace(/^[ \t]+|[ \t]+$/g, "");
    if (line === "" || line.startsWith("#")) continue;
    yield readLine(number, line, rsa);
  }
}

function readLine(number: number, line: string, rsa: RsaKeyOptions): AuthorizedKey | RejectedLine {
  try {
    return { line: number, ...parseLine(line, rsa) };
  } catch (error) {
    if (!(error instanceof SshError)) throw error;
    return { line: number, reason: error.message };
  }
}

/**
 * Reads authorized_keys text. A line with anything amiss, an option that is not known or has a value that makes no sense, or a key of a
 * type that does not equal its blob's is rejected as a whole, and never read as a key with fewer restrictions.
 */
export function parseAuthorizedKeys(
  text: KeyText,
  rsa: RsaKeyOptions = {},
): { keys: AuthorizedKey[]; rejected: RejectedLine[] } {
  const keys: AuthorizedKey[] = [], rejected: RejectedLine[] = [];
  for (const line of authorizedLines(text, rsa)) {
    if ("key" in line) keys.push(line);
    else rejected.push(line);
  }
  return { keys, rejected };
}
