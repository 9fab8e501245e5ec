/**
 * L3. The identification exchange. RFC 4253 section 4.2. Pure: bytes in, lines out; no I/O.
 *
 * @module
 */
import { DisconnectReason, printable, SshProtocolError } from "../errors.ts";

const MAX_IDENT = 255;
const MAX_PREAMBLE_LINES = 1024;
const MAX_PREAMBLE_LINE = 8192;
const SSH = [0x53, 0x53, 0x48, 0x2d]; // "SSH-"
const LF = 0x0a, CR = 0x0d;

function refuse(message: string): never {
  throw new SshProtocolError(message, DisconnectReason.PROTOCOL_VERSION_NOT_SUPPORTED);
}

/** Makes this side's identification line, without CR LF, from the software version and comment given. */
export function identLine(software: string): string {
  if (!/^[\x21-\x2c\x2e-\x7e][\x20-\x7e]*$/.test(software) || software.length > MAX_IDENT - 10) {
    throw new TypeError(
      `Cannot identify as "${
        printable(software)
      }": it must be 1 to 245 printable US-ASCII characters and not begin with "-"`,
    );
  }
  return `SSH-2.0-${software}`;
}

/** Reads the peer's identification line from bytes that come in any split. */
export class IdentReader {
  readonly #role: "client" | "server";
  #line: number[] = [];
  #preambleLines = 0;

  /** `role` is this side's: only a client accepts lines before the identification. */
  constructor(role: "client" | "server") {
    this.#role = role;
  }

  /**
   * Takes a chunk. Once the line is complete, returns it without its line end, and the bytes that follow it. Throws
   * `SshProtocolError` as soon as the bytes cannot become an identification that this side accepts.
   */
  push(chunk: Uint8Array): { ident: string; rest: Uint8Array } | null {
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i]!, line = this.#line, at = line.length;
      if (c !== LF) {
        line.push(c);
        this.#check(at, c);
        continue;
      }
      if (isIdent(line)) return { ident: this.#parse(line), rest: chunk.subarray(i + 1) };
      this.#preambleLine();
      this.#line = [];
    }
    return null;
  }

  #check(at: number, c: number): void {
    const line = this.#line;
    if (at < 4 && this.#role === "server" && c !== SSH[at]) {
      refuse('Peer does not speak SSH: its first line does not begin with "SSH-"');
    }
    if (isIdent(line)) {
      if (line.length >= MAX_IDENT) refuse(`Identification line is longer than ${MAX_IDENT} bytes`);
      if (line.length > 1 && line.at(-2) === CR) refuse("Identification line has a carriage return in its middle");
      if (c !== CR && (c < 0x20 || c > 0x7e)) refuse("Identification line is not printable US-ASCII");
    } else if (line.length > MAX_PREAMBLE_LINE) {
      refuse(`Line before the identification is longer than ${MAX_PREAMBLE_LINE} bytes`);
    }
  }

  #preambleLine(): void {
    if (this.#role === "server") refuse('Peer does not speak SSH: its first line does not begin with "SSH-"');
    if (++this.#preambleLines > MAX_PREAMBLE_LINES) {
      refuse(`More than ${MAX_PREAMBLE_LINES} lines before the identification`);
    }
  }

  #parse(line: readonly number[]): string {
    const end = line.at(-1) === CR ? line.length - 1 : line.length;
    const ident = String.fromCharCode(...line.slice(0, end));
    const match = /^SSH-([^-]*)-(.*)$/.exec(ident);
    if (match === null || match[2] === "" || match[2]!.startsWith(" ")) {
      refuse(`Identification "${printable(ident)}" names no software version`);
    }
    if (match[1] !== "2.0" && match[1] !== "1.99") {
      refuse(`Peer speaks SSH ${printable(match[1]!)}: only 2.0 is supported`);
    }
    return ident;
  }
}

function isIdent(line: readonly number[]): boolean {
  return line.length >= 4 && line[0] === SSH[0] && line[1] === SSH[1] && line[2] === SSH[2] && line[3] === SSH[3];
}
