/**
 * Bench. The command line.
 *
 * @module
 */

import type { Settings } from "./harness.ts";

/** Contenders that a quick run does not wait for, by a part of their name. */
const SLOW = ["AsyncSSH", "paramiko"];

/** A run of the bench. */
export interface Options extends Settings {
  /** Names of sections; empty where none is named. */
  readonly wanted: readonly string[];
  /** Revisions to compare: the old one, and the new one unless it is what is here. */
  readonly revisions: { readonly old: string; readonly new: string | undefined } | undefined;
  /** Where results go. */
  readonly json: string | undefined;
}

/** Reads the arguments; `known` are the names of all sections. */
export function parseOptions(args: readonly string[], known: readonly string[]): Options {
  const quick = args.includes("--quick"), compares = args.includes("compare");
  let rounds = quick ? 2 : 5, bytes = quick ? 60e6 : compares ? 500e6 : 1e9, count = quick ? 40 : 400;
  let old: string | undefined, newer: string | undefined;
  let long = false, cells = /(?:)/, only: string[] = [], json: string | undefined, profile: string | undefined;
  const wanted: string[] = [];
  const rest = args.filter((arg) => arg !== "--" && arg !== "--quick");
  const value = (name: string): string => {
    const next = rest.shift();
    if (next === undefined) throw new TypeError(`${name} needs a value`);
    return next;
  };
  const positive = (name: string): number => {
    const number = Number(value(name));
    if (!(number >= 1)) throw new TypeError(`${name} needs a positive number`);
    return Math.floor(number);
  };
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "compare") old = value(arg);
    else if (arg === "--new") newer = value(arg);
    else if (arg === "--rounds") rounds = positive(arg);
    else if (arg === "--bytes") bytes = positive(arg);
    else if (arg === "--count") count = positive(arg);
    else if (arg === "--long") long = true;
    else if (arg === "--only") only = value(arg).split(",");
    else if (arg === "--cells") cells = new RegExp(value(arg));
    else if (arg === "--json") json = value(arg);
    else if (arg === "--profile") profile = value(arg);
    else if (known.includes(arg)) wanted.push(arg);
    else throw new TypeError(`No such section or option: "${arg}"; sections are ${known.join(" ")}`);
  }
  const revisions = old === undefined ? undefined : { old, new: newer };
  const without = quick && only.length === 0 ? SLOW : [];
  return { rounds, bytes, count, quick, cells, long, only, without, json, profile, revisions, wanted };
}
