/**
 * The client side of the SSH agent protocol. draft-ietf-sshm-ssh-agent sections 3 to 5. Works on any byte streams.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { printable, SshError, SshProtocolError } from "../errors.ts";
import { checkDuplex, checkObject } from "../wire/check.ts";
import { Reader } from "../wire/reader.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { openAgentSocket } from "./agent_socket.ts";
import { AgentMsg, MAX_FRAME } from "./frames.ts";
import { commentText } from "../keys/key_text.ts";
import { anyKeyFromBlob } from "../keys/certificate.ts";
import { agentFlagsOf, signatureAlgorithmsOf, signatureLabelOf } from "../keys/key_types.ts";
import { minRsaBits, type RsaKeyOptions } from "../keys/rsa_public.ts";
import { readSignature } from "../keys/signature_blob.ts";
import type { Agent, PublicKey, Signer } from "../keys/types.ts";

/** How an agent refuses: FAILURE, and its numbers in older agents (OpenSSH, ssh.com). */
const failures: readonly number[] = [AgentMsg.FAILURE, 30, 102];

/** Most identities that are listed. */
const MAX_IDENTITIES = 2048;

function lost(message: string, cause?: unknown): SshError {
  return new SshError(message, cause === undefined ? { code: "CONNECTION_LOST" } : { code: "CONNECTION_LOST", cause });
}

/** A signer that an agent holds, with the name it goes by there. */
export interface AgentSigner extends Signer {
  /** The comment that the agent keeps with the key. */
  readonly comment: string;
}

/** A connection to an agent: one request at a time, answers in the order of the requests. */
class AgentClient implements Agent {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #rsa: RsaKeyOptions;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** Bytes that arrived behind the answer that was read last. */
  #left: Uint8Array = new Uint8Array(0);
  /** Settles when the request before has. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Why no more requests can be made: the connection is out of step, gone or closed. */
  #ended: SshError | null = null;
  /** Rejects with the same, so that a request ends even where the streams do not. */
  readonly #gone = Promise.withResolvers<never>();
  #writing = false;
  #closing: Promise<unknown> | undefined;

  constructor(conn: ByteDuplex, rsa: RsaKeyOptions) {
    this.#rsa = rsa;
    this.#reader = conn.readable.getReader();
    this.#writer = conn.writable.getWriter();
    // Their errors are seen by the request that meets them.
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
    this.#gone.promise.catch(() => {});
  }

  async signers(): Promise<readonly AgentSigner[]> {
    const reply = await this.#request(new Uint8Array([AgentMsg.REQUEST_IDENTITIES]), "list identities");
    return this.#decode(reply, AgentMsg.IDENTITIES_ANSWER, "list identities", (reader) => {
      const count = reader.u32();
      if (count > MAX_IDENTITIES) throw new SshProtocolError(`${count} identities, at most ${MAX_IDENTITIES} are read`);
      const signers: AgentSigner[] = [];
      for (let i = 0; i < count; i++) {
        const blob = reader.view();
        const comment = commentText(reader.view());
        const key = supported(blob, this.#rsa);
        if (key !== null) signers.push(this.#signer(key, comment));
      }
      return signers;
    });
  }

