/**
 * The client side of the SSH agent protocol. draft-ietf-sshm-ssh-agent sections 3 to 5, OpenSSH PROTOCOL.agent section 1. Works on any
 * byte streams.
 *
 * @module
 */
import { printable, SshError, SshProtocolError } from "../errors.ts";
import { checkPublicKey, checkSigner } from "../keys/check_key.ts";
import { encodeText, isEncodable } from "../wire/byte_text.ts";
import { checkBytes, checkDuplex, checkObject, checkText, wrongKind } from "../wire/check.ts";
import { Reader } from "../wire/reader.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { writeAddedKey } from "./added_key.ts";
import { agentDialler } from "./agent_socket.ts";
import { opensConnections } from "./connections.ts";
import { type AgentKeyOptions, constraintsOf, writeConstraints } from "./constraints.ts";
import { AgentExtension, AgentMsg, MAX_FRAME } from "./frames.ts";
import { type AgentLine, StreamLine } from "./line.ts";
import { answersOver } from "./serve_agent.ts";
import { encodeBind } from "./session_bind.ts";
import { commentText } from "../keys/key_text.ts";
import { anyKeyFromBlob } from "../keys/certificate.ts";
import { agentFlagsOf, fitsAlgorithm, signatureAlgorithmsOf } from "../keys/key_types.ts";
import { minRsaBits, type RsaKeyOptions } from "../keys/rsa_public.ts";
import { type AgentSession, bindsSessions } from "../keys/session_agents.ts";
import { readSignature } from "../keys/signature_blob.ts";
import type { Agent, PublicKey, Signer } from "../keys/types.ts";

/** How an agent refuses: FAILURE, its numbers in older agents (OpenSSH, ssh.com), and an extension's own. */
const failures: readonly number[] = [AgentMsg.FAILURE, 30, 102, AgentMsg.EXTENSION_FAILURE];

/** Most identities that are listed. */
export const MAX_IDENTITIES = 2048;
/** Most extensions that are listed. */
const MOST_EXTENSIONS = 256;

/** A signer that an agent holds, with the name it goes by there. */
export interface AgentSigner extends Signer {
  /** The comment that the agent keeps with the key. */
  readonly comment: string;
}

/** An agent whose keys come and go: what `ssh-add` does. */
export interface KeyAgent extends Agent {
  /**
   * The identities it holds, without those of types that this module does not know: none while it is locked, and over a forwarded
   * connection none that are tied to other hosts.
   */
  signers(): Promise<readonly AgentSigner[]>;
  /**
   * Adds a key, or ties one that is there to what is said now. One with a certificate, as `withCertificate()` makes it, is another identity
   * beside the key itself. Throws `TypeError` and `RangeError` for what makes no sense, and for a key that keeps its private part to itself,
   * such as a token's: only an agent of this program takes that.
   */
  add(key: Signer, options?: AgentKeyOptions): Promise<void>;
  /** Removes an identity: a key, or a certificate. */
  remove(key: PublicKey): Promise<void>;
  /** Removes all of them. */
  removeAll(): Promise<void>;
  /** Locks it: it lists nothing, signs nothing and changes nothing, until it is unlocked with the same passphrase. */
  lock(passphrase: string): Promise<void>;
  /** Unlocks it. Agents take their time to answer a wrong passphrase, and more of it each time. */
  unlock(passphrase: string): Promise<void>;
}

/** What an agent does without a word of its own. */
const nothing = (): void => {};

/** A connection to an agent: one request at a time, answers in the order of the requests. */
export class AgentClient implements AgentConnection {
  /** Null when a login has taken it: the next request opens another one. */
  #line: AgentLine | null;
  readonly #another: (() => Promise<AgentLine>) | null;
  readonly #rsa: RsaKeyOptions;
  /** Requests that have not been answered. */
  #pending = 0;
  /** What logins use, with lines that have been taken from here. */
  readonly #lent = new Set<AgentClient>();
  /** Settles when the request before has. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Why no more requests can be made: the connection is out of step, gone or closed. */
  #ended: SshError | null = null;
  /** Rejects with the same, so that a request ends even where the streams do not. */
  readonly #gone = Promise.withResolvers<never>();

