/**
 * The key exchanges of one connection: when one starts, its steps, and the keys that come out of it. RFC 4253 sections 7 to
 * 9, RFC 8308, OpenSSH PROTOCOL section 1.9. Sends through the outbox; reads nothing.
 *
 * @module
 */
import { createOpener, createSealer } from "../crypto/cipher/ciphers.ts";
import type { Compressor, Decompressor, PacketOpener } from "../crypto/types.ts";
import { DisconnectReason, SshError, SshProtocolError } from "../errors.ts";
import type { RsaKeyOptions } from "../keys/rsa_public.ts";
import type { PublicKey, Signer } from "../keys/types.ts";
import { Msg } from "../wire/numbers.ts";
import { Timer } from "../wire/timer.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { createCompressor, createDecompressor } from "./compression.ts";
import { encodeExtInfo, ownExtensions } from "./ext_info.ts";
import {
  forgivesGuesses,
  guessOf,
  isUnchanged,
  MisguessError,
  onlyGuessOf,
  type ServerOffer,
  takesEarly,
} from "./guess.ts";
import { KexMachine, type KexOutcome } from "./kex_machine.ts";
import { deriveKeys } from "./key_derivation.ts";
import { NewKeys } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { RekeyPolicy } from "./rekey_policy.ts";
import type { Algorithms, ConnectionInfo, RekeyLimits } from "./types.ts";
import type { WorkShare } from "./work_share.ts";

/** What the exchanges of a connection are run with. */
export interface KeyExchangeOptions {
  /** This side. */
  readonly role: "client" | "server";
  /** Preferences. */
  readonly algorithms: Algorithms;
  /** Server: its host keys. */
  readonly hostKeys: readonly Signer[];
  /** Client: is this host key trusted? */
  readonly verifyHostKey: (key: PublicKey) => MaybePromise<boolean>;
  /** Signature algorithms told in `server-sig-algs`. */
  readonly signatureAlgorithms: readonly string[];
  /** When to rekey. */
  readonly rekey: RekeyLimits;
  /** Milliseconds that the peer may take for the first exchange. */
  readonly timeout: number;
  /** Milliseconds that the peer may take for each later one: what is under way on a slow path goes before its answers. */
  readonly rekeyTimeout: number;
  /** Refuse a peer without strict key exchange. */
  readonly requireStrictKex: boolean;
  /** Client: which RSA host keys are long enough. */
  readonly rsaKeys: RsaKeyOptions;
  /** Client: what the server offered last time, in an exchange that was completed: it is guessed what it will want. */
  readonly offered: ServerOffer | null;
  /** Identification line of this side. */
  readonly localIdent: string;
  /** Identification line of the peer, empty until it has come. */
  readonly remoteIdent: () => string;
  /** What the peer said in its place so far, for the end of an error. */
  readonly remoteSaid: () => string;
}

/** What an exchange does to the rest of the transport. */
export interface KeyExchangeHost {
  /** Where messages go. */
  readonly outbox: Outbox;
  /** From here on the peer's packets are opened with these. */
  useInbound(opener: PacketOpener, decompressor: Decompressor | null, resetSequence: boolean): void;
  /** A message goes out that the peer answers at once, with its next one of the exchange. */
  asked(): void;
  /** How much of a turn may be used. */
  readonly share: WorkShare;
  /** Ends the connection. */
  fail(error: Error): void;
  /** Tells whoever watches. */
  trace(event: string, detail: Record<string, string | number | boolean>): void;
}

/** What starts at the peer's NEWKEYS. */
interface InboundKeys {
  readonly opener: PacketOpener;
  readonly decompressor: Decompressor | null;
}

