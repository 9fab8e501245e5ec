/**
 * An agent of this program: holds keys, and lets others use them as far as each is tied. draft-ietf-sshm-ssh-agent, OpenSSH
 * PROTOCOL.agent. Listens through agent_listener.ts.
 *
 * Whoever asks, this program or another, asks by messages on a connection of its own (agent_connection.ts), so that what a key is tied to
 * holds for all of them.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { checkSigner } from "../keys/check_key.ts";
import { minRsaBits, type RsaKeyOptions } from "../keys/rsa_public.ts";
import { bindsSessions } from "../keys/session_agents.ts";
import type { PrivateKey, PublicKey, Signer } from "../keys/types.ts";
import { withoutCertificate } from "../keys/with_certificate.ts";
import { callBack } from "../wire/callback.ts";
import {
  checkDuplex,
  checkFlag,
  checkFunction,
  checkNames,
  checkObject,
  checkSignalOption,
  checkText,
  wrongKind,
} from "../wire/check.ts";
import { requireDeno } from "../wire/system.ts";
import type { ByteDuplex, Bytes, MaybePromise } from "../wire/types.ts";
import { AgentClient, type AgentSigner, type KeyAgent } from "./agent.ts";
import { AgentConnectionState, type AgentState, type AgentUse } from "./agent_connection.ts";
import { type AgentListener, listenForAgent } from "./agent_listener.ts";
import { AgentLock } from "./agent_lock.ts";
import { opensConnections } from "./connections.ts";
import { type AgentKeyOptions, constraintsOf, secondsOf } from "./constraints.ts";
import { Keyring } from "./keyring.ts";
import type { AgentLine } from "./line.ts";
import { type AgentAnswerer, answerAll } from "./serve_agent.ts";

/** Options of {@linkcode createAgent}. */
export interface CreateAgentOptions extends RsaKeyOptions {
  /** Keys that it holds at once, tied to nothing. @default {none} */
  keys?: readonly Signer[] | undefined;
  /**
   * Asks a person whether a key may be used: anything but `true` is no, and so is what it throws. It is asked for keys that were added with
   * `confirm`, which are refused without it. Several uses may wait at once.
   */
  onConfirm?: ((use: AgentUse) => MaybePromise<boolean>) | undefined;
  /** Whether it is asked for every key. @default {false} */
  confirm?: boolean | undefined;
  /** Milliseconds after which keys are forgotten that are added without a lifetime of their own. @default {never} */
  lifetime?: number | undefined;
  /** Told what `onConfirm` and signers threw. @default {nobody is} */
  onError?: ((error: unknown) => void) | undefined;
}

/** Options of {@linkcode LocalAgent.serve} and {@linkcode LocalAgent.listen}. */
export interface ServeAgentOptions {
  /** Whoever is there lists and signs, and adds, removes, locks and unlocks nothing. @default {false} */
  readOnly?: boolean | undefined;
  /** Aborting ends it. */
  signal?: AbortSignal | undefined;
}

/** An agent of this program, as {@linkcode createAgent} makes it. */
export interface LocalAgent extends KeyAgent {
  /** As `KeyAgent.add()`; a key that keeps its private part to itself, such as a token's, is taken as well. */
  add(key: Signer, options?: AgentKeyOptions): Promise<void>;
  /**
   * Answers whoever is at the other end of streams until they end; such as `session.agent` of a server, or a connection that was accepted.
   * Rejects with `PROTOCOL_ERROR` for what is no message, with what the streams throw, with the signal's reason, and with `CLOSED` when the
   * agent is disposed of.
   */
  serve(conn: ByteDuplex, options?: ServeAgentOptions): Promise<void>;
  /**
   * Listens on a Unix socket: at `path`, where nothing is yet, or in a new folder that only the user can enter. Programs that find the
   * path in SSH_AUTH_SOCK use it: `ssh`, `ssh-add`, `git`. The socket is the user's alone. Needs `--allow-read` and `--allow-write`.
   */
  listen(options?: ServeAgentOptions & { path?: string | undefined }): Promise<AgentListener>;
}

