/**
 * What uploads and downloads share: options, what runs at once, and what is done about errors. No I/O.
 *
 * @module
 */
import type { TransferSummary } from "../../files/copied.ts";
import { SftpError, SshError } from "../../errors.ts";
import { Status } from "../../files/limits.ts";
import { heeded } from "../../wire/callback.ts";
import type { FurtherSessions } from "../remote/further_sessions.ts";
import type { SftpSession } from "../remote/session.ts";
import { lostError } from "../remote/errors.ts";
import { isFileSystemError, statusOf } from "../../files/errors.ts";
import { type Exclusion, exclusionOf } from "../../files/exclude.ts";
import { tally, type TallyPlan, type TallyRoot, type TallyTree } from "../../files/tally.ts";
import { TreeMeter, type TreeProgress } from "../../files/tree_progress.ts";

/** How a file or a tree is copied. */
export interface TransferOptions {
  /** Copy directories and what is in them. @default {false} */
  recursive?: boolean | undefined;
  /**
   * Keep times and permission bits, where the other side lets them be set: what it refuses is told by `warnings` of the summary,
   * and the copy is whole. Without it a file that replaces another keeps that one's permission bits, and a new file
   * gets those of its source as far as the umask allows. @default {false}
   */
  preserve?: boolean | undefined;
  /**
   * Go on where an earlier copy stopped: files that are there whole are left alone, and a file that was cut goes on where it
   * was. Whole means the same size, and the same time of change or a later one. Not together with `inPlace`. @default {false}
   */
  resume?: boolean | undefined;
  /** Requests kept in flight. @default {as many as the path takes, up to 16 MiB} */
  concurrency?: number | undefined;
  /** Told of bytes done, per file, by the path it is copied from. */
  onProgress?: ((progress: { path: string; bytes: number; total: number | null }) => void) | undefined;
  /**
   * Told how far the whole copy is: when it begins, ten times a second at most while it goes on, and with the last figures when it
   * ends, unless it was aborted or the connection is lost. What there is to do is
   * counted beside the copying, for which directories are listed once more. What it throws ends the copy, as with `onProgress`.
   */
  onTreeProgress?: ((progress: TreeProgress) => void) | undefined;
  /**
   * What of a tree is left out: patterns of `*`, `?`, `[…]` and `{…}`, for which a leading dot is nothing special. One without a slash,
   * or with one at its end only, matches a name in any directory; any other matches the path from the top of the tree, with `**` for
   * any number of directories. With a slash at its end it matches directories only. Directories that are left out are not entered;
   * what the call itself names is copied in any case, and what a glob stands for lies at the top. Up to 1,024 patterns of 4,096 characters. @default {[]}
   */
  exclude?: readonly string[] | undefined;
  /**
   * Aborts the copy. What was copied of a file stays beside it, for `resume`; where an abort comes while it takes the place of
   * another, so may that one, with a name that ends in `.old`.
   */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds for the whole copy. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  timeout?: number | undefined;
  /**
   * Write to the file's own name at once, instead of beside it and renaming it at the end. An interrupted copy is then left
   * under that name. A device or a pipe is written to only so. Not together with `resume`, which is a `TypeError`: nothing
   * tells the start of this file from an older one. @default {false}
   */
  inPlace?: boolean | undefined;
  /**
   * What becomes of symbolic links in a tree: `copy` makes the same link, `follow` copies what it leads to, `skip` leaves it
   * out. A download makes no link that leads out of the tree. @default {"copy"}
   */
  links?: "copy" | "follow" | "skip" | undefined;
}

/** Most bytes beyond the size that a server gives, which is 0 for files of /proc. */
export const UNKNOWN_LIMIT = 1_073_741_824;
/** Files at once. */
const MAX_FILES = 64;
/** Bytes of files at once, each counted with at most a half. */
const MAX_WEIGHT = 8_388_608;
/** Errors kept to be told, and warnings. */
const MAX_ERRORS = 100;

/** One upload or download: its tasks, and how they went. */
export class TransferRun {
  readonly #session: SftpSession;
  /** The session that is read from, where that is another one. */
  readonly #from: SftpSession | null;
  readonly #slots: number;
  readonly #tasks = new Set<Promise<void>>();
  readonly #errors: unknown[] = [];
  readonly #warnings: string[] = [];
  #failed = 0;
  #weight = 0;
  #wake: (() => void) | null = null;
  #heavy: (() => void)[] = [];
  #broken: { error: unknown } | null = null;
  #files = 0;
  #bytes = 0;
  /** The options. */
  readonly options: TransferOptions;
  /** Sessions that may take part beside the one that all depends on. */
  readonly further: FurtherSessions | null;
  /** What is left out at the top of the tree. */
  readonly exclusion: Exclusion;
  readonly #meter: TreeMeter | null;
  readonly #onProgress: TransferOptions["onProgress"];
  #tally: Promise<void> | null = null;
  #isOver = false;

