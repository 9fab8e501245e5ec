/**
 * `connect()`: dialling, handshake and login.
 *
 * @module
 */
import { authenticate } from "../auth/client.ts";
import { type AuthMethod, publicKeyFrom } from "../auth/methods.ts";
import type { Mux } from "../connection/mux.ts";
import { defaultAlgorithms } from "../crypto/algorithms.ts";
import { HostKeyError } from "../errors.ts";
import { withoutBrackets } from "../forward/addresses.ts";
import { learnHostKeys, type Learning } from "../host_keys/learn.ts";
import { knownHosts, type KnownHostsVerifier } from "../keys/trust/known_hosts.ts";
import { type KeyNotes, watchHostKey } from "../keys/trust/known_types.ts";
import { signatureAlgorithmsOf, signatureLabelOf } from "../keys/key_types.ts";
import { type PassedOver, withPassedOver } from "../keys/passed_over.ts";
import type { HostKeyVerifier, Signer } from "../keys/types.ts";
import type { ProxyTarget } from "../proxy/address.ts";
import { MisguessError } from "../transport/guess.ts";
import type { AlgorithmOverrides, ConnectionInfo } from "../transport/types.ts";
import { abortable } from "../wire/abortable.ts";
import { callBack } from "../wire/callback.ts";
import { checkObject } from "../wire/check.ts";
import { checkConnect, snapshot } from "./check_connect.ts";
import type { ConnectOptions } from "./connect_options.ts";
import { Connection } from "./connection.ts";
import { dial, placeOf } from "./dial.ts";
import { closeHop, dialThrough, hasNames, type Hop, hopPlace, hopsOf, silenceOf, throughHop } from "./jump.ts";
import { letGo } from "./let_go.ts";
import type { AliasOptions } from "./config/connect_alias.ts";
import { extrasOf } from "./config/extras.ts";
import { type ControlPathOptions, isControlPath } from "./control_options.ts";
import { LoginClock } from "./login_clock.ts";
import { MAX_CHANNELS } from "./options.ts";
import { serverMemory } from "./server_memory.ts";
import { clientOver, SshClient, whereabouts } from "./ssh_client.ts";
import type { Way } from "./way.ts";

export type { ConnectOptions, DialOptions, HandshakeOptions, LoginOptions } from "./connect_options.ts";
export type { AliasOptions } from "./config/connect_alias.ts";
export type { ControlPathOptions } from "./control_options.ts";
export type { HostKeyUpdate, UpdateHostKeys } from "../host_keys/learn.ts";
export type { RetiredKey } from "../keys/trust/host_key_update.ts";
export { SshClient } from "./ssh_client.ts";

/**
 * Connects to a host of the user's ssh_config, as `ssh` would: by its alias, `user@host:port` or a `ssh://` URI. What `overrides` say comes
 * before the configuration, of which {@linkcode loadSshConfig} tells more: what it reads, the permissions that takes, and what it follows.
 * It opens the forwards, uses a master that answers at ControlPath, and gives sessions SendEnv, SetEnv, ForwardAgent and ForwardX11.
 * With options in the place of a text, `overrides` come before those.
 *
 * Rejects with {@linkcode SshConfigError} for a configuration that `ssh` would refuse, and for names that a shell could take for more;
 * with `Deno.errors.NotCapable`, which names the flag, where a permission is missing; and as it does with options.
 *
 * @example A host of the user's ssh_config
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function uptime(): Promise<string> {
 *   await using client = await connect("web", { onNotice: (notice) => console.warn(notice) });
 *   return await client.$`uptime`.text();
 * }
 * ```
 */
