/**
 * The receiving side of SCP, `scp -t` of a server and the client of `scp -f`. As OpenSSH's scp.c has it.
 *
 * The sender is not trusted: a name is one component and is used below the top only, no more comes than was asked for, and
 * permission bits are the nine plain ones.
 *
 * @module
 */
import { printable, SftpError, SshError, SshProtocolError } from "../errors.ts";
import { type Exclusion, exclusionOf } from "../files/exclude.ts";
import { MAX_DEPTH, Status } from "../files/limits.ts";
import { isEntryName, joinPath, quoted } from "../files/names.ts";
import type { ScpFiles, ScpTimes } from "./files.ts";
import { type ScpPlan, ScpResult } from "./result.ts";
import type { ScpControl, ScpStream } from "./stream.ts";
import { copyError, reasonOf } from "./text.ts";

/** Where things go. */
export interface ScpDestination {
  /** The path that was named. */
  readonly path: string;
  /**
   * What a name at the top becomes: `inside` puts it into the directory `path`; `as` gives it the name `path` whatever the
   * sender calls it, and allows one thing only.
   */
  readonly place: "inside" | "as";
  /** With `as`, what a file becomes instead of `path`: for a `path` that is a directory already. */
  readonly file?: string;
  /** What the sender was asked for, where it was. */
  readonly asked?: string;
}

interface OpenDirectory {
  readonly path: string;
  readonly mode: number;
  readonly times: ScpTimes | null;
  /** What is left out in it. */
  readonly exclusion: Exclusion;
}

/** Takes what the other side sends. An error of one file is told to it and counted; the rest goes on. */
export async function receiveScp(
  stream: ScpStream,
  files: ScpFiles,
  destination: ScpDestination,
  plan: ScpPlan,
): Promise<ScpResult> {
  const sink = new Sink(stream, files, destination, plan);
  try {
    await stream.acknowledge();
    for (let control = await stream.control(); control !== null; control = await stream.control()) {
      await sink.take(control);
    }
    sink.end();
  } catch (error) {
    await stream.briefly(sink.sayLast(error));
    throw error;
  }
  return sink.result;
}

function noName(): SftpError {
  return new SftpError("The system that it goes to can have no file of this name", Status.FAILURE);
}

class Sink {
  readonly #stream: ScpStream;
  readonly #files: ScpFiles;
  readonly #destination: ScpDestination;
  readonly #plan: ScpPlan;
  readonly #open: OpenDirectory[] = [];
  /** Those of what comes next. */
  #times: ScpTimes | null = null;
  #tops = 0;
  #last: { path: string | null; said: string } | null = null;
  readonly #top: Exclusion;
  readonly result = new ScpResult();

  constructor(stream: ScpStream, files: ScpFiles, destination: ScpDestination, plan: ScpPlan) {
    this.#stream = stream;
    this.#files = files;
    this.#destination = destination;
    this.#plan = plan;
    this.#top = plan.exclude ?? exclusionOf(undefined);
  }

  async take(control: ScpControl): Promise<void> {
    switch (control.kind) {
      case "error": {
        const message = `Cannot copy: the other side says: ${control.message}`;
        const error = new SftpError(message, Status.FAILURE, this.#destination.asked);
        if (control.fatal) throw error;
        return this.result.fail(error);
      }
      case "times":
        this.#times = { mtime: control.mtime, atime: control.atime };
        return await this.#stream.acknowledge();
      case "end":
        return await this.#leave();
      case "file":
        return await this.#file(control.name, control.mode, control.size, this.#takeTimes());
      case "directory":
        return await this.#enter(control.name, control.mode, this.#takeTimes());
    }
  }

  /** The sender has nothing more. */
  end(): void {
    if (this.#open.length > 0) {
      throw new SftpError("Cannot copy: the other side ended inside a directory", Status.CONNECTION_LOST);
    }
    if (this.#times !== null) {
      const missing = "Cannot copy: the other side told the times of something, and ended before it was there";
      throw new SftpError(missing, Status.CONNECTION_LOST);
    }
    if (this.#tops === 0 && this.result.failed === 0) {
      throw new SftpError("Cannot copy: the other side sent nothing; it may have no scp program", Status.FAILURE);
    }
  }

  /** Tells the other side of the error that ends the exchange, unless that came from there. */
  async sayLast(error: unknown): Promise<void> {
    if (this.#last !== null) await this.#stream.refuse(this.#last.path, this.#last.said, true);
    else if (!(error instanceof SshError) || error instanceof SshProtocolError) {
      await this.#stream.refuse(null, reasonOf(error), true);
    }
  }

  /** What the sender may not do, as the caller reads it and as the sender does. */
  #violation(message: string, said: string): SshProtocolError {
    this.#last = { path: null, said };
    return new SshProtocolError(`Cannot copy: the other side ${message}`);
  }

  #takeTimes(): ScpTimes | null {
    const times = this.#plan.preserve ? this.#times : null;
    this.#times = null;
    return times;
  }

