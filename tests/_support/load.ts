/**
 * Test support. A server on loopback or in memory for load and faults, and what settles in time.
 *
 * @module
 */
import {
  connect,
  type ConnectOptions,
  serve,
  type ServeOptions,
  type SshClient,
  SshError,
  type SshServer,
} from "../../mod.ts";
import { HANGS } from "./until.ts";
import { login, serverOptions } from "./joined.ts";

/** One fast exchange and one fast cipher, for tests that are not about them. */
export const fast = { kex: ["curve25519-sha256"] };

/** A server on loopback whose limits before login are out of the way unless a test sets them. */
export async function startServer(extra: Partial<ServeOptions> = {}): Promise<SshServer> {
  return serve({
    ...await serverOptions(),
    hostname: "127.0.0.1",
    port: 0,
    algorithms: fast,
    maxStartups: { begin: 10_000, rate: 100, full: 10_000 },
    maxStartupsPerSource: 100_000,
    penalties: false,
    onError: () => {},
    ...extra,
  });
}

/** A client of that server. */
export function client(server: SshServer, extra: Partial<ConnectOptions> = {}): Promise<SshClient> {
  return connect({ hostname: "127.0.0.1", port: server.addr.port, ...login, ...extra });
}

/** How a promise ended: "resolved", the code of an `SshError`, or the text of what else it rejected with, or that it hangs. */
export async function outcome(promise: Promise<unknown>, within: number = HANGS): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => timer = setTimeout(() => resolve(`pending for ${within} ms`), within));
  const end = promise.then(() => "resolved", (error) => error instanceof SshError ? error.code : String(error));
  try {
    return await Promise.race([end, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Codes with which calls may end when a connection is lost or closed under them. */
export const ENDS: ReadonlySet<string> = new Set(["CONNECTION_LOST", "CLOSED", "DISCONNECTED"]);
