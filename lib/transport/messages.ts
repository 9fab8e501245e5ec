/**
 * Messages of the transport, declared in wire order. RFC 4253 sections 7 to 11, RFC 4419 section 3.
 *
 * @module
 */
import {
  anyEnd,
  bool,
  bytes,
  languageTag,
  looseText,
  message,
  mpint,
  nameList,
  orEnd,
  raw,
  u32,
} from "../wire/codec.ts";
import type { MessageOf } from "../wire/codec.ts";
import { Msg } from "../wire/numbers.ts";

/** RFC 4253 section 11.1. */
export const Disconnect = message("SSH_MSG_DISCONNECT", Msg.DISCONNECT, {
  reason: u32,
  description: orEnd(looseText, ""),
  language: anyEnd,
});
/** RFC 4253 section 11.4. */
export const Unimplemented = message("SSH_MSG_UNIMPLEMENTED", Msg.UNIMPLEMENTED, { sequence: u32 });
/** RFC 4253 section 11.3. */
export const Debug = message("SSH_MSG_DEBUG", Msg.DEBUG, { display: bool, message: looseText, language: languageTag });
/** RFC 4253 section 7.1. */
export const KexInit = message("SSH_MSG_KEXINIT", Msg.KEXINIT, {
  cookie: raw(16),
  kex: nameList,
  hostKey: nameList,
  cipherClientToServer: nameList,
  cipherServerToClient: nameList,
  macClientToServer: nameList,
  macServerToClient: nameList,
  compressionClientToServer: nameList,
  compressionServerToClient: nameList,
  languageClientToServer: nameList,
  languageServerToClient: nameList,
  firstKexPacketFollows: bool,
  reserved: u32,
});
/** The values of KEXINIT. */
export type KexInitValues = MessageOf<typeof KexInit>;
/** RFC 4253 section 7.3. */
export const NewKeys = message("SSH_MSG_NEWKEYS", Msg.NEWKEYS, {});
/**
 * The client's value: SSH_MSG_KEXDH_INIT (RFC 4253 section 8) and SSH_MSG_KEX_ECDH_INIT (RFC 5656 section 4). An `mpint` has
 * the same frame as a `string`, so one declaration serves both.
 */
export const KexExchangeInit = message("SSH_MSG_KEX_INIT", Msg.KEX_INIT, { clientValue: bytes });
/** The server's value, its host key and its signature (RFC 4253 section 8, RFC 5656 section 4). */
export const KexExchangeReply = message("SSH_MSG_KEX_REPLY", Msg.KEX_REPLY, {
  hostKey: bytes,
  serverValue: bytes,
  signature: bytes,
});
/** RFC 4419 section 3. */
export const GexRequest = message("SSH_MSG_KEX_DH_GEX_REQUEST", Msg.KEX_DH_GEX_REQUEST, { min: u32, n: u32, max: u32 });
/** RFC 4419 section 3. */
export const GexGroup = message("SSH_MSG_KEX_DH_GEX_GROUP", Msg.KEX_DH_GEX_GROUP, { p: mpint, g: mpint });
/** RFC 4419 section 3. */
export const GexInit = message("SSH_MSG_KEX_DH_GEX_INIT", Msg.KEX_DH_GEX_INIT, { clientValue: bytes });
/** RFC 4419 section 3. */
export const GexReply = message("SSH_MSG_KEX_DH_GEX_REPLY", Msg.KEX_DH_GEX_REPLY, {
  hostKey: bytes,
  serverValue: bytes,
  signature: bytes,
});