  /** A run without tasks yet; `path` is what is copied. */
  constructor(
    session: SftpSession,
    further: FurtherSessions | null,
    options: TransferOptions,
    path: string,
    from: SftpSession | null = null,
  ) {
    this.#session = session;
    this.#from = from;
    this.further = further;
    this.options = options;
    this.exclusion = exclusionOf(options.exclude);
    const { onProgress, onTreeProgress } = options;
    this.#onProgress = onProgress && heeded(onProgress);
    this.#meter = onTreeProgress === undefined ? null : new TreeMeter(path, heeded(onTreeProgress));
    const { concurrency } = options;
    if (options.inPlace && options.resume) {
      throw new TypeError(
        "Cannot copy with both `inPlace` and `resume`: what is under a file's own name may be the start of this file or an " +
          "older one; leave out `inPlace` to go on where a copy stopped, or `resume` to copy anew",
      );
    }
    if (concurrency !== undefined && !(concurrency >= 1)) {
      throw new RangeError(`Cannot copy: a concurrency of ${concurrency} is not possible`);
    }
    // A directory that is listed and the file being opened want handles too.
    const handles = Math.max(1, Math.floor(Math.min(session.maxHandles, from?.maxHandles ?? Infinity, 1024) / 2));
    this.#slots = Math.min(MAX_FILES, Math.floor(concurrency ?? MAX_FILES), handles);
  }

