/**
 * The state of one channel: both windows, EOF and CLOSE each way. RFC 4254 section 5. Its requests are in
 * `ChannelRequests`; what the application sees of it is `BaseChannel`.
 *
 * @module
 */
import { type ChannelOpenError, SshError, SshProtocolError } from "../errors.ts";
import type { OutboundSource } from "../transport/types.ts";
import { channelClosed, closedError, lossOf, Patience } from "../transport/closing.ts";
import { callBack } from "../wire/callback.ts";
import { Msg } from "../wire/numbers.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { writeU32 } from "../wire/writer.ts";
import { ChannelRequests, type RequestLink } from "./channel_requests.ts";
import {
  ChannelClose,
  ChannelEof,
  ChannelOpenConfirmation,
  ChannelWindowAdjust,
  EXTENDED_DATA_STDERR,
} from "./messages.ts";
import { ReceiveStream } from "./receive_stream.ts";
import { DEFAULT_WINDOW, MAX_PACKET, ReceiveWindow } from "./receive_window.ts";
import { knowsReset, RESET } from "./reset.ts";
import { SendStream } from "./send_stream.ts";
import { SendWindow } from "./send_window.ts";
import type { WindowShare } from "./window_share.ts";

/** What the channel's owner object does on events. */
export interface ChannelEvents {
  /** A request of the peer. */
  onRequest(name: string, data: Bytes, wantReply: boolean): MaybePromise<boolean>;
  /** The peer sent EOF. */
  onEof(): void;
  /** The peer sent CLOSE and never EOF: what its data ends with, null for an end like any other. Must not throw. */
  onUnended(): Error | null;
  /** The channel has ended. */
  onEnded(error: Error | null): void;
}

/** What the mux hands to a channel when it opens. */
export interface ChannelLink extends RequestLink {
  /** What the windows of the connection hold together. */
  readonly windows: WindowShare;
  /** The channel has data to deliver when the batch ends. */
  dirty(core: ChannelCore): void;
  /** CLOSE went both ways: the number is free. */
  gone(core: ChannelCore): void;
  /** As `report()`, of functions whose errors the peer does not see as a refusal. */
  failed(error: unknown): void;
}

type State = "new" | "opening" | "open" | "closed";

/** One channel's state; the mux feeds it messages, the transport asks it for packets. */
export class ChannelCore implements OutboundSource {
  /** Local number. */
  readonly id: number;
  /** Data from the peer. */
  readonly received: ReceiveStream;
  /** Extended data of type 1 from the peer. */
  readonly receivedStderr: ReceiveStream;
  /** Extended data goes where data goes. */
  stderrIsMerged = false;
  /** Data to the peer. */
  readonly sent: SendStream;
  /** Extended data of type 1 to the peer. */
  readonly sentStderr: SendStream;
  /** Settles when the channel has ended. */
  readonly closed: Promise<void>;
  /** What the peer takes. */
  readonly sendWindow = new SendWindow();
  /** Channel type, once it is known. */
  type = "";
  /** Giving it up is told with {@linkcode RESET}. */
  tellsReset = false;

  readonly #events: ChannelEvents;
  readonly #closed = Promise.withResolvers<void>();
  /** Settles when CLOSE has been sent: a peer may hold its own back for as long as a process runs. */
  readonly #leaving = Promise.withResolvers<void>();
  readonly #requests: ChannelRequests;
  #link: ChannelLink | null = null;
  #state: State = "new";
  #peer = 0;
  #sendPacket = 0;
  #window = new ReceiveWindow(DEFAULT_WINDOW, MAX_PACKET);
  /** When the peer was asked for its first word about the channel, which it gives no sooner than a round trip later; 0 once it has come. */
  #askedAt = 0;
  #eofSent = false;
  #eofWanted = false;
  #closeSent = false;
  #closeWanted = false;
  #eofReceived = false;
  #closeReceived = false;
  #stderrTurn = false;
  /** A close waits for the peer to take what has been written. */
  readonly #patience = new Patience(() => this.#giveUp());
  /** What a close could not deliver. */
  #loss: Error | null = null;
  /** Why this side has given the channel up: what its streams and requests fail with. */
  #given: { readonly reason: unknown } | null = null;
  #closedError: SshError | null = null;
  /** Told when the peer speaks. */
  #onSpeech: (() => void) | null = null;

