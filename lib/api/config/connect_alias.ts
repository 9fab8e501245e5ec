/**
 * `connect("alias")`: the options that ssh_config has for it, with the program's own on top, and what it wants besides. ssh_config(5), ssh(1).
 *
 * @module
 */
import type { ForwardEnd, ForwardSpec } from "../../config/destinations.ts";
import { showEnd } from "../../config/destinations.ts";
import { printable, SshError } from "../../errors.ts";
import type { RemoteAddress } from "../../forward/client.ts";
import type { TcpAddress, UnixAddress } from "../../forward/local_sockets.ts";
import type { RemoteTarget } from "../../forward/standing.ts";
import { system } from "../../system/system.ts";
import { abortable } from "../../wire/abortable.ts";
import { requireSystem } from "../../wire/system.ts";
import type { ConnectOptions } from "../connect_options.ts";
import { given } from "../options.ts";
import { hasNames, withoutNames } from "../jump.ts";
import { giveSessions, type SshClient, whereabouts } from "../ssh_client.ts";
import type { Extras, Kept } from "./extras.ts";
import { denoSystemUntil } from "./deno_system.ts";
import { checkLoadOptions, loadOn, type LoadSshConfigOptions, type SshConfig } from "./ssh_config.ts";

/** Options of `connect()` for a host of ssh_config: those that are given come before the configuration's, and how that is read. */
export interface AliasOptions extends Partial<ConnectOptions>, LoadSshConfigOptions {
  /** Told of what the configuration wants and does not get here, and of what happens on the connection. What it throws is ignored. */
  onNotice?: ((notice: string) => void) | undefined;
}

/** Options of which one takes the place of all others: ways to the host. */
const ways = ["transport", "jump", "proxyCommand", "proxy"] as const;

/** Options that say where a connection leads, as whom, and who is trusted there: a master's has been made with those of the configuration. */
const places = ["hostname", "port", "username", "verifyHostKey", "hostKeyAlias", ...ways] as const;

/** Options with others on top; those that are undefined change nothing. */
export function mergeOptions(options: ConnectOptions, overrides: Partial<ConnectOptions>): ConnectOptions {
  const merged: Partial<ConnectOptions> = { ...options };
  if (ways.some((way) => overrides[way] !== undefined)) { for (const way of ways) delete merged[way]; }
  for (const [name, value] of Object.entries(overrides)) {
    if (value !== undefined) (merged as Record<string, unknown>)[name] = value;
  }
  return merged as ConnectOptions;
}

/** The options for a host of ssh_config. */
export async function aliasOptions(alias: string, overrides: AliasOptions): Promise<ConnectOptions> {
  const { load, own } = apart(overrides), { username, port, hostname, jump, signal } = own;
  const config = await loaded(load, signal);
  // A text is what `ssh -J` takes: there is no other way, from the configuration's first line on.
  const named = typeof jump === "string" ? { jump } : {};
  const options = await abortable(config.connectOptions(alias, { username, port, hostname, ...named }), signal);
  const way = typeof jump === "string" ? undefined : hasNames(jump) ? await hopsBy(config, jump, signal) : jump;
  signal?.throwIfAborted();
  return mergeOptions(options, { ...own, jump: way });
}

/** Options with others on top, whose hops have options in the place of names: those that ssh_config has for them. */
export async function withNamedHops(options: ConnectOptions, overrides: AliasOptions): Promise<ConnectOptions> {
  const { load, own } = apart(overrides), merged = mergeOptions(options, own), { jump, signal } = merged;
  // Without a name there is nothing to read a configuration for.
  if (!hasNames(jump)) return mergeOptions(options, overrides);
  const hops = await hopsBy(await loaded(load, signal), jump, signal);
  signal?.throwIfAborted();
  return { ...merged, jump: hops };
}

/** How ssh_config is read, and the options of a connection. */
function apart(overrides: AliasOptions): { load: LoadSshConfigOptions; own: Partial<ConnectOptions> } {
  const { files, exec, passphrase, answer, onNotice, ...own } = overrides;
  return { load: { files, exec, passphrase, answer, onNotice }, own };
}

async function loaded(load: LoadSshConfigOptions, signal: AbortSignal | undefined): Promise<SshConfig> {
  checkLoadOptions(load);
  signal?.throwIfAborted();
  requireSystem("read ssh_config", "hand options over to `connect()`");
  return await abortable(loadOn(denoSystemUntil(signal), load), signal);
}

