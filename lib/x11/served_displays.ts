/**
 * Displays of a client for the programs of its sessions, from the server's side: a socket that listens on the loopback address, as
 * sshd's X11UseLocalhost has it. RFC 4254 section 6.3. No I/O of its own.
 *
 * The listener ends with its session; what is open then goes on until one of its ends closes it, or the connection ends.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { SshError } from "../errors.ts";
import { openConn } from "../forward/conn.ts";
import { Relay } from "../forward/relay.ts";
import { isNotCapable, type Sockets, type SystemListener } from "../forward/sockets.ts";
import type { ForwardedX11 } from "../session/types.ts";
import type { X11Request } from "../session/x11_request.ts";
import { closedError } from "../transport/closing.ts";
import { authorityFor } from "./authority.ts";
import { X11_PORT } from "./display.ts";
import { X11Open } from "./messages.ts";
import { fromHex } from "../wire/base_text.ts";

/** The only address: by its name, programs could be led to another one, and give the cookie away there. */
const ADDRESS = "127.0.0.1";
/** Displays that are tried, as by sshd with its X11DisplayOffset of 10. */
const FIRST = 10, DISPLAYS = 1000;
/** Connections to one display, open at once. */
const MAX_CLIENTS = 128;

/** What displays of a server need. */
export interface DisplayServices {
  /** The system's. */
  readonly sockets: Sockets;
  /** Channels of the connection from which on there are no more for windows. */
  readonly maxForwarded: number;
  /** Told of permissions that the program lacks. */
  readonly onError: (error: unknown) => void;
}

/** The displays of one connection. */
export class ServedDisplays {
  readonly #mux: Mux;
  readonly #services: DisplayServices;
  readonly #relays = new Set<Relay>();
  #windows = 0;
  #refed = true;

  constructor(mux: Mux, services: DisplayServices) {
    this.#mux = mux;
    this.#services = services;
  }

  /** Listens where no other display is. Null where that is not possible. */
  open({ single, protocol, cookie, screen }: X11Request): (ForwardedX11 & Disposable) | null {
    const found = this.#listen();
    if (found === null) return null;
    const { listener, number } = found;
    const relay: Relay = new Relay(listener, {
      single,
      most: MAX_CLIENTS,
      onDone: () => this.#relays.delete(relay),
      open: async ({ from }, signal) => {
        // Any user of this machine can connect: the client keeps room for its sessions, and one window is always possible.
        if (this.#windows > 0 && this.#mux.channelsBeside("session") >= this.#services.maxForwarded) throw tooMany();
        const { hostname, port } = from ?? { hostname: ADDRESS, port: 0 };
        const addr: Deno.NetAddr = { transport: "tcp", hostname, port };
        const data = X11Open.encode({ originHost: hostname, originPort: port });
        this.#windows++;
        const gone = (): void => void this.#windows--;
        const opening = openConn(this.#mux, X11Open.name, data, { localAddr: addr, remoteAddr: addr, signal });
        opening.then(({ closed }) => closed.then(gone, gone), gone);
        return await opening;
      },
    });
    if (!this.#refed) relay.setRef(false);
    this.#relays.add(relay);
    return {
      display: `${ADDRESS}:${number}.${screen}`,
      protocol,
      cookie,
      authority: authorityFor(String(number), protocol, fromHex(cookie)),
      [Symbol.dispose]: () => relay.stop(),
    };
  }

  #listen(): { listener: SystemListener; number: number } | null {
    const { sockets, onError } = this.#services;
    for (let number = FIRST; number < FIRST + DISPLAYS; number++) {
      try {
        const [listener] = sockets.listen(ADDRESS, X11_PORT + number);
        return { listener: listener!, number };
      } catch (error) {
        // Somebody else's display: the next one may be free.
        if (error instanceof Error && error.name === "AddrInUse") continue;
        if (isNotCapable(error)) onError(error);
        return null;
      }
    }
    return null;
  }

  /** Whether sockets keep the program alive. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    for (const relay of this.#relays) relay.setRef(refed);
  }

  /** The connection has ended: nothing stays open. */
  end(error: Error | null): void {
    for (const relay of this.#relays) relay.end(closedError(error));
    this.#relays.clear();
  }
}

function tooMany(): SshError {
  return new SshError("Cannot show window: the connection has too many channels", { code: "CHANNEL_OPEN_FAILED" });
}
