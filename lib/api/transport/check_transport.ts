/**
 * Whether what `Transport` and its methods are given makes sense, before anything is sent.
 *
 * @module
 */
import { checkPublicKey, checkSigner } from "../../keys/check_key.ts";
import {
  checkBytes,
  checkDuplex,
  checkNames,
  checkObject,
  checkPort,
  checkText,
  checkWait,
  type Habit,
  wrongKind,
} from "../../wire/check.ts";
import { meantBy } from "../../wire/near.ts";
import { Channel } from "./channel.ts";
import { channelChecks, checkAll, type Checks, optionIs, protocolChecks, serverLoginChecks } from "../check_options.ts";
import type { ServerInterface } from "./server_interface.ts";
import type { TransportLogin, TransportOptions } from "./options.ts";

const checks: Checks<TransportOptions> = {
  ...protocolChecks,
  ...channelChecks,
  ...serverLoginChecks,
  onBanner: optionIs.function,
  onError: optionIs.function,
};

/** The checks of `new Transport()`. The streams of a socket are not made by it. */
export function checkTransport(conn: unknown, options: unknown): void {
  checkObject("options", options, "an object");
  checkNames("Transport", options as object, Object.keys(checks));
  checkAll(checks, options as object);
  if (conn !== undefined) checkDuplex("conn", conn, true);
}

const connectChecks: Checks<TransportLogin> = {
  username: (value, name) => checkText(name, value),
  hostKey: (value, name) => checkPublicKey(name, value),
  password: (value, name) => checkText(name, value),
  key: (value, name) => checkSigner(name, value),
  signal: optionIs.signal,
  timeout: optionIs.time,
};

const connectHabits: Readonly<Record<string, Habit>> = {
  user: { ours: ["username"], write: "`username`" },
  pkey: { ours: ["key"], write: "`key`" },
  privateKey: { ours: ["key"], write: "`key: await parsePrivateKey(text)`" },
  auth: { ours: ["key", "password"], write: "`key` or `password`, or call the `auth…()` methods," },
  verifyHostKey: { ours: ["hostKey"], write: "`hostKey`, or look at `getRemoteServerKey()` behind `startClient()`," },
};

/** The checks of `Transport.connect()`. */
export function checkTransportConnect(options: unknown): void {
  checkObject("options", options, "an object such as `{ username, hostKey, password }`");
  checkNames("Transport.connect()", options as object, Object.keys(connectChecks), connectHabits);
  checkUsername((options as TransportLogin).username);
  checkAll(connectChecks, options as object);
}

/** Throws `TypeError` for what is no user name. */
export function checkUsername(value: unknown): void {
  if (value === undefined) throw new TypeError("Cannot log in: `username` is missing");
  checkText("username", value);
}

/** Names of {@linkcode ServerInterface}; one that is left out does not compile. */
const interfaceNames: Readonly<Record<keyof ServerInterface, true>> = {
  checkChannelRequest: true,
  getAllowedAuths: true,
  checkAuthNone: true,
  checkAuthPassword: true,
  checkAuthPublickey: true,
  checkAuthInteractive: true,
  checkPortForwardRequest: true,
  cancelPortForwardRequest: true,
  checkGlobalRequest: true,
};

/**
 * Throws `TypeError` for what is no interface of a server, and for methods of it that would never be called: a misspelt `check…` refuses
 * everybody without a word. Looks no further than at `base`, whose own methods are right.
 */
export function checkServerInterface(server: unknown, base: object): void {
  const wanted = "an object with methods such as `checkAuthPassword()`";
  if (typeof server === "function") throw wrongKind("server", server, `${wanted}: write \`new\` before a class`);
  checkObject("server", server, wanted);
  const names = Object.keys(interfaceNames);
  for (const name of names) {
    const method: unknown = (server as Record<string, unknown>)[name];
    if (method !== undefined && typeof method !== "function") throw wrongKind(name, method, "a method");
  }
  checkMethods(server as object, base, names, "a server");
}

