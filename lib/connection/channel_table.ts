/**
 * The channels of one connection by number: open, being opened, decided on, and gone not long ago. RFC 4254 section 5. No I/O.
 *
 * @module
 */
import { ChannelOpenError, printable, SshProtocolError } from "../errors.ts";
import type { ChannelCore } from "./channel_core.ts";

/**
 * Numbers of channels that have gone, for which late messages are dropped: servers of paramiko send an exit-status, EOF and CLOSE
 * once more when theirs and ours have crossed.
 */
const REMEMBERED = 64;

/** A channel that this side has asked for, until the peer has answered. */
export interface Opening {
  /** The channel. */
  readonly core: ChannelCore;
  /** Told of the answer: null for an open channel. */
  readonly done: (error: ChannelOpenError | null) => void;
}

/** The channels of one connection. */
export class ChannelTable {
  /** Channels that are open. */
  readonly open: Map<number, ChannelCore> = new Map();
  /** Channels that this side has asked for. */
  readonly openings: Map<number, Opening> = new Map();
  /** Numbers given to channels of the peer that the application is deciding on. */
  readonly deciding: Set<number> = new Set();
  /** How many may be there at once, whoever opened them. */
  readonly most: number;
  readonly #gone: number[] = [];
  /** Numbers are not given out again soon: what a peer still has to say of a channel that has gone must not hit another. */
  #nextNumber = 0;

  /** Holds `most` channels. */
  constructor(most: number) {
    this.most = most;
  }

  /** Numbers that are taken: of channels that are open, being opened, or decided on. */
  get taken(): number {
    return this.open.size + this.openings.size + this.deciding.size;
  }

  /** A number for one channel more, or null where there is no room for it. */
  freeNumber(): number | null {
    const used = (id: number) => this.open.has(id) || this.openings.has(id) || this.deciding.has(id);
    if (this.taken >= this.most) return null;
    while (used(this.#nextNumber)) this.#countOn();
    const id = this.#nextNumber;
    this.#countOn();
    return id;
  }

  #countOn(): void {
    this.#nextNumber = (this.#nextNumber + 1) % 2 ** 31;
  }

  /** The channel, or null where it has gone not long ago and the message just comes late. */
  find(id: number): ChannelCore | null {
    const core = this.open.get(id);
    if (core !== undefined) return core;
    if (this.#gone.includes(id)) return null;
    throw new SshProtocolError(`Peer sent a message for channel ${id}, which is not open`);
  }

  /** The channel that the peer answers for. */
  findOpening(id: number): Opening {
    const opening = this.openings.get(id);
    if (opening === undefined) throw new SshProtocolError(`Peer answers for channel ${id}, which nobody asked for`);
    return opening;
  }

  /** CLOSE went both ways. */
  remove(core: ChannelCore): void {
    this.open.delete(core.id);
    this.#gone.push(core.id);
    if (this.#gone.length > REMEMBERED) this.#gone.shift();
  }
}

/** The error of a CHANNEL_OPEN_FAILURE. */
export function openRefused(type: string, reason: number, description: string): ChannelOpenError {
  const reasons = ["", "administratively prohibited", "connect failed", "unknown channel type", "resource shortage"];
  const text = printable(description);
  return new ChannelOpenError(
    `Peer refused to open a "${type}" channel: ${reasons[reason] ?? `reason ${reason}`}${
      text === "" ? "" : `, "${text}"`
    }`,
    reason,
  );
}
