/**
 * allowed_signers: who may sign what, and when. ssh-keygen(1), ALLOWED SIGNERS. No I/O.
 *
 * A line that cannot be read lets nobody sign, and the others stand, as `ssh-keygen` has it.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable, SshError } from "../../errors.ts";
import type { Bytes } from "../../wire/types.ts";
import { keyFormatError } from "../format/format_error.ts";
import { characters, type KeyText } from "../key_text.ts";
import { decodeBase64 } from "../format/base64.ts";
import { Reader } from "../../wire/reader.ts";
import { listMatch } from "../trust/host_patterns.ts";
import { expiryTime } from "../trust/key_options.ts";
import type { Certificate, PublicKey } from "../types.ts";

/** Critical options of users' certificates; the first two are about logins alone. */
const CRITICAL: readonly string[] = ["force-command", "source-address", "verify-required"];

/** Longest line that is looked at; a longer one is rejected whole. */
const MAX_SIGNER_LINE = 65_536;

/** A line. */
export interface AllowedSigner {
  /** Line number, counted from 1. */
  readonly line: number;
  /** Patterns of those who sign, as they stand there. */
  readonly principals: string;
  /** The key's blob. */
  readonly blob: Bytes;
  /** Whether the key signs certificates of others, and nothing by itself. */
  readonly authority: boolean;
  /** Patterns of what may be signed, or null for anything. */
  readonly namespaces: string | null;
  /** From when. */
  readonly validAfter: Date | null;
  /** Until when. */
  readonly validBefore: Date | null;
}

/** A line that cannot be read. */
export interface BadLine {
  /** Line number, counted from 1. */
  readonly line: number;
  /** Why; holds nothing of the line. */
  readonly reason: string;
}

type Options = Pick<AllowedSigner, "authority" | "namespaces" | "validAfter" | "validBefore">;

