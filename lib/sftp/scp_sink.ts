/**
 * L5. The receiving side of SCP, `scp -t` of a server and the client of `scp -f`. As OpenSSH's scp.c has it.
 *
 * The sender is not trusted: a name is one component and is used below the top only, no more comes than was asked for, and
 * permission bits are the nine plain ones.
 *
 * @module
 */
import { SftpError, SshProtocolError } from "../errors.ts";
import { MAX_DEPTH, Status } from "./constants.ts";
import { isSafeEntryName, joinPath, quoted } from "./names.ts";
import type { ScpFiles, ScpTimes } from "./scp_files.ts";
import { reason, type ScpPlan, type ScpResult } from "./scp_source.ts";
import type { ScpControl, ScpStream } from "./scp_stream.ts";

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
}

interface OpenDirectory {
  readonly path: string;
  readonly mode: number;
  readonly times: ScpTimes | null;
}

/** Takes what the other side sends. An error of one file is told to it and kept; the rest goes on. */
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
    await stream.refuse(reason(error), true).catch(() => {});
    throw error;
  }
  return sink.result;
}

class Sink {
  readonly #stream: ScpStream;
  readonly #files: ScpFiles;
  readonly #destination: ScpDestination;
  readonly #plan: ScpPlan;
  readonly #open: OpenDirectory[] = [];
  #times: ScpTimes | null = null;
  #tops = 0;
  readonly result: ScpResult = { files: 0, bytes: 0, errors: [] };

  constructor(stream: ScpStream, files: ScpFiles, destination: ScpDestination, plan: ScpPlan) {
    this.#stream = stream;
    this.#files = files;
    this.#destination = destination;
    this.#plan = plan;
  }

  async take(control: ScpControl): Promise<void> {
    switch (control.kind) {
      case "error": {
        const error = new SftpError(`Cannot copy: the other side says: ${control.message}`, Status.FAILURE);
        if (control.fatal) throw error;
        this.result.errors.push(error);
        return;
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
    if (this.#tops === 0 && this.result.errors.length === 0) {
      throw new SftpError("Cannot copy: the other side sent nothing; it may have no scp program", Status.FAILURE);
    }
  }

  #takeTimes(): ScpTimes | null {
    const times = this.#plan.preserve ? this.#times : null;
    this.#times = null;
    return times;
  }

  /** The path that a name stands for; a name that would lead elsewhere ends the exchange. */
  #path(name: string, kind: "file" | "directory"): string {
    if (!isSafeEntryName(name)) {
      throw new SshProtocolError(`Cannot copy: the other side names ${quoted(name)}, which is no name of a file`);
    }
    const top = this.#open.at(-1);
    if (top !== undefined) return joinPath(top.path, name);
    this.#tops++;
    if (this.#destination.place === "inside") return joinPath(this.#destination.path, name);
    if (this.#tops > 1) throw new SshProtocolError("Cannot copy: the other side sends more than was asked for");
    return kind === "file" ? this.#destination.file ?? this.#destination.path : this.#destination.path;
  }

  async #enter(name: string, mode: number, times: ScpTimes | null): Promise<void> {
    const isTop = this.#open.length === 0, path = this.#path(name, "directory");
    if (!this.#plan.recursive) {
      throw new SshProtocolError("Cannot copy: the other side sends a directory nobody asked for");
    }
    if (this.#open.length >= MAX_DEPTH) {
      throw new SshProtocolError(`Cannot copy: the other side sends more than ${MAX_DEPTH} directories deep`);
    }
    // What cannot be made is refused for good: the sender would go on with what lies in it.
    await this.#files.makeDirectory(path, mode, isTop);
    this.#open.push({ path, mode, times });
    await this.#stream.acknowledge();
  }

  async #leave(): Promise<void> {
    const directory = this.#open.pop();
    if (directory === undefined) throw new SshProtocolError("Cannot copy: the other side ends a directory twice");
    try {
      const { path, mode, times } = directory;
      await this.#files.finishDirectory(path, this.#plan.preserve ? mode : null, times);
    } catch (error) {
      return await this.#failed(directory.path, error);
    }
    await this.#stream.acknowledge();
  }

  async #failed(path: string, error: unknown): Promise<void> {
    const wrapped = error instanceof SftpError
      ? error
      : new SftpError(`Cannot copy to ${quoted(path)}: ${reason(error)}`, Status.FAILURE, path, { cause: error });
    this.result.errors.push(wrapped);
    await this.#stream.refuse(`${this.#files.base(path)}: ${reason(error)}`, false);
  }

  async #file(name: string, mode: number, size: number, times: ScpTimes | null): Promise<void> {
    const path = this.#path(name, "file");
    let target;
    try {
      target = await this.#files.create(path, mode, size);
    } catch (error) {
      return await this.#failed(path, error);
    }
    let failure: { error: unknown } | null = null, done = false;
    try {
      await this.#stream.acknowledge();
      this.#plan.onProgress?.({ path, bytes: 0, total: size });
      for (let left = size; left > 0;) {
        const part = await this.#stream.contents(left);
        left -= part.length;
        // The size was promised: what cannot be written any more is still taken.
        if (failure === null) await target.write(part).catch((error) => failure = { error });
        this.#plan.onProgress?.({ path, bytes: size - left, total: size });
      }
      const answer = await this.#stream.acknowledged();
      if (answer !== null) {
        failure = {
          error: new SftpError(`Cannot copy ${quoted(path)}: the other side says: ${answer}`, Status.FAILURE, path),
        };
      }
      if (failure === null) {
        done = true;
        await target.finish(times).catch((error) => failure = { error });
      }
    } finally {
      if (!done) await target.abandon();
    }
    if (failure !== null) return await this.#failed(path, (failure as { error: unknown }).error);
    await this.#stream.acknowledge();
    this.result.files++;
    this.result.bytes += size;
  }
}
