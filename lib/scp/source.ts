/**
 * The sending side of SCP, `scp -f` of a server and the client of `scp -t`. As OpenSSH's scp.c has it.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { SftpError } from "../errors.ts";
import { type Exclusion, exclusionOf } from "../files/exclude.ts";
import { MAX_DEPTH, Status } from "../files/limits.ts";
import type { LocalInfo } from "../files/local_files.ts";
import { joinPath, quoted } from "../files/names.ts";
import { TurnShare } from "../wire/turns.ts";
import type { ScpFiles, ScpSource } from "./files.ts";
import { type ScpPlan, ScpResult } from "./result.ts";
import { type ScpStream, scpTime } from "./stream.ts";
import { copyError, reasonOf } from "./text.ts";

/** Contents are sent in chunks of this. */
const BLOCK = 262_144;
/** Looked for in a file whose size is given as 0. */
const UNKNOWN_BLOCK = 4096;
/** Most bytes of such a file. */
const UNKNOWN_LIMIT = 67_108_864;

/**
 * Sends what the paths name; each is asked for when the one before has been taken. An error of one file is told to the other
 * side and counted; the rest goes on.
 */
export async function sendScp(
  stream: ScpStream,
  files: ScpFiles,
  paths: Iterable<string> | AsyncIterable<string>,
  plan: ScpPlan,
): Promise<ScpResult> {
  const first = await stream.acknowledged();
  if (first !== null) throw new SftpError(`Cannot copy: the other side says: ${first}`, Status.FAILURE);
  const source = new Source(stream, files, plan);
  // A slash behind the name of a file is no matter here, as with OpenSSH's scp.
  for await (const path of paths) await source.send(path.replace(/(?<=[^/])\/+$/, ""), 0);
  return source.result;
}

/** All of a file whose size is given as 0, as those of /proc: SCP has to say it first. */
async function readUnknown(source: ScpSource): Promise<Uint8Array> {
  const blocks: Uint8Array[] = [], turn = TurnShare.known();
  let block = new Uint8Array(UNKNOWN_BLOCK), used = 0, total = 0;
  for (;;) {
    await turn.rest();
    // Such files give little at a time, those of /proc less than a page: a block is for as many reads as it takes to fill it.
    if (used === block.length) {
      blocks.push(block);
      block = new Uint8Array(BLOCK);
      used = 0;
    }
    const count = await source.read(block.subarray(used));
    if (count === 0) return concat([...blocks, block.subarray(0, used)]);
    used += count;
    total += count;
    if (total > UNKNOWN_LIMIT) throw failure("its size is given as 0, and it has more than 64 MiB; SFTP can copy it");
  }
}

function failure(message: string, status: number = Status.FAILURE): SftpError {
  return new SftpError(message, status);
}

class Source {
  readonly #stream: ScpStream;
  readonly #files: ScpFiles;
  readonly #plan: ScpPlan;
  readonly #top: Exclusion;
  readonly result = new ScpResult();

  constructor(stream: ScpStream, files: ScpFiles, plan: ScpPlan) {
    this.#stream = stream;
    this.#files = files;
    this.#plan = plan;
    this.#top = plan.exclude ?? exclusionOf(undefined);
  }