  /** Throws where the run must not go on: it was aborted, the session is over, or `onProgress` threw. */
  check(path: string | null = null): void {
    this.options.signal?.throwIfAborted();
    if (this.#broken !== null) throw this.#broken.error;
    if (this.lost !== null) throw lostError({ action: "copy", path }, this.lost);
  }

  /** Why nothing more can be copied, or null. */
  get lost(): Error | null {
    return this.#session.ended ?? this.#from?.ended ?? null;
  }

  /** Most requests under way for a file that starts now. */
  get requests(): number | undefined {
    const { concurrency } = this.options;
    return concurrency === undefined ? undefined : Math.max(1, Math.floor(concurrency / Math.max(1, this.#tasks.size)));
  }

  /**
   * Starts a task as soon as there is a place for it; what it throws is kept for the end. Returns a promise only where it must
   * wait: the requests of tasks that start in one turn leave in one packet.
   */
  start(task: () => Promise<void>): Promise<void> | undefined {
    if (this.#tasks.size >= this.#slots) return this.#startLater(task);
    this.#begin(task);
    return undefined;
  }

  async #startLater(task: () => Promise<void>): Promise<void> {
    // For the same reason places that were all taken are filled again by the quarter.
    while (this.#tasks.size > 0.75 * this.#slots) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    this.#begin(task);
  }

  #begin(task: () => Promise<void>): void {
    this.check();
    const running = task().catch((error) => this.failed(error)).finally(() => {
      this.#tasks.delete(running);
      this.#wake?.();
    });
    this.#tasks.add(running);
  }

  /** Waits until a file of that size may be read or written beside the others; `letGo()` follows. */
  async hold(size: number): Promise<void> {
    const weight = Math.min(size, MAX_WEIGHT / 2);
    while (this.#weight > 0 && this.#weight + weight > MAX_WEIGHT) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#heavy.push(resolve);
      await promise;
    }
    this.#weight += weight;
  }

  /** A file that was held is done with. */
  letGo(size: number): void {
    this.#weight -= Math.min(size, MAX_WEIGHT / 2);
    for (const resolve of this.#heavy.splice(0)) resolve();
  }

  /** Tells of bytes done. What the listener throws ends the run, and not the session that answers are read by. */
  report(path: string, bytes: number, total: number | null): void {
    try {
      this.#onProgress?.({ path, bytes, total });
    } catch (error) {
      this.#broken ??= { error };
    }
  }

  #measure(count: (meter: TreeMeter) => void): void {
    if (this.#meter === null || this.#broken !== null) return;
    try {
      count(this.#meter);
    } catch (error) {
      this.#broken = { error };
    }
  }

  /** Begins to tell how far the whole is, and counts what there is to do, where somebody wants to know. */
  measure(tree: TallyTree, roots: Iterable<TallyRoot> | AsyncIterable<TallyRoot>): void {
    const meter = this.#meter;
    if (meter === null) return;
    this.#measure(() => meter.begin());
    const { recursive = false, links = "copy" } = this.options;
    const plan: TallyPlan = {
      recursive,
      links,
      found: (files, bytes) => meter.found(files, bytes),
      over: () => this.#isOver || this.#broken !== null || this.lost !== null,
    };
    this.#tally = tally(tree, roots, plan).then((isAll) => {
      if (isAll) meter.allFound();
    }, () => {});
  }

  /** The same for a single file. */
  measureFile(size: number): void {
    this.#measure((meter) => {
      meter.allFound(1, size);
      meter.begin();
    });
  }

  /** Waits for all tasks. */
  async settle(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    this.#isOver = true;
    await this.#tally;
  }

  /** Keeps an error and lets the rest go on. */
  failed(error: unknown): void {
    this.#failed++;
    if (this.#errors.length < MAX_ERRORS) this.#errors.push(error);
  }

  /** Keeps what is worth telling of a copy that is whole. */
  warn(error: unknown): void {
    if (this.#warnings.length >= MAX_ERRORS) return;
    this.#warnings.push(error instanceof Error ? error.message : String(error));
  }

  /** Counts bytes of a file that arrived, and how many of them lie behind the size that it was said to have. */
  copied(path: string, bytes: number, beyond = 0): void {
    this.#bytes += bytes;
    this.#measure((meter) => meter.sent(path, bytes, beyond));
  }

  /** Tells of bytes of a file that an earlier copy left. */
  passed(path: string, bytes: number): void {
    if (bytes > 0) this.#measure((meter) => meter.passed(path, bytes));
  }

  /** Tells of a file that is there whole. */
  wasWhole(path: string, size: number): void {
    this.report(path, size, size);
    this.passed(path, size);
    this.wasThere();
  }

  /** Tells of a file or link of which nothing was to be done. */
  wasThere(): void {
    this.#measure((meter) => meter.finished());
  }

  /** Counts a file that is whole. */
  finished(): void {
    this.#files++;
    this.#measure((meter) => meter.finished());
  }

  /** What was done; throws where anything failed: the error itself, or one that tells how many there are. */
  summary(): TransferSummary {
    this.options.signal?.throwIfAborted();
    if (this.lost === null) this.#measure((meter) => meter.end(this.#failed));
    if (this.#broken !== null) throw this.#broken.error;
    if (this.#failed === 1 && this.#files === 0) throw this.#errors[0];
    if (this.#failed > 0) {
      const [first] = this.#errors, ended = this.lost;
      const lost = ended === null ? null : lostError({ action: "copy", path: null }, ended);
      const message = first instanceof Error ? first.message : String(first);
      throw new SftpError(
        `Cannot copy everything: ${this.#failed} failed, ${this.#files} files were copied; the first: ${message}`,
        lost?.status ?? (first instanceof SftpError ? first.status : Status.FAILURE),
        first instanceof SftpError ? first.path : null,
        {
          code: lost?.code,
          cause: this.#failed === 1 ? first : new AggregateError(this.#errors, `${this.#failed} errors`),
        },
      );
    }
    return { files: this.#files, bytes: this.#bytes, warnings: this.#warnings };
  }
}

/** How long a copy that is aborted may take to end, in milliseconds: a server that answers nothing must not hold it. */
const GRACE = 1000;

/** `work`, or the signal's reason when it aborts and the work has ended or had its time. */
export async function withGrace<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  let timer: ReturnType<typeof setTimeout> | undefined, abort = (): void => {};
  const late = new Promise<never>((_, reject) => {
    abort = () => timer = setTimeout(() => reject(signal.reason), GRACE);
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    signal.removeEventListener("abort", abort);
    clearTimeout(timer);
  }
}

/** A failure of a local file as an error that names what was copied, and not the part. Other errors stay what they are. */
export function localFailure(error: unknown, copying: string, path: string): unknown {
  if (error instanceof SshError || !(error instanceof Error) || !isFileSystemError(error)) return error;
  // What follows is the system call, with the name of the part.
  const [why] = error.message.split(" (os error", 1);
  const text = error.name === "NotCapable"
    ? "the runtime does not allow it; run Deno with `--allow-read` and `--allow-write`"
    : `${why!.charAt(0).toLowerCase()}${why!.slice(1)}, on this side`;
  return new SftpError(`Cannot ${copying}: ${text}`, statusOf(error), path, { cause: error });
}
