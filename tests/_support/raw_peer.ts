/**
 * A peer that does what it is told: it speaks SSH with the library's own parts as far as wanted, and then sends whatever a test
 * likes, sealed or not. For hostile tests of either role.
 *
 *     const [ours, theirs] = memoryPair();
 *     const peer = new RawPeer(theirs, { role: "client" });   // the side under attack is a server over `ours`
 *     await peer.handshake();
 *     peer.send(new Uint8Array([199]));                        // sealed with the keys in force
 *     const { reason } = await peer.disconnected();
 */
import { serverDefaultAlgorithms } from "../../lib/crypto/algorithms.ts";
import { createOpener, createSealer, plainOpener, plainSealer } from "../../lib/crypto/cipher/ciphers.ts";
import type { PacketOpener, PacketSealer } from "../../lib/crypto/types.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { Framer, payloadOf } from "../../lib/transport/framer.ts";
import { KexMachine, type KexOutcome } from "../../lib/transport/kex_machine.ts";
import { deriveKeys } from "../../lib/transport/key_derivation.ts";
import { Disconnect, NewKeys } from "../../lib/transport/messages.ts";
import type { Algorithms } from "../../lib/transport/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { ByteDuplex, Bytes } from "../../lib/wire/types.ts";

/** Options of {@linkcode RawPeer}. */
export interface RawPeerOptions {
  /** What the peer plays. */
  role: "client" | "server";
  /** Its preferences. */
  algorithms?: Partial<Algorithms>;
  /** Its host key, as a server. */
  hostKey?: Signer;
  /** Whether its KEXINIT says that it does strict key exchange. @default {true} */
  strict?: boolean;
  /** Its identification line. */
  ident?: string;
  /** Changes a payload just before it is sealed; returns null to drop it. */
  tamper?: (payload: Bytes) => Bytes | null;
}

const STRICT_NAMES = /,?kex-strict-[cs](-v00@openssh\.com)?/g;

/** A scripted peer. */
export class RawPeer {
  /** Its identification line. */
  readonly ident: string;
  /** The other side's, once it has come. */
  remoteIdent = "";
  /** Payloads received so far, in order. */
  readonly received: Bytes[] = [];
  /** Outbound sequence number; a test may set it. */
  sequence = 0;
  /** Inbound sequence number. */
  receiveSequence = 0;
  sealer: PacketSealer = plainSealer();
  opener: PacketOpener = plainOpener();
  machine: KexMachine | null = null;
  outcome: KexOutcome | null = null;
  sessionId: Bytes | null = null;
  readonly #options: RawPeerOptions;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** Cuts what comes in. */
  readonly framer = new Framer();
  #nextOpener: PacketOpener | null = null;
  #strict: boolean | null = null;
  #hostKeys: Signer[] | null = null;

  constructor(conn: ByteDuplex, options: RawPeerOptions) {
    this.#options = options;
    this.ident = options.ident ?? "SSH-2.0-raw_peer";
    this.#reader = conn.readable.getReader();
    this.#writer = conn.writable.getWriter();
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
  }

  /** Whether numbers start anew at NEWKEYS: the first exchange settles it, as later KEXINITs do not tell. */
  get strict(): boolean {
    return this.#strict ??= (this.#options.strict ?? true) && this.machine!.peerMarkers.strict;
  }

