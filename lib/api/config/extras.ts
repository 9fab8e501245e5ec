/**
 * What a configuration wants of a connection beyond the options of `connect()`: a master's socket, forwards, what its sessions are given.
 * It goes along with the options under a symbol, so that it is there in copies of them, too. No I/O.
 *
 * @module
 */
import type { ForwardSpec } from "../../config/destinations.ts";
import type { ExecOptions } from "../../session/types.ts";
import type { ConnectOptions } from "../connect_options.ts";
import type { Notices } from "./notices.ts";

/** What sessions are given unless their options say otherwise. */
export type SessionDefaults = Pick<ExecOptions, "env" | "agent" | "x11">;

/** What goes along. */
export interface Extras {
  /** A master's socket (ControlPath), to be used where one answers. */
  readonly controlPath: string | null;
  /** LocalForward and DynamicForward. */
  readonly local: readonly ForwardSpec[];
  /** RemoteForward. */
  readonly remote: readonly ForwardSpec[];
  /** Whether everybody may connect to what listens here (GatewayPorts). */
  readonly gateway: boolean;
  /** A forward that cannot be opened ends the connection (ExitOnForwardFailure). */
  readonly strict: boolean;
  /** SendEnv, SetEnv, ForwardAgent, ForwardX11. */
  readonly sessions: SessionDefaults;
  /** Where a program is told. */
  readonly notices: Notices;
}

/** What goes along, and the options that the configuration came to: whoever has a copy of them may have changed it. */
export interface Kept extends Extras {
  readonly made: ConnectOptions;
}

const key = Symbol("what ssh_config wants besides");

/** The options with what goes along, where that is anything. */
export function withExtras(options: ConnectOptions, extras: Extras): ConnectOptions {
  const { controlPath, local, remote, sessions } = extras;
  const isEmpty = controlPath === null && local.length + remote.length + Object.keys(sessions).length === 0;
  return isEmpty ? options : { ...options, [key]: { ...extras, made: options } } as ConnectOptions;
}

/** What goes along with options, or null. */
export function extrasOf(options: object): Kept | null {
  return (options as { readonly [key]?: Kept })[key] ?? null;
}
