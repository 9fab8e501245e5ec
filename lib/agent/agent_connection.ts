/**
 * One connection to an agent of this program: each message and what it does. draft-ietf-sshm-ssh-agent sections 3 to 5, OpenSSH
 * PROTOCOL.agent sections 1 and 2. No I/O.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { agentFlagsOf, insecureAlgorithmsOf } from "../keys/key_types.ts";
import { insecureSha1Signer, isOwnKey } from "../keys/private_key.ts";
import type { PublicKey, Signer } from "../keys/types.ts";
import { abortable } from "../wire/abortable.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { readAddedKey } from "./added_key.ts";
import type { AgentLock } from "./agent_lock.ts";
import { Bindings } from "./bindings.ts";
import { readConstraints } from "./constraints.ts";
import { AgentExtension, AgentMsg, MAX_FRAME } from "./frames.ts";
import type { Identity, Keyring } from "./keyring.ts";
import { FAILURE } from "./serve_agent.ts";
import { decodeBind } from "./session_bind.ts";
import { type ToSign, whatToSign } from "./signed_data.ts";

/**
 * A use of a key that a person is asked about. Texts come from whoever asks, which may be a host that the agent has been forwarded to: control
 * characters in them are replaced, and long ones are cut.
 */
export interface AgentUse {
  /** The key. */
  readonly key: PublicKey;
  /** What it is called. */
  readonly comment: string;
  /**
   * What is signed: a login, a file or a message (`ssh-keygen -Y sign`, with the namespace that it names), or nobody knows what. What it
   * says is the asker's word.
   */
  readonly purpose: "login" | "file" | "other";
  /** Who logs in; null where nobody does. */
  readonly username: string | null;
  /** The host key of the server where that happens, where it has proven to be that; null where it has not, or nobody logs in. */
  readonly hostKey: PublicKey | null;
  /** What a file is signed for, such as `git`; null where none is. */
  readonly namespace: string | null;
  /** Whether another host asks, which the agent has been forwarded to. */
  readonly forwarded: boolean;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What the connections of an agent share. */
export interface AgentState {
  readonly keyring: Keyring;
  readonly lock: AgentLock;
  /** Seconds that keys are held which come without a lifetime of their own; null for no end. */
  readonly lifetime: number | null;
  /** Whether each use of each key is asked about. */
  readonly confirm: boolean;
  readonly minRsaBits: number;
  /** Asks a person. */
  readonly onConfirm: ((use: AgentUse) => MaybePromise<boolean>) | undefined;
  /** Told of what the program's functions threw. */
  readonly onError: (error: unknown) => void;
}

const SUCCESS: Bytes = new Uint8Array([AgentMsg.SUCCESS]);

/** Flags that choose an algorithm of RSA keys; no other flag is known. */
const ALGORITHM_FLAGS = 2 | 4;

/** One connection. */
export class AgentConnectionState {
  readonly #state: AgentState;
  readonly #mayChange: boolean;
  readonly #bindings = new Bindings();

  /** Whoever is there may change the agent, or may not. */
  constructor(state: AgentState, mayChange: boolean) {
    this.#state = state;
    this.#mayChange = mayChange;
  }

  /** The answer to a message. What it cannot be done for is a failure, and no more is told. */
  async answer(message: Bytes, signal: AbortSignal): Promise<Bytes> {
    try {
      return await this.#answer(message, signal);
    } catch (error) {
      // A message that is none, or a key that cannot be taken; anything else is a fault of this program's.
      if (!(error instanceof SshError)) this.#state.onError(error);
      return FAILURE;
    }
  }

