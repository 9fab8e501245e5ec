/**
 * What the sessions of a client may use of this side: an agent, a display.
 *
 * @module
 */
import { LentAgent } from "../agent/lent_agent.ts";
import type { Mux } from "../connection/mux.ts";
import type { Lent } from "../session/process.ts";
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

  /** What a session with these options is lent. */
  async lend({ agent, x11 = false, signal }: ExecOptions): Promise<Lent> {
    const lent: Lent[] = [];
    const all = (act: "release" | "revoke"): void => lent.forEach((one) => one[act]());
    try {
      if (agent !== undefined) {
        if (this.#agent === null) {
          throw new TypeError(
            "Cannot lend an agent through `controlPath`: the master does not tell which host it would be lent to; use `ssh -A` there",
          );
        }
        lent.push(this.#agent.lend(agent));
      }
      if (x11 !== false) lent.push(await this.#displays.lend(x11 === true ? {} : x11, signal));
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
}
