/**
 * One key exchange as steps: a message of the peer in, messages and keys out. RFC 4253 sections 7 and 8, RFC 5656
 * section 4, RFC 8731, RFC 4419. No I/O, no timers; what it sends, the caller sends.
 *
 * @module
 */
import { dhAgreement } from "../crypto/kex/dh.ts";
import {
  checkGroup,
  chooseGroup,
  type DhGroup,
  type GroupSizes,
  requestedGroupSizes,
} from "../crypto/kex/group_exchange.ts";
import { digest } from "../crypto/hash.ts";
import { randomBytes } from "../crypto/random.ts";
import { kexMethods } from "../crypto/kex/methods.ts";
import type { KexMethod, KeyAgreement } from "../crypto/types.ts";
import { DisconnectReason, HostKeyError, SshError, SshProtocolError } from "../errors.ts";
import { anyKeyFromBlob, checkCertificate } from "../keys/certificate.ts";
import { keyTypeOf, verifyAgreed } from "../keys/public_key.ts";
import type { RsaKeyOptions } from "../keys/rsa_public.ts";
import type { PublicKey, Signer } from "../keys/types.ts";
import { equals } from "@std/bytes";
import { Msg } from "../wire/numbers.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { mpintBytes, Writer } from "../wire/writer.ts";
import { signExchange } from "./host_key_signature.ts";
import type { KeySource } from "./key_derivation.ts";
import {
  GexGroup,
  GexInit,
  GexReply,
  GexRequest,
  KexExchangeInit,
  KexExchangeReply,
  KexInit,
  type KexInitValues,
  NewKeys,
} from "./messages.ts";
import { checkKexInit, makeKexInit, negotiate, type Negotiated, peerMarkers } from "./negotiate.ts";
import type { Algorithms } from "./types.ts";

/** A KEXINIT larger than this is refused before it is read. */
const MAX_KEXINIT = 32_768;

/** What an exchange needs to know of its connection. */
export interface KexContext {
  /** This side. */
  readonly role: "client" | "server";
  /** Identification line of this side. */
  readonly localIdent: string;
  /** Identification line of the peer. */
  readonly remoteIdent: string;
  /** Preferences. */
  readonly algorithms: Algorithms;
  /** Client: the first packet follows KEXINIT at once, by the first names of `algorithms`. */
  readonly guesses?: boolean;
  /** Server: its host keys. */
  readonly hostKeys: readonly Signer[];
  /** Hash of the first exchange, and null in the first. */
  readonly sessionId: Bytes | null;
  /** The host key of the first exchange, and null in the first: it may not change. */
  readonly hostKey: PublicKey | null;
  /** Client: which RSA host keys are long enough. */
  readonly rsaKeys?: RsaKeyOptions;
  /** Client: is this key trusted? */
  readonly verifyHostKey: (key: PublicKey) => MaybePromise<boolean>;
}

/** The outcome that both sides share before NEWKEYS. */
export interface KexOutcome {
  /** What was agreed on. */
  readonly negotiated: Negotiated;
  /** What the keys come from. */
  readonly source: KeySource;
  /** The server's host key. */
  readonly hostKey: PublicKey;
  /** Its signature of this exchange. */
  readonly signature: Bytes;
}

/** What a step asks the caller to do, in this order. */
export interface KexStep {
  /** Messages to send. */
  readonly send: readonly Bytes[];
  /** Then send NEWKEYS and use these keys outbound; inbound at the peer's NEWKEYS. */
  readonly outcome?: KexOutcome;
  /** The peer's NEWKEYS has come: use the keys inbound. */
  readonly newKeys?: true;
}

/** A client's value, and what finishes the exchange with the server's. */
type ClientValue = Awaited<ReturnType<KeyAgreement["start"]>>;

type GexParameters = GroupSizes & DhGroup;

type State =
  | { readonly at: "kexinit" }
  | { readonly at: "server-init"; readonly agreement: KeyAgreement; readonly gex: GexParameters | null }
  | { readonly at: "server-gex-request" }
  | { readonly at: "client-gex-group" }
  | {
    readonly at: "client-reply";
    readonly clientValue: Bytes;
    readonly finish: (peerValue: Uint8Array) => Promise<Bytes>;
    readonly gex: GexParameters | null;
  }
  | { readonly at: "newkeys" }
  | { readonly at: "done" };

