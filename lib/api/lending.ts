/**
 * What the sessions of a client may use of this side: an agent, a display.
 *
 * @module
 */
import { LentAgent } from "../agent/lent_agent.ts";
import type { Mux } from "../connection/mux.ts";
import type { Lent } from "../session/client_session.ts";
import type { ExecOptions } from "../session/types.ts";
import { LentDisplays } from "../x11/lent_displays.ts";
import type { ClientTransport } from "./client_transport.ts";

/** All that one connection lends. */
export class Lending {
  /** Null where nobody tells which host it is: an agent would take what comes from there for requests of this machine. */
  readonly #agent: LentAgent | null;
  readonly #displays: LentDisplays;

  constructor(mux: Mux, transport: ClientTransport) {
    const { hostKeySignature: signature } = transport;
    if (signature === undefined) this.#agent = null;
    else {
      const { hostKey, sessionId } = transport.info;
      this.#agent = new LentAgent(mux, { hostKey: hostKey.blob, sessionId, signature });
    }
    this.#displays = new LentDisplays(mux);
  }

  /** What a session with these options is lent. What is one of the `defaults` is left out where it cannot be lent, or is refused. */
  async lend({ agent, x11 = false, signal }: ExecOptions, defaults: Pick<ExecOptions, "agent" | "x11">): Promise<Lent> {
    const lent: Lent[] = [];
    const all = (act: "release" | "revoke"): void => lent.forEach((one) => one[act]());
    const add = async (isDefault: boolean, act: () => Lent | Promise<Lent>): Promise<void> => {
      try {
        const one = await act();
        const requests = one.requests.map((request) => ({ ...request, refused: () => null }));
        lent.push(isDefault ? { ...one, requests } : one);
      } catch (error) {
        if (!isDefault) throw error;
        signal?.throwIfAborted();
      }
    };
    try {
      if (agent !== undefined) await add(agent === defaults.agent, () => this.#lendAgent(agent));
      if (x11 !== false) {
        await add(x11 === defaults.x11, () => this.#displays.lend(x11 === true ? {} : x11, signal));
      }
    } catch (error) {
      all("release");
      throw error;
    }
    return {
      requests: lent.flatMap(({ requests }) => requests),
      release: () => all("release"),
      revoke: () => all("revoke"),
    };
  }

  #lendAgent(agent: NonNullable<ExecOptions["agent"]>): Lent {
    if (this.#agent !== null) return this.#agent.lend(agent);
    throw new TypeError(
      "Cannot lend an agent through `controlPath`: the master does not tell which host it would be lent to; use `ssh -A` there",
    );
  }
}
