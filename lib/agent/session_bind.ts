/**
 * The word on which SSH connection an agent's connection is for. OpenSSH PROTOCOL.agent section 1. No I/O.
 *
 * @module
 */
import type { AgentSession } from "../keys/session_agents.ts";
import type { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { AgentExtension, AgentMsg } from "./frames.ts";

/** The message: for a login over that connection, or for what comes from its far end. */
export function encodeBind({ hostKey, sessionId, signature }: AgentSession, forwarding: boolean): Bytes {
  const writer = new Writer(512).u8(AgentMsg.EXTENSION).text(AgentExtension.SESSION_BIND).string(hostKey);
  return writer.string(sessionId).string(signature).bool(forwarding).bytes();
}

/** Reads it, from behind the extension's name. */
export function decodeBind(reader: Reader): AgentSession & { readonly forwarding: boolean } {
  const bind = {
    hostKey: reader.string(),
    sessionId: reader.string(),
    signature: reader.string(),
    forwarding: reader.bool(),
  };
  reader.end();
  return bind;
}
