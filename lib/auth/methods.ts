/**
 * The client's side of the authentication methods. RFC 4252 sections 5.2, 7 and 8, RFC 4256, RFC 8332 section 3, OpenSSH
 * PROTOCOL section 3.1.
 * No transport: a method talks through an exchange.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { printable, SshProtocolError } from "../errors.ts";
import { type PassedOver, passedOverBy } from "../keys/passed_over.ts";
import { type KeyText, looksLikePath, pathHint } from "../keys/key_text.ts";
import { checkKeyFile, isKeyFile, type KeyFile } from "../keys/key_file.ts";
import { isOwnKey, parsePrivateKey } from "../keys/private_key.ts";
import { withPlainKeys } from "../keys/with_certificate.ts";
import { isWrongSignature } from "../keys/check_signature.ts";
import { isPublicKey, isSigner } from "../keys/check_key.ts";
import { agentFor, type AgentSession } from "../keys/session_agents.ts";
import type { Agent, Signer } from "../keys/types.ts";
import { toBase64 } from "../wire/base_text.ts";
import { isThenable } from "../wire/callback.ts";
import { checkFunction, checkObject, kindOf, wrongKind } from "../wire/check.ts";
import { encodeText } from "../wire/byte_text.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { keyFields, KeyQuestions, usableAlgorithms } from "./key_questions.ts";
import {
  CONNECTION_SERVICE,
  decodeInfoRequest,
  displayText,
  encodeInfoResponse,
  HOSTBOUND_METHOD,
  passwdChangereq,
  publicKeySignedData,
  typedBytes,
  userauthPkOk,
} from "./messages.ts";
import { keyOfFile, reasonOf, unlocked } from "./locked_keys.ts";
import type { Prompt } from "./types.ts";

/** Names of the methods that prove who the user is. */
export const methodNames: readonly string[] = ["publickey", "password", "keyboard-interactive"];

/** One way to prove who the user is. */
export interface AuthMethod {
  /** Method name on the wire. */
  readonly name: string;
}

/** How the server answered for good. */
export type FinalReply =
  | { readonly kind: "success" }
  | { readonly kind: "failure"; readonly partial: boolean; readonly remaining: readonly string[] };

/** How the server answered: for good, or with message 60 of the method. */
export type AuthReply = FinalReply | { readonly kind: "message"; readonly payload: Bytes };

/** What a message of the client is. */
export interface SendOptions {
  /** It carries a proof: a secret or a signature. */
  readonly proof?: boolean;
  /** It only asks: SUCCESS cannot be the answer. */
  readonly query?: boolean;
}

/** One attempt, as a method sees it. Every call rejects once the attempt is over. */
export interface AuthExchange {
  /** Who wants to log in. */
  readonly username: string;
  /** Whether nothing has been asked on this connection yet, and nothing follows where this fails. */
  readonly signsAtOnce: boolean;
  /** Requests for a login so far on this connection, but for `none`. */
  readonly tries: number;
  /** How many of those there may be when questions about keys leave together. */
  readonly triesTogether: number;
  /** Hash of the first key exchange. */
  readonly sessionId: Bytes;
  /** `server-sig-algs` (RFC 8308 section 3.1), or null where the server did not say. */
  readonly serverSigAlgs: readonly string[] | null;
  /** The connection as agents may have it proven; null where it cannot be. */
  readonly session: AgentSession | null;
  /** The server's host key, where it takes signatures that name it; undefined where it does not. */
  readonly boundHostKey: Bytes | undefined;
  /** Methods the server named last; none where it did not say. */
  readonly remaining: readonly string[];
  /** Keys that already passed on this connection, as base64 of their blobs. */
  readonly passedKeys: Set<string>;
  /** Sends USERAUTH_REQUEST with the fields of the method and waits for the answer. */
  request(method: string, fields: Uint8Array, options?: SendOptions): Promise<AuthReply>;
  /** Sends another message of the method and waits for the answer. */
  answer(payload: Uint8Array, options?: SendOptions): Promise<AuthReply>;
  /** Calls a function of the program, which may ask a person, and waits for what it gives, no longer than the attempt goes on. */
  ask<T>(act: () => MaybePromise<T>): Promise<T>;
  /** Waits for what this side has begun, and no longer than the attempt goes on. */
  wait<T>(value: MaybePromise<T>): Promise<T>;
  /** Aborts when the attempt is over: what a method has opened for itself is closed then. */
  readonly signal: AbortSignal;
  /** Keeps a remark for the error that tells why nothing worked; never a secret. */
  note(text: string): void;
}

