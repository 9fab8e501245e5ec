/**
 * Sockets of this machine that belong to a connection, and keep the program alive as it does. No I/O.
 *
 * @module
 */

/** What may keep the program alive. */
export interface Refable {
  ref?(): void;
  unref?(): void;
}

/** The sockets of one connection. */
export class Refs {
  readonly #sockets = new Set<Refable>();
  #refed = true;

  /** Takes one in, until what this returns is called. */
  add(socket: Refable): () => void {
    this.#sockets.add(socket);
    if (!this.#refed) socket.unref?.();
    return () => void this.#sockets.delete(socket);
  }

  /** Whether they keep the program alive, those that come as well. */
  setRef(refed: boolean): void {
    this.#refed = refed;
    for (const socket of this.#sockets) refed ? socket.ref?.() : socket.unref?.();
  }
}
