/**
 * Limits before the login that several servers keep together, such as the workers of a program that listen at one port: they are counted
 * in one place, which each server asks over a port of its own. Who spreads connections over all of them meets the same limits as at one.
 *
 * Nothing is left behind by a server that ends, or whose worker does, in whatever way: the port closes, and what its connections held is
 * given back. What is held is bounded by the limits themselves.
 *
 * @module
 */
import { hasSystem } from "../../wire/system.ts";
import { nodeModule } from "../../system/node_modules.ts";
import { checkAdmission } from "../check_serve.ts";
import type { AdmissionOptions } from "../serve_options.ts";
import { type Counts, limitsOf, LocalGate, type Pass } from "./gate.ts";
import type { FromServer, ToServer } from "./port_messages.ts";
import { NOT_ALLOWED } from "./turn_away.ts";

/**
 * Limits of several servers. They have to outlive those, as in the main thread: where the worker that keeps them ends without the dispose,
 * servers are not told, and whoever connects is turned away behind ten seconds without an answer.
 */
export interface SharedAdmission extends Disposable {
  /**
   * A port for one more server. Hand it to the worker, among what `postMessage()` transfers, and the server takes it as `admission`. What
   * the server's connections hold is given back when the server has stopped, or its worker has ended, by an error as well. Throws
   * `TypeError` after the dispose.
   */
  port(): MessagePort;
  /** Closes the ports. Servers that still have one let in nobody any more; who is in stays in. */
  [Symbol.dispose](): void;
}

/**
 * Keeps limits before the login for several servers together: make it in one place, and hand each server a port of it, in the place of
 * limits of its own. `examples/multicore_server.ts` serves on all cores that way.
 *
 * Takes the limits that `serve()` takes, with the same defaults; `onError` of the server whose connection was the last to fail hears
 * where an address is refused. Throws `TypeError` or `RangeError` for limits that make no sense.
 *
 * @example Two servers that let in three connections of an address without a login, together
 * ```ts
 * import { generateKey, serve, sharedAdmission } from "@amiko/ssh";
 *
 * using admission = sharedAdmission({ maxStartupsPerSource: 3 });
 * const options = { hostname: "127.0.0.1", port: 0, hostKeys: [await generateKey()], auth: {} };
 * await using _one = serve({ ...options, admission: admission.port() });
 * await using _other = serve({ ...options, admission: admission.port() });
 * ```
 */
export function sharedAdmission(limits: AdmissionOptions = {}): SharedAdmission {
  checkAdmission(limits);
  return new Shared(limitsOf(limits));
}

class Shared implements SharedAdmission {
  readonly #limits: Counts;
  readonly #ends = new Set<PortEnd>();
  #over = false;

  constructor(limits: Counts) {
    this.#limits = limits;
  }

  port(): MessagePort {
    if (this.#over) throw new TypeError("Cannot give a port: the shared admission has been disposed of");
    const { port1, port2 } = channel();
    const end = new PortEnd(port1, this.#limits, () => this.#ends.delete(end));
    this.#ends.add(end);
    return port2;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    for (const end of this.#ends) end.close();
  }
}

/** This end of one server's port. */
class PortEnd {
  readonly #port: MessagePort;
  readonly #gate: LocalGate;
  readonly #onGone: () => void;
  /** Connections that have not logged in and not ended. */
  readonly #passes = new Map<number, Pass>();

  constructor(port: MessagePort, limits: Counts, onGone: () => void) {
    this.#port = port;
    this.#onGone = onGone;
    this.#gate = new LocalGate(limits, (address, milliseconds) => this.#say(["refuses", address, milliseconds]));
    port.onmessage = ({ data }: MessageEvent<FromServer>) => this.#hear(data);
    port.addEventListener("close", () => this.#gone());
  }

  close(): void {
    this.#say(["closed"]);
    this.#port.close();
    this.#gone();
  }

  #say(message: ToServer): void {
    this.#port.postMessage(message);
  }

  #hear(message: FromServer): void {
    const [what, id] = message;
    if (what === "admit") return this.#admit(id, message[2]);
    const pass = this.#passes.get(id);
    this.#passes.delete(id);
    if (what === "loggedIn") pass?.loggedIn();
    else pass?.ended(message[2]);
  }

  #admit(id: number, address: string): void {
    const verdict = this.#gate.admit(address);
    if ("reason" in verdict) return this.#say(["answer", id, verdict === NOT_ALLOWED ? "not allowed" : "too many"]);
    this.#passes.get(id)?.ended(null);
    this.#passes.set(id, verdict);
    verdict.onDismissed = () => this.#say(["dismissed", id]);
    this.#say(["answer", id, "in"]);
  }

  /** Its connections have ended with the server, and nobody knows whose fault that was. */
  #gone(): void {
    this.#port.onmessage = null;
    for (const pass of this.#passes.values()) pass.ended(null);
    this.#passes.clear();
    this.#onGone();
  }
}

/** A channel whose ports tell when the other one is gone, with the whole worker: in Deno those of Node's module do, others do not. */
function channel(): { port1: MessagePort; port2: MessagePort } {
  const { MessageChannel: Made } = hasSystem() ? nodeModule("node:worker_threads") : { MessageChannel };
  return new Made() as unknown as MessageChannel;
}