  /** `another` opens another connection to the same agent; null where nobody knows how. */
  constructor(line: AgentLine, rsa: RsaKeyOptions, another: (() => Promise<AgentLine>) | null) {
    this.#line = line;
    this.#another = another;
    this.#rsa = rsa;
    this.#gone.promise.catch(() => {});
    bindsSessions(this, (session) => this.#forLogin(session));
  }

  /**
   * What a login uses. A connection that was told of one takes no other, and hides keys that are tied to other hosts; so it goes with the
   * login, and another one is opened where it is needed.
   */
  async #forLogin(session: AgentSession): Promise<Agent> {
    if (this.#another === null) return boundTo(this, session, () => Promise.resolve());
    if (this.#ended !== null) throw this.#ended;
    let line = this.#line;
    if (line === null || this.#pending > 0) line = await this.#another();
    else this.#line = null;
    const client = new AgentClient(line, this.#rsa, null);
    this.#lent.add(client);
    if (this.#ended !== null) await client[Symbol.asyncDispose]();
    return boundTo(client, session, async () => {
      this.#lent.delete(client);
      await client[Symbol.asyncDispose]();
    });
  }

  async signers(): Promise<readonly AgentSigner[]> {
    const request = new Uint8Array([AgentMsg.REQUEST_IDENTITIES]);
    return await this.#request(request, "list identities", AgentMsg.IDENTITIES_ANSWER, (reader) => {
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
    const request = writer.u32(agentFlagsOf(algorithm)).bytes();
    return await this.#request(request, "sign", AgentMsg.SIGN_RESPONSE, (reader) => {
      const signature = reader.string();
      let label: string;
      try {
        label = readSignature(signature).algorithm;
      } catch (cause) {
        throw new SshProtocolError("the signature is malformed", undefined, { cause });
      }
      // An agent that is too old for the flags answers with ssh-rsa, which no server takes for what was asked.
      if (!fitsAlgorithm(label, algorithm)) {
        throw new SshProtocolError(`it signed with "${printable(label, 64)}" and not with "${algorithm}"`);
      }
      return signature;
    });
  }

  async add(key: Signer, options: AgentKeyOptions = {}): Promise<void> {
    checkSigner("key", key);
    const constraints = constraintsOf(options), body = writeAddedKey(key, options.comment);
    const isFree = constraints.lifetime === null && !constraints.confirm && constraints.steps === null;
    if (!isFree) writeConstraints(body, constraints);
    const type = isFree ? AgentMsg.ADD_IDENTITY : AgentMsg.ADD_ID_CONSTRAINED;
    const request = new Writer(1 + body.length).u8(type).raw(body.bytes()).bytes();
    await this.#change(
      request,
      "add key",
      "it may be locked, or not know the key's type or what the key is to be tied to",
    );
  }

  async remove(key: PublicKey): Promise<void> {
    checkPublicKey("key", key);
    const { blob } = key, request = new Writer(5 + blob.length).u8(AgentMsg.REMOVE_IDENTITY).string(blob).bytes();
    await this.#change(request, "remove key", "it may be locked, or not hold the key");
  }

  async removeAll(): Promise<void> {
    await this.#change(new Uint8Array([AgentMsg.REMOVE_ALL_IDENTITIES]), "remove its keys", "it may be locked");
  }

  async lock(passphrase: string): Promise<void> {
    await this.#change(passphraseRequest(AgentMsg.LOCK, passphrase), "be locked", "it may be locked already");
  }

  async unlock(passphrase: string): Promise<void> {
    const why = "the passphrase may be wrong, or the agent not locked";
    await this.#change(passphraseRequest(AgentMsg.UNLOCK, passphrase), "be unlocked", why);
  }

  async extensions(): Promise<readonly string[]> {
    const answer = new Reader(await this.extension(AgentExtension.QUERY)), names: string[] = [];
    while (answer.remaining > 0 && names.length < MOST_EXTENSIONS) names.push(answer.ascii());
    return names;
  }

  async extension(name: string, contents: Uint8Array = new Uint8Array(0)): Promise<Bytes> {
    if (typeof name !== "string" || !/^[!-~]{1,255}$/.test(name)) {
      throw wrongKind("name", name, "the name of an extension, such as `query`");
    }
    checkBytes("contents", contents);
    const request = new Writer(5 + name.length + contents.length).u8(AgentMsg.EXTENSION).text(name).raw(contents)
      .bytes();
    const action = `do "${name}"`, why = "it does not know that extension, or refuses it";
    return await this.#request(request, action, [AgentMsg.SUCCESS, AgentMsg.EXTENSION_RESPONSE], (reader, type) => {
      if (type === AgentMsg.EXTENSION_RESPONSE && reader.text() !== name) {
        throw new SshProtocolError("it answers for another extension");
      }
      return reader.rest();
    }, why);
  }

