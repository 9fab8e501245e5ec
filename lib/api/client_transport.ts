/**
 * What a client has of its transport, beside the mux: one of its own, or what a master passes on.
 *
 * @module
 */
import type { Lender } from "../forward/lender.ts";
import type { ConnectionInfo } from "../transport/types.ts";
import type { Bytes } from "../wire/types.ts";

/** The transport of a client. */
export interface ClientTransport {
  /** What the handshake agreed on; throws where nobody tells. */
  readonly info: ConnectionInfo;
  /** The server's signature of the first exchange; missing where nobody tells. */
  readonly hostKeySignature?: Bytes;
  /** Whose the connection is, where it is lent: nobody tells what the handshake agreed on, and others have to be asked to listen. */
  readonly lender?: Lender;
  /** Resolves on a clean end, rejects with `SshError` otherwise; never an unhandled rejection. */
  readonly closed: Promise<void>;
  /** Ends once what has been written has left. */
  close(): Promise<void>;
  /** Ends at once; whoever waits for something sees `wish`. */
  end(wish?: Error): Promise<void>;
  /** Renews the keys. */
  rekey(): Promise<void>;
  /** Whether its timers keep the program alive. */
  setRef(refed: boolean): void;
}
