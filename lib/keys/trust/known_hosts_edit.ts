/**
 * Changes of known_hosts text, as `ssh` and `ssh-keygen` make them; what is not meant stays as it is, byte by byte. sshd(8), SSH_KNOWN_HOSTS FILE
 * FORMAT. No I/O.
 *
 * @module
 */
import { bytesOfString } from "../key_text.ts";
import { publicKeyLine } from "../public_key.ts";
import type { PublicKey } from "../types.ts";
import type { Bytes } from "../../wire/types.ts";
import { hashedName, isHashed, parseHosts } from "./host_patterns.ts";
import { type KnownHostsMarker, type LineFields, lineFields } from "./known_hosts_lines.ts";

/** A line of known_hosts that names a host. */
export interface KnownHostLine {
  /** Line number, counted from 1. */
  readonly line: number;
  /** What it is for: a host's key, a key never to be accepted, or a certificate authority's key. */
  readonly marker: KnownHostsMarker;
  /** The line as it stands there, without its end. */
  readonly text: string;
}

/** A file's bytes as text, and the way back, on which no byte changes. */
class FileText {
  readonly lines: readonly string[];
  readonly #isUtf8: boolean;
  readonly #mark: string;

  constructor(bytes: Uint8Array) {
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
      this.#isUtf8 = true;
    } catch {
      text = "";
      for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      this.#isUtf8 = false;
    }
    // The mark is no part of the first line.
    this.#mark = /^(\ufeff|\u00ef\u00bb\u00bf)?/.exec(text)![0];
    const lines = text.slice(this.#mark.length).split("\n");
    if (lines.at(-1) === "") lines.pop();
    this.lines = lines;
  }

  /** A file of these lines, each with its end. */
  bytes(lines: readonly string[]): Bytes {
    const text = this.#mark + lines.map((line) => `${line}\n`).join("");
    return this.#isUtf8 ? new TextEncoder().encode(text) : bytesOfString(text);
  }
}

/**
 * Whether `ssh-keygen` takes a line for one of a host: its key need not be sound. What has no key type on it is none, and is kept whatever it
 * names.
 */
function isHostLine({ type }: LineFields): boolean {
  return /^(ssh|ecdsa|sk|webauthn)-/.test(type);
}

/** The fields of a line that names the host, whatever it says of it; else null. */
function fieldsFor(name: string, line: string): LineFields | null {
  const fields = lineFields(line);
  return fields !== null && isHostLine(fields) && parseHosts(fields.names)?.matches(name) ? fields : null;
}

/** The lines that name a host, as `ssh-keygen -F` finds them. */
export function linesFor(bytes: Uint8Array, name: string): KnownHostLine[] {
  return new FileText(bytes).lines.flatMap((text, i) => {
    const fields = fieldsFor(name, text);
    return fields === null ? [] : [{ line: i + 1, marker: fields.marker, text: text.replace(/\r$/, "") }];
  });
}

/**
 * The file without a host's keys, as `ssh-keygen -R` leaves it, and the lines that are gone. Lines with a marker stay, and those that it could not
 * read: it would not touch a file that has some. Null where there is nothing to take away. `goes` says which of the lines go, all unless it is given.
 */
export function withoutHost(
  bytes: Uint8Array,
  name: string,
  goes: (fields: LineFields) => boolean = () => true,
): { bytes: Bytes; removed: KnownHostLine[] } | null {
  const file = new FileText(bytes), removed: KnownHostLine[] = [];
  const kept = file.lines.filter((text, i) => {
    const fields = fieldsFor(name, text);
    if (fields === null || fields.marker !== "host" || !goes(fields)) return true;
    removed.push({ line: i + 1, marker: fields.marker, text: text.replace(/\r$/, "") });
    return false;
  });
  return removed.length === 0 ? null : { bytes: file.bytes(kept), removed };
}

/**
 * The file with its names hashed, as `ssh-keygen -H` leaves it, each name on a line of its own; lines with a pattern or a marker stay, and those that
 * it could not read. Null where all are hashed already.
 */
export function withHashedNames(bytes: Uint8Array): Bytes | null {
  const file = new FileText(bytes);
  let changed = false;
  const lines = file.lines.flatMap((line) => {
    const fields = lineFields(line);
    if (fields === null || !isHostLine(fields) || !isPlain(fields)) return [line];
    changed = true;
    const names = fields.names.toLowerCase().split(",").filter((name) => name !== "");
    return names.map((name) => `${hashedName(name)} ${line.slice(fields.typeAt)}`);
  });
  return changed ? file.bytes(lines) : null;
}

/** Whether a line names hosts in clear, each for itself. */
function isPlain({ marker, names }: LineFields): boolean {
  return marker === "host" && !isHashed(names) && !/[*?!]/.test(names);
}

/**
 * What is to be added to a file so that it has these keys of a host, one a line: with the name hashed if `hash` says so, or where no answer is given,
 * if most names of the file are, and with the ends of lines that the file has.
 */
export function addition(
  bytes: Uint8Array,
  name: string,
  keys: readonly PublicKey[],
  hash: boolean | undefined,
): Bytes {
  const { lines } = new FileText(bytes), isOpen = lines.length > 0 && bytes.at(-1) !== 0x0a;
  const lineEnd = lines.at(isOpen ? -2 : -1)?.endsWith("\r") ? "\r\n" : "\n";
  // Whatever the last line is, it is not run into.
  const before = !isOpen ? "" : lines.at(-1)!.endsWith("\r") ? "\n" : lineEnd;
  const isHash = hash ?? mostAreHashed(lines);
  const added = keys.map((key) => `${isHash ? hashedName(name) : name} ${publicKeyLine(key)}${lineEnd}`);
  return new TextEncoder().encode(before + added.join(""));
}

/** Whether most names of a file are hashed. */
export function namesAreHashed(bytes: Uint8Array): boolean {
  return mostAreHashed(new FileText(bytes).lines);
}

function mostAreHashed(lines: readonly string[]): boolean {
  let hashed = 0, plain = 0;
  for (const line of lines) {
    const fields = lineFields(line);
    if (fields === null || fields.marker !== "host" || !isHostLine(fields)) continue;
    if (isHashed(fields.names)) hashed++;
    else if (isPlain(fields)) plain++;
  }
  return hashed > 0 && hashed >= plain;
}