  /**
   * The path that a name stands for, null where there can be none of that name here; a name that would lead elsewhere ends the
   * exchange.
   */
  #path(name: string, kind: "file" | "directory"): string | null {
    const top = this.#open.at(-1), { path, place, file } = this.#destination;
    const isRenamed = top === undefined && place === "as";
    // `scp -r -f .` calls it that. No use is made of the name of a directory that becomes another.
    if (!isEntryName(name) && !(isRenamed && kind === "directory" && /^\.\.?$/.test(name))) {
      const message = `names ${quoted(name)}, which is no name of a file`;
      throw this.#violation(message, `unexpected filename: ${printable(name, 128)}`);
    }
    if (top === undefined) this.#tops++;
    if (!isRenamed) {
      const own = this.#files.spell(name);
      return own === null ? null : joinPath(top?.path ?? path, own);
    }
    if (this.#tops > 1) throw this.#violation("sends more than was asked for", "more than one file for one name");
    return kind === "file" ? file ?? path : path;
  }

  /**
   * Whether an entry is left out. The sender is told so, and sends nothing of it; it takes that for an error, and its exit code may say
   * so.
   */
  async #isLeftOut(name: string, isDirectory: boolean): Promise<boolean> {
    if (!this.#open.at(-1)?.exclusion.excludes(name, isDirectory)) return false;
    this.result.excluded++;
    await this.#stream.refuse(null, "not wanted", false);
    return true;
  }

  async #enter(name: string, mode: number, times: ScpTimes | null): Promise<void> {
    const top = this.#open.at(-1), path = this.#path(name, "directory");
    if (!this.#plan.recursive) {
      throw this.#violation("sends a directory nobody asked for", "received directory without -r");
    }
    if (this.#open.length >= MAX_DEPTH) {
      const deep = `more than ${MAX_DEPTH} directories deep`;
      throw this.#violation(`sends ${deep}`, deep);
    }
    if (await this.#isLeftOut(name, true)) return;
    try {
      if (path === null) throw noName();
      await this.#files.makeDirectory(path, mode, top === undefined);
    } catch (error) {
      // Refused for good: the sender would go on with what lies in it.
      this.#last = { path: path === null ? name : this.#files.shown(path), said: reasonOf(error) };
      throw copyError("copy to", path ?? name, error);
    }
    this.#open.push({ path, mode, times, exclusion: top?.exclusion.enter(name) ?? this.#top });
    await this.#stream.acknowledge();
  }

  async #leave(): Promise<void> {
    const directory = this.#open.pop();
    if (directory === undefined) {
      throw this.#violation("ends a directory twice", "end of a directory without its start");
    }
    try {
      const { path, mode, times } = directory;
      await this.#files.finishDirectory(path, this.#plan.preserve ? mode : null, times);
    } catch (error) {
      return await this.#failed(directory.path, error);
    }
    await this.#stream.acknowledge();
  }

  async #failed(path: string, error: unknown, shown = this.#files.shown(path)): Promise<void> {
    this.result.fail(copyError("copy to", path, error));
    await this.#stream.refuse(shown, reasonOf(error), false);
  }

  async #file(name: string, mode: number, size: number, times: ScpTimes | null): Promise<void> {
    const path = this.#path(name, "file");
    if (await this.#isLeftOut(name, false)) return;
    if (path === null) return await this.#failed(name, noName(), name);
    let target;
    try {
      target = await this.#files.create(path, mode, size);
    } catch (error) {
      return await this.#failed(path, error);
    }
    let failure: { error: unknown } | null = null, answer: string | null, done = false;
    const failed = (error: unknown): void => void (failure ??= { error });
    try {
      await this.#stream.acknowledge();
      this.#plan.onProgress?.({ path, bytes: 0, total: size });
      if (this.#open.length === 0) this.#plan.meter?.allFound(1, size);
      for (let left = size; left > 0;) {
        const part = await this.#stream.contents(left);
        left -= part.length;
        // The size was promised: what cannot be written any more is still taken.
        if (failure === null) await target.write(part).catch(failed);
        this.#plan.meter?.sent(path, part.length);
        this.#plan.onProgress?.({ path, bytes: size - left, total: size });
      }
      answer = await this.#stream.acknowledged();
      if (failure === null && answer === null) {
        done = true;
        await target.finish(times).catch(failed);
      }
    } finally {
      if (!done) await target.abandon();
    }
    if (failure !== null) return await this.#failed(path, (failure as { error: unknown }).error);
    await this.#stream.acknowledge();
    if (answer !== null) {
      // The sender knows, and was not kept from going on.
      const message = `Cannot copy ${quoted(path)}: the other side says: ${answer}`;
      return this.result.fail(new SftpError(message, Status.FAILURE, path));
    }
    this.result.files++;
    this.result.bytes += size;
    this.#plan.meter?.finished();
  }
}
