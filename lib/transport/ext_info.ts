/**
 * Extension negotiation. RFC 8308, OpenSSH PROTOCOL sections 1.8, 1.10 and 3.1. Pure.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { Msg } from "../wire/numbers.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";

const MAX_EXTENSIONS = 64;

/** Told by a client that takes EXT_INFO behind its first request for a login, too. */
const IN_AUTH = "ext-info-in-auth@openssh.com";
/** Told by a server that takes `publickey-hostbound-v00@openssh.com`. */
const HOSTBOUND = "publickey-hostbound@openssh.com";

/** Encodes SSH_MSG_EXT_INFO. */
export function encodeExtInfo(extensions: ReadonlyMap<string, Uint8Array>): Bytes {
  const w = new Writer().u8(Msg.EXT_INFO).u32(extensions.size);
  for (const [name, value] of extensions) w.text(name).string(value);
  return w.bytes();
}

/** Reads SSH_MSG_EXT_INFO; the number of entries is checked before anything is read. */
export function decodeExtInfo(payload: Uint8Array): Map<string, Bytes> {
  const reader = new Reader(payload, 1);
  const count = reader.u32();
  if (count > MAX_EXTENSIONS || 8 * count > reader.remaining) {
    throw new SshProtocolError(
      `Malformed SSH_MSG_EXT_INFO: it claims ${count} extensions, at most ${MAX_EXTENSIONS} are accepted`,
    );
  }
  const extensions = new Map<string, Bytes>();
  for (let i = 0; i < count; i++) {
    const name = reader.ascii();
    extensions.set(name, reader.string());
  }
  reader.end();
  return extensions;
}

/** Whether a server has told that it takes logins that name its host key, in the one version that there is. */
export function takesHostbound(extensions: ReadonlyMap<string, Uint8Array>): boolean {
  const version = extensions.get(HOSTBOUND);
  return version !== undefined && new TextDecoder().decode(version) === "0";
}

/** Whether a client has told that it takes EXT_INFO once more, when it has named its user. */
export function takesExtInfoInAuth(extensions: ReadonlyMap<string, Uint8Array>): boolean {
  const version = extensions.get(IN_AUTH);
  return version !== undefined && new TextDecoder().decode(version) === "0";
}

/** The signature algorithms that a server takes from the user who has been named. */
export function extInfoInAuth(signatureAlgorithms: readonly string[]): Bytes {
  return encodeExtInfo(new Map([["server-sig-algs", new TextEncoder().encode(signatureAlgorithms.join(","))]]));
}

/** What this side tells its peer. */
export function ownExtensions(
  role: "client" | "server",
  signatureAlgorithms: readonly string[],
): Map<string, Uint8Array> {
  const utf8 = new TextEncoder();
  const extensions = new Map<string, Uint8Array>();
  if (role === "server") {
    extensions.set("server-sig-algs", utf8.encode(signatureAlgorithms.join(",")));
    extensions.set(HOSTBOUND, utf8.encode("0"));
  }
  extensions.set("ping@openssh.com", utf8.encode("0"));
  if (role === "client") extensions.set(IN_AUTH, utf8.encode("0"));
  return extensions;
}