  /** Counts an error and tells the other side, which counts it too; `said` is what it hears. */
  async #failed(path: string, error: unknown, said = reasonOf(error)): Promise<void> {
    this.result.fail(copyError("copy", path, error));
    await this.#stream.refuse(this.#files.shown(path), said, false);
  }

  /** Sends what is there; below the top its name is that in the listing. `inside` is what is left out in it. */
  async send(path: string, depth: number, entry?: string, inside = this.#top): Promise<void> {
    let info: LocalInfo | null, name: string, isLink = false;
    try {
      name = entry ?? (this.#files.base(path) || ".");
      info = await this.#files.stat(path, true);
      if (depth > 0 && info?.kind === "directory") isLink = (await this.#files.stat(path, false))?.kind === "link";
    } catch (error) {
      return await this.#failed(path, error);
    }
    // A line ends at a line feed, and a name at nothing else.
    if (/[\n\0/]/.test(name)) return await this.#failed(path, failure("SCP cannot carry this name; SFTP can"));
    if (info === null) return await this.#failed(path, failure("No such file", Status.NO_SUCH_FILE));
    if (info.kind === "file") return await this.#file(path, name);
    if (info.kind !== "directory") return await this.#failed(path, failure("not a regular file"));
    if (!this.#plan.recursive) {
      return await this.#failed(path, failure("it is a directory; `recursive: true` copies it"), "Is a directory");
    }
    if (depth >= MAX_DEPTH) return await this.#failed(path, failure(`more than ${MAX_DEPTH} directories deep`));
    // SCP has no links. One to a directory may lead anywhere, to where it lies as well.
    if (isLink) return await this.#failed(path, failure("a link to a directory is not copied"));
    await this.#directory(path, name, info, depth, inside);
  }

  /** Sends a line and takes its answer; false where the other side refuses what the line announces. */
  async #announce(line: string, path: string): Promise<boolean> {
    await this.#stream.line(line);
    return this.#accepted(await this.#stream.acknowledged(), path);
  }
  #accepted(answer: string | null, path: string): boolean {
    if (answer !== null) {
      this.result.fail(
        new SftpError(`Cannot copy ${quoted(path)}: the other side says: ${answer}`, Status.FAILURE, path),
      );
    }
    return answer === null;
  }

  async #times(info: LocalInfo, path: string): Promise<boolean> {
    return !this.#plan.preserve || await this.#announce(`T${scpTime(info.mtime)} 0 ${scpTime(info.atime)} 0`, path);
  }

  async #directory(
    path: string,
    name: string,
    info: LocalInfo,
    depth: number,
    exclusion: Exclusion,
  ): Promise<void> {
    const mode = (info.mode ?? 0o755).toString(8).padStart(4, "0");
    if (!await this.#times(info, path) || !await this.#announce(`D${mode} 0 ${name}`, path)) return;
    const entries = this.#files.list(path)[Symbol.asyncIterator]();
    try {
      for (;;) {
        // Only what the listing throws is an error of this directory; what sending throws ends the exchange.
        const next = await entries.next().catch((error) => ({ error }));
        if ("error" in next) await this.#failed(path, next.error);
        else if (!next.done) {
          const { name, isDirectory } = next.value;
          if (exclusion.excludes(name, isDirectory)) continue;
          await this.send(joinPath(path, name), depth + 1, name, exclusion.enter(name));
          continue;
        }
        break;
      }
    } finally {
      await entries.return?.();
    }
    await this.#announce("E", path);
  }

  async #file(path: string, name: string): Promise<void> {
    let source;
    try {
      source = await this.#files.open(path);
    } catch (error) {
      return await this.#failed(path, error);
    }
    try {
      const { info } = source;
      let ahead: Uint8Array;
      try {
        ahead = info.size > 0 ? new Uint8Array(0) : await readUnknown(source);
      } catch (error) {
        return await this.#failed(path, error);
      }
      const total = info.size + ahead.length;
      const mode = (info.mode ?? 0o644).toString(8).padStart(4, "0");
      if (!await this.#times(info, path) || !await this.#announce(`C${mode} ${total} ${name}`, path)) return;
      this.#plan.onProgress?.({ path, bytes: 0, total });
      let trouble: { error: unknown } | null = null;
      for (let left = total; left > 0;) {
        const block = new Uint8Array(Math.min(left, BLOCK));
        let count = 0;
        try {
          if (ahead.length > 0) {
            block.set(ahead.subarray(0, count = block.length));
            ahead = ahead.subarray(count);
          } else if (trouble === null) count = await source.read(block);
        } catch (error) {
          trouble = { error };
        }
        if (count === 0) {
          // The size is promised: what is missing is filled up, and the other side told afterwards.
          trouble ??= { error: failure("it became shorter meanwhile") };
          count = block.length;
          block.fill(0);
        }
        await this.#stream.write(block.subarray(0, count));
        left -= count;
        this.#plan.meter?.sent(path, count, info.size === 0 ? count : 0);
        this.#plan.onProgress?.({ path, bytes: total - left, total });
      }
      if (trouble === null) await this.#stream.acknowledge();
      else await this.#failed(path, trouble.error);
      if (!this.#accepted(await this.#stream.acknowledged(), path) || trouble !== null) return;
      this.result.files++;
      this.result.bytes += total;
      this.#plan.meter?.finished();
    } finally {
      await source.close();
    }
  }
}
