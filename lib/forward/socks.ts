/**
 * The server's side of SOCKS: what a client asks for, and what it is told. SOCKS4 and 4A as their authors describe them, RFC 1928.
 * Connections only, without a login or with the one of RFC 1929. No I/O of its own.
 *
 * @module
 */
import { ChannelOpenError, SshError } from "../errors.ts";
import { OpenFailureReason } from "../connection/messages.ts";
import { decodeText } from "../wire/byte_text.ts";
import type { Bytes } from "../wire/types.ts";
import { ipv4Text, ipv6Text } from "./addresses.ts";
import { isHost } from "./host.ts";
import type { Socket } from "./pump.ts";

/** What a client asks for. */
export interface SocksRequest {
  /** Its version of the protocol. */
  readonly version: 4 | 5;
  /** Name or address. */
  readonly hostname: string;
  /** TCP port. */
  readonly port: number;
  /** Who has logged in; empty where no login was asked for. */
  readonly username: string;
  /** What it has sent behind its request, ahead of the answer. */
  readonly rest: Uint8Array;
}

/** Whether somebody may come in (RFC 1929). */
export type SocksLogin = (username: string, password: Uint8Array) => boolean;

/** Bytes of a client's that are read before it must have said what it wants. A login and a request take 1033 at most. */
const MOST = 2048;
/** Bytes of SOCKS4's user name and of any host name. */
const LONGEST_NAME = 255;

/** Replies of RFC 1928 section 6. */
const Reply = {
  GRANTED: 0,
  FAILED: 1,
  NOT_ALLOWED: 2,
  NETWORK_UNREACHABLE: 3,
  HOST_UNREACHABLE: 4,
  REFUSED: 5,
  NO_SUCH_COMMAND: 7,
  NO_SUCH_ADDRESS: 8,
} as const;

const CONNECT = 1;
const NO_LOGIN = 0, PASSWORD = 2, NO_METHOD = 0xff;
/** The version of RFC 1929, and its answers. */
const LOGIN_VERSION = 1, LOGGED_IN = 0, NOT_LOGGED_IN = 1;
const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const;

/** The client cannot be served; `answer` says so in its own protocol, and is null where it does not speak that. */
export class SocksError extends SshError {
  /** What the client gets to read. */
  readonly answer: Bytes | null;

  /** Creates the error. */
  constructor(why: string, answer: Bytes | null) {
    super(`Cannot serve SOCKS client: ${why}`, { code: "PROTOCOL_ERROR" });
    this.answer = answer;
  }
}

/** The answer to a request of SOCKS 4 or 5. What is bound for it is not told: nobody needs it for a connection. */
function reply(version: 4 | 5, code: number): Bytes {
  return version === 4
    ? new Uint8Array([0, code === Reply.GRANTED ? 90 : 91, 0, 0, 0, 0, 0, 0])
    : new Uint8Array([5, code, 0, AddressType.IPV4, 0, 0, 0, 0, 0, 0]);
}

/** What a client is told of a connection that stands. */
export function socksGranted(version: 4 | 5): Bytes {
  return reply(version, Reply.GRANTED);
}

/** What a client is told of a connection that could not be made. */
export function socksRefused(version: 4 | 5, error: unknown): Bytes {
  if (!(error instanceof ChannelOpenError)) {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    return reply(version, isLate ? Reply.HOST_UNREACHABLE : Reply.FAILED);
  }
  const { reason, message } = error;
  if (reason === OpenFailureReason.ADMINISTRATIVELY_PROHIBITED) return reply(version, Reply.NOT_ALLOWED);
  if (reason !== OpenFailureReason.CONNECT_FAILED) return reply(version, Reply.FAILED);
  if (/network is unreachable/i.test(message)) return reply(version, Reply.NETWORK_UNREACHABLE);
  // What the system said, or its resolver.
  const unreachable = /no route|timed? ?out|unreachable|host is down|not known|resol|no such host|no address/i;
  return reply(version, unreachable.test(message) ? Reply.HOST_UNREACHABLE : Reply.REFUSED);
}

/**
 * Reads a request from a client that has just connected, and answers what comes before it. Throws `SocksError` for what is none, or not
 * to be had. With `login`, nobody comes in without one.
 */
export async function readSocks(socket: Socket, login: SocksLogin | null = null): Promise<SocksRequest> {
  const input = new Input(socket), version = await input.u8();
  if (version === 4 && login !== null) throw new SocksError("version 4 has no login, and one is wanted", null);
  if (version === 4) return await readSocks4(input);
  if (version === 5) return await readSocks5(input, socket, login);
  const hint = version >= 0x41 && version <= 0x5a ? "; it may speak HTTP, and has to be told that this is SOCKS" : "";
  throw new SocksError(`it speaks version ${version} of the protocol, not 4 or 5${hint}`, null);
}