  /** Makes a channel that belongs to no connection yet. */
  constructor(id: number, events: ChannelEvents) {
    this.id = id;
    this.#events = events;
    const consumed = (bytes: number) => this.#consumed(bytes);
    this.received = new ReceiveStream(consumed);
    this.receivedStderr = new ReceiveStream(consumed);
    const hasData = () => this.#hasData();
    const aborted = (reason: unknown) => {
      this.#given ??= { reason };
      void this.close();
    };
    this.sent = new SendStream({ hasData, aborted, finished: () => this.sendEof() });
    this.sentStderr = new SendStream({ hasData, aborted, finished: () => {} });
    this.#requests = new ChannelRequests({
      isOpen: () => this.isOpen,
      peer: () => this.#peer,
      link: () => this.#link,
      notOpen: () => this.#notOpen(),
    });
    this.closed = this.#closed.promise;
    this.closed.catch(() => {});
  }

  /** Whether CLOSE has been neither sent nor received, and the connection is up. */
  get isOpen(): boolean {
    return this.#state === "open" && !this.#closeSent && !this.#closeReceived;
  }

  /** Whether the channel has ended, or was closed before it was opened. */
  get hasEnded(): boolean {
    return this.#state === "closed";
  }

  // ------------------------------------------------------------------------------------------------ opening

  /** The mux is about to ask for the channel: from here on it has a window. */
  link(link: ChannelLink, type: string, window: number): void {
    if (this.#state !== "new") throw new TypeError("Cannot open a channel twice");
    this.#link = link;
    this.#state = "opening";
    this.type = type;
    this.#window = new ReceiveWindow(window, MAX_PACKET, link.windows);
    this.#askedAt = performance.now();
  }

  /** Both sides have agreed: `peer` is the other side's number. */
  open(peer: number, window: number, maxPacket: number): void {
    if (maxPacket === 0) throw new SshProtocolError("Peer opens a channel with a maximum packet size of 0");
    this.#state = "open";
    this.#peer = peer;
    this.sendWindow.add(window);
    this.#sendPacket = Math.min(maxPacket, MAX_PACKET);
    this.#heard();
    if (this.#closeWanted) this.#patience.start();
    // EOF and CLOSE that were asked for before go from `writeData()`: the confirmation leaves before it is called.
    if (this.#eofWanted || this.#closeWanted) this.#link!.transport.wantData(this);
    else this.#hasData();
  }

  /** CHANNEL_OPEN_CONFIRMATION for a channel that the peer opened. */
  confirmation(): Bytes {
    return ChannelOpenConfirmation.encode({
      recipient: this.#peer,
      sender: this.id,
      window: this.#window.left,
      maxPacket: MAX_PACKET,
      data: new Uint8Array(0),
    });
  }

  // ------------------------------------------------------------------------------------------------ outbound

  /** Data may have become sendable: it counts as such only while there is window for it. */
  #hasData(): void {
    if (this.#state !== "open" || this.#closeSent) return;
    if (this.sendWindow.left > 0) this.#link!.transport.wantData(this);
    else this.sendWindow.wants();
  }

  /** See {@linkcode OutboundSource}: a WINDOW_ADJUST over everything consumed so far. */
  takeControl(): Uint8Array | null {
    if (this.#closeSent || this.#closeReceived || this.#eofReceived || this.#state !== "open") return null;
    const bytes = this.#window.pay();
    return bytes === 0 ? null : ChannelWindowAdjust.encode({ recipient: this.#peer, bytes });
  }

  /** See {@linkcode OutboundSource}: CHANNEL_DATA and CHANNEL_EXTENDED_DATA, in turn where both have some. */
  writeData(out: Uint8Array, at: number): number {
    if (this.#state !== "open" || this.#closeSent) return 0;
    const most = Math.min(this.sendWindow.left, this.#sendPacket);
    const stderr = this.sentStderr.available > 0 && (this.#stderrTurn || this.sent.available === 0);
    this.#stderrTurn = !stderr;
    const stream = stderr ? this.sentStderr : this.sent;
    const header = stderr ? 13 : 9;
    // The header stands before `take()` runs: finishing a stream may queue EOF, which goes behind this packet.
    const length = most === 0 ? 0 : stream.take(out, at + header, most);
    if (length === 0) {
      this.#sendAfterData();
      return 0;
    }
    out[at] = stderr ? Msg.CHANNEL_EXTENDED_DATA : Msg.CHANNEL_DATA;
    writeU32(out, at + 1, this.#peer);
    if (stderr) writeU32(out, at + 5, EXTENDED_DATA_STDERR);
    writeU32(out, at + header - 4, length);
    this.sendWindow.take(length, this.sent.available + this.sentStderr.available > 0);
    this.#link!.idle.passed();
    this.#patience.progress();
    this.#sendAfterData();
    return header + length;
  }

  get #staged(): number {
    return this.sent.staged + this.sentStderr.staged;
  }

  /** Bytes of both streams that EOF waits for: it ends standard error as well (RFC 4254 section 5.3). */
  get #waiting(): number {
    return this.sent.waiting + this.sentStderr.waiting;
  }

  /**
   * What kept its place behind data goes once the data has, or as soon as the window is used up: more of it may never come.
   * The transport sends it behind the packet being made.
   */
  #sendAfterData(): void {
    if (this.#staged > 0 && this.sendWindow.left > 0) return;
    this.#requests.sendHeldBack();
    if (this.#eofWanted && this.#waiting === 0) this.#sendEofNow();
    if (this.#closeWanted && this.#staged === 0) this.#sendCloseNow();
  }

  /** Sends EOF behind what has been written; writes that come later fail. */
  sendEof(): void {
    if (this.#eofSent || this.#eofWanted || this.#closeSent || this.#state === "closed") return;
    if (this.#state !== "open" || this.#waiting > 0) this.#eofWanted = true;
    else this.#sendEofNow();
  }

  #sendEofNow(): void {
    this.#eofWanted = false;
    if (this.#eofSent || this.#closeSent) return;
    this.#eofSent = true;
    this.#link!.idle.passed();
    this.#link!.transport.send(ChannelEof.encode({ recipient: this.#peer }));
    const error = (): SshError => new SshError("Cannot write to channel: EOF has been sent", { code: "CLOSED" });
    this.sent.shut(error);
    this.sentStderr.shut(error);
  }

  /** Sends CLOSE behind what has been written, or once the peer has taken nothing more for a while; settles when it has. */
  close(): Promise<void> {
    if (this.#state === "new") {
      this.#state = "closed";
      this.#end(null);
    } else if (this.#state === "opening") {
      this.#closeWanted = true;
    } else if (this.#state === "open" && !this.#closeSent && !this.#closeWanted) {
      if (this.#staged === 0) this.#sendCloseNow();
      else this.#closeBehindData();
    }
    return this.#leaving.promise;
  }

  /**
   * Gives the channel up: CLOSE leaves at once, behind `lastWord` (a request that wants no answer) and ahead of all that was written,
   * which is lost. Whoever reads, writes or waits for an answer sees `reason`; data that the peer has ended is whole, and stays.
   */
  abort(reason: unknown, lastWord?: readonly [name: string, data: Uint8Array]): void {
    this.#given ??= { reason };
    if (this.#state !== "open" || this.#closeSent) return void this.close();
    if (lastWord !== undefined) this.urge(...lastWord);
    this.#sendCloseNow();
  }

  #closeBehindData(): void {
    this.#closeWanted = true;
    this.#patience.start();
    // What is written from here on would put CLOSE off for ever.
    this.sent.shut(channelClosed);
    this.sentStderr.shut(channelClosed);
  }

  /** The connection is being closed: nothing more is taken from the application, which sees why when it has ended. */
  hold(): void {
    this.sent.hold();
    this.sentStderr.hold();
  }

  /** Bytes that the application counts as written and that have not left. */
  get unsent(): number {
    return this.#state === "open" && !this.#closeSent ? this.#staged : 0;
  }

  #giveUp(): void {
    this.#loss = lossOf("Channel", `${this.#staged} bytes are`, "the peer takes no more");
    this.#sendCloseNow();
  }

  #sendCloseNow(): void {
    this.#closeWanted = false;
    this.#patience.stop();
    if (this.#closeSent) return;
    this.#requests.sendHeldBack();
    if (this.tellsReset && this.#given !== null && knowsReset(this.#link!.transport)) {
      this.urge(RESET, new Uint8Array(0));
    }
    this.#closeSent = true;
    this.#link!.idle.passed();
    this.#leaving.resolve();
    // A peer that closes provokes the answer.
    this.#link!.transport.send(ChannelClose.encode({ recipient: this.#peer }), this.#closeReceived);
    this.#link!.transport.forget(this);
    const error = this.#given === null ? this.#loss ?? this.#channelClosed : this.#given.reason;
    const clean = this.#closeReceived && this.#given === null && this.#loss === null;
    this.sent.fail(error, clean);
    this.sentStderr.fail(error, clean);
    // The peer answers with its own CLOSE; what it sends until then is thrown away, and nobody may take that for the end of its data.
    // What came before the peer's CLOSE stays.
    if (!this.#closeReceived) {
      this.received.cut(error);
      this.receivedStderr.cut(error);
    }
    this.#requests.end(error);
    if (this.#closeReceived) this.#gone();
  }

  /** Sends a request; resolves with the answer where one is wanted. */
  request(name: string, data: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    return this.#requests.request(name, data, signal);
  }

  /** Sends a request that wants no answer, behind data that has been written and can leave. */
  notify(name: string, data: Uint8Array): void {
    this.#requests.notify(name, data, this.#staged > 0 && this.sendWindow.left > 0);
  }

  /** Sends a request that wants no answer at once, ahead of what has been written. */
  urge(name: string, data: Uint8Array): void {
    this.#requests.notify(name, data, false);
  }

  /** Calls `told` once when the peer next speaks; see `speaks()`. */
  whenSpeaks(told: () => void): void {
    this.#onSpeech = told;
  }

  #notOpen(): unknown {
    if (this.#state === "opening") return new TypeError("Channel is not open yet");
    return this.#given === null ? channelClosed() : this.#given.reason;
  }

  // ------------------------------------------------------------------------------------------------ inbound

  /** Bytes left a queue. */
  #consumed(bytes: number): void {
    if (this.#eofReceived || this.#closeReceived || this.#state !== "open") return;
    const { transport } = this.#link!;
    if (!this.#window.consumed(bytes, transport.lastReceived, transport.roundTrip)) return;
    transport.wantControl(this);
    transport.measureRoundTrip();
  }

  /** CHANNEL_DATA, or CHANNEL_EXTENDED_DATA of `dataType`. Unless `owned`, the view dies with the turn of the event loop. */
  data(data: Uint8Array, dataType: number | null, owned = false): void {
    this.#mustBeOpen("data");
    this.#window.take(data.length);
    if (this.#closeReceived || this.#eofReceived) throw new SshProtocolError("Peer sent channel data after its EOF");
    if (data.length === 0) return;
    if (this.#onSpeech !== null) this.speaks();
    this.#link!.dirty(this);
    if (dataType !== null && dataType !== EXTENDED_DATA_STDERR) return this.#consumed(data.length);
    (dataType === null || this.stderrIsMerged ? this.received : this.receivedStderr).push(data, owned);
  }

  /** The peer has sent data, or something else that the owner takes for a sign that it runs what it was asked for. */
  speaks(): void {
    const told = this.#onSpeech;
    this.#onSpeech = null;
    told?.();
  }

  /** The batch of packets has ended: readers that wait get what there is. */
  flush(): void {
    this.#window.batchEnd();
    this.received.flush();
    this.receivedStderr.flush();
  }

  /** CHANNEL_WINDOW_ADJUST. */
  adjust(bytes: number): void {
    this.#mustBeOpen("a window adjustment");
    if (this.sendWindow.add(bytes) && this.sent.available + this.sentStderr.available > 0) this.#hasData();
  }

  /** CHANNEL_EOF; a second one is ignored. */
  eof(): void {
    this.#mustBeOpen("EOF");
    if (this.#eofReceived) return;
    this.#eofReceived = true;
    this.received.end();
    this.receivedStderr.end();
    callBack(() => this.#events.onEof(), (error) => this.#link!.failed(error));
  }

  /** CHANNEL_CLOSE. */
  closeReceived(): void {
    this.#mustBeOpen("CLOSE");
    if (this.#closeReceived) throw new SshProtocolError("Peer closed a channel twice");
    this.#closeReceived = true;
    const error = this.#eofReceived ? null : this.#events.onUnended();
    this.received.end(error);
    this.receivedStderr.end(error);
    // A request that came before CLOSE still gets its turn; its answer has nowhere to go.
    if (this.#closeSent) this.#gone();
    else this.#sendCloseNow();
  }

  /** CHANNEL_REQUEST. */
  requested(name: string, data: Bytes, wantReply: boolean): void {
    this.#mustBeOpen("a request");
    if (this.#closeReceived) throw new SshProtocolError("Peer sent a channel request after CLOSE");
    if (this.#closeSent) return;
    this.#requests.requested(name, data, wantReply, () => this.#events.onRequest(name, data, wantReply));
  }

  /** Does `task` behind the answer to the request that `onRequest` is deciding on. */
  behindAnswer(task: () => void): void {
    this.#requests.behindAnswer(task);
  }

  /** CHANNEL_SUCCESS and CHANNEL_FAILURE; one that nobody waits for is dropped. */
  answered(granted: boolean): void {
    this.#mustBeOpen("an answer");
    this.#requests.answered(granted);
  }

  #mustBeOpen(what: string): void {
    if (this.#state !== "open") {
      throw new SshProtocolError(`Peer sent ${what} for channel ${this.id}, which is not open`);
    }
    if (this.#askedAt > 0) this.#heard();
  }

  /** The peer's word about the channel: the first one that came behind the question is an answer to it. */
  #heard(): void {
    const { transport } = this.#link!;
    if (transport.lastReceived <= this.#askedAt) return;
    transport.roundTripAtMost(this.#askedAt);
    this.#askedAt = 0;
  }

  // ------------------------------------------------------------------------------------------------ the end

  #gone(): void {
    this.#state = "closed";
    this.#link!.gone(this);
    this.#end(this.#loss);
  }

  /** The peer refused to open the channel, or the opener gave up. */
  refused(error: ChannelOpenError): void {
    this.#state = "closed";
    this.#end(error);
  }

  /** The connection has ended. */
  lost(error: Error | null): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#requests.clear();
    this.#end(closedError(error));
  }

  /** One for all that hear of the end: its stack costs more than the rest of it. */
  get #channelClosed(): SshError {
    return this.#closedError ??= channelClosed();
  }

  #end(error: Error | null): void {
    this.#leaving.resolve();
    this.#patience.stop();
    for (const stream of [this.received, this.receivedStderr]) stream.end(error);
    const failure = error ?? this.#channelClosed;
    for (const stream of [this.sent, this.sentStderr]) stream.fail(failure);
    this.#requests.end(failure);
    this.#requests.dropHeldBack();
    if (error === null) this.#closed.resolve();
    else this.#closed.reject(error);
    // The other channels still have to be told.
    callBack(() => this.#events.onEnded(error), (cause) => this.#link?.failed(cause));
  }
}