/** What a method does in one attempt. */
export type MethodRun = (exchange: AuthExchange) => Promise<FinalReply>;

/** Keeps what a method does, and its secrets, out of what a program sees of it. */
const runs = new WeakMap<AuthMethod, MethodRun>();

/** Methods that nobody has to be asked for, and nothing looked for. */
const ready = new WeakSet<AuthMethod>();

/** A method by its name on the wire and what it does; `isReady` says that it can begin with what it has. */
export function makeMethod(name: string, run: MethodRun, isReady = false): AuthMethod {
  const made: AuthMethod = Object.freeze({ name });
  runs.set(made, run);
  if (isReady) ready.add(made);
  return made;
}

/** Whether a method begins with what the program gave, asks nobody, and tells no secret to a server that does not take it. */
export function needsNobody(method: AuthMethod | undefined): boolean {
  return method !== undefined && ready.has(method);
}

/** What `method` does; throws `TypeError` for an object that no function of this module made. */
export function runOf(method: AuthMethod): MethodRun {
  const run = typeof method === "object" && method !== null ? runs.get(method) : undefined;
  if (run !== undefined) return run;
  const given: unknown = method;
  const factory = [none, password, publicKey, keyboardInteractive].find((one) => one === given);
  const advice = factory !== undefined
    ? `call it, ${factory.name}(…)`
    : isSigner(given) || isPublicKey(given) || typeof (given as Partial<Agent> | null)?.signers === "function"
    ? "write publicKey(…) around it"
    : Array.isArray(given)
    ? "write one list, not a list of lists"
    : "make it with none(), password(), publicKey(), keyboardInteractive() or hostBased()";
  throw new TypeError(`Cannot use ${kindOf(given)} as an auth method: ${advice}`);
}

/** Throws `TypeError` for what is no list of methods that this module made. */
export function checkMethods(auth: unknown): asserts auth is readonly AuthMethod[] {
  if (typeof auth === "object" && auth !== null && runs.has(auth as AuthMethod)) {
    throw new TypeError(`Cannot use one method as \`auth\`: write a list of it, \`auth: [password(text)]\``);
  }
  if (!Array.isArray(auth)) throw wrongKind("auth", auth, "a list, such as `[publicKey(key), password(text)]`");
  for (const method of auth) runOf(method);
}

/** Whether a server that named `remaining` last goes on with a method. One that names none says nothing about any, as `ssh` takes it. */
export function allows(remaining: readonly string[], name: string): boolean {
  return remaining.length === 0 || remaining.includes(name);
}

/** An answer that ends the method; message 60 is a mistake of the server's. */
export function final(reply: AuthReply, name: string): FinalReply {
  if (reply.kind === "message") {
    throw new SshProtocolError(`Cannot use answer to ${name}: message 60 has no place there`);
  }
  return reply;
}

/** `none`: succeeds only where the server asks for nothing (RFC 4252 section 5.2). */
export function none(): AuthMethod {
  return makeMethod("none", async (exchange) => final(await exchange.request("none", new Uint8Array(0)), "none"));
}

/** Options of {@linkcode password}. */
export interface PasswordOptions {
  /**
   * Gives a new password when the server wants the old one changed (RFC 4252 section 8). The prompt is the server's text,
   * with control characters replaced. Without it such a login fails.
   */
  change?: ((prompt: string) => MaybePromise<string>) | undefined;
}

/** Times the server may turn down new passwords in one attempt. */
const MAX_CHANGES = 5;

/**
 * `password` (RFC 4252 section 8); the function form is called when it is needed, with a signal that aborts when nobody waits for the answer
 * any more. What it throws ends the login.
 */
export function password(
  value: string | ((question: { signal: AbortSignal }) => MaybePromise<string>),
  options: PasswordOptions = {},
): AuthMethod {
  if (typeof value !== "string" && typeof value !== "function") {
    throw wrongKind("password", value, "a text, or a function that gives one when it is needed");
  }
  checkObject("options", options, "an object such as `{ change }`");
  checkFunction("change", options.change);
  return makeMethod("password", async (exchange) => {
    const secret = typeof value === "string" ? value : await exchange.ask(() => value({ signal: exchange.signal }));
    if (typeof secret !== "string") {
      throw new TypeError(`Cannot log in: the password is not a string, password()'s function gave ${kindOf(secret)}`);
    }
    let reply = await exchange.request("password", new Writer().bool(false).string(typedBytes(secret)).bytes(), {
      proof: true,
    });
    for (let changes = 0; reply.kind === "message"; changes++) {
      const prompt = displayText(passwdChangereq.decode(reply.payload).prompt);
      if (options.change === undefined || changes === MAX_CHANGES) {
        exchange.note(
          changes > 0
            ? `the server turned down ${changes} new passwords`
            : `the server wants a new password ("${printable(prompt)}"): give password() the option "change"`,
        );
        return { kind: "failure", partial: false, remaining: exchange.remaining };
      }
      const change = options.change, fresh = await exchange.ask(() => change(prompt));
      if (typeof fresh !== "string") {
        throw new TypeError(
          `Cannot change password: the new password is not a string, \`change\` gave ${kindOf(fresh)}`,
        );
      }
      const fields = new Writer().bool(true).string(typedBytes(secret)).string(typedBytes(fresh)).bytes();
      reply = await exchange.request("password", fields, { proof: true });
    }
    return reply;
  });
}