export function connect(alias: string | ConnectOptions, overrides?: AliasOptions): Promise<SshClient>;
/**
 * Connects, exchanges keys, checks the host key and logs in.
 *
 * Rejects with `HostKeyError` (unknown and changed keys are classes of their own), `SshAuthError`, another `SshError`, or the reason
 * of the signal; and before anything is opened with `TypeError` or `RangeError` for options that make no sense. Whatever it rejects with, nothing stays open.
 * An error of a hop of `jump` is of the same class and has the same code as without one, and says which hop it was; where `jump` is a text,
 * it rejects with {@linkcode SshConfigError}, too. How ssh_config is read for that, a second argument says, as for an alias.
 *
 * An open connection keeps the program alive, as `Deno.Conn` does: close it, have `await using` do that, or call {@linkcode SshClient.unref}.
 *
 * On Deno it dials by `Deno.connect()`, with `--allow-net`; on Node 24 and later and on Bun by `node:net`, found at run time. A page has to bring
 * a `transport`, and `auth` and `verifyHostKey` that need no files.
 *
 * With `controlPath` it does none of that, and uses the connection of a running `ssh -M`: see {@linkcode ControlPathOptions}.
 *
 * @example A command and its exit code
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function uname(hostname: string): Promise<void> {
 *   await using client = await connect({ hostname, username: "alice" });
 *   const output = await client.exec("uname -a");
 *   console.log(output.code, output.text());
 * }
 * ```
 *
 * @example Through a bastion, as `ssh -J alice@bastion.example` goes
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function name(): Promise<string> {
 *   await using client = await connect({ hostname: "inner.example", username: "bob", jump: "alice@bastion.example" });
 *   return await client.$`hostname`.text();
 * }
 * ```
 *
 * @example Through a jump host that is behind a proxy
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function name(): Promise<string> {
 *   await using client = await connect({
 *     hostname: "inner.example",
 *     username: "alice",
 *     jump: { hostname: "bastion.example", username: "bob", proxy: "socks5://127.0.0.1:1080" },
 *   });
 *   return await client.$`hostname`.text();
 * }
 * ```
 */
export function connect(options: ConnectOptions | ControlPathOptions): Promise<SshClient>;
export async function connect(
  options: ConnectOptions | ControlPathOptions | string,
  overrides: AliasOptions = {},
): Promise<SshClient> {
  checkObject("overrides", overrides, "an object of options");
  if (typeof options !== "string" && isControlPath(options)) {
    return await (await import("./control_path.ts")).connectControl(options);
  }
  if (typeof options !== "string" && Object.keys(overrides).length === 0 && !hasNames(options?.jump)) {
    return await connectAs(options);
  }
  const { aliasOptions, withNamedHops } = await import("./config/connect_alias.ts");
  let merged: ConnectOptions;
  try {
    merged = await (typeof options === "string" ? aliasOptions(options, overrides) : withNamedHops(options, overrides));
  } catch (error) {
    await Promise.all(transportsIn(options, overrides).map((conn) => letGo(conn, error)));
    throw error;
  }
  return await connectAs(merged);
}

/** Connects by options, and does what a configuration wants besides, where they are one's. */
async function connectAs(options: ConnectOptions): Promise<SshClient> {
  const extras = typeof options === "object" && options !== null ? extrasOf(options) : null;
  if (extras === null) return await connectBy(options);
  return await (await import("./config/connect_alias.ts")).connectWithExtras(options, extras, connectBy);
}

async function connectBy(options: ConnectOptions): Promise<SshClient> {
  try {
    checkConnect(options);
    options.signal?.throwIfAborted();
  } catch (error) {
    await Promise.all(transportsIn(options).map((conn) => letGo(conn, error)));
    throw error;
  }
  // From here on it does not matter what becomes of the objects that were given.
  const target = snapshot(options);
  const hops = hopsOf(options.jump).map((hop) => hop instanceof SshClient ? hop : snapshot(hop));
  const clock = new LoginClock({ ...target, where: placeOf(targetOf(target)) }, null);
  let last: Hop | null = null;
  try {
    for (const [i, hop] of hops.entries()) {
      last = await enter(
        hop,
        (place) => hopPlace(place, i, hops.length),
        last,
        clock,
      );
    }
    return await logIn(target, last, clock);
  } catch (error) {
    await closeHop(last);
    throw error;
  } finally {
    clock.stop();
  }
}

/** Where the options lead. */
function targetOf({ hostname, port = 22 }: ConnectOptions): ProxyTarget {
  return { hostname: withoutBrackets(hostname), port };
}

/** The streams that options brought, whatever else is in them. */
function transportsIn(...options: readonly unknown[]): ConnectOptions["transport"][] {
  const found = new Set<Partial<ConnectOptions>>();
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null || found.has(value)) return;
    found.add(value);
    for (const hop of [(value as Partial<ConnectOptions>).jump].flat()) look(hop);
  };
  options.forEach(look);
  return [...found].map(({ transport }) => transport);
}