async function hopsBy(
  config: SshConfig,
  jump: ConnectOptions["jump"],
  signal: AbortSignal | undefined,
): Promise<ConnectOptions["jump"]> {
  // Only the first is reached by a way of its own, the others through the one before.
  const find = (name: string, isFirst: boolean): Promise<ConnectOptions> =>
    config.connectOptions(name, isFirst ? {} : { jump: "none" });
  return await abortable(withoutNames(jump, find), signal);
}

/** Connects, and does what the configuration wants besides. `login` makes a connection by the options alone. */
export async function connectWithExtras(
  options: ConnectOptions,
  extras: Kept,
  login: (options: ConnectOptions) => Promise<SshClient>,
): Promise<SshClient> {
  const { controlPath, made, notices } = extras, changed = places.filter((name) => options[name] !== made[name]);
  if (controlPath !== null && changed.length > 0) {
    notices.tell("ControlPath", `no master is looked for, because the program itself says \`${changed.join("`, `")}\``);
  }
  const master = controlPath === null || changed.length > 0 ? null : await throughMaster(controlPath, options, extras);
  const client = master ?? await login(options);
  try {
    const { env } = extras.sessions;
    // A master lends no agent and no display: nobody knows to whom.
    giveSessions(client, master === null ? extras.sessions : env === undefined ? {} : { env });
    await openForwards(client, extras);
    options.signal?.throwIfAborted();
    return client;
  } catch (error) {
    await client.close();
    throw options.signal?.aborted ? options.signal.reason : error;
  }
}

/** A client through a master, or null where none answers. */
async function throughMaster(
  controlPath: string,
  options: ConnectOptions,
  { notices }: Extras,
): Promise<SshClient | null> {
  try {
    if (!(await system.lstat(controlPath)).isSocket) return null;
    const { connectControl } = await import("../control_path.ts");
    return await connectControl({ controlPath, ...given(options, "window", "signal", "handshakeTimeout", "trace") });
  } catch (error) {
    options.signal?.throwIfAborted();
    // One that has gone leaves its socket behind.
    const isGone = error instanceof system.errors.NotFound ||
      error instanceof SshError && error.cause instanceof system.errors.ConnectionRefused;
    if (!isGone) {
      const why = error instanceof Error ? error.message : String(error);
      notices.tell("ControlPath", `the master could not be used: ${printable(why)}`);
    }
    return null;
  }
}

async function openForwards(client: SshClient, { local, remote, gateway, strict, notices }: Extras): Promise<void> {
  const open = async (keyword: string, spec: ForwardSpec, act: () => Promise<unknown>): Promise<void> => {
    try {
      await act();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const what = `${keyword} ${printable(showEnd(spec.from), 128)}`;
      // A connection that has ended, or a permission that is missing, is no forward that failed.
      const isOver = cause instanceof SshError && cause.code === "CLOSED" || whereabouts(client).endedBy !== null;
      if (strict || isOver || cause instanceof system.errors.NotCapable) {
        if (!(cause instanceof SshError)) throw cause;
        throw new SshError(`Cannot open forward of ssh_config, ${what}: ${cause.message}`, { code: cause.code, cause });
      }
      notices.tell(what, `could not be opened: ${printable(why)}`);
    }
  };
  for (const spec of local) {
    const from = listenHere(spec.from, gateway), { to } = spec;
    if (to === null) await open("DynamicForward", spec, () => client.forwardDynamic(from));
    else await open("LocalForward", spec, () => client.forwardLocal(from, target(to)));
  }
  for (const spec of remote) {
    await open("RemoteForward", spec, () => client.forwardRemote(listenThere(spec.from), target(spec.to!)));
  }
}

function listenHere(end: ForwardEnd, gateway: boolean): TcpAddress | UnixAddress {
  if (end.kind === "path") return { path: end.path };
  const { host, port } = end;
  const everywhere = host === "*" || host === "" || host === null && gateway;
  return { port, ...everywhere ? { hostname: "0.0.0.0" } : host === null ? {} : { hostname: host } };
}

function listenThere(end: ForwardEnd): RemoteAddress {
  if (end.kind === "path") return { path: end.path };
  const { host, port } = end;
  return { port, ...host === null ? {} : { hostname: host === "*" ? "" : host } };
}

function target(end: ForwardEnd): RemoteTarget & (TcpAddress | UnixAddress) {
  return end.kind === "path" ? { path: end.path } : { hostname: end.host ?? "localhost", port: end.port };
}
