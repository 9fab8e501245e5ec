/**
 * What a peer may ask for by name, and who answers: channel types (RFC 4254 section 5.1) and global requests (section 4). Forwards,
 * agents and whatever comes register here. No I/O.
 *
 * @module
 */

/** Names with one answerer each. */
export class Doors<T> {
  readonly #what: string;
  readonly #answerers = new Map<string, T>();

  /** `what` the names are of, in the message of an error. */
  constructor(what: string) {
    this.#what = what;
  }

  /** Has `answerer` asked from now on, until it is disposed of. Throws `TypeError` for a name that somebody answers already. */
  open(name: string, answerer: T): Disposable {
    if (this.#answerers.has(name)) throw new TypeError(`Cannot answer ${this.#what} "${name}" twice`);
    this.#answerers.set(name, answerer);
    return {
      [Symbol.dispose]: () => {
        if (this.#answerers.get(name) === answerer) this.#answerers.delete(name);
      },
    };
  }

  /** Who answers. */
  find(name: string): T | undefined {
    return this.#answerers.get(name);
  }
}

/**
 * Channel types that each role may be asked for: RFC 4254 sections 6 and 7, OpenSSH PROTOCOL 2. Where nobody answers one of them it is
 * not allowed; any other type is unknown, which is a reason of its own.
 */
export const channelTypes: Readonly<Record<"client" | "server", readonly string[]>> = {
  client: [
    "session",
    "x11",
    "forwarded-tcpip",
    "forwarded-streamlocal@openssh.com",
    "auth-agent@openssh.com",
    "tun@openssh.com",
  ],
  server: ["session", "direct-tcpip", "direct-streamlocal@openssh.com", "tun@openssh.com"],
};
