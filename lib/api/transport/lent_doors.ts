/**
 * Channels that a server opens for what a channel of this side has asked it to forward: windows and an agent. RFC 4254 section 6.3.2,
 * OpenSSH PROTOCOL.agent section 3.
 *
 * Such a channel does not tell which of those it is for. It goes to whoever has asked last and is still open; where nobody is, it is
 * refused.
 *
 * @module
 */
import type { BaseChannel } from "../../connection/channel.ts";
import type { Mux } from "../../connection/mux.ts";
import { callBack } from "../../wire/callback.ts";
import type { Bytes } from "../../wire/types.ts";

/** Takes a channel that the server has opened, and what it says of it. */
type Taker<C, T> = (channel: C, said: T) => unknown;

/** A kind of channels. */
export interface LentKind<T> {
  /** The type of the channels. */
  readonly type: string;
  /** Reads what CHANNEL_OPEN says. */
  readonly read: (data: Bytes) => T;
}

/** The doors of one connection. */
export class LentDoors<C extends BaseChannel> {
  readonly #mux: Mux;
  readonly #make: (id: number) => C;
  readonly #report: (error: unknown) => void;
  readonly #takers = new Map<string, Taker<C, unknown>[]>();
  readonly #doors = new Map<string, Disposable>();

  /** `make` makes a channel; `report` is told of what a taker throws. */
  constructor(mux: Mux, make: (id: number) => C, report: (error: unknown) => void) {
    this.#mux = mux;
    this.#make = make;
    this.#report = report;
  }

  /** Lets the server open channels of a type, until it is disposed of. */
  open<T>({ type, read }: LentKind<T>, taker: Taker<C, T>): Disposable {
    const takers = this.#takers.get(type) ?? [], mine: Taker<C, unknown> = (channel, said) => taker(channel, said as T);
    takers.push(mine);
    this.#takers.set(type, takers);
    if (!this.#doors.has(type)) {
      const door = this.#mux.onChannel(type, ({ id, data }) => {
        const said = read(data), channel = this.#make(id), take = takers.at(-1)!;
        return { channel, opened: () => callBack(() => take(channel, said), this.#report) };
      });
      this.#doors.set(type, door);
    }
    return {
      [Symbol.dispose]: () => {
        const at = takers.indexOf(mine);
        if (at === -1) return;
        takers.splice(at, 1);
        if (takers.length > 0) return;
        this.#doors.get(type)?.[Symbol.dispose]();
        this.#doors.delete(type);
      },
    };
  }
}