function failed(message: string, cause?: unknown): SshProtocolError {
  return new SshProtocolError(
    message,
    DisconnectReason.KEY_EXCHANGE_FAILED,
    cause === undefined ? undefined : { cause },
  );
}

/** One exchange. `kexInit` is sent first, by whichever side starts; then every payload of types 20 to 49 goes to `receive()`. */
export class KexMachine {
  /** This side's KEXINIT payload. */
  readonly kexInit: Bytes;
  readonly #context: KexContext;
  readonly #ours: KexInitValues;
  #state: State = { at: "kexinit" };
  #peerKexInit: Bytes = new Uint8Array(0);
  #theirs: KexInitValues | null = null;
  #negotiated: Negotiated | null = null;
  #dropNext = false;
  /** Client: what the guess goes on with, once it is made. */
  #guess: Promise<ClientValue> | null = null;
  #markers = { extInfo: false, strict: false };

  /** Makes this side's KEXINIT. */
  constructor(context: KexContext) {
    this.#context = context;
    const { algorithms, role, sessionId, guesses } = context;
    this.#ours = makeKexInit(algorithms, role, sessionId === null, randomBytes(16), guesses);
    this.kexInit = KexInit.encode(this.#ours);
  }

  /** The packet that follows a KEXINIT which says so; resolves before any step that comes behind it. */
  async guessed(): Promise<Bytes> {
    this.#guess = kexMethods.get(this.#ours.kex[0]!)!.agreement!.start();
    return KexExchangeInit.encode({ clientValue: (await this.#guess).publicValue });
  }

  /** What the server wants, most of all first; null before its KEXINIT. */
  get serverWants(): { readonly kex: readonly string[]; readonly hostKey: readonly string[] } | null {
    return this.#theirs;
  }

  /** What both KEXINITs come to; null before the peer's. */
  get agreed(): Negotiated | null {
    return this.#negotiated;
  }

  /** Client: whether it guessed, and the server wants something else. */
  get misguessed(): boolean {
    return this.#guess !== null && this.#negotiated?.firstsAgree === false;
  }

  /** What the peer's KEXINIT told beside its lists; meaningful in the first exchange only. */
  get peerMarkers(): { readonly extInfo: boolean; readonly strict: boolean } {
    return this.#markers;
  }

  /** Whether the peer's KEXINIT has come. */
  get peerStarted(): boolean {
    return this.#state.at !== "kexinit";
  }

  /** Whether NEWKEYS has come from the peer. */
  get done(): boolean {
    return this.#state.at === "done";
  }

  /** Takes the peer's next payload of types 20 to 49. Throws what ends the connection. */
  async receive(payload: Uint8Array): Promise<KexStep> {
    const type = payload[0]!, state = this.#state;
    if (type === Msg.KEXINIT) {
      if (state.at !== "kexinit") throw failed("Peer sent a second KEXINIT in one key exchange");
      return await this.#negotiate(payload);
    }
    if (state.at === "kexinit" || state.at === "done") throw failed(`Peer sent message ${type} outside a key exchange`);
    if (this.#dropNext) {
      this.#dropNext = false;
      if (type !== Msg.NEWKEYS) return { send: [] };
    }
    switch (state.at) {
      case "server-init":
        if (type !== (state.gex === null ? Msg.KEX_INIT : Msg.KEX_DH_GEX_INIT)) break;
        return await this.#respond(payload, state);
      case "server-gex-request":
        if (type !== Msg.KEX_DH_GEX_REQUEST) break;
        return this.#sendGroup(payload);
      case "client-gex-group":
        if (type !== Msg.KEX_DH_GEX_GROUP) break;
        return await this.#takeGroup(payload);
      case "client-reply":
        if (type !== (state.gex === null ? Msg.KEX_REPLY : Msg.KEX_DH_GEX_REPLY)) break;
        return await this.#finish(payload, state);
      case "newkeys":
        if (type !== Msg.NEWKEYS) break;
        NewKeys.decode(payload);
        this.#state = { at: "done" };
        return { send: [], newKeys: true };
    }
    throw failed(`Peer sent message ${type} out of order in the key exchange "${this.#negotiated?.kex}"`);
  }

  async #negotiate(payload: Uint8Array): Promise<KexStep> {
    if (payload.length > MAX_KEXINIT) {
      throw failed(`KEXINIT of ${payload.length} bytes: at most ${MAX_KEXINIT} are accepted`);
    }
    const theirs = KexInit.decode(payload), { role } = this.#context;
    checkKexInit(theirs);
    const peerRole = role === "client" ? "server" : "client";
    this.#theirs = theirs;
    this.#peerKexInit = payload.slice() as Bytes;
    this.#markers = peerMarkers(this.#ours, theirs, peerRole);
    const negotiated = role === "client"
      ? negotiate(this.#ours, theirs, peerRole)
      : negotiate(theirs, this.#ours, peerRole);
    this.#negotiated = negotiated;
    this.#dropNext = negotiated.guessWrong;
    const { agreement } = this.#method();
    if (role === "server") {
      this.#state = agreement === null ? { at: "server-gex-request" } : { at: "server-init", agreement, gex: null };
      return { send: [] };
    }
    // It leaves first, also where nothing comes of it: the server drops the first packet behind KEXINIT.
    const guess = await this.#guess;
    if (agreement === null) {
      this.#state = { at: "client-gex-group" };
      return { send: [GexRequest.encode(requestedGroupSizes)] };
    }
    if (guess === null) return await this.#startClient(agreement, null);
    if (negotiated.firstsAgree) return this.#wait(guess, null, false);
    // The server has dropped it, so that what is new to it may be the same: nobody has used it.
    return negotiated.kex === this.#ours.kex[0]
      ? this.#wait(guess, null, true)
      : await this.#startClient(agreement, null);
  }

  #method(): KexMethod {
    const name = this.#negotiated!.kex, method = kexMethods.get(name);
    if (method === undefined) throw failed(`Key exchange method "${name}" is offered but not in the table`);
    return method;
  }

  async #startClient(agreement: KeyAgreement, gex: GexParameters | null): Promise<KexStep> {
    return this.#wait(await agreement.start(), gex, true);
  }

  /** Waits for the server's answer to a value, which is sent unless it has been. */
  #wait({ publicValue, finish }: ClientValue, gex: GexParameters | null, send: boolean): KexStep {
    this.#state = { at: "client-reply", clientValue: publicValue, finish, gex };
    const message = gex === null ? KexExchangeInit : GexInit;
    return { send: send ? [message.encode({ clientValue: publicValue })] : [] };
  }

  #sendGroup(payload: Uint8Array): KexStep {
    const request = GexRequest.decode(payload);
    const group = chooseGroup(request);
    this.#state = { at: "server-init", agreement: dhAgreement(group.p, group.g), gex: { ...request, ...group } };
    return { send: [GexGroup.encode({ p: group.p, g: group.g })] };
  }

  async #takeGroup(payload: Uint8Array): Promise<KexStep> {
    const group = GexGroup.decode(payload);
    checkGroup(group);
    return await this.#startClient(dhAgreement(group.p, group.g), { ...requestedGroupSizes, ...group });
  }

