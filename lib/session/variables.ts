/**
 * Variables of a command: by the protocol, and by its line where the server refuses them. RFC 4254 section 6.4. No I/O of its own.
 *
 * What stands in a command's line is shown by `ps` to everybody there, so the line has only what was refused, which costs a round trip.
 *
 * @module
 */
import type { BaseChannel } from "../connection/channel.ts";
import { printable } from "../errors.ts";
import { Timer } from "../wire/timer.ts";
import { isVariable } from "./check_options.ts";
import { Env } from "./messages.ts";

/** Milliseconds after which a server that does not answer, as some never do, counts as one that refuses. */
const PATIENCE = 5_000;

/** Names and values. */
export type Variables = Readonly<Record<string, string>>;

/**
 * Asks the server to set variables; resolves to those that it has not set. Rejects as `BaseChannel.request()` does, and with the error of
 * `denied` for one that no line can set, either.
 */
export async function askVariables(
  channel: BaseChannel,
  variables: Variables,
  denied: (why: string) => Error,
): Promise<Variables> {
  const unset = new Map(Object.entries(variables));
  if (unset.size === 0) return variables;
  // What is not answered in time takes no room from the requests behind it.
  const late = Promise.withResolvers<void>(), over = new AbortController(), { signal } = over;
  const answers = Promise.all([...unset].map(async ([name, value]) => {
    if (await channel.request(Env.name, Env.encode({ name, value }), { signal })) unset.delete(name);
  }));
  const timer = new Timer(late.resolve);
  timer.start(PATIENCE);
  try {
    await Promise.race([answers, late.promise]);
  } finally {
    timer.stop();
    answers.catch(() => {});
    over.abort();
  }
  for (const name of unset.keys()) {
    if (isVariable(name)) continue;
    throw denied(`refuses variable "${printable(name, 64)}", and no shell can set one of that name`);
  }
  return Object.fromEntries(unset);
}

/** Tells the server of variables, which it may set or not. */
export function tellVariables(channel: BaseChannel, variables: Variables): void {
  for (const [name, value] of Object.entries(variables)) channel.notify(Env.name, Env.encode({ name, value }));
}
