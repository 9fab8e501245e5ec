/**
 * What lines of ssh_config have set so far. A value that is set stays: the first one counts, but for lists that grow. No I/O.
 *
 * @module
 */
import type { ConfigPlace } from "./config_error.ts";
import type { Destination, ForwardSpec } from "./destinations.ts";
import { showEnd } from "./destinations.ts";

/** Forwards of one kind that a configuration may have. */
const MAX_FORWARDS = 1024;

/** The hops of ProxyJump, first to last, or that there shall be none. */
export type Jump = readonly Destination[] | "none";

/** The values of one evaluation. */
export class Settings {
  /** Values by the keyword in lower case, in the form in which `ssh -G` shows them. */
  readonly values = new Map<string, string[]>();
  /** Where each was set first; what no line has set is not there. */
  readonly places = new Map<string, ConfigPlace>();
  /** Keywords that are passed over, by IgnoreUnknown or because they mean nothing any more. */
  readonly ignored = new Map<string, ConfigPlace>();
  /** ProxyJump. */
  jump: Jump | null = null;
  /** LocalForward and DynamicForward. */
  readonly local: ForwardSpec[] = [];
  /** RemoteForward. */
  readonly remote: ForwardSpec[] = [];

  /** The one value of a keyword. */
  get(name: string): string | undefined {
    return this.values.get(name)?.[0];
  }

  /** All values of a keyword. */
  all(name: string): readonly string[] {
    return this.values.get(name) ?? [];
  }

  /** Sets what is not set yet. */
  set(name: string, values: string | readonly string[], place: ConfigPlace | null): void {
    if (this.values.has(name)) return;
    this.values.set(name, typeof values === "string" ? [values] : [...values]);
    if (place !== null) this.places.set(name, place);
  }

  /** Adds to a list, each value once. */
  add(name: string, value: string, place: ConfigPlace): void {
    const list = this.values.get(name);
    if (list === undefined) this.set(name, value, place);
    else if (!list.includes(value)) list.push(value);
  }

  /** Adds a forward, each once; false where there are too many. */
  addForward(kind: "local" | "remote", spec: ForwardSpec): boolean {
    const list = this[kind], same = ({ from, to }: ForwardSpec): string => `${showEnd(from)} ${showEnd(to)}`;
    if (list.some((one) => same(one) === same(spec))) return true;
    return list.length < MAX_FORWARDS && list.push(spec) > 0;
  }
}
