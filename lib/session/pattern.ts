/**
 * What output is searched for, and the text of bytes in which it is. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { kindOf } from "../wire/check.ts";

/** What output matched. */
export interface OutputMatch {
  /** The text before what matched, from where the last match ended. */
  readonly before: string;
  /** What matched. */
  readonly match: string;
  /** What the groups of a RegExp matched, the first at 0; undefined for one that took no part. */
  readonly captures: readonly (string | undefined)[];
  /** The same by the names of the groups, for those that have one. */
  readonly groups: Readonly<Record<string, string | undefined>>;
}

/** A match and where it ends in the text. */
export interface Found {
  readonly found: OutputMatch;
  readonly start: number;
  readonly end: number;
}

/** Throws `TypeError` for what is no pattern. */
export function checkPattern(value: unknown, name: string): asserts value is string | RegExp {
  if (value instanceof RegExp || typeof value === "string" && value !== "") return;
  throw new TypeError(`Cannot use ${kindOf(value)} as \`${name}\`: it must be a text that is not empty, or a RegExp`);
}

/** A text or a RegExp that is searched for again and again, in a text that grows. */
export class Pattern {
  readonly #text: string | null;
  readonly #regExp: RegExp | null;
  /** How it is shown in errors. */
  readonly shown: string;

  constructor(pattern: string | RegExp) {
    this.#text = typeof pattern === "string" ? pattern : null;
    // One of its own: where the caller's was last used must not matter, nor this to the caller.
    this.#regExp = typeof pattern === "string" ? null : new RegExp(pattern.source, pattern.flags.replace("g", ""));
    this.shown = printable(typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern), 128);
  }

  /** The first match in a text of which the first `known` characters have been searched before. */
  find(text: string, known: number): Found | null {
    if (this.#text !== null) {
      const start = text.indexOf(this.#text, Math.max(0, known - this.#text.length + 1));
      if (start < 0) return null;
      const found = { before: text.slice(0, start), match: this.#text, captures: [], groups: {} };
      return { found, start, end: start + this.#text.length };
    }
    const regExp = this.#regExp!;
    regExp.lastIndex = 0;
    const result = regExp.exec(text);
    if (result === null) return null;
    const [match, ...captures] = result;
    const found = { before: text.slice(0, result.index), match, captures, groups: { ...result.groups } };
    return { found, start: result.index, end: result.index + match.length };
  }
}

/** A decoder that takes UTF-8 as it comes, with every byte standing for something in the text. */
export function textDecoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

/**
 * How many of `bytes` became the first `end` characters of `text`, which is what a decoder makes of them. One that `end` would cut in
 * half is counted whole.
 */
export function bytesOf(text: string, end: number, bytes: Uint8Array): number {
  if (isHigh(text.charCodeAt(end - 1)) && end < text.length) end++;
  const part = text.slice(0, end);
  if (!part.includes("\ufffd")) return new TextEncoder().encode(part).length;
  let at = 0;
  for (let i = 0; i < end;) {
    const { length, isWhole } = sequenceAt(bytes, at);
    at += length;
    i += isWhole && length === 4 ? 2 : 1;
  }
  return at;
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

/** The bytes of one character, or those that a decoder replaces together (the Encoding Standard, section 8.1.1). */
function sequenceAt(bytes: Uint8Array, at: number): { length: number; isWhole: boolean } {
  const first = bytes[at]!;
  const more = first < 0x80 ? 0 : first < 0xc2 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : -1;
  if (more < 0) return { length: 1, isWhole: false };
  for (let i = 1; i <= more; i++) {
    const byte = bytes[at + i] ?? 0;
    const [low, high] = i > 1
      ? [0x80, 0xbf]
      : [first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80, first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf];
    if (byte < low || byte > high) return { length: i, isWhole: false };
  }
  return { length: more + 1, isWhole: true };
}

/** The end of a text in quotes, for an error. */
export function quotedEnd(text: string): string {
  const cut = text.length > 200;
  return `${cut ? "…" : ""}${printable(JSON.stringify(text.slice(-200).toWellFormed()), 1000)}`;
}
