/**
 * authorized_keys: which keys may log in, and under which restrictions. sshd(8), AUTHORIZED_KEYS FILE FORMAT. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { SshError } from "../../errors.ts";
import { keyFormatError } from "../format/format_error.ts";
import { characters, type KeyText } from "../key_text.ts";
import { publicKeyFromWords } from "../public_key.ts";
import { RSA_BITS, type RsaKeyOptions } from "../rsa_public.ts";
import type { PublicKey } from "../types.ts";

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

/** Options without a value. */
const flags: ReadonlySet<string> = new Set([
  "agent-forwarding",
  "cert-authority",
  "no-agent-forwarding",
  "no-port-forwarding",
  "no-pty",
  "no-touch-required",
  "no-user-rc",
  "no-x11-forwarding",
  "port-forwarding",
  "pty",
  "restrict",
  "user-rc",
  "verify-required",
  "x11-forwarding",
]);
/** Options with a value in quotes. */
const settings: ReadonlySet<string> = new Set([
  "command",
  "environment",
  "expiry-time",
  "from",
  "permitlisten",
  "permitopen",
  "principals",
  "tunnel",
]);

/** Options that add up when they stand more than once; two of any other would leave open which one holds. */
const repeatable: ReadonlySet<string> = new Set([...flags, "environment", "permitlisten", "permitopen"]);

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
    if (!(value === null ? flags : settings).has(lower)) {
      throw keyFormatError("an option is not known or its value is amiss");
    }
    if (!repeatable.has(lower) && options.some((option) => option.name === lower)) {
      throw keyFormatError("an option stands twice");
    }
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
  const match = /^([^ \t"=,]+)[ \t]+([^ \t]+)(?:[ \t]+(.*))?$/.exec(text);
  if (match === null || flags.has(match[1]!.toLowerCase())) return null;
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

/**
 * Reads authorized_keys text. A line with anything amiss, an unknown option or a key of a type that does not equal its blob's is
 * rejected as a whole, and never read as a key with fewer restrictions.
 */
export function parseAuthorizedKeys(
  text: KeyText,
  rsa: RsaKeyOptions = {},
): { keys: AuthorizedKey[]; rejected: RejectedLine[] } {
  const keys: AuthorizedKey[] = [], rejected: RejectedLine[] = [];
  characters("Cannot read authorized keys", text).split("\n").forEach((raw, index) => {
    const line = raw.replace(/\r$/, "").replace(/^[ \t]+|[ \t]+$/g, "");
    if (line === "" || line.startsWith("#")) return;
    try {
      keys.push({ line: index + 1, ...parseLine(line, rsa) });
    } catch (error) {
      if (!(error instanceof SshError)) throw error;
      rejected.push({ line: index + 1, reason: error.message });
    }
  });
  return { keys, rejected };
}

/**
 * The first line that holds this very key, or null. A line with an option that is not among `enforced` gives null: the caller
 * names the options that it puts into force itself, in lower case. A `cert-authority` line is no line for a plain key.
 */
export function matchAuthorizedKey(
  text: KeyText,
  key: PublicKey,
  enforced: readonly string[] = [],
): AuthorizedKey | null {
  const blob = key.blob;
  // A key that is this short got here because the program let it in.
  for (const entry of parseAuthorizedKeys(text, { insecureMinRsaBits: RSA_BITS.insecureMin }).keys) {
    if (!equals(entry.key.blob, blob) || entry.options.some(({ name }) => name === "cert-authority")) continue;
    // The first line decides: a later one with the same key must not lift its restrictions.
    return entry.options.every(({ name }) => enforced.includes(name)) ? entry : null;
  }
  return null;
}
