/**
 * Copies a remote file into a stream of the program's. draft-ietf-secsh-filexfer-02 sections 6.3, 6.4 and 6.8.
 *
 * The stream gets the whole file and is closed, or is aborted with the error that the caller gets: nothing that is cut short looks whole.
 * What is read ahead is bounded, and waits for whoever reads the stream.
 *
 * @module
 */
import { SftpError } from "../../errors.ts";
import type { TransferSummary } from "../../files/copied.ts";
import { FileType, Status } from "../../files/limits.ts";
import { quoted } from "../../files/names.ts";
import { abortable } from "../../wire/abortable.ts";
import { lostError } from "../remote/errors.ts";
import { openToRead } from "../remote/open_to_read.ts";
import { ReadPipeline } from "../remote/read_pipeline.ts";
import type { SftpSession } from "../remote/session.ts";
import { type TransferOptions, TransferRun } from "./run.ts";

/** Most bytes beyond the size that the server gives, which is 0 for files of /proc. */
const UNKNOWN_LIMIT = 1_073_741_824;

function refused(remote: string, why: string): SftpError {
  return new SftpError(`Cannot download ${quoted(remote)}: ${why}`, Status.FAILURE, remote);
}

/** Throws `TypeError` for a stream that cannot be written to, and for options that ask for what a stream cannot have. */
export function checkStream(stream: WritableStream<Uint8Array>, options: TransferOptions): void {
  if (stream.locked) {
    throw new TypeError("Cannot download to this stream: it is locked, somebody else has a writer of it");
  }
  const { recursive, preserve, resume, inPlace, exclude = [] } = options;
  const wrong = Object.entries({ recursive, preserve, resume, inPlace, exclude: exclude.length > 0 })
    .find(([_, isGiven]) => isGiven);
  if (wrong === undefined) return;
  throw new TypeError(
    `Cannot download to a stream with \`${wrong[0]}\`: it takes the contents of one file, from the start`,
  );
}

/** Copies a file into a stream. */
export async function downloadStream(
  session: SftpSession,
  remote: string,
  stream: WritableStream<Uint8Array>,
  options: TransferOptions,
): Promise<TransferSummary> {
  const run = new TransferRun(session, null, options, remote);
  const end = session.untilEnd(options.signal, (ended) => lostError({ action: "copy", path: remote }, ended));
  const source = new Source(session, remote, run, () => end.heedSignalOnly());
  const reading = new ReadableStream<Uint8Array>({
    pull: (controller) => source.pull(controller),
    cancel: () => source.leave(),
  }, { highWaterMark: 0 });
  const piping = reading.pipeTo(stream, { signal: end.signal });
  try {
    // A stream that takes nothing any more does not hold a call that was aborted, or whose session has ended,
    await abortable(piping, end.signal);
  } catch (error) {
    // nor the file: a pipe lets go of that when its last write has ended.
    source.leave();
    throw error;
  } finally {
    end.stop();
  }
  run.finished();
  return run.summary();
}

/** The file, from the first time that the stream wants something of it. */
class Source {
  readonly #session: SftpSession;
  readonly #remote: string;
  readonly #run: TransferRun;
  readonly #isRead: () => void;
  #open: { readonly handle: Uint8Array; readonly pipeline: ReadPipeline; readonly size: number } | null = null;
  #done = 0;
  #isLeft = false;

  /** `isRead` is told when all of it has been read. */
  constructor(session: SftpSession, remote: string, run: TransferRun, isRead: () => void) {
    this.#session = session;
    this.#remote = remote;
    this.#run = run;
    this.#isRead = isRead;
  }

  /** Gives the next bytes. */
  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const run = this.#run, remote = this.#remote;
    try {
      const { pipeline, size } = this.#open ??= await this.#begin();
      if (this.#isLeft) return this.leave();
      run.check(remote);
      const part = await pipeline.next();
      run.check(remote);
      if (part === null) {
        if (this.#done < size) {
          throw refused(remote, `it ended after ${this.#done} of ${size} bytes; it may have changed meanwhile`);
        }
        this.leave();
        this.#isRead();
        return controller.close();
      }
      this.#done += part.length;
      if (this.#done > size + UNKNOWN_LIMIT) {
        throw refused(remote, `the server gives its size as ${size} and sends over 1 GiB more`);
      }
      if (!this.#isLeft) controller.enqueue(part);
      run.copied(remote, part.length, Math.max(0, Math.min(part.length, this.#done - size)));
      run.report(remote, this.#done, size > 0 && this.#done <= size ? size : null);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  async #begin(): Promise<{ handle: Uint8Array; pipeline: ReadPipeline; size: number }> {
    const session = this.#session, path = this.#remote, run = this.#run, { signal } = run.options;
    const { handle, attrs: { mode = 0, size = 0 } } = await openToRead(session, path, signal);
    try {
      const type = mode & FileType.MASK;
      if (type === FileType.DIRECTORY) throw refused(path, "it is a directory, and a stream takes one file");
      if (type !== 0 && type !== FileType.REGULAR) throw refused(path, "it is no regular file");
      run.measureFile(size);
      run.report(path, 0, size > 0 ? size : null);
      const requests = run.requests, concurrency = requests === undefined ? {} : { concurrency: requests };
      return {
        handle,
        size,
        pipeline: new ReadPipeline(session, handle, path, { offset: 0, end: null, size, ...concurrency }),
      };
    } catch (error) {
      session.dropHandle(handle, path);
      throw error;
    }
  }

  /** Lets go of the file; what is being opened is let go when it is open. */
  leave(): void {
    this.#isLeft = true;
    const open = this.#open;
    this.#open = null;
    if (open === null) return;
    open.pipeline.cancel();
    this.#session.dropHandle(open.handle, this.#remote);
  }
}
