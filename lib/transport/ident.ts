/**
 * The identification exchange. RFC 4253 section 4.2. Pure: bytes in, lines out; no I/O.
 *
 * @module
 */
import { DisconnectReason, printable, SshProtocolError } from "../errors.ts";

/** What RFC 4253 allows this side. */
const MAX_OWN_IDENT = 255;
/** What OpenSSH takes, of an identification and of the lines before it, without their ends. */
const MAX_LINE = 8192;
const MAX_PREAMBLE_LINES = 1024;
/** Bytes of what a peer said that stand in an error. */
const MAX_QUOTED = 96;
/** Leads what a peer said, in an error: it goes to the program, and not back to the peer. */
const SAID = "; it sent ";
const SSH = [0x53, 0x53, 0x48, 0x2d]; // "SSH-"
const LF = 0x0a, CR = 0x0d;

function refuse(message: string): never {
  throw new SshProtocolError(message, DisconnectReason.PROTOCOL_VERSION_NOT_SUPPORTED);
}

/** Makes this side's identification line, without CR LF, from the software version and comment given. */
export function identLine(software: string): string {
  if (!/^[\x21-\x2c\x2e-\x7e][\x20-\x7e]*$/.test(software) || software.length > MAX_OWN_IDENT - 10) {
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
  /** The first line that said something and is no identification. */
  #said: readonly number[] = [];

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
      if (this.#role === "server" && at < 4 && c !== SSH[at]) {
        refuse('Peer does not speak SSH: its first line does not begin with "SSH-"');
      }
      if (c !== LF) {
        line.push(c);
        this.#check(c);
        continue;
      }
      if (isIdent(line)) return { ident: this.#parse(line), rest: chunk.subarray(i + 1) };
      if (this.#said.length === 0 && line.some((byte) => byte > 0x20)) this.#said = line;
      if (++this.#preambleLines > MAX_PREAMBLE_LINES) {
        this.#refuseOther(`More than ${MAX_PREAMBLE_LINES} lines before the identification`);
      }
      this.#line = [];
    }
    return null;
  }

  /**
   * What a server said in the place of an identification, for the end of an error: quoted, escaped and cut; empty where that is nothing. What
   * is said to a server is not repeated: anybody can say anything there.
   */
  get said(): string {
    if (this.#role === "server") return "";
    const bytes = this.#said.length === 0 ? this.#line : this.#said;
    return bytes.length === 0 ? "" : `${SAID}${quoted(bytes)}${otherProtocol(bytes)}`;
  }

  #refuseOther(message: string): never {
    refuse(message + this.said);
  }

  #check(c: number): void {
    const line = this.#line, ident = isIdent(line);
    if (line.length > MAX_LINE && (line.length > MAX_LINE + 1 || c !== CR)) {
      if (ident) refuse(`Identification line is longer than ${MAX_LINE} bytes`);
      this.#refuseOther(`Line before the identification is longer than ${MAX_LINE} bytes`);
    }
    if (!ident) return;
    if (line.at(-2) === CR) refuse("Identification line has a carriage return in its middle");
    if (c !== CR && (c < 0x20 || c > 0x7e)) refuse("Identification line is not printable US-ASCII");
  }

  #parse(line: readonly number[]): string {
    const end = line.at(-1) === CR ? line.length - 1 : line.length;
    const ident = String.fromCharCode(...line.slice(0, end));
    const match = /^SSH-([^-]*)-(.*)$/.exec(ident);
    // A blank version is one, as OpenSSH reads it.
    if (match === null || match[2] === "") {
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

/** Bytes as they stand in an error: what is not printable is spelt out. */
function quoted(bytes: readonly number[]): string {
  const end = bytes.indexOf(LF), line = end < 0 ? bytes : bytes.slice(0, end);
  let length = Math.min(line.length, MAX_QUOTED);
  while (length > 0 && line[length - 1] === CR) length--;
  const text = line.slice(0, length).map((byte) =>
    byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c
      ? `\\x${byte.toString(16).padStart(2, "0")}`
      : String.fromCharCode(byte)
  );
  return `"${text.join("")}${line.length > MAX_QUOTED ? "…" : ""}"`;
}

/** Says so where what a server greets with is another protocol's: HTTP, mail and FTP, POP3 and IMAP, VNC, TLS. */
function otherProtocol(bytes: readonly number[]): string {
  const start = String.fromCharCode(...bytes.slice(0, 16));
  // deno-lint-ignore no-control-regex
  return /^(?:HTTP\/|<|[1-5]\d\d[ -]|\+OK|\* (?:OK|PREAUTH|BYE)|RFB \d|[\x15\x16]\x03[\x00-\x04])/.test(start)
    ? ": that is no SSH server"
    : "";
}

/** An error's text without what the peer said: no peer gets its own words back. */
export function withoutQuote(text: string): string {
  const at = text.indexOf(SAID);
  return at < 0 ? text : text.slice(0, at);
}