  async bind(session: AgentSession, options: { forwarding?: boolean | undefined } = {}): Promise<boolean> {
    const request = encodeBind(session, options.forwarding ?? false);
    try {
      await this.#request(request, "take a session", AgentMsg.SUCCESS, nothing);
      return true;
    } catch (error) {
      // It knows nothing of sessions, and ties no key to them; or it was told of another one, and keeps to that.
      if (this.#ended !== null || !(error instanceof SshError)) throw error;
      return false;
    }
  }

  async #change(request: Uint8Array, action: string, why: string): Promise<void> {
    await this.#request(request, action, AgentMsg.SUCCESS, nothing, why);
  }

  /** Asks, and reads the answer. */
  async #request<T>(
    request: Uint8Array,
    action: string,
    wanted: number | readonly number[],
    read: (reader: Reader, type: number) => T,
    why?: string,
  ): Promise<T> {
    if (request.length > MAX_FRAME) {
      throw new RangeError(`Cannot ${action}: ${request.length} bytes, an agent takes ${MAX_FRAME}`);
    }
    this.#pending++;
    const answer = this.#turn.then(() => Promise.race([this.#ask(request), this.#gone.promise]));
    this.#turn = answer.then(nothing, nothing).then(() => void this.#pending--);
    return this.#decode(await answer, action, [wanted].flat(), read, why);
  }

  /**
   * What is wrong with a list of identities ends the connection: nothing can be done without one. Whatever else is refused, malformed or
   * not what was asked for costs that request alone: it came in a frame of its own, and the next answer does too.
   */
  #decode<T>(
    answer: Bytes,
    action: string,
    wanted: readonly number[],
    read: (reader: Reader, type: number) => T,
    why: string | undefined,
  ): T {
    const reader = new Reader(answer);
    const got = reader.u8();
    if (failures.includes(got)) {
      const more = why === undefined ? "" : `: ${why}`;
      throw new SshError(`Agent refused to ${action}${more}`, { code: "REQUEST_DENIED" });
    }
    try {
      if (!wanted.includes(got)) throw new SshProtocolError(`answer of type ${got}, ${wanted.join(" or ")} expected`);
      const value = read(reader, got);
      reader.end();
      return value;
    } catch (error) {
      if (!(error instanceof SshProtocolError)) throw error;
      const failure = new SshProtocolError(`Agent failed to ${action}: ${error.message}`, undefined, { cause: error });
      throw wanted.includes(AgentMsg.IDENTITIES_ANSWER) ? this.#end(failure) : failure;
    }
  }

  async #ask(request: Uint8Array): Promise<Bytes> {
    if (this.#ended !== null) throw this.#ended;
    try {
      const line = this.#line ??= await this.#another!();
      if (this.#ended !== null) await line.end();
      return await line.ask(request);
    } catch (error) {
      throw this.#end(error as SshError);
    }
  }

  /** Ends the connection, the first error being the one that later requests see; returns what this request is to throw. */
  #end(error: SshError): SshError {
    if (this.#ended === null) {
      this.#ended = error;
      this.#gone.reject(error);
      void this.#line?.end();
      for (const client of this.#lent) client.#end(error);
    }
    return this.#ended;
  }

  /** Closes the connection; requests that wait reject with code `CLOSED`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new SshError("Cannot use agent: its connection was closed", { code: "CLOSED" }));
    await Promise.all([this.#line?.end(), ...[...this.#lent].map((client) => client[Symbol.asyncDispose]())]);
    await this.#turn;
  }
}

/**
 * An agent for one login. It is told of the login only where it has keys, and asked anew then: some that were listed may be for other
 * hosts.
 */
function boundTo(client: AgentClient, session: AgentSession, close: () => Promise<void>): Agent {
  return {
    signers: async () => {
      const listed = await client.signers();
      return listed.length > 0 && await client.bind(session) ? await client.signers() : listed;
    },
    [Symbol.asyncDispose]: close,
  };
}

/** The message that locks or unlocks. The error holds nothing of the passphrase. */
function passphraseRequest(type: number, passphrase: string): Bytes {
  checkText("passphrase", passphrase);
  if (passphrase === "" || !isEncodable(passphrase)) {
    throw new TypeError(
      "Cannot use passphrase: it is empty, or holds half of a surrogate pair, which stands for no byte",
    );
  }
  return new Writer().u8(type).string(encodeText(passphrase)).bytes();
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

/** What {@linkcode connectAgent} returns: an agent whose signers carry its comments, and whose keys can be changed. */
export interface AgentConnection extends KeyAgent {
  /** The extensions that it knows, where it tells: `query` of the draft, which OpenSSH's agent answers from 10.3 on. */
  extensions(): Promise<readonly string[]>;
  /** Asks for what an extension does, and resolves to what it answers with. */
  extension(name: string, contents?: Uint8Array): Promise<Bytes>;
  /**
   * Tells it which SSH connection its keys are to be used on from now on: for a login there, or `forwarding`, for logins from there.
   * `connect()` and `exec({ agent })` do so by themselves. Resolves to whether it takes that: an agent that does not know what it means, or
   * was told of a login before, goes on as before.
   */
  bind(session: AgentSession, options?: { forwarding?: boolean | undefined }): Promise<boolean>;
}

/**
 * Connects to the agent at `SSH_AUTH_SOCK`, on Windows else to that of its OpenSSH (`\\.\pipe\openssh-ssh-agent`), or over the streams
 * given, which then belong to the agent's object.
 *
 * A login with its keys tells it of the connection that they are for (`session-bind@openssh.com`). Over streams that were given, such as a
 * lent agent's, only the first login can use keys that are tied to hosts; else each login has a connection to the agent for itself.
 *
 * Throws `SshError` with code `CONNECTION_LOST` where no agent answers. Later requests throw it too when the agent goes away,
 * with code `REQUEST_DENIED` when it refuses, `PROTOCOL_ERROR` when it answers with what was not asked for, and `CLOSED` after
 * disposal. A signature that is not what was asked for leaves the connection as it is, and the other keys usable.
 */
export async function connectAgent(conn?: ByteDuplex, options: RsaKeyOptions = {}): Promise<AgentConnection> {
  checkObject("options", options, "an object");
  minRsaBits(options);
  if (conn !== undefined) {
    checkDuplex("conn", conn);
    return new AgentClient(new StreamLine(conn), options, null);
  }
  const dial = agentDialler();
  const client = new AgentClient(new StreamLine(await dial()), options, async () => new StreamLine(await dial()));
  opensConnections(client, async () => answersOver(await dial()));
  return client;
}