/** Throws `TypeError` for methods `check…` of an object, up to `base`, that have almost the name of one that is called. */
function checkMethods(object: object, base: object, names: readonly string[], of: string): void {
  for (let at = object; at !== null && at !== base && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) {
      if (names.includes(name) || !/^(?:check|get_?allowed)/i.test(name)) continue;
      const meant = meantBy(name, names);
      if (meant === null) continue;
      throw new TypeError(`Cannot use method \`${name}\` of ${of}: nothing calls it, \`${meant}\` is meant`);
    }
  }
}

/** Classes of channels whose methods have been looked at. */
const checkedChannels = new WeakSet<object>();

/** As {@linkcode checkServerInterface} for a channel of the program's own class. */
export function checkChannelClass(channel: Channel): void {
  const made: object = Object.getPrototypeOf(channel);
  if (checkedChannels.has(made)) return;
  const names = Object.getOwnPropertyNames(Channel.prototype).filter((name) => name.startsWith("check"));
  checkMethods(made, Channel.prototype, names, "a channel");
  checkedChannels.add(made);
}

/** Throws `TypeError` or `RangeError` for what a channel cannot be opened with. */
export function checkOpenChannel(kind: unknown, options: unknown): void {
  checkText("kind", kind, "the name of a type of channels, such as `session`");
  if (kind === "") throw new TypeError("Cannot open channel: its type is empty");
  checkObject("options", options, "an object such as `{ dest, origin }`");
  checkWait(options);
  const { dest, origin, data } = options as Record<string, unknown>;
  checkNames("openChannel()", options as object, ["dest", "origin", "data", "signal", "timeout"], {
    destination: { ours: ["dest"], write: "`dest`" },
    source: { ours: ["origin"], write: "`origin`" },
    src: { ours: ["origin"], write: "`origin`" },
    dest_addr: { ours: ["dest"], write: "`dest`" },
    src_addr: { ours: ["origin"], write: "`origin`" },
  });
  checkAddress("dest", dest);
  checkAddress("origin", origin);
  checkBytes("data", data);
}

/** Throws as `checkOpenChannel()` for what `SshClient.openChannel()` is to send along: bytes or addresses. */
export function checkCarried(
  type: unknown,
  data: unknown,
): { data?: Uint8Array; dest?: Deno.NetAddr; origin?: Deno.NetAddr } {
  if (data !== undefined && !(data instanceof Uint8Array)) {
    checkObject("data", data, "bytes, or addresses such as `{ dest, origin }`");
    for (const name of ["data", "signal", "timeout"]) {
      if ((data as Record<string, unknown>)[name] === undefined) continue;
      const write = name === "data" ? "openChannel(type, data)" : `openChannel(type, { dest, origin }, { ${name} })`;
      throw new TypeError(`Cannot use \`${name}\` beside addresses: write \`${write}\``);
    }
  }
  const carried = data === undefined || data instanceof Uint8Array ? { data } : data;
  checkOpenChannel(type, carried);
  // Without addresses a server ends the whole connection; the other types that carry some it does not take from a client at all.
  if (data === undefined && type !== "direct-tcpip") return { data: new Uint8Array(0) };
  return carried as { data?: Uint8Array };
}

function checkAddress(name: string, address: unknown): void {
  if (address === undefined) return;
  checkObject(name, address, 'an address, `{ transport: "tcp", hostname, port }`');
  const { hostname, port } = address as Partial<Deno.NetAddr>;
  checkText(`${name}.hostname`, hostname);
  checkPort(port, 0, `${name}.port`);
}

/** Throws `TypeError` for what is no global request. */
export function checkGlobalRequest(name: unknown, data: unknown): void {
  checkText("name", name, "the name of a request");
  if (name === "") throw new TypeError("Cannot send global request: its name is empty");
  checkBytes("data", data);
}