async function readSocks4(input: Input): Promise<SocksRequest> {
  const refused = (why: string): SocksError => new SocksError(why, reply(4, Reply.FAILED));
  const command = await input.u8(), port = await input.u16(), address = await input.bytes(4);
  await input.textToNul("user name");
  // Version 4A: an address that cannot be, and the name behind it.
  const named = address[0] === 0 && address[1] === 0 && address[2] === 0 && address[3] !== 0;
  const hostname = named ? await input.textToNul("host name") : ipv4Text(address);
  if (command !== CONNECT) throw refused(`command ${command} is not served, only CONNECT is`);
  checkTarget(hostname, port, refused);
  return { version: 4, hostname, port, username: "", rest: input.rest() };
}

async function readSocks5(input: Input, socket: Socket, login: SocksLogin | null): Promise<SocksRequest> {
  const refused = (why: string, code: number = Reply.FAILED): SocksError => new SocksError(why, reply(5, code));
  const methods = await input.bytes(await input.u8()), method = login === null ? NO_LOGIN : PASSWORD;
  if (!methods.includes(method)) {
    const why = login === null ? "it wants to log in, and no login is served" : "it does not want to log in";
    throw new SocksError(why, new Uint8Array([5, NO_METHOD]));
  }
  await writeAll(socket, new Uint8Array([5, method]));
  const username = login === null ? "" : await readLogin(input, socket, login);
  const version = await input.u8(), command = await input.u8();
  if (version !== 5) throw refused(`it goes on with version ${version} of the protocol`);
  await input.u8();
  const type = await input.u8();
  let hostname: string;
  if (type === AddressType.IPV4) hostname = ipv4Text(await input.bytes(4));
  else if (type === AddressType.IPV6) hostname = ipv6Text(await input.bytes(16));
  else if (type === AddressType.NAME) hostname = decodeText(await input.bytes(await input.u8()));
  else throw refused(`it names an address of type ${type}`, Reply.NO_SUCH_ADDRESS);
  const port = await input.u16();
  if (command !== CONNECT) {
    throw refused(`command ${command} is not served, only CONNECT is`, Reply.NO_SUCH_COMMAND);
  }
  checkTarget(hostname, port, refused);
  return { version: 5, hostname, port, username, rest: input.rest() };
}

/** The login of RFC 1929: who it is. */
async function readLogin(input: Input, socket: Socket, login: SocksLogin): Promise<string> {
  const refused = (why: string): SocksError => new SocksError(why, new Uint8Array([LOGIN_VERSION, NOT_LOGGED_IN]));
  const version = await input.u8();
  if (version !== LOGIN_VERSION) throw refused(`it logs in by version ${version} of that protocol`);
  const username = decodeText(await input.bytes(await input.u8()));
  if (!login(username, await input.bytes(await input.u8()))) throw refused("its login is wrong");
  await writeAll(socket, new Uint8Array([LOGIN_VERSION, LOGGED_IN]));
  return username;
}

function checkTarget(hostname: string, port: number, refused: (why: string) => SocksError): void {
  if (hostname === "" || !isHost(hostname)) throw refused("the host that it names has no such name");
  if (port === 0) throw refused("it asks for port 0");
}

/** Writes all of it. */
export async function writeAll(socket: Socket, bytes: Uint8Array): Promise<void> {
  for (let left = bytes; left.length > 0;) left = left.subarray(await socket.write(left));
}

/** What a client sends, as far as it has been read. */
class Input {
  readonly #socket: Socket;
  readonly #buffer = new Uint8Array(MOST);
  #at = 0;
  #filled = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  async #more(): Promise<void> {
    if (this.#filled === MOST) throw new SocksError(`it sent ${MOST} bytes and no request`, null);
    const length = await this.#socket.read(this.#buffer.subarray(this.#filled));
    if (length === null) throw new SocksError("it hung up before its request was whole", null);
    this.#filled += length;
  }

  async bytes(length: number): Promise<Uint8Array> {
    while (this.#filled - this.#at < length) await this.#more();
    return this.#buffer.subarray(this.#at, this.#at += length);
  }

  async u8(): Promise<number> {
    return (await this.bytes(1))[0]!;
  }

  async u16(): Promise<number> {
    const [high, low] = await this.bytes(2);
    return high! << 8 | low!;
  }

  async textToNul(what: string): Promise<string> {
    const start = this.#at;
    while (await this.u8() !== 0) {
      if (this.#at - start > LONGEST_NAME) {
        throw new SocksError(`its ${what} is longer than ${LONGEST_NAME} bytes`, reply(4, Reply.FAILED));
      }
    }
    return decodeText(this.#buffer.subarray(start, this.#at - 1));
  }

  rest(): Uint8Array {
    return this.#buffer.subarray(this.#at, this.#filled);
  }
}

/** A socket of which some has been read already. */
export function withRest(socket: Socket, rest: Uint8Array): Socket {
  let left = rest;
  return {
    read: (p) => {
      if (left.length === 0) return socket.read(p);
      const length = Math.min(p.length, left.length);
      p.set(left.subarray(0, length));
      left = left.subarray(length);
      return Promise.resolve(length);
    },
    write: (p) => socket.write(p),
    closeWrite: () => socket.closeWrite(),
    close: () => socket.close(),
  };
}