  #signer(publicKey: PublicKey, comment: string): AgentSigner {
    const algorithms = Object.freeze([...signatureAlgorithmsOf(publicKey.type)]);
    return {
      publicKey,
      algorithms,
      comment,
      sign: async (data, algorithm): Promise<Bytes> => {
        if (!algorithms.includes(algorithm)) {
          throw new TypeError(`Cannot sign with "${algorithm}": the agent's key has ${algorithms.join(", ")}`);
        }
        return await this.#sign(publicKey.blob, data, algorithm);
      },
    };
  }

  async #sign(blob: Bytes, data: Uint8Array, algorithm: string): Promise<Bytes> {
    const writer = new Writer(13 + blob.length + data.length).u8(AgentMsg.SIGN_REQUEST).string(blob).string(data);
    const reply = await this.#request(writer.u32(agentFlagsOf(algorithm)).bytes(), "sign");
    return this.#decode(reply, AgentMsg.SIGN_RESPONSE, "sign", (reader) => {
      const signature = reader.string();
      let label: string;
      try {
        label = readSignature(signature).algorithm;
      } catch (cause) {
        throw new SshProtocolError("the signature is malformed", undefined, { cause });
      }
      // An agent that is too old for the flags answers with ssh-rsa, which no server takes for what was asked.
      if (label !== signatureLabelOf(algorithm)) {
        throw new SshProtocolError(`it signed with "${printable(label, 64)}" and not with "${algorithm}"`);
      }
      return signature;
    });
  }

  /**
   * Reads an answer. What is wrong with a list of identities ends the connection: nothing can be done without one. A signature that
   * is refused, malformed or not what was asked for costs that key alone: it came in a frame of its own, and the next answer does too.
   */
  #decode<T>(reply: Bytes, type: number, action: string, read: (reader: Reader) => T): T {
    const reader = new Reader(reply);
    const got = reader.u8();
    if (failures.includes(got)) throw new SshError(`Agent refused to ${action}`, { code: "REQUEST_DENIED" });
    try {
      if (got !== type) throw new SshProtocolError(`answer of type ${got}, ${type} expected`);
      const value = read(reader);
      reader.end();
      return value;
    } catch (error) {
      if (!(error instanceof SshProtocolError)) throw error;
      const failure = new SshProtocolError(`Agent failed to ${action}: ${error.message}`, undefined, { cause: error });
      throw type === AgentMsg.SIGN_RESPONSE ? failure : this.#end(failure);
    }
  }

  #request(payload: Uint8Array, action: string): Promise<Bytes> {
    if (payload.length > MAX_FRAME) {
      return Promise.reject(new RangeError(`Cannot ${action}: ${payload.length} bytes, an agent takes ${MAX_FRAME}`));
    }
    const answer = this.#turn.then(() => Promise.race([this.#exchange(payload), this.#gone.promise]));
    this.#turn = answer.catch(() => {});
    return answer;
  }

  async #exchange(payload: Uint8Array): Promise<Bytes> {
    if (this.#ended !== null) throw this.#ended;
    try {
      // What came behind the answer before would be taken for the answer to this request.
      if (this.#left.length > 0) throw new SshProtocolError("Cannot use agent: it sent more than it was asked for");
      this.#writing = true;
      await this.#writer.write(new Writer(4 + payload.length).string(payload).bytes());
      this.#writing = false;
      const length = new Reader(await this.#read(4)).u32();
      if (length < 1 || length > MAX_FRAME) {
        throw new SshProtocolError(`Cannot read agent's answer: ${length} bytes, 1 to ${MAX_FRAME} are allowed`);
      }
      return await this.#read(length);
    } catch (error) {
      throw this.#end(error instanceof SshError ? error : lost("Cannot reach agent: the connection broke", error));
    }
  }

  /** Exactly `length` bytes. Memory grows with what arrived, not with what was announced. */
  async #read(length: number): Promise<Bytes> {
    const chunks = [this.#left];
    let have = this.#left.length;
    while (have < length) {
      const { value, done } = await this.#reader.read();
      if (done) throw lost("Cannot read agent's answer: the agent closed the connection");
      chunks.push(value);
      have += value.length;
    }
    const all = concat(chunks);
    this.#left = all.subarray(length);
    return all.slice(0, length);
  }

  /** Ends the connection, the first error being the one that later requests see; returns what this request is to throw. */
  #end(error: SshError): SshError {
    if (this.#ended === null) {
      this.#ended = error;
      this.#gone.reject(error);
      this.#release();
    }
    return this.#ended;
  }

  /** Lets go of the streams. Not waited for is a write that the agent does not take: it may never settle. */
  #release(): Promise<unknown> {
    if (this.#closing === undefined) {
      const parts = [this.#reader.cancel(), this.#writer.abort()];
      for (const part of parts) part.catch(() => {});
      this.#closing = Promise.allSettled(this.#writing ? parts.slice(0, 1) : parts);
    }
    return this.#closing;
  }

  /** Closes the connection; requests that wait reject with code `CLOSED`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new SshError("Cannot use agent: its connection was closed", { code: "CLOSED" }));
    await this.#release();
    await this.#turn;
  }
}

/** The key, with its certificate where it has one, or null for a type that this module cannot verify. */
function supported(blob: Uint8Array, rsa: RsaKeyOptions): PublicKey | null {
  try {
    return anyKeyFromBlob(blob, rsa);
  } catch (error) {
    if (error instanceof SshError) return null;
    throw error;
  }
}

/** What {@linkcode connectAgent} returns: an {@linkcode Agent} whose signers carry the agent's comments. */
export interface AgentConnection extends Agent {
  /** The identities it holds, without those of types that this module does not know. */
  signers(): Promise<readonly AgentSigner[]>;
}

/**
 * Connects to the agent at `SSH_AUTH_SOCK`, or over the streams given, which then belong to the agent's object.
 *
 * Throws `SshError` with code `CONNECTION_LOST` where no agent answers. Later requests throw it too when the agent goes away,
 * with code `REQUEST_DENIED` when it refuses, `PROTOCOL_ERROR` when it answers with what was not asked for, and `CLOSED` after
 * disposal. A signature that is not what was asked for leaves the connection as it is, and the other keys usable.
 */
export async function connectAgent(conn?: ByteDuplex, options: RsaKeyOptions = {}): Promise<AgentConnection> {
  checkObject("options", options, "an object");
  minRsaBits(options);
  if (conn !== undefined) checkDuplex("conn", conn);
  return new AgentClient(conn ?? await openAgentSocket(), options);
}
