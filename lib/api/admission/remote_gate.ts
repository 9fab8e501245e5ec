/**
 * A server's end of a port to limits that are kept elsewhere: it asks there, and tells what becomes of its connections. Where nobody
 * answers any more, nobody is let in.
 *
 * @module
 */
import type { Gate, OnRefuses, Pass } from "./gate.ts";
import type { Offence } from "./penalties.ts";
import type { FromServer, ToServer } from "./port_messages.ts";
import { Timer } from "../../wire/timer.ts";
import { NOT_ALLOWED, type Refusal, TOO_MANY } from "./turn_away.ts";

/** Milliseconds without an answer after which those who wait for one are turned away. */
const PATIENCE = 10_000;

/** Ports that belong to a server, or did: the numbers of two would be mixed up. */
const taken = new WeakSet<MessagePort>();

/** Asks over a port. */
export class RemoteGate implements Gate {
  readonly #port: MessagePort;
  readonly #onRefuses: OnRefuses;
  /** Who waits for an answer. */
  readonly #asked = new Map<number, (verdict: Pass | Refusal) => void>();
  /** Connections that can still be dismissed. */
  readonly #passes = new Map<number, Pass>();
  readonly #patience = new Timer(() => this.#turnAway());
  #last = 0;
  #open = true;

  /** Throws `TypeError` for a port that another server has. */
  constructor(port: MessagePort, onRefuses: OnRefuses) {
    if (taken.has(port)) {
      throw new TypeError("Cannot use `admission`: another server has this port; each takes a new one of `port()`");
    }
    taken.add(port);
    this.#port = port;
    this.#onRefuses = onRefuses;
    this.#patience.unref();
    port.onmessage = ({ data }: MessageEvent<ToServer>) => this.#hear(data);
  }

  /** See {@linkcode Gate.admit}. */
  admit(address: string): Refusal | Promise<Pass | Refusal> {
    if (!this.#open) return TOO_MANY;
    const id = ++this.#last;
    return new Promise((resolve) => {
      if (this.#asked.size === 0) this.#patience.start(PATIENCE);
      this.#asked.set(id, resolve);
      this.#say(["admit", id, address]);
    });
  }

  /** See {@linkcode Gate.stop}. */
  stop(): void {
    this.#open = false;
    this.#turnAway();
  }

  #turnAway(): void {
    this.#patience.stop();
    for (const resolve of this.#asked.values()) resolve(TOO_MANY);
    this.#asked.clear();
  }

  /** See {@linkcode Gate.close}: what is still held goes back with the port. */
  close(): void {
    this.stop();
    this.#port.onmessage = null;
    this.#port.close();
  }

  #say(message: FromServer): void {
    this.#port.postMessage(message);
  }

  #hear(message: ToServer): void {
    switch (message[0]) {
      case "answer": {
        const [, id, verdict] = message, resolve = this.#asked.get(id);
        this.#asked.delete(id);
        if (this.#asked.size === 0) this.#patience.stop();
        else this.#patience.start(PATIENCE);
        if (resolve !== undefined) resolve(verdict === "in" ? this.#pass(id) : refusals[verdict]);
        // Nobody waits for it any more.
        else if (verdict === "in") this.#say(["ended", id, null]);
        return;
      }
      case "dismissed":
        return this.#passes.get(message[1])?.onDismissed?.();
      case "refuses":
        return this.#onRefuses(message[1], message[2]);
      case "closed":
        return this.stop();
    }
  }

  #pass(id: number): Pass {
    const pass: Pass = {
      onDismissed: null,
      loggedIn: () => {
        if (this.#passes.delete(id)) this.#say(["loggedIn", id]);
      },
      ended: (offence: Offence | null) => {
        if (this.#passes.delete(id)) this.#say(["ended", id, offence]);
      },
    };
    this.#passes.set(id, pass);
    return pass;
  }
}

const refusals = { "too many": TOO_MANY, "not allowed": NOT_ALLOWED } as const;
