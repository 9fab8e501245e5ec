/**
 * Lets a client open sessions: RFC 4254 section 6.1, OpenSSH PROTOCOL 2.2 (no-more-sessions). No I/O.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { OpenFailureReason } from "../connection/messages.ts";
import { ChannelOpenError, SshProtocolError } from "../errors.ts";
import { ServerSessionChannel, type SessionServices } from "./server_session.ts";

/** How many sessions, and who serves them. */
export interface SessionAcceptance extends Omit<SessionServices, "onEnded"> {
  /** Sessions open at once. */
  readonly maxSessions: number;
}

/** Registers the channel type and the global request at a server's mux. */
export function acceptSessions(mux: Mux, { maxSessions, ...services }: SessionAcceptance): void {
  let open = 0, noMore = false;
  mux.onChannel("session", ({ id }) => {
    // What no-more-sessions@openssh.com is for: somebody else talks on the client's connection.
    if (noMore) throw new SshProtocolError("Session opened after no-more-sessions@openssh.com");
    if (open >= maxSessions) throw new ChannelOpenError("Too many sessions", OpenFailureReason.RESOURCE_SHORTAGE);
    open++;
    return { channel: new ServerSessionChannel(id, { ...services, onEnded: () => open-- }) };
  });
  mux.onRequest("no-more-sessions@openssh.com", () => noMore = true);
}