/** Rounds of questions in one attempt. */
const MAX_ROUNDS = 20;

/**
 * `keyboard-interactive` (RFC 4256). `answer` is called for each round and returns one answer to each prompt; what it throws ends
 * the login. A round without prompts only shows its text, and what is returned for it is not looked at. All texts are the
 * server's, with control characters other than newline and tab replaced. The signal aborts when nobody waits for the answers any more.
 */
export function keyboardInteractive(
  answer: (
    round: { name: string; instruction: string; prompts: readonly Prompt[] },
    question: { signal: AbortSignal },
  ) => MaybePromise<readonly string[]>,
): AuthMethod {
  if (typeof answer !== "function") {
    throw wrongKind("answer", answer, "a function that gives a list of answers: `({ prompts }) => prompts.map(…)`");
  }
  return makeMethod("keyboard-interactive", async (exchange) => {
    let reply = await exchange.request("keyboard-interactive", new Writer().text("").text("").bytes());
    for (let round = 0; reply.kind === "message"; round++) {
      if (round === MAX_ROUNDS) {
        throw new SshProtocolError(`Cannot log in: more than ${MAX_ROUNDS} rounds of keyboard-interactive`);
      }
      const { name, instruction, prompts } = decodeInfoRequest(reply.payload);
      const given = await exchange.ask(() =>
        answer({
          name: displayText(name),
          instruction: displayText(instruction),
          prompts: prompts.map(({ text, echo }) => ({ text: displayText(text), echo })),
        }, { signal: exchange.signal })
      );
      const answers = prompts.length === 0 ? [] : given;
      if (!Array.isArray(answers) || answers.length !== prompts.length || answers.some((a) => typeof a !== "string")) {
        const got = !Array.isArray(answers)
          ? `${kindOf(answers)} was given`
          : answers.length === prompts.length
          ? "something else was among them"
          : `${answers.length} were given`;
        throw new TypeError(
          `Cannot answer keyboard-interactive: ${prompts.length} strings are needed, one for each prompt; ${got}`,
        );
      }
      reply = await exchange.answer(encodeInfoResponse(answers), { proof: answers.length > 0 });
    }
    return reply;
  });
}

/**
 * `publickey` (RFC 4252 section 7) with keys held here, in files' text, by an agent, or found one after the other by an iteration
 * that starts when it is needed; each is offered in turn. A key signs once the server has said that it would do; one in memory
 * that is all a login has signs at once, which saves a round trip. RSA keys sign with SHA-2, as `server-sig-algs` says (RFC 8332), and a key that the server's
 * list rules out is passed over. Throws `TypeError` for a path. Text is parsed when its turn comes; an error in it ends the login, and so does one of an iteration.
 * A {@linkcode KeyFile}, `{ text, passphrase }`, may be encrypted: a function is asked for its passphrase once, when the server would take the key.
 * An agent stays open: whoever connected to it closes it. Keys, agents and iterations that do not answer are left behind when the
 * login is aborted or the connection ends.
 */
export function publicKey(
  ...keys: readonly (Signer | Agent | KeyText | KeyFile | AsyncIterable<Signer>)[]
): AuthMethod {
  const made = keys.find((key: unknown) => typeof key === "function");
  if (made !== undefined) throw new TypeError("Cannot use key: it is a function, call it");
  return publicKeyFrom(...keys);
}

/** Where signers come from; a function is given the signal that says when what it has opened has to be closed. */
type SignerSource =
  | Signer
  | Agent
  | KeyText
  | KeyFile
  | AsyncIterable<Signer>
  | ((signal: AbortSignal) => AsyncIterable<Signer>);