const names = ["keys", "onConfirm", "confirm", "lifetime", "onError", "insecureMinRsaBits"] as const;

/**
 * Makes an agent that holds its keys in this program. `publicKey(agent)` logs in with them, `exec({ agent })` lends them, `listen()` and
 * `serve()` let other programs use them. What a key is tied to holds for all of these, hosts included (`ssh-add -h`): it is listed only
 * where it may be used, and such a key signs only for logins.
 *
 * Over a connection that was forwarded to another host, keys are listed and signed with, and nothing is changed. Keys of tokens, which
 * `ssh-add -s` adds, are refused: that would load a library into this program. When it is disposed of, all keys are gone.
 *
 * @example An agent that asks, for programs that find its socket
 * ```ts
 * import { createAgent, parsePrivateKey } from "@amiko/ssh";
 *
 * async function serveKeys(file: string): Promise<void> {
 *   await using agent = createAgent({
 *     onConfirm: ({ comment, purpose, username }) => confirm(`Use ${comment} for ${purpose} as ${username}?`),
 *   });
 *   await agent.add(await parsePrivateKey(await Deno.readTextFile(file)), { confirm: true, lifetime: 3_600_000 });
 *   await using listener = await agent.listen();
 *   await new Deno.Command("git", { args: ["fetch"], env: { SSH_AUTH_SOCK: listener.path } }).spawn().status;
 * }
 * ```
 */
export function createAgent(options: CreateAgentOptions = {}): LocalAgent {
  checkObject("options", options, "an object such as `{ keys }`");
  checkNames("createAgent()", options, names);
  const { keys = [], onConfirm, confirm, lifetime, onError } = options;
  if (!Array.isArray(keys)) throw wrongKind("keys", keys, "a list of private keys or other signers");
  for (const key of keys) checkSigner("keys", key);
  checkFunction("onConfirm", onConfirm, "a function that says whether a key may be used");
  checkFunction("onError", onError);
  checkFlag("confirm", confirm);
  if (confirm === true && onConfirm === undefined) {
    throw new TypeError("Cannot ask for each use of a key: `confirm` is set, and no `onConfirm` is there to ask");
  }
  const agent = new ProgramAgent({
    keyring: new Keyring(),
    lock: new AgentLock(),
    lifetime: secondsOf("lifetime", lifetime),
    confirm: confirm ?? false,
    minRsaBits: minRsaBits(options),
    onConfirm,
    onError: (error) => callBack(() => onError?.(error)),
  });
  for (const key of keys) agent.hold(key, {});
  return agent;
}

class ProgramAgent implements LocalAgent {
  readonly #state: AgentState;
  readonly #end = new AbortController();
  readonly #listeners = new Set<AgentListener>();
  /** What this program itself asks. */
  readonly #own: AgentClient;