/** All key exchanges of one connection, one at a time. */
export class KeyExchanges {
  readonly #options: KeyExchangeOptions;
  readonly #host: KeyExchangeHost;
  readonly #policy: RekeyPolicy;
  readonly #first = Promise.withResolvers<void>();
  #machine: KexMachine | null = null;
  #rekey: PromiseWithResolvers<void> | null = null;
  #nextInbound: InboundKeys | null = null;
  /** zlib@openssh.com, made with the keys and started by login. */
  #delayed: { outbound: Compressor | null; inbound: Decompressor | null } = { outbound: null, inbound: null };
  #info: ConnectionInfo | null = null;
  #signature: Bytes | null = null;
  #firstDone = false;
  #offer: ServerOffer | null = null;
  /** The guess has left before the peer has identified itself. */
  #early = false;
  #strict = false;
  /** This side's NEWKEYS has been queued and has not left: what was counted outbound is still of the old keys. */
  #leaving = false;
  #loggedIn = false;
  #ended = false;
  #stepping: Promise<void> = Promise.resolve();
  /** Client: what is guessed is being made; never rejects. */
  #guessing: Promise<void> = Promise.resolve();
  /** Runs while an exchange waits for the peer or for this side's own signature, but not while a person is being asked. */
  readonly #exchangeTimer = new Timer(() => this.#tooSlow());
  readonly #rekeyTimer = new Timer(() => {
    if (this.#machine === null) this.begin();
  });
  /** A step of this side's own is being computed. */
  #computing = false;

  /** Nothing starts before `begin()`. */
  constructor(options: KeyExchangeOptions, host: KeyExchangeHost) {
    this.#options = options;
    this.#host = host;
    this.#policy = new RekeyPolicy(options.rekey);
    this.#first.promise.catch(() => {});
  }

  /** What the latest exchange agreed on; throws until the first is done. */
  get info(): ConnectionInfo {
    if (this.#info === null) throw new SshError("Key exchange is not done yet", { code: "CLOSED" });
    return this.#info;
  }

  /** The host key's signature of the first exchange; throws until that is done. */
  get signature(): Bytes {
    if (this.#signature === null) throw new SshError("Key exchange is not done yet", { code: "CLOSED" });
    return this.#signature;
  }

  /** Client: what the server offered in the first exchange, or null until that is done. */
  get offer(): ServerOffer | null {
    return this.#offer;
  }

  /** Resolves when the first exchange is done. */
  get first(): Promise<void> {
    return this.#first.promise;
  }

  /** Whether the first exchange is done. */
  get firstDone(): boolean {
    return this.#firstDone;
  }

  /** Whether an exchange is under way, on whichever side: packets may be under other keys from one to the next. */
  get running(): boolean {
    return this.#machine !== null || !this.#firstDone;
  }

  /** Whether the peer may send messages beyond the exchange's own. */
  get peerIsFree(): boolean {
    return this.#firstDone && !this.#machine?.peerStarted;
  }

  /** Whether the first exchange is under way, and strict. */
  get strictNow(): boolean {
    return this.#strict && !this.#firstDone;
  }

  // ------------------------------------------------------------------------------------------------ when

  /**
   * Starts an exchange: from here on nothing but its own messages leaves. The first KEXINIT waits for the peer's identification, as OpenSSH's
   * does in both roles: some peers drop what comes in one piece with the line that they read. It does not wait for a server that is known to
   * read both, when what that server wants is known, too.
   */
  begin(): void {
    const { algorithms, offered, remoteIdent } = this.#options;
    this.#rekey = Promise.withResolvers<void>();
    this.#rekey.promise.catch(() => {});
    this.#host.outbox.hold();
    if (remoteIdent() !== "") this.#sendKexInit(null);
    else if (offered !== null && takesEarly(offered.ident)) {
      const guess = guessOf(algorithms, offered);
      this.#early = guess !== null;
      if (guess !== null) this.#sendKexInit(guess);
    }
    this.#exchangeTimer.start(this.#limit);
  }

  /** Sends this side's KEXINIT, and behind it what is guessed, if anything. */
  #sendKexInit(guess: Algorithms | null): void {
    const { role, algorithms, hostKeys, rsaKeys, localIdent, remoteIdent } = this.#options;
    const machine = this.#machine = new KexMachine({
      role,
      localIdent,
      get remoteIdent(): string {
        return remoteIdent();
      },
      algorithms: guess ?? algorithms,
      guesses: guess !== null,
      hostKeys,
      rsaKeys,
      sessionId: this.#info?.sessionId ?? null,
      hostKey: this.#info?.hostKey ?? null,
      verifyHostKey: (key) => this.#verifyHostKey(key),
    });
    const { outbox } = this.#host;
    outbox.sendKex(machine.kexInit);
    if (guess === null) return;
    this.#host.trace("guess", { kex: guess.kex[0]!, hostKey: guess.hostKey[0]! });
    this.#guessing = machine.guessed().then(
      (packet) => {
        if (!this.#ended) outbox.sendKex(packet);
      },
      (cause) => this.#host.fail(new SshProtocolError("Key exchange could not begin", undefined, { cause })),
    );
  }

  /** The peer has identified itself. */
  identified(ident: string): void {
    const { algorithms, offered, role } = this.#options;
    if (this.#early) {
      if (takesEarly(ident)) return;
      const why = "The server is another one than before, and may not have read what came before it said so";
      return this.#host.fail(new MisguessError(why));
    }
    const guess = role === "server" || offered !== null || !forgivesGuesses(ident) ? null : onlyGuessOf(algorithms);
    this.#sendKexInit(guess);
  }

  /** Milliseconds that the exchange under way may take. */
  get #limit(): number {
    return this.#firstDone ? this.#options.rekeyTimeout : this.#options.timeout;
  }

  #tooSlow(): void {
    const why = this.#computing
      ? "this side's own part has not ended, such as the signature of a host key that is elsewhere"
      : this.#options.remoteIdent() === ""
      ? `the peer did not identify itself${this.#options.remoteSaid()}`
      : "the peer did not go on";
    this.#host.fail(
      new SshProtocolError(
        `Key exchange took longer than ${this.#limit} ms: ${why}`,
        DisconnectReason.KEY_EXCHANGE_FAILED,
      ),
    );
  }

  /** Asks the program, and perhaps a person through it: that takes as long as it takes, and the peer is not to blame. */
  async #verifyHostKey(key: PublicKey): Promise<boolean> {
    this.#exchangeTimer.pause();
    try {
      return await this.#options.verifyHostKey(key);
    } finally {
      if (!this.#ended) this.#exchangeTimer.resume();
    }
  }

  /** Whether the timers keep the program alive. */
  setRef(refed: boolean): void {
    for (const timer of [this.#exchangeTimer, this.#rekeyTimer]) refed ? timer.ref() : timer.unref();
  }

  /** Renews the keys, or waits for the exchange that is under way. */
  rekey(): Promise<void> {
    if (!this.#firstDone) return this.#first.promise;
    if (this.#rekey === null) this.begin();
    return this.#rekey!.promise;
  }

  /** Packets were sealed. */
  sent(packets: number, bytes: number): void {
    this.#policy.sent(packets, bytes);
    this.renewIfDue();
  }

  /** Packets came in. */
  received(packets: number, bytes: number): void {
    this.#policy.received(packets, bytes);
  }

  /** Volume asks for new keys. There is no exchange before login, where nothing legitimate comes near the hard limits. */
  renewIfDue(): void {
    if (!this.#policy.due || this.running || this.#leaving || this.#ended) return;
    if (this.#loggedIn) this.begin();
    else if (this.#policy.exhausted) this.#host.fail(new SshProtocolError("Peer used up its keys before logging in"));
  }

  #armRekeyTimer(): void {
    if (!this.#ended) this.#rekeyTimer.start(this.#policy.interval);
  }

  /** Login is done. Returns the expansion that starts with it; compression starts behind the last message queued. */
  loggedIn(): Decompressor | null {
    this.#loggedIn = true;
    this.#armRekeyTimer();
    const { outbound, inbound } = this.#delayed;
    this.#delayed = { outbound: null, inbound: null };
    if (outbound !== null) this.#host.outbox.compressAfterLast(outbound);
    return inbound;
  }

  /** The connection has ended: no timer runs on, and whoever waits sees `error`. */
  end(error: Error): void {
    this.#ended = true;
    this.#exchangeTimer.stop();
    this.#rekeyTimer.stop();
    this.#nextInbound?.opener.close?.();
    this.#nextInbound = null;
    this.#first.reject(error);
    this.#rekey?.reject(error);
  }

  // ------------------------------------------------------------------------------------------------ how

  /** Takes a message of types 20 to 49. Later packets wait for the promise. */
  receive(payload: Uint8Array, sequence: number): Promise<void> {
    if (this.#machine === null) {
      if (payload[0] !== Msg.KEXINIT) {
        throw new SshProtocolError(`Peer sent message ${payload[0]} outside a key exchange`);
      }
      if (!this.#policy.peerMayRekey(performance.now(), payload.length, this.#loggedIn)) {
        throw new SshProtocolError("Peer renews the keys again and again without sending anything");
      }
      this.begin();
    }
    const step = this.#step(this.#machine!, payload.slice() as Bytes, sequence);
    this.#stepping = step.catch(() => {});
    return step;
  }

  /** Settles when nothing is being computed any more: what WebCrypto has begun cannot be called off. */
  get idle(): Promise<unknown> {
    return Promise.all([this.#guessing, this.#stepping]);
  }

  async #step(machine: KexMachine, payload: Bytes, sequence: number): Promise<void> {
    this.#computing = true;
    try {
      await this.#answer(machine, payload, sequence);
    } finally {
      this.#computing = false;
    }
  }

  async #answer(machine: KexMachine, payload: Bytes, sequence: number): Promise<void> {
    // Nothing comes between the look at the clock and the work: many may look before the first of them has done any.
    const before = this.#host.share.restForStep();
    if (before !== null) await before;
    if (this.#ended) return;
    const step = await machine.receive(payload);
    const behind = this.#host.share.restForStep();
    if (behind !== null) await behind;
    if (this.#ended) return;
    if (payload[0] === Msg.KEXINIT && !this.#firstDone) this.#takeMarkers(machine, sequence);
    for (const message of step.send) this.#host.outbox.sendKex(message);
    if (step.send.length > 0) this.#host.asked();
    if (step.outcome !== undefined) await this.#makeKeys(machine, step.outcome);
    if (step.newKeys) this.#useInbound();
  }

  /** The pseudo names count in the first exchange only. */
  #takeMarkers(machine: KexMachine, sequence: number): void {
    this.#strict = machine.peerMarkers.strict;
    if (machine.misguessed && !forgivesGuesses(this.#options.remoteIdent())) {
      throw new MisguessError("The server wants another key exchange than before, and may have taken the guess for it");
    }
    const { role, algorithms } = this.#options, { agreed, serverWants } = machine;
    // Later exchanges make no guess: their host key is another one, too, where the server has become able to do more.
    if (role === "client" && !isUnchanged(agreed!, algorithms, serverWants!)) {
      throw new MisguessError("The server has by now what is wanted more than what was guessed");
    }
    if (this.#strict && sequence !== 0) {
      throw new SshProtocolError("Peer sent a message before its KEXINIT, against strict key exchange");
    }
    if (!this.#strict && this.#options.requireStrictKex) {
      throw new SshProtocolError(
        "Peer does not do strict key exchange, which `requireStrictKex` asks for",
        DisconnectReason.KEY_EXCHANGE_FAILED,
      );
    }
  }

  /** Makes the keys of both directions, and sends NEWKEYS: outbound they start there, inbound at the peer's. */
  async #makeKeys(machine: KexMachine, outcome: KexOutcome): Promise<void> {
    const { negotiated, source, hostKey } = outcome;
    const [outWay, inWay] = this.#options.role === "client"
      ? ["clientToServer", "serverToClient"] as const
      : ["serverToClient", "clientToServer"] as const;
    const out = negotiated[outWay], inward = negotiated[inWay];
    const [outKeys, inKeys] = await Promise.all([deriveKeys(source, outWay, out), deriveKeys(source, inWay, inward)]);
    const [sealer, opener, compressor, decompressor] = await Promise.all([
      createSealer(out.cipher, out.mac, outKeys),
      createOpener(inward.cipher, inward.mac, inKeys),
      createCompressor(out.compression),
      createDecompressor(inward.compression),
    ]);
    const rest = this.#host.share.restForStep();
    if (rest !== null) await rest;
    if (this.#ended) {
      sealer.close?.();
      opener.close?.();
      return;
    }
    this.#signature ??= outcome.signature;
    const { serverWants } = machine;
    if (this.#options.role === "client" && serverWants !== null) {
      this.#offer ??= { ident: this.#options.remoteIdent(), kex: serverWants.kex, hostKey: serverWants.hostKey };
    }
    this.#info = {
      localIdent: this.#options.localIdent,
      remoteIdent: this.#options.remoteIdent(),
      sessionId: source.sessionId as Bytes,
      hostKey: this.#info?.hostKey ?? hostKey,
      strictKex: this.#strict,
      kex: negotiated.kex,
      hostKeyAlgorithm: negotiated.hostKey,
      clientToServer: negotiated.clientToServer,
      serverToClient: negotiated.serverToClient,
    };
    const delayed = (name: string) => name === "zlib@openssh.com" && !this.#loggedIn;
    this.#delayed = {
      outbound: delayed(out.compression) ? compressor : null,
      inbound: delayed(inward.compression) ? decompressor : null,
    };
    this.#nextInbound = { opener, decompressor: delayed(inward.compression) ? null : decompressor };
    const { outbox } = this.#host;
    this.#leaving = true;
    outbox.sendKex(NewKeys.encode({}), {
      sealer,
      resetSequence: this.#strict,
      compressor: delayed(out.compression) ? null : compressor,
      inForce: () => {
        this.#leaving = false;
        this.#policy.renewedOutbound(out);
      },
    });
    if (!this.#firstDone && machine.peerMarkers.extInfo) {
      outbox.sendKex(encodeExtInfo(ownExtensions(this.#options.role, this.#options.signatureAlgorithms)));
    }
    outbox.release();
  }

  #useInbound(): void {
    const { opener, decompressor } = this.#nextInbound!, { info } = this;
    const [out, inward] = this.#options.role === "client"
      ? [info.clientToServer, info.serverToClient]
      : [info.serverToClient, info.clientToServer];
    this.#nextInbound = null;
    this.#host.useInbound(opener, decompressor, this.#strict);
    this.#policy.renewedInbound(inward);
    this.#machine = null;
    this.#firstDone = true;
    this.#exchangeTimer.stop();
    this.#host.trace("keys", {
      kex: info.kex,
      hostKey: info.hostKeyAlgorithm,
      outbound: out.cipher,
      inbound: inward.cipher,
    });
    const rekey = this.#rekey;
    this.#rekey = null;
    rekey?.resolve();
    this.#first.resolve();
    if (this.#loggedIn) this.#armRekeyTimer();
  }
}
