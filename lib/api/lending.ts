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

/** All that one connection lends. */
export class Lending {
  readonly #agent: LentAgent;
  readonly #displays: LentDisplays;

  constructor(mux: Mux) {
    this.#agent = new LentAgent(mux);
    this.#displays = new LentDisplays(mux);
  }

  /** What a session with these options is lent. */
  async lend({ agent, x11 = false, signal }: ExecOptions): Promise<Lent> {
    const lent: Lent[] = [];
    const all = (act: "release" | "revoke"): void => lent.forEach((one) => one[act]());
    try {
      if (agent !== undefined) lent.push(this.#agent.lend(agent));
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