  /** Puts bytes on the wire as they are. */
  async sendRaw(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes.slice());
  }

  /** Lays out one packet around a payload, without sealing it. */
  async packet(payload: Uint8Array): Promise<Bytes> {
    const { blockSize, lengthPadded, tagLength } = this.sealer;
    const block = Math.max(8, blockSize);
    let padding = block - ((lengthPadded ? 5 : 1) + payload.length) % block;
    if (padding < 4) padding += block;
    const length = 1 + payload.length + padding;
    const workspace = this.sealer.workspace(4 + length + tagLength);
    new DataView(workspace.buffer, workspace.byteOffset).setUint32(0, length);
    workspace[4] = padding;
    workspace.set(payload, 5);
    workspace.fill(7, 5 + payload.length, 4 + length);
    // A view into memory that every cipher shares: an `await` here would let another one write over it.
    const sealing = this.sealer.seal(workspace, [4 + length + tagLength], this.sequence);
    const sealed = sealing instanceof Promise ? await sealing : sealing;
    this.sequence = (this.sequence + 1) >>> 0;
    return sealed.slice();
  }

  /** Sends one payload under the keys in force. */
  async send(payload: Uint8Array): Promise<void> {
    const sent = this.#options.tamper === undefined ? payload : this.#options.tamper(payload.slice());
    if (sent !== null) await this.sendRaw(await this.packet(sent));
  }

  /** Sends this side's identification line, and reads the other's. */
  async identify(): Promise<void> {
    await this.sendRaw(new TextEncoder().encode(this.ident + "\r\n"));
    let text = "";
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) throw new Error("The other side closed before it identified itself");
      for (let i = 0; i < value.length; i++) {
        if (value[i] === 10) {
          this.remoteIdent = text.replace(/\r$/, "");
          this.framer.push(value.subarray(i + 1));
          return;
        }
        text += String.fromCharCode(value[i]!);
      }
    }
  }

  /** The next payload, whatever it is; null at the end of the stream. */
  async receive(): Promise<Bytes | null> {
    for (;;) {
      const batch = this.framer.next(this.opener, this.receiveSequence, 1);
      if (batch !== null) {
        // As above: taken before anybody else opens something.
        const opening = this.opener.open(batch.chunk, batch.frames, this.receiveSequence);
        const [packet] = opening instanceof Promise ? await opening : opening;
        this.receiveSequence = (this.receiveSequence + 1) >>> 0;
        const payload = payloadOf(packet!).slice() as Bytes;
        this.received.push(payload);
        return payload;
      }
      let chunk: ReadableStreamReadResult<Uint8Array>;
      try {
        chunk = await this.#reader.read();
      } catch {
        return null;
      }
      if (chunk.done) return null;
      this.framer.push(chunk.value);
    }
  }

  /** The next payload of the type given; others are skipped. */
  async receiveType(type: number): Promise<Bytes> {
    for (;;) {
      const payload = await this.receive();
      if (payload === null) throw new Error(`The stream ended while message ${type} was awaited`);
      if (payload[0] === type) return payload;
      if (payload[0] === Msg.DISCONNECT) {
        const { reason, description } = Disconnect.decode(payload);
        throw new Error(`Disconnected (${reason}, ${description}) while message ${type} was awaited`);
      }
    }
  }

  /**
   * Waits for the end: the DISCONNECT if one came, for which this side hangs up as peers do (the other one would wait for it), and
   * then the end of the stream.
   */
  async disconnected(): Promise<{ reason: number | null; description: string }> {
    let told: { reason: number | null; description: string } = { reason: null, description: "" };
    for (;;) {
      let payload: Bytes | null;
      try {
        payload = await this.receive();
      } catch {
        // What cannot be opened was sealed under keys that this side does not follow any more.
        payload = null;
      }
      if (payload === null) return told;
      if (payload[0] === Msg.DISCONNECT) {
        told = Disconnect.decode(payload);
        this.#writer.close().catch(() => {});
      }
    }
  }

  /** Makes this side's KEXINIT for a new exchange. */
  async kexInit(): Promise<Bytes> {
    const role = this.#options.role;
    if (this.#hostKeys === null) {
      this.#hostKeys = role === "server" ? [this.#options.hostKey ?? await generateKey("ed25519")] : [];
    }
    const algorithms = { ...serverDefaultAlgorithms, ...this.#options.algorithms };
    // deno-lint-ignore no-this-alias
    const peer = this;
    this.machine = new KexMachine({
      role,
      localIdent: this.ident,
      get remoteIdent(): string {
        return peer.remoteIdent;
      },
      algorithms,
      hostKeys: this.#hostKeys,
      sessionId: this.sessionId,
      hostKey: null,
      verifyHostKey: () => true,
    });
    if (this.#options.strict === false) this.#withoutStrict(this.machine);
    return this.machine.kexInit;
  }

  /** Takes the strict names out of a KEXINIT: the machine hashes what it sends, so the field is replaced. */
  #withoutStrict(machine: KexMachine): void {
    const text = String.fromCharCode(...machine.kexInit);
    const start = 17, length = new DataView(machine.kexInit.buffer).getUint32(start);
    const names = text.slice(start + 4, start + 4 + length).replace(STRICT_NAMES, "");
    const out = new Uint8Array(machine.kexInit.length - (length - names.length));
    out.set(machine.kexInit.subarray(0, start));
    new DataView(out.buffer).setUint32(start, names.length);
    out.set(new TextEncoder().encode(names), start + 4);
    out.set(machine.kexInit.subarray(start + 4 + length), start + 4 + names.length);
    Object.defineProperty(machine, "kexInit", { value: out });
  }

  /** Identification and first key exchange; `before(step)` runs at each of its steps, before this side sends. */
  async handshake(before?: (step: "kexinit" | "kex" | "newkeys" | "done") => Promise<void> | void): Promise<void> {
    await this.identify();
    await this.rekey(before);
  }

  /** One whole key exchange, from this side's KEXINIT on. */
  async rekey(before?: (step: "kexinit" | "kex" | "newkeys" | "done") => Promise<void> | void): Promise<void> {
    await before?.("kexinit");
    await this.send(await this.kexInit());
    await before?.("kex");
    await this.runExchange(before);
    await before?.("done");
  }

  /** Goes on with an exchange until the other side's NEWKEYS. */
  async runExchange(before?: (step: "newkeys") => Promise<void> | void): Promise<void> {
    const machine = this.machine!;
    while (!machine.done) {
      const payload = await this.receive();
      if (payload === null) throw new Error("The stream ended in the key exchange");
      if (payload[0] === Msg.DISCONNECT) {
        const { reason, description } = Disconnect.decode(payload);
        throw new Error(`Disconnected (${reason}, ${description}) in the key exchange`);
      }
      if (payload[0]! < 20 || payload[0]! > 49) continue;
      const step = await machine.receive(payload);
      for (const message of step.send) await this.send(message);
      if (step.outcome !== undefined) {
        await before?.("newkeys");
        await this.newKeys(step.outcome);
      }
      if (step.newKeys) {
        this.opener.close?.();
        this.opener = this.#nextOpener!;
        this.#nextOpener = null;
        if (this.strict) this.receiveSequence = 0;
      }
    }
  }

  /** Sends NEWKEYS and uses the new keys outbound. */
  async newKeys(outcome: KexOutcome): Promise<void> {
    this.outcome = outcome;
    this.sessionId ??= outcome.source.sessionId as Bytes;
    const [outWay, inWay] = this.#options.role === "client"
      ? ["clientToServer", "serverToClient"] as const
      : ["serverToClient", "clientToServer"] as const;
    const out = outcome.negotiated[outWay], inward = outcome.negotiated[inWay];
    this.#nextOpener = await createOpener(inward.cipher, inward.mac, await deriveKeys(outcome.source, inWay, inward));
    const sealer = await createSealer(out.cipher, out.mac, await deriveKeys(outcome.source, outWay, out));
    await this.send(NewKeys.encode({}));
    this.sealer.close?.();
    this.sealer = sealer;
    if (this.strict) this.sequence = 0;
  }

  /** Hangs up, and lets go of what the runtime holds for the ciphers. */
  async close(): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
    for (const cipher of [this.sealer, this.opener, this.#nextOpener]) cipher?.close?.();
  }
}
