/**
 * What somebody wants signed: a login, a file's signature, or nobody knows what. RFC 4252 section 7, OpenSSH PROTOCOL section 3.1. No
 * I/O.
 *
 * The three exclude each other: a login begins with the length of a number of a session, of 128 bytes at most, and a file's signature with
 * letters.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { SshProtocolError } from "../errors.ts";
import { Msg } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";

/** Bytes of a session's number. */
export const MAX_SESSION_ID = 128;
/** Bytes of a user's name. */
const MAX_USER = 1024;

/** A login by key. */
export interface LoginToSign {
  readonly kind: "login";
  readonly username: string;
  readonly sessionId: Bytes;
  /** The host key that it names, or null where it names none. */
  readonly hostKey: Bytes | null;
}

/** What is to be signed. */
export type ToSign = LoginToSign | { readonly kind: "file"; readonly namespace: string } | { readonly kind: "other" };

const MAGIC = new TextEncoder().encode("SSHSIG");

/** Says what `data` is; a login must be one with the key that is to sign it. */
export function whatToSign(data: Bytes, blob: Uint8Array): ToSign {
  try {
    return data.length >= MAGIC.length && equals(data.subarray(0, MAGIC.length), MAGIC)
      ? file(data)
      : login(data, blob);
  } catch (error) {
    if (error instanceof SshProtocolError) return { kind: "other" };
    throw error;
  }
}

/** MAGIC, namespace, reserved, hash algorithm, hash. */
function file(data: Bytes): ToSign {
  const reader = new Reader(data, MAGIC.length), namespace = reader.text();
  for (let i = 0; i < 3; i++) reader.view();
  reader.end();
  return { kind: "file", namespace };
}

function login(data: Bytes, blob: Uint8Array): ToSign {
  const reader = new Reader(data), sessionId = reader.string();
  if (sessionId.length < 1 || sessionId.length > MAX_SESSION_ID || reader.u8() !== Msg.USERAUTH_REQUEST) {
    return { kind: "other" };
  }
  const username = reader.text(), service = reader.text(), method = reader.text(), isSigned = reader.u8() === 1;
  reader.ascii();
  const named = reader.view();
  const hostKey = method === "publickey-hostbound-v00@openssh.com" ? reader.string() : null;
  reader.end();
  const isLogin = service === "ssh-connection" && (hostKey !== null || method === "publickey") && isSigned &&
    username.length <= MAX_USER && equals(named, blob);
  return isLogin ? { kind: "login", username, sessionId, hostKey } : { kind: "other" };
}
