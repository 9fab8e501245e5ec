/**
 * The way to a server through other servers: `ProxyJump` of ssh_config(5), as a chain of connections of which each runs through the one before.
 *
 * Each hop that `jump` describes is a client of its own, with its own login, and knows the hop that it runs through. When a client ends, it
 * closes the channel that it ran over, and then the hop, if that was opened for it; so a chain comes down from its far end, whoever ends it.
 * When a hop is lost, its channels fail, and what runs over them fails with an error that names the hop.
 *
 * @module
 */
import { ChannelOpenError, retold, SshError } from "../errors.ts";
import type { ProxyTarget } from "../proxy/address.ts";
import { lostError } from "../transport/closing.ts";
import { isOptions, wrongKind } from "../wire/check.ts";
import type { ConnectOptions, DialOptions } from "./connect_options.ts";
import { cannotConnect, placeOf, whileDialling } from "./dial.ts";
import { SshClient, whereabouts } from "./ssh_client.ts";
import type { Way } from "./way.ts";

/** Hops that one chain may have. */
const MAX_HOPS = 16;

/** A server on the way. */
export interface Hop {
  readonly client: SshClient;
  /** Where it is, and which hop of how many, for errors. */
  readonly place: string;
  /** The hop that it runs through. */
  readonly before: Hop | null;
  /** Whether it was opened for what runs through it, and closes with that; a client that the program gave stays open. */
  readonly isOurs: boolean;
}

/** The hops of `jump` in the order in which they are connected, those that hops of it have of their own in front of them. Throws for what are none. */
export function hopsOf(jump: unknown): readonly (ConnectOptions | SshClient)[] {
  const hops: (ConnectOptions | SshClient)[] = [];
  let met = 0;
  const add = (value: unknown): void => {
    for (const hop of Array.isArray(value) ? value : [value]) {
      if (!isOptions(hop)) {
        const example = "`{ hostname, username }`";
        throw wrongKind(
          "jump",
          hop,
          `a name such as "user@host:22", options such as ${example}, an SshClient, or a list of those`,
        );
      }
      // Counted on the way in: options may lead through themselves.
      if (++met > MAX_HOPS) throw tooManyHops();
      if (!(hop instanceof SshClient)) {
        const { jump } = hop as Partial<ConnectOptions>;
        if (jump !== undefined) add(jump);
      } else if (hops.length > 0) {
        throw new TypeError("Cannot use `jump`: a client that is open already can only be the first hop");
      }
      hops.push(hop as ConnectOptions | SshClient);
    }
  };
  if (jump !== undefined) add(jump);
  return hops;
}

/** A server to go through: a name as `ssh -J` takes it, options, or a client that is open. */
type NamedHop = string | ConnectOptions | SshClient;

/** Whether a hop of `jump`, or a hop on the way to one, is a name. */
export function hasNames(jump: unknown, depth = 0): boolean {
  if (typeof jump === "string") return true;
  // Options may lead through themselves.
  if (depth > MAX_HOPS) return false;
  if (Array.isArray(jump)) return jump.some((hop) => hasNames(hop, depth + 1));
  return isOptions(jump) && !(jump instanceof SshClient) && hasNames((jump as Partial<ConnectOptions>).jump, depth + 1);
}

/**
 * The hops of `jump` with options in the place of names, of which several may stand in one text, with commas between. Only the first hop of
 * all is reached by a way of its own.
 */
export async function withoutNames(
  jump: ConnectOptions["jump"],
  find: (name: string, isFirst: boolean) => Promise<ConnectOptions>,
): Promise<ConnectOptions["jump"]> {
  let met = 0;
  const resolve = async (value: ConnectOptions["jump"], isFirst: boolean): Promise<ConnectOptions["jump"]> => {
    const hops: (ConnectOptions | SshClient)[] = [];
    for (const hop of [value].flat() as readonly NamedHop[]) {
      const names = typeof hop === "string" ? hop.split(",") : [];
      met += Math.max(names.length, 1);
      if (met > MAX_HOPS) throw tooManyHops();
      const isFirstOfAll = isFirst && hops.length === 0;
      if (typeof hop !== "string") {
        const isReady = hop instanceof SshClient || Array.isArray(hop) || !hasNames(hop);
        hops.push(isReady ? hop : { ...hop, jump: await resolve(hop.jump, isFirstOfAll) });
      } else if (hop.toLowerCase() !== "none") {
        for (const [i, name] of names.entries()) hops.push(await find(name, isFirstOfAll && i === 0));
      }
    }
    return hops;
  };
  return await resolve(jump, true);
}

function tooManyHops(): RangeError {
  return new RangeError(`Cannot use \`jump\`: more than ${MAX_HOPS} hops`);
}

/** Which hop it is, for errors. */
export function hopPlace(place: string, index: number, count: number): string {
  return `${place} (hop ${index + 1} of ${count})`;
}

/** An error of a hop, as whoever wants to get through it sees it: what kind of error it is stays. */
export function throughHop(error: unknown, place: string): unknown {
  return error instanceof SshError ? retold(error, `Cannot connect through ${place}: ${error.message}`) : error;
}

/** A connection from the hop to the target. */
export async function dialThrough(
  hop: Hop,
  { handshakeTimeout }: DialOptions,
  target: ProxyTarget,
  signal: AbortSignal,
): Promise<Way> {
  try {
    const conn = await whileDialling(handshakeTimeout, signal, (signal) => hop.client.dial({ ...target, signal }));
    return {
      conn,
      copies: true,
      lost: (error) => lostHop(hop) ?? error,
      close: () => conn.close(),
      setRef: (refed) => {
        if (hop.isOurs) refed ? hop.client.ref() : hop.client.unref();
      },
    };
  } catch (error) {
    const where = `${placeOf(target)} through ${hop.place}`;
    if (error instanceof ChannelOpenError) {
      const why = error.cause instanceof ChannelOpenError ? error.cause : error;
      throw retold(why, `Cannot connect to ${where}: ${why.message}`);
    }
    throw cannotConnect(where, signal.aborted ? error : lostHop(hop) ?? error, signal);
  }
}

/** Errors that name the hop that was lost. */
const named = new WeakSet<Error>();

/**
 * The error of what runs through a hop that has ended. Where that has ended because a hop before it was lost, its own error says so; what
 * has become of those before by now says nothing, as they close with it.
 */
function lostHop({ client, place }: Hop): SshError | null {
  const { endedBy } = whereabouts(client);
  if (endedBy === null) return null;
  return named.has(endedBy) ? endedBy as SshError : lostWith(place, endedBy);
}

function lostWith(place: string, cause: Error): SshError {
  const error = lostError(`Connection was lost with ${place}: ${cause.message}`, cause);
  named.add(error);
  return error;
}

/** For the keepalive of what runs through hops: they are asked as well, and the first of them that is silent is the one to blame. */
export function silenceOf(hop: Hop): { asked(first: boolean): void; gone(error: SshError): SshError } {
  let since = Infinity;
  return {
    asked: (first) => {
      if (first) since = performance.now();
      for (let at: Hop | null = hop; at !== null; at = at.before) whereabouts(at.client).askForLife();
    },
    gone: (error) => {
      let silent: Hop | null = null;
      for (let at: Hop | null = hop; at !== null; at = at.before) {
        if (whereabouts(at.client).lastReceived < since) silent = at;
      }
      return silent === null ? error : lostWith(silent.place, error);
    },
  };
}

/** Closes what was opened for the sake of what ran through it. Never rejects. */
export async function closeHop(hop: Hop | null): Promise<void> {
  if (hop?.isOurs) await hop.client.close();
}