/** Logs in at the next server of a chain. */
async function enter(
  hop: ConnectOptions | SshClient,
  called: (place: string) => string,
  before: Hop | null,
  outer: LoginClock,
): Promise<Hop> {
  if (hop instanceof SshClient) {
    return { client: hop, place: called(whereabouts(hop).place), before, isOurs: false };
  }
  const where = placeOf(targetOf(hop));
  const clock = new LoginClock({ ...hop, where }, outer);
  const place = outer.waitsFor = called(where);
  try {
    return { client: await logIn(hop, before, clock), place, before, isOurs: true };
  } catch (error) {
    throw outer.signal.aborted ? outer.signal.reason : throughHop(error, place);
  } finally {
    clock.stop();
  }
}

/** Connects through `hop`, and logs in. */
async function logIn(options: ConnectOptions, hop: Hop | null, clock: LoginClock): Promise<SshClient> {
  try {
    return await logInByTypes(options, hop, clock, true);
  } catch (error) {
    // Other connections may have learnt meanwhile what would be guessed again: several servers may answer at one place.
    if (error instanceof MisguessError) return await logInByTypes(options, hop, clock, false);
    throw error;
  }
}

async function logInByTypes(
  options: ConnectOptions,
  hop: Hop | null,
  clock: LoginClock,
  guesses: boolean,
): Promise<SshClient> {
  let known: ReadonlySet<string> = new Set();
  try {
    return await logInOnce(options, hop, clock, guesses, null, (types) => known = types);
  } catch (error) {
    // A function around knownHosts() hid the types that are known: `ssh` would have asked for those. What somebody in between shows
    // to the second question is judged as any other key.
    const again = error instanceof HostKeyError && known.size > 0 && options.transport === undefined &&
      options.algorithms?.hostKey === undefined;
    if (!again) throw error;
    return await logInOnce(options, hop, clock, guesses, [...known], () => {});
  }
}

/**
 * One connection. `guesses` says whether it may use what is remembered of the server. `asked` are the types of host keys to ask for first,
 * and null where only the verifier may know: then the types that it would rather have seen go to `onKnown`.
 */
async function logInOnce(
  options: ConnectOptions,
  hop: Hop | null,
  clock: LoginClock,
  guesses: boolean,
  asked: readonly string[] | null,
  onKnown: (types: ReadonlySet<string>) => void,
): Promise<SshClient> {
  const target = targetOf(options), { signal } = clock;
  let way: Way | null = null, connection: Connection | null = null;
  let notes: KeyNotes | null = null, learnt: Learning | null = null;
  // Where streams of the program's own lead, it alone knows.
  const place = options.transport === undefined ? JSON.stringify([hop?.place, target.hostname, target.port]) : null;
  try {
    const verifyHostKey = options.verifyHostKey ?? knownHosts();
    // As `ssh` does it: an alias stands for the host and its port.
    const host = options.hostKeyAlias === undefined ? target : { hostname: options.hostKeyAlias, port: 22 };
    const types = asked ?? await abortable(knownTypes(verifyHostKey, host, options.algorithms), signal);
    clock.waitsFor = "the connection";
    way = hop === null ? await dial(options, target, signal) : await dialThrough(hop, options, target, signal);
    clock.waitsFor = "the key exchange";
    const offered = place === null || !guesses ? null : serverMemory.recall(place);
    connection = new Connection(
      way.conn,
      {
        role: "client",
        copyingWritable: way.copies,
        verifyHostKey: (key) => {
          notes = watchHostKey(key, types !== null);
          onKnown(notes.types);
          return clock.ask(() => verifyHostKey(key, { ...host }));
        },
        lost: way.lost,
        offered,
        algorithms: types === null ? options.algorithms : knownFirst(types, options.algorithms),
      },
      options,
      { maxChannels: MAX_CHANNELS, onSilence: hop === null ? undefined : silenceOf(hop) },
    );
    const { transport } = connection;
    await exchangeKeys(connection, place, offered !== null, signal);
    clock.waitsFor = "the server's answer to who wants to log in";
    const auth = connection.login({ onBanner: options.onBanner, onAsking: clock.asking }, (mux) => {
      learnt = learning(mux, transport.info, options, notes);
    });
    await authenticate(auth, options.username, options.auth ?? [defaultAuth()], {
      signal,
      requireAuth: options.requireAuth,
    });
    return clientOver({
      transport,
      mux: connection.mux!,
      signal: options.signal,
      way: withLearnt(withHop(way, hop), learnt),
      place: placeOf(target),
    });
  } catch (error) {
    if (connection !== null) await connection.transport.close();
    else await letGo(way?.conn ?? options.transport, error);
    await way?.close?.();
    throw error;
  }
}