  constructor(state: AgentState) {
    this.#state = state;
    const rsa = { insecureMinRsaBits: state.minRsaBits };
    this.#own = new AgentClient(this.#line(), rsa, () => Promise.resolve(this.#line()));
    bindsSessions(this, async (session) => {
      const client = new AgentClient(this.#line(), rsa, null);
      await client.bind(session);
      return client;
    });
    // Who asks there tells by the signal when nobody waits any more.
    opensConnections(this, () => Promise.resolve({ answer: this.#answerer(false), end: () => {} }));
  }

  /** Answers on a connection of its own. */
  #answerer(mayChange: boolean): AgentAnswerer {
    const connection = new AgentConnectionState(this.#state, mayChange);
    return (message, signal) => {
      this.#end.signal.throwIfAborted();
      return connection.answer(message, signal);
    };
  }

  /** The same, for those who ask from here. */
  #line(): AgentLine {
    const answer = this.#answerer(true), gone = eitherOf([this.#end.signal]);
    return {
      ask: async (question) => await answer(question.slice(), gone.signal) as Bytes,
      end: () => {
        gone.end(new SshError("Cannot use agent: its connection was closed", { code: "CLOSED" }));
        return Promise.resolve();
      },
    };
  }

  signers(): Promise<readonly AgentSigner[]> {
    return this.#own.signers();
  }

  /** Takes a key without messages: it may keep its private part to itself. */
  hold(key: Signer, options: AgentKeyOptions): void {
    const { keyring, onConfirm, lock, lifetime } = this.#state;
    this.#end.signal.throwIfAborted();
    checkSigner("key", key);
    const constraints = constraintsOf(options);
    if (constraints.confirm && onConfirm === undefined) {
      throw new TypeError("Cannot add key that is asked about: the agent was made without `onConfirm`");
    }
    if (lock.isLocked) throw new SshError("Cannot add key: the agent is locked", { code: "REQUEST_DENIED" });
    const { comment } = (withoutCertificate(key) ?? key) as Partial<PrivateKey>;
    keyring.add({
      blob: key.publicKey.blob.slice() as Bytes,
      comment: options.comment ?? (typeof comment === "string" ? comment : ""),
      key,
      constraints: { ...constraints, lifetime: constraints.lifetime ?? lifetime },
    });
  }

  // Async, so that what is wrong is a rejection.
  // deno-lint-ignore require-await
  async add(key: Signer, options: AgentKeyOptions = {}): Promise<void> {
    this.hold(key, options);
  }

  remove(key: PublicKey): Promise<void> {
    return this.#own.remove(key);
  }

  removeAll(): Promise<void> {
    return this.#own.removeAll();
  }

  lock(passphrase: string): Promise<void> {
    return this.#own.lock(passphrase);
  }

  unlock(passphrase: string): Promise<void> {
    return this.#own.unlock(passphrase);
  }

  async serve(conn: ByteDuplex, options: ServeAgentOptions = {}): Promise<void> {
    checkServe(options);
    checkDuplex("conn", conn);
    const { signal, readOnly = false } = options, gone = eitherOf([this.#end.signal, signal]);
    try {
      await answerAll(conn, this.#answerer(!readOnly), gone.signal);
    } finally {
      gone.end(null);
    }
  }

  async listen(options: ServeAgentOptions & { path?: string | undefined } = {}): Promise<AgentListener> {
    requireDeno("listen as an agent", "`serve()` answers over streams");
    checkServe(options);
    const { path, signal, readOnly } = options;
    if (path !== undefined) checkText("path", path);
    signal?.throwIfAborted();
    this.#end.signal.throwIfAborted();
    const close = (): void => void listener.close();
    const listener = await listenForAgent(path, (conn, signal) => this.serve(conn, { readOnly, signal }), (closed) => {
      signal?.removeEventListener("abort", close);
      this.#listeners.delete(closed);
    });
    this.#listeners.add(listener);
    signal?.addEventListener("abort", close, { once: true });
    if (!signal?.aborted && !this.#end.signal.aborted) return listener;
    await listener.close();
    throw signal?.aborted ? signal.reason : this.#end.signal.reason;
  }

  /** Ends whatever uses it, and forgets all keys. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new SshError("Cannot use agent: it was closed", { code: "CLOSED" }));
    this.#state.keyring.end();
    this.#state.lock.end();
    await this.#own[Symbol.asyncDispose]();
    await Promise.all([...this.#listeners].map((listener) => listener.close()));
  }
}

/** Aborts with the first of the signals, or when it is ended; then it listens to none of them, which may live long. */
function eitherOf(signals: readonly (AbortSignal | undefined)[]): { signal: AbortSignal; end(reason: unknown): void } {
  const either = new AbortController(), listening: [AbortSignal, () => void][] = [];
  const end = (reason: unknown): void => {
    for (const [signal, abort] of listening) signal.removeEventListener("abort", abort);
    either.abort(reason);
  };
  for (const signal of signals) {
    if (signal === undefined) continue;
    const abort = (): void => end(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    listening.push([signal, abort]);
  }
  return { signal: either.signal, end };
}

function checkServe(options: ServeAgentOptions): void {
  checkSignalOption(options);
  checkFlag("readOnly", options.readOnly);
}
