/**
 * Bytes as text in hexadecimal and base64. RFC 4648 sections 4, 5 and 8. By the runtime's own functions where it has them, as Deno does; Node 24 has
 * none. No I/O.
 *
 * @module
 */
import type { Bytes } from "./types.ts";

/** Which letters there are. */
interface Alphabet {
  /** @default {"base64"} */
  readonly alphabet?: "base64" | "base64url" | undefined;
}

/** The functions, with the names, the options and the errors of those of `Uint8Array`. */
export interface BaseText {
  /** Lower case. */
  toHex(bytes: Uint8Array): string;
  /** Throws `SyntaxError` for what is none. */
  fromHex(text: string): Bytes;
  /** With padding, unless it is omitted. */
  toBase64(bytes: Uint8Array, options?: Alphabet & { readonly omitPadding?: boolean | undefined }): string;
  /** Throws `SyntaxError` for what is none; `strict` wants padding, and that what it leaves over is 0. White space is left out. */
  fromBase64(text: string, options?: Alphabet & { readonly lastChunkHandling?: "loose" | "strict" | undefined }): Bytes;
}

/** As many arguments as one call takes. */
const UNITS = 4096;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Written out, for runtimes without. */
export const ownBaseText: BaseText = {
  toHex: (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""),
  fromHex(text) {
    requireText(text);
    if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) throw new SyntaxError("Cannot decode hexadecimal");
    return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
  },
  toBase64(bytes, { alphabet = "base64", omitPadding = false } = {}) {
    let binary = "";
    for (let at = 0; at < bytes.length; at += UNITS) binary += String.fromCharCode(...bytes.subarray(at, at + UNITS));
    let text = btoa(binary);
    if (alphabet === "base64url") text = text.replaceAll("+", "-").replaceAll("/", "_");
    return omitPadding ? text.replace(/=+$/, "") : text;
  },
  fromBase64(text, { alphabet = "base64", lastChunkHandling = "loose" } = {}) {
    requireText(text);
    let letters = text.replace(/[\t\n\f\r ]+/g, "");
    if (alphabet === "base64url") {
      if (/[+/]/.test(letters)) throw notBase64();
      letters = letters.replaceAll("-", "+").replaceAll("_", "/");
    }
    const body = letters.replace(/={1,2}$/, ""), padding = letters.length - body.length, over = body.length % 4;
    if (!/^[A-Za-z0-9+/]*$/.test(body) || over === 1 || padding > 0 && over + padding !== 4) throw notBase64();
    if (lastChunkHandling === "strict" && over > 0) {
      const last = LETTERS.indexOf(body.at(-1)!);
      if (padding === 0 || (last & (over === 2 ? 0b1111 : 0b11)) !== 0) throw notBase64();
    }
    return Uint8Array.from(atob(body), (unit) => unit.charCodeAt(0));
  },
};

function notBase64(): SyntaxError {
  return new SyntaxError("Cannot decode base64");
}

function requireText(text: unknown): void {
  if (typeof text !== "string") throw new TypeError("Cannot decode: it is no string");
}

const runtimes: BaseText = {
  toHex: (bytes) => bytes.toHex(),
  fromHex: (text) => Uint8Array.fromHex(text),
  toBase64: (bytes, options) => bytes.toBase64(options as { alphabet?: "base64" }),
  fromBase64: (text, options) => Uint8Array.fromBase64(text, options as { alphabet?: "base64" }),
};

const hasOwn = typeof (Uint8Array as { fromBase64?: unknown }).fromBase64 === "function";

export const { toHex, fromHex, toBase64, fromBase64 }: BaseText = hasOwn ? runtimes : ownBaseText;
