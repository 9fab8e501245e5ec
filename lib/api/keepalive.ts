/**
 * L6. Signs of life from a silent peer, as OpenSSH's ServerAliveInterval and ClientAliveInterval ask for them.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { DisconnectReason, SshProtocolError } from "../errors.ts";
import type { SecureTransport } from "../transport/secure_transport.ts";

/** When a silent peer is asked, and when it is given up. */
export interface KeepaliveOptions {
  /** Milliseconds of silence after which the peer is asked. */
  interval: number;
  /** Questions without any sign of life before the connection is ended. @default {3} */
  maxMissed?: number;
}

/** Throws `RangeError` for options that make no sense. */
export function checkKeepalive({ interval, maxMissed = 3 }: KeepaliveOptions): void {
  if (!(interval > 0) || !(maxMissed >= 1)) {
    throw new RangeError("Cannot keep connection alive: `interval` and `maxMissed` must be positive");
  }
}

/** Asks a silent peer with keepalive@openssh.com, whose refusal is an answer too, until the connection has ended. */
export function keepAlive(transport: SecureTransport, mux: Mux, options: KeepaliveOptions): void {
  const { interval, maxMissed = 3 } = options;
  let missed = 0, asked = 0;
  const tick = (): void => {
    const now = performance.now(), heard = transport.lastReceived;
    if (heard >= asked) missed = 0;
    if (now - heard >= interval) {
      if (missed === maxMissed) {
        return transport.fail(
          new SshProtocolError(
            `Peer is silent: no answer to ${maxMissed} keepalives, one each ${interval} ms`,
            DisconnectReason.CONNECTION_LOST,
            { code: "CONNECTION_LOST" },
          ),
        );
      }
      missed++;
      asked = now;
      mux.globalRequest("keepalive@openssh.com").catch(() => {});
    }
    timer = setTimeout(tick, missed > 0 ? interval : Math.max(interval - (now - heard), 1));
  };
  let timer = setTimeout(tick, interval);
  const stop = (): void => clearTimeout(timer);
  transport.closed.then(stop, stop);
}