/** The first word, which may be in quotes as a whole or in part, and what stands behind the blanks that follow it. */
function readPrincipals(line: string): { principals: string; rest: string } {
  const bare = /^[^ \t"]*/.exec(line)![0];
  let at = bare.length, principals = bare;
  if (line[at] === '"') {
    const close = line.indexOf('"', at + 1);
    if (close < 0) throw keyFormatError("a quote is not closed");
    principals += line.slice(at + 1, close);
    at = close + 1;
  }
  if (principals === "") throw keyFormatError("it names nobody");
  return { principals, rest: line.slice(at).replace(/^[ \t]+/, "") };
}

/** Reads options up to the blank behind them; returns them and what follows the blanks. */
function readOptions(text: string): { options: Options; rest: string } {
  const found = new Map<string, string | null>();
  let at = 0;
  for (;;) {
    const [, name, equal] = /^([A-Za-z-]+)(="|)/.exec(text.slice(at, at + 32)) ?? [];
    if (name === undefined) throw keyFormatError("an option has no name");
    at += name.length + equal!.length;
    let value: string | null = null;
    if (equal !== "") {
      for (value = ""; text[at] !== '"'; at++) {
        if (at >= text.length) throw keyFormatError("a quote is not closed");
        if (text[at] === "\\" && text[at + 1] === '"') at++;
        value += text[at];
      }
      at++;
    }
    const lower = name.toLowerCase();
    if (
      (value === null) !== (lower === "cert-authority") ||
      !/^(cert-authority|namespaces|valid-(after|before))$/.test(lower)
    ) {
      throw keyFormatError("an option is not known, or its value is amiss");
    }
    if (lower !== "cert-authority" && found.has(lower)) throw keyFormatError("an option stands twice");
    found.set(lower, value);
    if (text[at] === ",") at++;
    else if (text[at] === " " || text[at] === "\t") break;
    else throw keyFormatError("the options are not followed by a key");
  }
  const time = (name: string): Date | null => {
    const value = found.get(name);
    if (value === undefined) return null;
    const date = expiryTime(value!);
    if (date === null || date.getTime() === 0) throw keyFormatError(`${name}: it is no time`);
    return date;
  };
  const validAfter = time("valid-after"), validBefore = time("valid-before");
  if (validAfter !== null && validBefore !== null && validBefore <= validAfter) {
    throw keyFormatError("valid-before: it is not behind valid-after");
  }
  const options = {
    authority: found.has("cert-authority"),
    namespaces: found.get("namespaces") ?? null,
    validAfter,
    validBefore,
  };
  return { options, rest: text.slice(at).replace(/^[ \t]+/, "") };
}

/** Reads `type base64 comment`, or null where it is something else. Types that are not known here are keys of others. */
function readKey(text: string): Bytes | null {
  const [, type, base64] = /^([^ \t"=,]+)[ \t]+([^ \t]+)/.exec(text) ?? [];
  if (type === undefined) return null;
  try {
    const blob = decodeBase64(base64!, "Cannot read key");
    return new Reader(blob).ascii() === type ? blob : null;
  } catch (error) {
    if (error instanceof SshError) return null;
    throw error;
  }
}

function parseLine(line: string): Omit<AllowedSigner, "line"> {
  if (line.length > MAX_SIGNER_LINE) throw keyFormatError(`it is longer than ${MAX_SIGNER_LINE} characters`);
  if (/[\0\r]/.test(line)) throw keyFormatError("it holds a NUL or a lone carriage return");
  const { principals, rest } = readPrincipals(line), bare = readKey(rest);
  if (bare !== null) {
    return { principals, blob: bare, authority: false, namespaces: null, validAfter: null, validBefore: null };
  }
  const { options, rest: behind } = readOptions(rest), blob = readKey(behind);
  if (blob === null) throw keyFormatError("no key follows the options");
  return { principals, blob, ...options };
}

/** The lines that hold something, each of them read or with what is amiss. */
export function* allowedSigners(text: KeyText): Generator<AllowedSigner | BadLine> {
  let number = 0;
  for (const raw of characters("Cannot read allowed signers", text).split("\n")) {
    number++;
    const line = raw.replace(/\r$/, "").replace(/^[ \t]+|[ \t]+$/g, "");
    if (line === "" || line.startsWith("#")) continue;
    let read: AllowedSigner | BadLine;
    try {
      read = { line: number, ...parseLine(line) };
    } catch (error) {
      if (!(error instanceof SshError)) throw error;
      read = { line: number, reason: error.message };
    }
    yield read;
  }
}

/** Whether a line is about this key: it is the line's own, or its certificate is by the line's. */
export function speaksOf(entry: AllowedSigner, key: PublicKey): boolean {
  if (!entry.authority) return equals(entry.blob, key.blob);
  return key.certificate !== undefined && equals(entry.blob, key.certificate.signedBy.blob);
}

/**
 * Why a certificate does not let somebody sign at that time, or null. What its options say of logins is not asked, as in `ssh-keygen`; what
 * nobody knows to mean nothing here is no option of one that holds.
 */
export function certificateRefusal(certificate: Certificate, principal: string, at: Date): string | null {
  const { kind, principals, validAfter, validBefore, criticalOptions } = certificate;
  if (kind !== "user") return `its certificate is for ${kind}s`;
  if (at < validAfter) return `its certificate is valid from ${validAfter.toISOString()} on`;
  if (validBefore !== null && at >= validBefore) return `its certificate was valid until ${validBefore.toISOString()}`;
  const unknown = [...criticalOptions.keys()].find((name) => !CRITICAL.includes(name));
  if (unknown !== undefined) {
    return `its certificate has the critical option "${printable(unknown, 64)}", which is not known`;
  }
  return principals.includes(principal) ? null : "its certificate does not name this principal";
}

/** Whether a line is for somebody. */
export function isFor(entry: AllowedSigner, principal: string): boolean {
  return listMatch(principal, entry.principals);
}

/** Why a line that speaks of a key does not let it sign at that time, for that purpose; or null. Without a purpose, only the time counts. */
export function refusal(entry: AllowedSigner, namespace: string | null, at: Date): string | null {
  if (namespace !== null && entry.namespaces !== null && !listMatch(namespace, entry.namespaces)) {
    return "its namespaces do not have this one";
  }
  // Times of lines are whole seconds, and the last of them counts to its end.
  const second = Math.floor(at.getTime() / 1000) * 1000;
  if (entry.validAfter !== null && second < entry.validAfter.getTime()) {
    return `it is valid from ${entry.validAfter.toISOString()} on`;
  }
  if (entry.validBefore !== null && second > entry.validBefore.getTime()) {
    return `it was valid until ${entry.validBefore.toISOString()}`;
  }
  return null;
}
