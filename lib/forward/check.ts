/**
 * Whether what forwards are asked for makes sense, before anything is sent or opened.
 *
 * @module
 */
import {
  checkBacklog,
  checkFlag,
  checkFunction,
  checkInteger,
  checkNames,
  checkObject,
  checkPort,
  checkSignal,
  checkText,
  checkTime,
  type Habit,
} from "../wire/check.ts";
import { isHost } from "./host.ts";
import { MAX_HOST, MAX_PATH } from "./messages.ts";

const hostname = { ours: ["hostname"], write: "`hostname`" };
const port = { ours: ["port"], write: "`port`" };

/** What other libraries and ssh_config call an address. */
const addressHabits: Readonly<Record<string, Habit>> = {
  host: hostname,
  address: hostname,
  bindAddr: hostname,
  bind_address: hostname,
  dest_host: hostname,
  dstIP: hostname,
  dest_port: port,
  dstPort: port,
  listen_port: port,
  listen_host: hostname,
  socketPath: { ours: ["path"], write: "`path`" },
};

const utf8 = new TextEncoder();

function checkLength(name: string, value: string, most: number): void {
  const { length } = utf8.encode(value);
  if (length > most) throw new RangeError(`Cannot use \`${name}\` of ${length} bytes: ${most} are the most`);
}

/** Throws for what is no name or address of a host. An empty one stands for all addresses, where that makes sense. */
function checkHost(value: unknown, name: string, mayBeEmpty: boolean): void {
  checkText(name, value);
  const text = value as string;
  if (text === "" && !mayBeEmpty) throw new TypeError(`Cannot use \`${name}\`: it is empty`);
  checkLength(name, text, MAX_HOST);
  if (!isHost(text)) {
    throw new TypeError(
      `Cannot use \`${name}\`: a host has no spaces, control characters or lone surrogates in its name`,
    );
  }
}

/** Throws `TypeError` or `RangeError` for what is no path of a Unix socket. */
export function checkSocketPath(value: unknown, name = "path"): void {
  checkText(name, value);
  const text = value as string;
  if (text === "") throw new TypeError(`Cannot use \`${name}\`: it is empty`);
  if (text.includes("\0")) throw new TypeError(`Cannot use \`${name}\`: a path has no NUL in it`);
  checkLength(name, text, MAX_PATH);
}

/** Options of forwards, besides where from and where to. */
const optionNames = ["signal", "timeout", "onError", "maxConnections"];

/** Throws for what are no options of a forward; `more` may stand beside them. */
export function checkForwardOptions(where: string, options: unknown, more: readonly string[] = []): void {
  checkObject("options", options, "an object such as `{ signal, onError }`");
  checkNames(where, options as object, [...optionNames, ...more], {
    limit: { ours: ["maxConnections"], write: "`maxConnections`" },
  });
  const { signal, timeout, onError, maxConnections } = options as Record<string, unknown>;
  checkSignal(signal);
  checkTime("timeout", timeout);
  checkFunction("onError", onError);
  checkInteger("maxConnections", maxConnections, { min: 1, max: Infinity });
}

/** Whether an address is a Unix socket's: it has a path, or says so. */
export function isUnix<T extends object>(address: T): address is Extract<T, { path: string }> {
  const { path, transport } = address as { path?: unknown; transport?: unknown };
  return path !== undefined || transport === "unix";
}

/**
 * Throws for what is no address to dial or to listen at: `{ hostname, port }`, or `{ path }` where `allowed` says so. `name` is the
 * argument's, and null where the address stands in the options of a call.
 */
export function checkAddress(
  where: string,
  name: string | null,
  address: unknown,
  { dialled, named = dialled, unix, more = [] }: {
    /** Port 0 is none, and an empty host neither. */
    dialled: boolean;
    /** The host has no default. */
    named?: boolean;
    unix: boolean;
    more?: readonly string[];
  },
): void {
  const forms = unix ? "`{ hostname, port }` or `{ path }`" : "`{ hostname, port }`";
  checkObject(name ?? "options", address, `an object such as ${forms}`);
  const given = address as Record<string, unknown>, called = (key: string) => name === null ? key : `${name}.${key}`;
  const names = ["hostname", "port", "transport", ...unix ? ["path"] : [], ...more];
  checkNames(where, given, names, addressHabits);
  const transports = unix ? [undefined, "tcp", "unix"] : [undefined, "tcp"];
  if (!transports.includes(given.transport as string)) {
    throw new TypeError(`Cannot use \`${called("transport")}\`: it must be ${unix ? '"tcp" or "unix"' : '"tcp"'}`);
  }
  if (unix && isUnix(given)) {
    const { hostname, port, path, transport } = given as Record<string, unknown>;
    if (hostname !== undefined || port !== undefined || transport === "tcp") {
      throw new TypeError(`Cannot use \`${called("path")}\` beside a host and a port: it is one or the other`);
    }
    return checkSocketPath(path, called("path"));
  }
  if (named || given.hostname !== undefined) checkHost(given.hostname, called("hostname"), !dialled);
  checkPort(given.port, dialled ? 1 : 0, called("port"));
}

/** Throws for what is no address to listen at here, as {@linkcode checkAddress}, and for what is no option of its socket. */
export function checkListenAddress(where: string, name: string, address: unknown): void {
  checkAddress(where, name, address, { dialled: false, unix: true, more: ["reusePort", "tcpBacklog"] });
  const { reusePort, tcpBacklog } = address as Record<string, unknown>;
  checkFlag(`${name}.reusePort`, reusePort);
  checkBacklog(`${name}.tcpBacklog`, tcpBacklog);
  if (reusePort === true && isUnix(address as object)) {
    throw new TypeError(`Cannot use \`${name}.reusePort\` of a Unix socket: only TCP ports can be shared`);
  }
}
