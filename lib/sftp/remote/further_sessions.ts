/**
 * Sessions beside the first one of a client, over channels of the same connection: what one channel's window holds up, several carry.
 * draft-ietf-secsh-filexfer-02 section 6.3.
 *
 * They are opened when a copy is held up, a few at once, and closed with the last copy that goes on. A server that refuses one has as
 * many as it allows: one is given back, which the program may want. Nothing that goes wrong here is an error of anybody's.
 *
 * @module
 */
import { Timer } from "../../wire/timer.ts";
import { OpenFlag } from "../wire/constants.ts";
import { Fstat, Open } from "../wire/messages.ts";
import type { SftpSession } from "./session.ts";
import type { WritePipeline } from "./write_pipeline.ts";

/** A session on a further channel; null where there may be none just now. */
export type OpenFurther = (signal: AbortSignal) => Promise<SftpSession | null>;

/** Milliseconds that a server has to start one. */
const PATIENCE = 10_000;
/** Windows that a further session has to be sent, to be worth the round trips that it takes to have one; and the least bytes. */
const WORTHWHILE = { windows: 8, bytes: 1_048_576 };

/** Those of one client. */
export class FurtherSessions {
  readonly #openOne: OpenFurther | null;
  /** How many there may be. */
  #most: number;
  #sessions: SftpSession[] = [];
  #opening: { readonly stop: AbortController; readonly done: Promise<void> } | null = null;
  #copies = 0;
  /** The window that held up a write they took part in. */
  #window = Infinity;
  /** Writes that they were asked to take part in. */
  readonly #tried = new WeakSet<WritePipeline>();
  /** Those that are being closed. */
  readonly #closing = new Set<Promise<void>>();

  /** None is open yet; `open` is null where there can be none. */
  constructor(open: OpenFurther | null, most: number) {
    this.#openOne = open;
    this.#most = open === null ? 0 : most;
  }

  /** Runs a copy, for which they may be opened. */
  async during<T>(copy: () => Promise<T>): Promise<T> {
    this.#copies++;
    try {
      return await copy();
    } finally {
      if (--this.#copies === 0) this.#letGo();
    }
  }

  /** Has further sessions take part in a write to `path` that is held up by a window, and that has so many bytes left. */
  spread(pipeline: WritePipeline, path: string, left: number, window: number): void {
    const count = Math.floor(left / Math.max(WORTHWHILE.bytes, WORTHWHILE.windows * window));
    if (count < 1 || this.#most === 0 || this.#opening !== null || this.#tried.has(pipeline)) return;
    this.#tried.add(pipeline);
    this.#window = window;
    void this.#spread(pipeline, path, count);
  }

  /** The same for a write that has got an answer, where they are there already. */
  share(pipeline: WritePipeline, path: string, left: number): void {
    if (this.#sessions.length > 0) this.spread(pipeline, path, left, this.#window);
  }

  async #spread(pipeline: WritePipeline, path: string, count: number): Promise<void> {
    await this.#open(Math.min(count, this.#most));
    await Promise.all(this.#sessions.slice(0, count).map((session) => join(session, pipeline, path)));
  }

  /** Opens what is missing of so many. */
  async #open(count: number): Promise<void> {
    this.#forgetLost();
    const missing = Math.min(count, this.#most) - this.#sessions.length;
    if (missing <= 0 || this.#copies === 0) return;
    const stop = new AbortController();
    const done = this.#openSome(missing, stop.signal);
    this.#opening = { stop, done };
    await done;
    this.#opening = null;
  }

  async #openSome(count: number, signal: AbortSignal): Promise<void> {
    const late = new AbortController(), either = AbortSignal.any([signal, late.signal]);
    const timer = new Timer(() =>
      late.abort(new DOMException("A further SFTP session takes too long", "TimeoutError"))
    );
    timer.unref();
    timer.start(PATIENCE);
    const opened = await Promise.allSettled(Array.from({ length: count }, () => this.#openOne!(either)));
    timer.stop();
    const sessions = opened.flatMap((one) => one.status === "fulfilled" && one.value !== null ? [one.value] : []);
    if (signal.aborted) return sessions.forEach((session) => this.#close(session));
    if (opened.some(({ status }) => status === "rejected")) {
      const spare = sessions.pop();
      if (spare !== undefined) this.#close(spare);
      this.#most = this.#sessions.length + sessions.length;
    }
    this.#sessions.push(...sessions);
  }

  /** One that the server ended is not opened once more. */
  #forgetLost(): void {
    const alive = this.#sessions.filter((session) => session.ended === null);
    this.#most = Math.max(0, this.#most - this.#sessions.length + alive.length);
    this.#sessions = alive;
  }

  #close(session: SftpSession): void {
    const closing = session.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  #letGo(): void {
    this.#opening?.stop.abort();
    this.#forgetLost();
    for (const session of this.#sessions.splice(0)) this.#close(session);
  }

  /** Closes all, and opens no more where there were any: the program could not have a session for them. False where there were none. */
  async yield(): Promise<boolean> {
    if (this.#opening === null && this.#sessions.length + this.#closing.size === 0) return false;
    for (const session of this.#sessions) session.drop();
    await this.end();
    return true;
  }

  /** Closes all, and opens no more. */
  async end(): Promise<void> {
    const opening = this.#opening;
    this.#most = 0;
    this.#letGo();
    await opening?.done;
    await Promise.all(this.#closing);
  }
}

/** Lets a session take part in a write to a file that is open already; a server that does not want that has the file written by one. */
async function join(session: SftpSession, pipeline: WritePipeline, path: string): Promise<void> {
  if (!pipeline.admits(session)) return;
  try {
    const handle = await session.handle(Open, { path, flags: OpenFlag.WRITE, attrs: {} }, { action: "open", path });
    // One who finds nothing of what was written has another file of that name, or a copy of its own.
    const written = pipeline.whole;
    const { size } = await session.attrs(Fstat, { handle }, { action: "stat", path }).catch(() => ({ size: -1 }));
    if (size === undefined || size < written || !pipeline.join(session, handle)) session.dropHandle(handle, path);
  } catch {
    // Nothing is open.
  }
}