/** The first exchange. What the server offers is remembered when it is done, and forgotten when it fails: for good, where a guess may be why. */
async function exchangeKeys(
  connection: Connection,
  place: string | null,
  mayHaveGuessed: boolean,
  signal: AbortSignal,
): Promise<void> {
  try {
    await connection.start({ signal });
  } catch (error) {
    const isUnderstood = error instanceof HostKeyError || error instanceof MisguessError;
    if (place !== null) mayHaveGuessed && !isUnderstood ? serverMemory.giveUp(place) : serverMemory.forget(place);
    throw error;
  }
  const { offer } = connection.transport;
  if (place !== null && offer !== null) serverMemory.keep(place, offer);
}

/** The way as a client has it: it closes the hop as well, where that was opened for it. */
function withHop(way: Way, hop: Hop | null): Way {
  return hop?.isOurs ? { ...way, close: () => closeHop(hop) } : way;
}

/** Has known_hosts follow the server, where it may; null where it does not. */
function learning(
  mux: Mux,
  info: ConnectionInfo,
  options: ConnectOptions,
  notes: KeyNotes | null,
): Learning | null {
  const trustedBy = notes?.trustedBy ?? null, { updateHostKeys = trustedBy?.areUsersOwn, onNotice } = options;
  if (trustedBy === null || !updateHostKeys) return null;
  return learnHostKeys(mux, {
    info,
    algorithms: options.algorithms?.hostKey ?? defaultAlgorithms.hostKey,
    insecureMinRsaBits: options.insecureMinRsaBits,
    trustedBy,
    revocations: notes?.revocations ?? [],
    ask: typeof updateHostKeys === "function" ? updateHostKeys : null,
    unasked: options.updateHostKeys === undefined,
    notice: (text) => callBack(() => onNotice?.(text)),
  });
}

/** The way as a client has it that is learning: a close gives that a moment, and its end waits for what is being written. */
function withLearnt(way: Way, learnt: Learning | null): Way {
  if (learnt === null) return way;
  return { ...way, settle: learnt.settle, close: () => learnt.written().then(() => way.close?.()) };
}

/** The default keys are looked for only when the server allows them. */
function defaultAuth(): AuthMethod {
  return publicKeyFrom((signal) => {
    const passedOver: PassedOver = { notes: [], absent: [] };
    const keys = (async function* (): AsyncGenerator<Signer> {
      const { findIdentities } = await import("../agent/default_identities.ts");
      yield* findIdentities({ signal }, passedOver);
    })();
    return withPassedOver(keys, passedOver);
  });
}

/** The key types known for the host, or null where the verifier does not tell or the program says itself what to ask for. */
async function knownTypes(
  verify: HostKeyVerifier | KnownHostsVerifier,
  host: { hostname: string; port: number },
  algorithms: AlgorithmOverrides | undefined,
): Promise<readonly string[] | null> {
  if (algorithms?.hostKey !== undefined) return null;
  if ("wantedTypes" in verify) return await verify.wantedTypes(host);
  return "keyTypes" in verify ? await (verify as Pick<KnownHostsVerifier, "keyTypes">).keyTypes(host) : null;
}

/** What `ssh` does: certificates where a CA is known for the host, and the key types known for it come first, so that no other key of it looks like a changed one. */
function knownFirst(types: readonly string[], algorithms: AlgorithmOverrides | undefined): AlgorithmOverrides {
  const known = new Set(types.flatMap(signatureAlgorithmsOf));
  const names = defaultAlgorithms.hostKey;
  const certified = [...known].filter((name) =>
    signatureLabelOf(name) !== name && names.includes(signatureLabelOf(name))
  );
  const hostKey = [
    ...certified,
    ...names.filter((name) => known.has(name)),
    ...names.filter((name) => !known.has(name)),
  ];
  return { ...algorithms, hostKey };
}
