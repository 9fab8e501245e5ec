/**
 * Asking the master behind a control socket, until it lets this side speak to the server itself. OpenSSH PROTOCOL.mux. No I/O of its own.
 *
 * What listens there may be anything: it is believed nothing before it has said hello as a master does, and no message of it may be
 * longer than one that says why it refuses.
 *
 * @module
 */
import { printable, SshError, SshProtocolError } from "../errors.ts";
import { codec, looseText, rest, text, u32 } from "../wire/codec.ts";
import { Reader } from "../wire/reader.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { lostError } from "./closing.ts";

/** The version of the protocol that OpenSSH has spoken since 5.6. */
const VERSION = 4;
/** The longest message of a master: hellos and answers have some words in them at most. */
export const MAX_CONTROL_MESSAGE = 65_536;

/** Message numbers. */
const Control = {
  HELLO: 0x1,
  OPEN_FORWARD: 0x1000_0006,
  CLOSE_FORWARD: 0x1000_0007,
  PROXY: 0x1000_000f,
  OK: 0x8000_0001,
  PERMISSION_DENIED: 0x8000_0002,
  FAILURE: 0x8000_0003,
  REMOTE_PORT: 0x8000_0007,
  PROXIED: 0x8000_000f,
} as const;

/** What stands in the place of a port where a forward listens at or leads to a path. */
const IS_PATH = 0xffff_fffe;
/** The kind of forward whose server listens. */
const REMOTE = 2;

/** A forward of the master's own, from the server to a Unix socket here. */
export interface ControlForward {
  /** Where the server listens: a host as RFC 4254 section 7.1 has it, or a path. */
  readonly from: { readonly hostname: string; readonly port: number } | { readonly path: string };
  /** Path of the socket here. */
  readonly to: string;
}

const Forward = codec("forward", { kind: u32, host: text, port: u32, to: text, toPort: u32 });
const Port = codec("MUX_S_REMOTE_PORT", { type: u32, id: u32, port: u32 });
const Hello = codec("MUX_MSG_HELLO", { type: u32, version: u32, extensions: rest });
const Request = codec("mux request", { type: u32, id: u32, data: rest });
const Refusal = codec("refusal of a master", { type: u32, id: u32, reason: looseText });

/** The control connection to one master. */
export class ControlConn {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #buffer: Bytes = new Uint8Array(0);
  #requests = 0;

  private constructor(conn: ByteDuplex) {
    this.#reader = conn.readable.getReader();
    this.#writer = conn.writable.getWriter();
    for (const { closed } of [this.#reader, this.#writer]) closed.catch(() => {});
  }

  /** Says hello, and hears the master's. Rejects with `SshError` where what listens there is none that this side understands. */
  static async greet(conn: ByteDuplex): Promise<ControlConn> {
    const control = new ControlConn(conn);
    control.#send(Hello.encode({ type: Control.HELLO, version: VERSION, extensions: new Uint8Array(0) }));
    const { type, version } = control.#decoded(Hello, await control.#receive());
    if (type !== Control.HELLO) throw noMaster();
    if (version !== VERSION) {
      throw new SshProtocolError(`the master speaks version ${version} of the protocol, and ${VERSION} is wanted`);
    }
    return control;
  }

  /**
   * Has the master pass on packets from here on, and gives up the streams. Resolves to what has been read of them already. Rejects with
   * `SshError` `REQUEST_DENIED` where the master refuses.
   */
  async proxy(): Promise<Bytes> {
    await this.#ask(
      Control.PROXY,
      new Uint8Array(0),
      [Control.PROXIED],
      "; masters before OpenSSH 7.4 have no proxy mode",
    );
    this.#reader.releaseLock();
    this.#writer.releaseLock();
    return this.#buffer;
  }

  /** Has the master forward, and resolves to the port that the server listens on. Rejects with `SshError` `REQUEST_DENIED`. */
  async openForward(forward: ControlForward): Promise<number> {
    const answer = await this.#ask(Control.OPEN_FORWARD, encodeForward(forward), [Control.OK, Control.REMOTE_PORT]);
    const asked = "path" in forward.from ? 0 : forward.from.port;
    if (new Reader(answer).u32() === Control.OK) {
      if (asked !== 0 || "path" in forward.from) return asked;
      throw new SshProtocolError("the master does not say which port the server has chosen");
    }
    const { port } = this.#decoded(Port, answer);
    if (asked !== 0 || port === 0 || port > 0xffff) {
      throw new SshProtocolError(`the master says that it is port ${port}`);
    }
    return port;
  }

  /** Has the master forward no more. Rejects with `SshError` `REQUEST_DENIED`. */
  async closeForward(forward: ControlForward): Promise<void> {
    await this.#ask(Control.CLOSE_FORWARD, encodeForward(forward), [Control.OK]);
  }

  async #ask(request: number, data: Uint8Array, wanted: readonly number[], advice = ""): Promise<Bytes> {
    const id = this.#requests++;
    this.#send(Request.encode({ type: request, id, data }));
    const answer = await this.#receive(), { type, id: answered } = this.#decoded(Request, answer);
    if (type === Control.FAILURE || type === Control.PERMISSION_DENIED) {
      const reason = printable(this.#decoded(Refusal, answer).reason);
      throw new SshError(`the master refuses, "${reason}"${type === Control.FAILURE ? advice : ""}`, {
        code: "REQUEST_DENIED",
      });
    }
    if (wanted.includes(type) && answered === id) return answer;
    throw new SshProtocolError(`the master answers with message 0x${type.toString(16)} to request ${answered}`);
  }

  /** What the master has said before it hung up tells more than that writing failed. */
  #send(message: Bytes): void {
    this.#writer.write(new Writer().string(message).bytes()).catch(() => {});
  }

  async #receive(): Promise<Bytes> {
    await this.#need(4);
    const length = new Reader(this.#buffer).u32();
    if (length < 4 || length > MAX_CONTROL_MESSAGE) throw noMaster();
    await this.#need(4 + length);
    const message = this.#buffer.slice(4, 4 + length);
    this.#buffer = this.#buffer.slice(4 + length);
    return message;
  }

  /** Reads until so many bytes are there; a length alone makes room for nothing. */
  async #need(length: number): Promise<void> {
    while (this.#buffer.length < length) {
      const { done, value } = await this.#reader.read().catch((cause) => {
        throw lostError("the master hung up", cause);
      });
      if (done) throw lostError("the master hung up");
      const grown = new Uint8Array(this.#buffer.length + value.length);
      grown.set(this.#buffer);
      grown.set(value, this.#buffer.length);
      this.#buffer = grown;
    }
  }

  #decoded<T>({ decode }: { decode(bytes: Uint8Array): T }, message: Uint8Array): T {
    try {
      return decode(message);
    } catch (cause) {
      throw noMaster(cause);
    }
  }
}

function encodeForward({ from, to }: ControlForward): Bytes {
  // A master takes an empty host for the loopback address, as `-R port:…` is meant, and `*` for what an empty one is to a server.
  const [host, port] = "path" in from ? [from.path, IS_PATH] : [from.hostname === "" ? "*" : from.hostname, from.port];
  return Forward.encode({ kind: REMOTE, host, port, to, toPort: IS_PATH });
}

function noMaster(cause?: unknown): SshProtocolError {
  return new SshProtocolError("what listens there is no master of ssh: it speaks something else", undefined, { cause });
}
