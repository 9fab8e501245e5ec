/**
 * The displays that sessions of one connection may use, from the client's side. RFC 4254 section 6.3.
 *
 * Each session has a cookie of its own, which tells whose a connection is. A channel is opened only while some session has lent a display;
 * within its first packet it has to show such a cookie, in the time that strangers get, and only then is the display connected to. The
 * server never learns the display's own cookie.
 *
 * @module
 */
import { OpenFailureReason } from "../connection/messages.ts";
import type { ChannelAcceptor, Mux } from "../connection/mux.ts";
import { equalBytes } from "../crypto/constant_time.ts";
import { randomBytes } from "../crypto/random.ts";
import { ChannelOpenError, SshError } from "../errors.ts";
import { acceptConn, type SshConn } from "../forward/conn.ts";
import { pump, type PumpSide, type Socket } from "../forward/pump.ts";
import { writeAll } from "../forward/socks.ts";
import { X11Req } from "../session/messages.ts";
import type { Lent } from "../session/client_session.ts";
import type { X11Options } from "../session/types.ts";
import { toHex } from "../wire/base_text.ts";
import { callBack } from "../wire/callback.ts";
import { Timer } from "../wire/timer.ts";
import type { ByteDuplex, Bytes } from "../wire/types.ts";
import { MAGIC_COOKIE } from "./authority.ts";
import { type LocalDisplay, localDisplay, UNTRUSTED_TIME } from "./local_display.ts";
import { X11Open } from "./messages.ts";
import { readSetup, type Setup, writeSetup } from "./setup.ts";

/** Bytes of the cookies that servers get. */
const COOKIE = 16;
/** Connections to displays, open at once on one connection. */
const MAX_WINDOWS = 128;
/** Those among them that have not shown a cookie yet, */
const MAX_STRANGERS = 16;
/** and the milliseconds that each of them gets. */
const STRANGER_TIME = 30_000;

/** A display that a session has lent. */
interface LentDisplay {
  readonly cookie: Bytes;
  readonly single: boolean;
  readonly display: LocalDisplay;
  readonly onError: X11Options["onError"];
  /** Ends its connections. */
  readonly end: AbortController;
}

/** All displays lent over one connection. */
export class LentDisplays {
  readonly #mux: Mux;
  readonly #lent = new Set<LentDisplay>();
  #door: Disposable | null = null;
  #windows = 0;
  #strangers = 0;

  constructor(mux: Mux) {
    this.#mux = mux;
  }

  /** Lends a display to a session that is about to begin. Rejects where there is none, or nothing confines untrusted programs on it. */
  async lend(options: X11Options, signal: AbortSignal | undefined): Promise<Lent> {
    const { single = false, trusted = false, cookie, onError } = options;
    const { timeout = trusted || cookie !== undefined ? Infinity : UNTRUSTED_TIME } = options;
    const display = await localDisplay(options, signal);
    const lent: LentDisplay = { cookie: randomBytes(COOKIE), single, display, onError, end: new AbortController() };
    const timer = new Timer(() => this.#drop(lent));
    this.#lent.add(lent);
    this.#door ??= this.#mux.onChannel("x11", this.#accept);
    timer.start(timeout);
    timer.unref();
    const release = (): void => {
      timer.stop();
      this.#drop(lent);
    };
    const data = X11Req.encode({
      single,
      protocol: MAGIC_COOKIE,
      cookie: toHex(lent.cookie),
      screen: display.screen,
    });
    return {
      requests: [{ name: X11Req.name, data, refused: () => "forwards no X11" }],
      release,
      revoke: () => {
        release();
        lent.end.abort(new SshError("Display is no longer lent: its session has ended", { code: "CLOSED" }));
      },
    };
  }

  /** Takes no more connections for it. */
  #drop(lent: LentDisplay): void {
    this.#lent.delete(lent);
    if (this.#lent.size > 0) return;
    this.#door?.[Symbol.dispose]();
    this.#door = null;
  }

  readonly #accept: ChannelAcceptor = ({ id, data }) => {
    const { originHost, originPort } = X11Open.decode(data);
    if (this.#windows >= MAX_WINDOWS || this.#strangers >= MAX_STRANGERS) {
      throw new ChannelOpenError("too many X11 connections", OpenFailureReason.RESOURCE_SHORTAGE);
    }
    const addr: Deno.NetAddr = { transport: "tcp", hostname: originHost, port: originPort };
    const { channel, conn } = acceptConn(id, { localAddr: addr, remoteAddr: addr });
    this.#windows++;
    this.#strangers++;
    const gone = (): void => void this.#windows--;
    conn.closed.then(gone, gone);
    // A stranger is one until its channel has ended or it has shown its cookie.
    void this.#serve(conn);
    return { channel };
  };