  async #respond(payload: Uint8Array, state: State & { at: "server-init" }): Promise<KexStep> {
    const { clientValue } = state.gex === null ? KexExchangeInit.decode(payload) : GexInit.decode(payload);
    const algorithm = this.#negotiated!.hostKey;
    const signer = this.#context.hostKeys.find((key) => key.algorithms.includes(algorithm));
    if (signer === undefined) throw failed(`No host key makes ${algorithm} signatures`);
    const { publicValue, secret } = await state.agreement.respond(clientValue);
    const hostKey = signer.publicKey;
    const exchangeHash = await this.#exchangeHash(hostKey.blob, clientValue, publicValue, secret, state.gex);
    const signature = await signExchange(signer, exchangeHash, algorithm);
    this.#state = { at: "newkeys" };
    const reply = { hostKey: hostKey.blob, serverValue: publicValue, signature };
    return {
      send: [state.gex === null ? KexExchangeReply.encode(reply) : GexReply.encode(reply)],
      outcome: this.#outcome(hostKey, secret, exchangeHash, signature),
    };
  }

  async #finish(payload: Uint8Array, state: State & { at: "client-reply" }): Promise<KexStep> {
    const reply = state.gex === null ? KexExchangeReply.decode(payload) : GexReply.decode(payload);
    const hostKey = await this.#readHostKey(reply.hostKey);
    const secret = await state.finish(reply.serverValue);
    const exchangeHash = await this.#exchangeHash(
      reply.hostKey,
      state.clientValue,
      reply.serverValue,
      secret,
      state.gex,
    );
    let proven: boolean;
    try {
      proven = await verifyAgreed(hostKey, this.#negotiated!.hostKey, exchangeHash, reply.signature);
    } catch (cause) {
      // Nothing has been found out about the server: what failed is on this side.
      throw new HostKeyError(
        `Host key signature could not be checked: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
    if (!proven) {
      throw failed(`Host key signature is wrong: the server did not prove that it holds its ${hostKey.type} key`);
    }
    await this.#trust(hostKey);
    this.#state = { at: "newkeys" };
    return { send: [], outcome: this.#outcome(hostKey, secret, exchangeHash, reply.signature as Bytes) };
  }

  /** The key, or a certificate that its CA has signed, where one was agreed on. */
  async #readHostKey(blob: Uint8Array): Promise<PublicKey> {
    const algorithm = this.#negotiated!.hostKey;
    let key: PublicKey;
    try {
      key = anyKeyFromBlob(blob, this.#context.rsaKeys);
    } catch (cause) {
      throw failed(`Host key cannot be used: ${cause instanceof Error ? cause.message : "it is malformed"}`, cause);
    }
    if (keyTypeOf(algorithm) !== key.type) {
      throw failed(`Host key is of type ${key.type}, which makes no ${algorithm} signatures as agreed`);
    }
    try {
      await checkCertificate(key);
    } catch (cause) {
      throw failed(
        `Host certificate cannot be used: ${cause instanceof Error ? cause.message : "it is malformed"}`,
        cause,
      );
    }
    return key;
  }

  /** The first exchange asks the policy; later ones want the very same key and run no code of the application. */
  async #trust(hostKey: PublicKey): Promise<void> {
    const first = this.#context.hostKey;
    if (first !== null) {
      if (!equals(first.blob, hostKey.blob)) {
        throw new HostKeyError("Server changed its host key while the connection was up");
      }
      return;
    }
    let trusted: unknown;
    try {
      trusted = await this.#context.verifyHostKey(hostKey);
    } catch (cause) {
      if (cause instanceof SshError) throw cause;
      throw new HostKeyError("Host key was refused: its verifier failed", { cause });
    }
    if (trusted !== true) {
      throw new HostKeyError(
        `Host key was refused: ${hostKey.type} ${await hostKey.fingerprint()} is not trusted by the verifier`,
      );
    }
  }

  #outcome(hostKey: PublicKey, secret: Bytes, exchangeHash: Bytes, signature: Bytes): KexOutcome {
    const sessionId = this.#context.sessionId ?? exchangeHash;
    return {
      negotiated: this.#negotiated!,
      source: { hash: this.#method().hash, secret, exchangeHash, sessionId },
      hostKey,
      signature,
    };
  }

  /** H (RFC 4253 section 8; RFC 4419 section 3 with its five numbers between the host key and the values). */
  #exchangeHash(
    hostKey: Uint8Array,
    clientValue: Uint8Array,
    serverValue: Uint8Array,
    secret: Uint8Array,
    gex: GexParameters | null,
  ): Promise<Bytes> {
    const { role, localIdent, remoteIdent } = this.#context;
    const client = role === "client";
    const w = new Writer(4096);
    w.text(client ? localIdent : remoteIdent).text(client ? remoteIdent : localIdent);
    w.string(client ? this.kexInit : this.#peerKexInit).string(client ? this.#peerKexInit : this.kexInit);
    w.string(hostKey);
    if (gex !== null) {
      w.u32(gex.min).u32(gex.n).u32(gex.max).string(mpintBytes(gex.p)).string(mpintBytes(gex.g));
    }
    w.string(clientValue).string(serverValue).raw(secret);
    return digest(this.#method().hash, w.bytes());
  }
}