/** Throws `TypeError` for what gives no keys, and for a path in the place of a text. */
function checkSource(key: unknown): void {
  if (typeof key === "string") {
    if (!looksLikePath(key)) return;
    throw new TypeError(`Cannot use key: no private key is in its text${pathHint(key)}`);
  }
  if (key instanceof Uint8Array || typeof key === "function" || isSigner(key)) return;
  if (isKeyFile(key)) return checkKeyFile(key);
  const source = key as Partial<Agent & AsyncIterable<Signer>> | null | undefined;
  if (typeof source?.signers === "function" || typeof source?.[Symbol.asyncIterator] === "function") return;
  const why = Array.isArray(key)
    ? "an array was given, write publicKey(...keys)"
    : isPublicKey(key)
    ? "it is a public key, and the private one is needed"
    : `a private key or another signer, the text of a key file, an agent, or an iteration of signers is needed, not ${
      kindOf(key)
    }${isThenable(key) ? "; write `await` before it" : ""}`;
  throw new TypeError(`Cannot use key: ${why}`);
}

/** As {@linkcode publicKey}, with iterations that learn when the attempt is over. */
export function publicKeyFrom(...keys: readonly SignerSource[]): AuthMethod {
  for (const key of keys) checkSource(key);
  const opened = new Map<KeyFile, Signer>();
  return makeMethod("publickey", async (exchange) => {
    const seen = new Set<string>(), passedOver: PassedOver[] = [];
    let last: FinalReply = { kind: "failure", partial: false, remaining: exchange.remaining };
    const questions = new KeyQuestions(exchange);
    for await (const signer of signersOf(keys, opened, exchange, passedOver, questions)) {
      const id = toBase64(signer.publicKey.blob);
      if (seen.has(id) || exchange.passedKeys.has(id)) continue;
      seen.add(id);
      const reply = await offer(signer, exchange, keys.length === 1, questions);
      if (reply === null) continue;
      last = reply;
      if (reply.kind === "success" || reply.partial) exchange.passedKeys.add(id);
      if (reply.kind === "success" || reply.partial || !allows(reply.remaining, "publickey")) break;
    }
    if (last.kind === "success" || last.partial) return last;
    if (seen.size === 0) exchange.note("there was no key to offer");
    for (const { notes, absent } of passedOver) {
      for (const note of seen.size === 0 ? [...notes, ...absent] : notes) exchange.note(note);
    }
    return last;
  }, isAtHand(keys[0]));
}

/** Whether a key can be offered without looking for it, and without asking anybody. */
function isAtHand(source: SignerSource | undefined): boolean {
  if (typeof source === "string" || source instanceof Uint8Array) return true;
  return typeof source === "object" && !isKeyFile(source) && !(Symbol.asyncIterator in source);
}

/** The keys of all sources in turn. What is put into `passedOver` is told of what the sources could not give. */
async function* signersOf(
  keys: readonly SignerSource[],
  opened: Map<KeyFile, Signer>,
  exchange: AuthExchange,
  passedOver: PassedOver[],
  questions: KeyQuestions<AuthReply>,
): AsyncGenerator<Signer> {
  for (const [i, key] of keys.entries()) {
    questions.atHand = [];
    if (typeof key === "string" || key instanceof Uint8Array) yield await exchange.wait(parsePrivateKey(key));
    else if (typeof key === "object" && isKeyFile(key)) yield* keyOfFile(key, opened, exchange);
    else if (typeof key === "function" || Symbol.asyncIterator in key) {
      const iteration = typeof key === "function" ? key(exchange.signal) : key;
      const told = passedOverBy(iteration);
      if (told !== null) {
        told.session = exchange.session;
        passedOver.push(told);
      }
      yield* eachOf(iteration, exchange);
    } else if (!("signers" in key)) {
      const end = keys.findIndex((other, k) => k > i && !isSigner(other));
      questions.atHand = keys.slice(i, end < 0 ? undefined : end) as Signer[];
      yield key;
    } else {
      const told: PassedOver = { notes: [], absent: [] };
      passedOver.push(told);
      using own = new DisposableStack();
      let signers: readonly Signer[] = [];
      try {
        const bound = agentFor(key, exchange.session);
        // Whoever is left behind with it lets go of it.
        const letGo = async (agent: Agent): Promise<void> =>
          agent === key ? undefined : await agent[Symbol.asyncDispose]();
        own.defer(() => void bound.then(letGo).catch(() => {}));
        const agent = await exchange.wait(bound);
        signers = await exchange.wait(agent.signers());
        if (signers.length === 0) told.absent.push("the agent has no key of a type that is known here");
      } catch (error) {
        if (exchange.signal.aborted) throw error;
        told.notes.push(`the agent gave no keys: ${reasonOf(error)}`);
      }
      questions.atHand = signers;
      yield* signers;
    }
  }
}

