/**
 * Authentication messages. RFC 4252 sections 5, 7, 8 and 9, RFC 4256 section 3, RFC 4253 section 10, OpenSSH PROTOCOL section 3.1. No I/O.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { encodeText, isEncodable } from "../wire/byte_text.ts";
import { ascii, bool, bytes, languageTag, looseText, message, nameList, rest } from "../wire/codec.ts";
import { Msg } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import type { Prompt } from "./types.ts";

/** The service that authentication is. */
export const USERAUTH_SERVICE = "ssh-userauth";
/** The service that users log in to. */
export const CONNECTION_SERVICE = "ssh-connection";

/** SERVICE_REQUEST (RFC 4253 section 10). */
export const serviceRequest = message("SERVICE_REQUEST", Msg.SERVICE_REQUEST, { service: ascii });
/** SERVICE_ACCEPT (RFC 4253 section 10). */
export const serviceAccept = message("SERVICE_ACCEPT", Msg.SERVICE_ACCEPT, { service: ascii });

/** USERAUTH_REQUEST up to the fields of the method. Names are bytes: a server answers FAILURE to names that are no text. */
export const userauthRequest = message("USERAUTH_REQUEST", Msg.USERAUTH_REQUEST, {
  user: bytes,
  service: bytes,
  method: bytes,
  fields: rest,
});
/** USERAUTH_FAILURE (RFC 4252 section 5.1). */
export const userauthFailure = message("USERAUTH_FAILURE", Msg.USERAUTH_FAILURE, { methods: nameList, partial: bool });
/** USERAUTH_SUCCESS (RFC 4252 section 5.1). */
export const userauthSuccess = message("USERAUTH_SUCCESS", Msg.USERAUTH_SUCCESS, {});
/** USERAUTH_BANNER (RFC 4252 section 5.4). */
export const userauthBanner = message("USERAUTH_BANNER", Msg.USERAUTH_BANNER, {
  text: looseText,
  language: languageTag,
});
/** USERAUTH_PK_OK (RFC 4252 section 7). */
export const userauthPkOk = message("USERAUTH_PK_OK", Msg.USERAUTH_PK_OK, { algorithm: ascii, blob: bytes });
/** USERAUTH_PASSWD_CHANGEREQ (RFC 4252 section 8). */
export const passwdChangereq = message("USERAUTH_PASSWD_CHANGEREQ", Msg.USERAUTH_PASSWD_CHANGEREQ, {
  prompt: looseText,
  language: languageTag,
});

/** The method that is `publickey` and names the server's host key besides: who has a signature of it cannot use it at another host. */
export const HOSTBOUND_METHOD = "publickey-hostbound-v00@openssh.com";

/**
 * What a signature for `publickey` covers (RFC 4252 section 7); with a host key, what one for {@linkcode HOSTBOUND_METHOD} does.
 */
export function publicKeySignedData(parts: {
  sessionId: Uint8Array;
  user: Uint8Array;
  service: string;
  algorithm: string;
  blob: Uint8Array;
  hostKey?: Uint8Array | undefined;
}): Bytes {
  const writer = new Writer(512)
    .string(parts.sessionId)
    .u8(Msg.USERAUTH_REQUEST)
    .string(parts.user)
    .text(parts.service)
    .text(parts.hostKey === undefined ? "publickey" : HOSTBOUND_METHOD)
    .bool(true)
    .text(parts.algorithm)
    .string(parts.blob);
  return (parts.hostKey === undefined ? writer : writer.string(parts.hostKey)).bytes();
}

/** What stands before the signature of a `hostbased` request, behind the method's name (RFC 4252 section 9). */
export function hostBasedFields(parts: {
  algorithm: string;
  blob: Uint8Array;
  hostname: Uint8Array;
  username: Uint8Array;
}): Bytes {
  return new Writer(512).text(parts.algorithm).string(parts.blob).string(parts.hostname).string(parts.username).bytes();
}

/** What a signature for `hostbased` covers (RFC 4252 section 9). */
export function hostBasedSignedData(sessionId: Uint8Array, user: Uint8Array, fields: Uint8Array): Bytes {
  return new Writer(512)
    .string(sessionId)
    .u8(Msg.USERAUTH_REQUEST)
    .string(user)
    .text(CONNECTION_SERVICE)
    .text("hostbased")
    .raw(fields)
    .bytes();
}

/** Most questions in one INFO_REQUEST. */
export const MAX_PROMPTS = 32;

/** A round of questions (RFC 4256 section 3.2). */
export interface InfoRequest {
  /** Title. */
  readonly name: string;
  /** Text to show before the questions. */
  readonly instruction: string;
  /** The questions. */
  readonly prompts: readonly Prompt[];
}

/** Writes USERAUTH_INFO_REQUEST (RFC 4256 section 3.2). */
export function encodeInfoRequest(request: InfoRequest): Bytes {
  const writer = new Writer()
    .u8(Msg.USERAUTH_INFO_REQUEST)
    .text(request.name)
    .text(request.instruction)
    .text("")
    .u32(request.prompts.length);
  for (const { text, echo } of request.prompts) writer.text(text).bool(echo);
  return writer.bytes();
}

/** Reads USERAUTH_INFO_REQUEST with at most {@linkcode MAX_PROMPTS} questions. */
export function decodeInfoRequest(payload: Uint8Array): InfoRequest {
  const reader = new Reader(payload, 1);
  const name = looseText.read(reader), instruction = looseText.read(reader);
  reader.view();
  const count = reader.u32();
  if (count > MAX_PROMPTS) {
    throw new SshProtocolError(`Malformed USERAUTH_INFO_REQUEST: ${count} prompts, at most ${MAX_PROMPTS} allowed`);
  }
  const prompts: Prompt[] = [];
  for (let i = 0; i < count; i++) prompts.push({ text: looseText.read(reader), echo: reader.bool() });
  reader.end();
  return { name, instruction, prompts };
}

/** Writes USERAUTH_INFO_RESPONSE (RFC 4256 section 3.4). */
export function encodeInfoResponse(answers: readonly string[]): Bytes {
  const writer = new Writer().u8(Msg.USERAUTH_INFO_RESPONSE).u32(answers.length);
  for (const answer of answers) writer.string(typedBytes(answer));
  return writer.bytes();
}

/**
 * Reads USERAUTH_INFO_RESPONSE to `count` questions. Null where it answers another number of them or holds what is not
 * UTF-8, which RFC 4256 section 3.4 wants answered with FAILURE.
 */
export function decodeInfoResponse(payload: Uint8Array, count: number): readonly string[] | null {
  const reader = new Reader(payload, 1);
  if (reader.u32() !== count) return null;
  const answers: (string | null)[] = [];
  for (let i = 0; i < count; i++) answers.push(strictText(reader.view()));
  reader.end();
  return answers.includes(null) ? null : answers as string[];
}

/** The bytes of a secret, as `encodeText()` has them. The error holds nothing of it. */
export function typedBytes(secret: string): Bytes {
  if (isEncodable(secret)) return encodeText(secret);
  throw new TypeError("Cannot log in: a secret holds half of a surrogate pair, which stands for no byte");
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `bytes` as UTF-8, or null when they are not. */
export function strictText(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/**
 * Text from a server made fit for a terminal: line ends become newlines, and control characters other than newline and
 * tab, and those that turn the direction of text, are replaced by U+FFFD. What the text says is still the server's word.
 */
export function displayText(text: string): string {
  return text.replace(/\r\n?/g, "\n")
    // deno-lint-ignore no-control-regex
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
}