  async #serve(conn: SshConn): Promise<void> {
    let first: { setup: Setup; rest: Uint8Array } | null;
    try {
      first = await firstPacket(conn);
    } finally {
      this.#strangers--;
    }
    const lent = first === null ? null : this.#lentBy(first.setup);
    if (first !== null && lent !== null) {
      if (lent.single) this.#drop(lent);
      return await show(conn, lent, first);
    }
    const error = new SshError("Cannot show window: the program did not show the session's cookie", {
      code: "REQUEST_DENIED",
    });
    refuse(conn, error);
    for (const { onError } of this.#lent) callBack(() => onError?.(error));
  }

  /** Compares with each of them, so that time tells nothing. */
  #lentBy({ name, data }: Setup): LentDisplay | null {
    let found: LentDisplay | null = null;
    for (const lent of this.#lent) if (equalBytes(lent.cookie, data)) found = lent;
    return name === MAGIC_COOKIE ? found : null;
  }
}

/** The packet in which a client proves itself, and what came behind it. Null where none comes, or not in time. */
async function firstPacket(conn: SshConn): Promise<{ setup: Setup; rest: Uint8Array } | null> {
  const reader = conn.readable.getReader(), late = Promise.withResolvers<null>();
  const timer = new Timer(() => late.resolve(null));
  timer.start(STRANGER_TIME);
  timer.unref();
  const reading = async (): Promise<{ setup: Setup; rest: Uint8Array } | null> => {
    // What is kept is never longer than the packet and one chunk: what does not fit shows in the header.
    let have: Uint8Array = new Uint8Array(0);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return null;
      const joined = new Uint8Array(have.length + value.length);
      joined.set(have);
      joined.set(value, have.length);
      have = joined;
      const setup = readSetup(have, MAGIC_COOKIE.length, COOKIE);
      if (setup === "wrong") return null;
      if (setup !== null) return { setup, rest: have.subarray(setup.length) };
    }
  };
  try {
    return await Promise.race([reading().catch(() => null), late.promise]);
  } finally {
    timer.stop();
    reader.releaseLock();
  }
}

/** Carries a connection whose cookie was right. */
async function show(
  conn: SshConn,
  { display, onError, end }: LentDisplay,
  { setup, rest }: { setup: Setup; rest: Uint8Array },
): Promise<void> {
  const { signal } = end, connecting = new AbortController();
  const stop = (reason: unknown): void => connecting.abort(reason);
  const onEnd = (): void => stop(signal.reason);
  // It may take long, and nobody waits for it when the program has gone.
  const closed = new SshError("Cannot show window: its connection has ended", { code: "CLOSED" });
  conn.closed.then(() => stop(closed), stop);
  if (signal.aborted) onEnd();
  else signal.addEventListener("abort", onEnd, { once: true });
  let socket: PumpSide;
  try {
    const connected = await display.connect(connecting.signal);
    socket = connected.socket;
    const { cookie } = connected;
    const packet = cookie === null
      ? writeSetup(setup.header, "", new Uint8Array(0))
      : writeSetup(setup.header, MAGIC_COOKIE, cookie);
    await send(socket, [packet, rest], connecting.signal);
  } catch (error) {
    refuse(conn, error);
    if (!connecting.signal.aborted) callBack(() => onError?.(error));
    return;
  } finally {
    signal.removeEventListener("abort", onEnd);
  }
  // What cuts a window's connection short, both of its ends see.
  await pump(conn, socket, { signal }).catch(() => {});
}

/** Writes what comes ahead of what is pumped; a display that takes none of it is given up when the signal aborts. */
async function send(side: PumpSide, chunks: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  const cut = (): void => "write" in side ? void callBack(() => side.close()) : undefined;
  if ("write" in side) {
    signal.addEventListener("abort", cut, { once: true });
    try {
      signal.throwIfAborted();
      for (const chunk of chunks) await writeAll(side as Socket, chunk);
    } catch (error) {
      callBack(() => (side as Socket).close());
      throw error;
    } finally {
      signal.removeEventListener("abort", cut);
    }
    return;
  }
  const { readable, writable } = side as ByteDuplex, writer = writable.getWriter();
  const abort = (): void => void writer.abort(signal.reason).catch(() => {});
  signal.addEventListener("abort", abort, { once: true });
  try {
    if (signal.aborted) abort();
    for (const chunk of chunks) if (chunk.length > 0) await writer.write(chunk);
  } catch (error) {
    readable.cancel(error).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
    writer.releaseLock();
  }
}

function refuse(conn: SshConn, reason: unknown): void {
  conn.writable.abort(reason).catch(() => {});
}