/** An iteration of the program. One that does not answer is told to end, and left behind, when the attempt is over. */
async function* eachOf<T>(iterable: AsyncIterable<T>, exchange: AuthExchange): AsyncGenerator<T> {
  const iterator = iterable[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      // An iteration that fails or ends is not told to end.
      ended = true;
      const next = Promise.resolve(iterator.next());
      ended = false;
      next.then(({ done }) => ended = done === true, () => ended = true);
      const { done, value } = await exchange.wait(next);
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) await exchange.wait(iterator.return?.());
  }
}

/** Bytes of a signature that are looked at. */
const MAX_SIGNATURE = 16_384;

/** Offers one key with each algorithm that may do; null when there is none. */
async function offer(
  signer: Signer,
  exchange: AuthExchange,
  isOnly: boolean,
  questions: KeyQuestions<AuthReply>,
): Promise<FinalReply | null> {
  const { type, blob } = signer.publicKey;
  const name = `${printable(type, 64)} ${await exchange.wait(signer.publicKey.fingerprint())}`;
  const tried = new Set<string>();
  // A server may tell which it takes once it knows the user.
  const usable = (): readonly string[] => usableAlgorithms(signer, exchange.serverSigAlgs);
  let last: FinalReply | null = null;
  if (usable().length === 0) {
    exchange.note(`${name} was not offered: the server's server-sig-algs has none of ${signer.algorithms.join(", ")}`);
  }
  for (let algorithm; (algorithm = usable().find((name) => !tried.has(name))) !== undefined;) {
    tried.add(algorithm);
    // A key in memory that is all a login has signs at once: that saves a round trip. Where others follow it asks, as servers count a refused
    // signature as a failed try, and some, as this module's, the first questions as none.
    const asks = !isOnly || !exchange.signsAtOnce || !isOwnKey(withPlainKeys([signer]).at(-1)!);
    if (asks) {
      const reply = await questions.ask(signer, algorithm);
      if (reply.kind !== "message") {
        last = reply.kind === "failure" ? { ...reply, partial: false } : reply;
        if (allows(exchange.remaining, "publickey")) continue;
        break;
      }
      const accepted = userauthPkOk.decode(reply.payload);
      // Servers from before RFC 8332 name the key's type where the algorithm belongs.
      const sameAlgorithm = accepted.algorithm === algorithm || accepted.algorithm === type;
      if (!sameAlgorithm || !equals(accepted.blob, blob)) {
        throw new SshProtocolError("Cannot log in: USERAUTH_PK_OK names a key or an algorithm that was not offered");
      }
    }
    const user = encodeText(exchange.username), hostKey = exchange.boundHostKey;
    const data = publicKeySignedData({
      sessionId: exchange.sessionId,
      user,
      service: CONNECTION_SERVICE,
      algorithm,
      blob,
      hostKey,
    });
    if (!await unlocked(signer, name, exchange)) {
      return { kind: "failure", partial: false, remaining: exchange.remaining };
    }
    let signature: Uint8Array;
    try {
      signature = await exchange.wait(signer.sign(data, algorithm));
    } catch (error) {
      if (exchange.signal.aborted) throw error;
      exchange.note(`${name} could not sign: ${reasonOf(error)}`);
      return { kind: "failure", partial: false, remaining: exchange.remaining };
    }
    // One that is longer than any is told as what no packet holds, or refused by the server.
    const isShort = signature instanceof Uint8Array && signature.length <= MAX_SIGNATURE;
    if (isShort && await exchange.wait(isWrongSignature(signer, algorithm, data, signature.slice()))) {
      exchange.note(`${name} could not sign: what its signer gave is no ${algorithm} signature`);
      return { kind: "failure", partial: false, remaining: exchange.remaining };
    }
    const fields = keyFields(signer, algorithm, true);
    const [method, signed] = hostKey === undefined ? ["publickey", fields] : [HOSTBOUND_METHOD, fields.string(hostKey)];
    const outcome = final(
      await exchange.request(method, signed.string(signature).bytes(), { proof: true }),
      "publickey",
    );
    if (outcome.kind === "success" || outcome.partial) return outcome;
    if (asks) {
      exchange.note(`the signature by ${name} was refused`);
      return outcome;
    }
    last = outcome;
    if (!allows(exchange.remaining, "publickey")) break;
  }
  if (last !== null) exchange.note(`${name} was refused`);
  return last;
}