  async #answer(message: Bytes, signal: AbortSignal): Promise<Bytes> {
    const { lock, keyring } = this.#state, reader = new Reader(message), type = reader.u8();
    if (lock.isLocked && type !== AgentMsg.UNLOCK) {
      if (type === AgentMsg.EXTENSION && reader.ascii() === AgentExtension.SESSION_BIND) {
        this.#bindings.missed(decodeBind(reader).forwarding);
      }
      return type === AgentMsg.REQUEST_IDENTITIES ? listed([]) : FAILURE;
    }
    switch (type) {
      case AgentMsg.REQUEST_IDENTITIES:
        reader.end();
        return listed(keyring.all().filter((identity) => this.#sees(identity)));
      case AgentMsg.SIGN_REQUEST:
        return await this.#sign(reader, signal);
      case AgentMsg.EXTENSION:
        return await this.#extension(reader);
    }
    // Who controls a host that the agent was forwarded to signs there, and no more.
    if (!this.#mayChange || this.#bindings.areRemote) return FAILURE;
    switch (type) {
      case AgentMsg.ADD_IDENTITY:
      case AgentMsg.ADD_ID_CONSTRAINED:
        return await this.#add(reader);
      case AgentMsg.REMOVE_IDENTITY: {
        const blob = reader.view(), identity = keyring.get(blob);
        reader.end();
        return identity !== null && this.#sees(identity) && keyring.remove(blob) ? SUCCESS : FAILURE;
      }
      case AgentMsg.REMOVE_ALL_IDENTITIES:
        reader.end();
        for (const identity of keyring.all()) if (this.#sees(identity)) keyring.remove(identity.blob);
        return SUCCESS;
      case AgentMsg.LOCK:
      case AgentMsg.UNLOCK: {
        const passphrase = reader.string();
        reader.end();
        return await (type === AgentMsg.LOCK ? lock.lock(passphrase) : lock.unlock(passphrase)) ? SUCCESS : FAILURE;
      }
      default:
        // Keys of tokens, which would have a library loaded (CVE-2023-38408), and keys of version 1, among others.
        return FAILURE;
    }
  }

  /** Whether a key exists for this connection. */
  #sees({ constraints }: Identity): boolean {
    return this.#bindings.shows(constraints.steps);
  }

  async #extension(reader: Reader): Promise<Bytes> {
    switch (reader.ascii()) {
      case AgentExtension.SESSION_BIND:
        return await this.#bindings.add(decodeBind(reader)) ? SUCCESS : FAILURE;
      case AgentExtension.QUERY: {
        reader.end();
        const { QUERY, SESSION_BIND } = AgentExtension;
        return new Writer().u8(AgentMsg.EXTENSION_RESPONSE).text(QUERY).text(QUERY).text(SESSION_BIND).bytes();
      }
      default:
        return FAILURE;
    }
  }

  async #add(reader: Reader): Promise<Bytes> {
    const { keyring, lifetime, minRsaBits, onConfirm, lock } = this.#state;
    const added = await readAddedKey(reader, minRsaBits), constraints = readConstraints(reader);
    // Where nobody can be asked, the key would be held for nothing.
    if (constraints.confirm && onConfirm === undefined) return FAILURE;
    const before = keyring.get(added.blob);
    if (lock.isLocked || before !== null && !this.#sees(before)) return FAILURE;
    keyring.add({ ...added, constraints: { ...constraints, lifetime: constraints.lifetime ?? lifetime } });
    return SUCCESS;
  }

  async #sign(reader: Reader, signal: AbortSignal): Promise<Bytes> {
    const { keyring, lock } = this.#state;
    const blob = reader.string(), data = reader.string(), flags = reader.u32();
    reader.end();
    const identity = keyring.get(blob);
    if (identity === null) return FAILURE;
    const { constraints } = identity, purpose = whatToSign(data, blob);
    const chosen = algorithmFor(identity, flags) ??
      (flags === 0 && purpose.kind === "other" ? forTest(identity) : null);
    if (chosen === null) return FAILURE;
    const login = purpose.kind === "login" ? purpose : null;
    if (!this.#bindings.maySign(constraints.steps, login)) return FAILURE;
    if (constraints.confirm || this.#state.confirm) {
      if (!await this.#isConfirmed(identity, purpose, signal)) return FAILURE;
      // A person takes time, in which much may have changed.
      if (signal.aborted || lock.isLocked || keyring.get(blob) !== identity) return FAILURE;
    }
    const signature = await this.#said(() => chosen.key.sign(data, chosen.algorithm), signal);
    if (signature === null) return FAILURE;
    const answer = new Writer(5 + signature.length).u8(AgentMsg.SIGN_RESPONSE).string(signature).bytes();
    return answer.length <= MAX_FRAME ? answer : FAILURE;
  }

  async #isConfirmed({ key, comment }: Identity, purpose: ToSign, signal: AbortSignal): Promise<boolean> {
    const { onConfirm } = this.#state;
    if (onConfirm === undefined) return false;
    const isLogin = purpose.kind === "login";
    const use: AgentUse = Object.freeze({
      key: key.publicKey,
      comment: printable(comment),
      purpose: purpose.kind,
      username: isLogin ? printable(purpose.username) : null,
      hostKey: isLogin ? this.#bindings.hostOf(purpose.sessionId) : null,
      namespace: purpose.kind === "file" ? printable(purpose.namespace) : null,
      forwarded: this.#bindings.areRemote,
      signal,
    });
    return await this.#said(() => onConfirm(use), signal) === true;
  }

  /** What a function of the program gives; null where it throws, which the program is told, and where nobody waits any more. */
  async #said<T>(act: () => MaybePromise<T>, signal: AbortSignal): Promise<T | null> {
    try {
      return await abortable((async () => await act())(), signal);
    } catch (error) {
      if (!signal.aborted) this.#state.onError(error);
      return null;
    }
  }
}

function listed(identities: readonly Identity[]): Bytes {
  const writer = new Writer().u8(AgentMsg.IDENTITIES_ANSWER).u32(identities.length);
  for (const { blob, comment } of identities) writer.string(blob).text(comment.toWellFormed());
  return writer.bytes();
}

/** A key, and what it signs with. */
interface Chosen {
  readonly key: Signer;
  readonly algorithm: string;
}

/** The algorithm that the flags ask for; a key whose algorithms have no flags has one, whatever they say. */
function algorithmFor({ key }: Identity, flags: number): Chosen | null {
  if ((flags & ~ALGORITHM_FLAGS) !== 0) return null;
  const { algorithms } = key;
  // Of both, OpenSSH's agent takes the first.
  const chosen = !algorithms.some((one) => agentFlagsOf(one) !== 0) ? 0 : flags === ALGORITHM_FLAGS ? 2 : flags;
  const algorithm = algorithms.find((one) => agentFlagsOf(one) === chosen);
  return algorithm === undefined ? null : { key, algorithm };
}

/** SHA-1, which no flags are: `ssh-add -T` asks for it, with random bytes, and that is all that is signed with it. */
function forTest({ key }: Identity): Chosen | null {
  const [algorithm] = insecureAlgorithmsOf(key.publicKey.type);
  return algorithm === undefined || !isOwnKey(key) ? null : { key: insecureSha1Signer(key), algorithm };
}
