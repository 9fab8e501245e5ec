/**
 * The options of a line of authorized_keys: which there are, how often each may stand, and what its value has to be. sshd(8),
 * AUTHORIZED_KEYS FILE FORMAT. No I/O.
 *
 * @module
 */
import { addressListProblem } from "./address_patterns.ts";

/** What is known of an option. */
interface KeyOption {
  /** What is amiss with a value, or null; where it is not there, the option has no value. */
  readonly problem?: (value: string) => string | null;
  /** Whether it may stand more than once. Two of any other would leave open which one holds. */
  readonly repeats: boolean;
}

const flag: KeyOption = { repeats: true };

/** All options, by their names in lower case. What does not stand here is no option, and its line lets nobody in. */
const options: Readonly<Record<string, KeyOption>> = {
  "agent-forwarding": flag,
  "cert-authority": flag,
  "no-agent-forwarding": flag,
  "no-port-forwarding": flag,
  "no-pty": flag,
  "no-touch-required": flag,
  "no-user-rc": flag,
  "no-verify-required": flag,
  "no-x11-forwarding": flag,
  "port-forwarding": flag,
  "pty": flag,
  "restrict": flag,
  "touch-required": flag,
  "user-rc": flag,
  "verify-required": flag,
  "x11-forwarding": flag,
  "command": { problem: () => null, repeats: false },
  "environment": {
    problem: (value) => variable(value) === null ? "it is no NAME=value" : null,
    repeats: true,
  },
  "expiry-time": {
    problem: (value) => expiryTime(value) === null ? "it is no time" : null,
    repeats: true,
  },
  "from": { problem: addressListProblem, repeats: false },
  "permitlisten": { problem: (value) => forwardProblem(listenPattern(value)), repeats: true },
  "permitopen": { problem: forwardProblem, repeats: true },
  "principals": { problem: () => null, repeats: false },
  "tunnel": { problem: (value) => /^(any|\d{1,9})$/i.test(value) ? null : "it is no device", repeats: false },
};

/** Whether a word is an option that has no value. */
export function isFlag(word: string): boolean {
  const name = word.toLowerCase();
  return Object.hasOwn(options, name) && options[name]!.problem === undefined;
}

/** What is amiss with an option, its name in lower case, behind those that stand before it; null for nothing. */
export function optionProblem(name: string, value: string | null, before: readonly { name: string }[]): string | null {
  const option = Object.hasOwn(options, name) ? options[name]! : undefined;
  if (option === undefined || (value === null) !== (option.problem === undefined)) {
    return "an option is not known or its value is amiss";
  }
  if (!option.repeats && before.some((one) => one.name === name)) return "an option stands twice";
  const problem = value === null ? null : option.problem!(value);
  return problem === null ? null : `${name}: ${problem}`;
}

/** `NAME=value` as a pair, or null. */
export function variable(text: string): readonly [name: string, value: string] | null {
  const match = /^(\w+)=(.*)$/s.exec(text);
  return match === null ? null : [match[1]!, match[2]!];
}

/**
 * `YYYYMMDD` or `YYYYMMDDHHMM[SS]` in the system's time, with a `Z` behind it in UTC; null for what is no such time. A day of a month that
 * has none is none.
 */
export function expiryTime(text: string): Date | null {
  const [, year, month, day, hour = "0", minute = "0", second = "0", utc] =
    /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?$/i.exec(text) ?? [];
  if (year === undefined || Number(year) < 1970) return null;
  const time = [Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)] as const;
  const inUtc = new Date(Date.UTC(...time));
  const written = `${year}${month}${day}${hour.padStart(2, "0")}${minute.padStart(2, "0")}${second.padStart(2, "0")}`;
  if (inUtc.toISOString().replace(/[-T:]|\..*/g, "") !== written) return null;
  return utc === undefined ? new Date(...time) : inUtc;
}

/** A port alone is one of any address. */
export function listenPattern(value: string): string {
  return value.includes(":") ? value : `*:${value}`;
}

/** What is amiss with `host:port`, where an IPv6 address stands in brackets and the port may be `*`; null for nothing. */
function forwardProblem(value: string): string | null {
  const [, host, port] = /^(\[[^\[\]]+\]|[^:/\[\]]+):(\*|[1-9]\d{0,4})$/s.exec(value) ?? [];
  return host === undefined || host.length > 1024 || port !== "*" && Number(port) > 0xffff
    ? "it is no host and port"
    : null;
}
