/**
 * Connections that the server makes for this side: RFC 4254 section 7.2, OpenSSH PROTOCOL 2.4. No I/O.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { ChannelOpenError, printable } from "../errors.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { withoutBrackets } from "./addresses.ts";
import { openConn, type SshConn } from "./conn.ts";
import { DirectStreamlocal, DirectTcpip } from "./messages.ts";

/** What a connection is said to come from where it comes from this program: what `ssh -W` says, which servers are used to. */
const NO_ORIGIN: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 65_535 };

/** Opens a TCP connection from the server's side; see `SshClient.dial()`. `origin` is where it is said to come from. */
export async function dialTcp(
  mux: Mux,
  { hostname, port, ...wait }: { hostname: string; port: number } & WaitOptions,
  origin: Deno.NetAddr = NO_ORIGIN,
): Promise<SshConn<Deno.NetAddr>> {
  const host = withoutBrackets(hostname);
  const data = DirectTcpip.encode({ host, port, originHost: origin.hostname, originPort: origin.port });
  const there = (): string => `${printable(host.includes(":") ? `[${host}]` : host, 256)}:${port}`;
  return await dialled(
    `"${printable(host, 256)}" port ${port}`,
    withDeadline(
      wait,
      () => `the server to open a direct-tcpip channel to ${there()}`,
      (signal) =>
        openConn(mux, "direct-tcpip", data, {
          localAddr: { ...origin },
          remoteAddr: { transport: "tcp", hostname: host, port },
          signal,
        }),
    ),
  );
}

/** Connects to a Unix socket on the server's side; see `SshClient.dialUnix()`. */
export async function dialUnix(
  mux: Mux,
  path: string,
  wait: WaitOptions = {},
): Promise<SshConn<Deno.UnixAddr>> {
  const data = DirectStreamlocal.encode({ path, reserved: new Uint8Array(0), reservedNumber: 0 });
  const there = `"${printable(path, 256)}"`;
  return await dialled(
    there,
    withDeadline(
      wait,
      () => `the server to open a direct-streamlocal@openssh.com channel to ${there}`,
      (signal) =>
        openConn(mux, "direct-streamlocal@openssh.com", data, {
          localAddr: { transport: "unix", path: "" },
          remoteAddr: { transport: "unix", path },
          signal,
        }),
    ),
  );
}

/** The connection, or an error that says where it should have led. */
async function dialled<T>(where: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (cause) {
    if (!(cause instanceof ChannelOpenError)) throw cause;
    throw new ChannelOpenError(`Cannot connect to ${where} through the server: ${cause.message}`, cause.reason, {
      cause,
    });
  }
}
