/**
 * L5. The sending side of SCP, `scp -f` of a server and the client of `scp -t`. As OpenSSH's scp.c has it.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { MAX_DEPTH, Status } from "./constants.ts";
import type { LocalInfo } from "./local_files.ts";
import { joinPath, quoted } from "./names.ts";
import type { ScpFiles } from "./scp_files.ts";
import type { ScpStream } from "./scp_stream.ts";

/** Contents are sent in chunks of this. */
const BLOCK = 262_144;

/** What both sides of an exchange are told. */
export interface ScpPlan {
  /** Directories too. */
  readonly recursive: boolean;
  /** Times and permission bits too. */
  readonly preserve: boolean;
  /** Told of bytes done, per file. */
  readonly onProgress?: (progress: { path: string; bytes: number; total: number | null }) => void;
}

/** What an exchange did. */
export interface ScpResult {
  /** Files copied. */
  files: number;
  /** Bytes copied. */
  bytes: number;
  /** What went wrong without ending it. */
  readonly errors: Error[];
}

/** Sends what the paths name. An error of one file is told to the other side and kept; the rest goes on. */
export async function sendScp(
  stream: ScpStream,
  files: ScpFiles,
  paths: Iterable<string>,
  plan: ScpPlan,
): Promise<ScpResult> {
  const result: ScpResult = { files: 0, bytes: 0, errors: [] };
  const first = await stream.acknowledged();
  if (first !== null) throw new SftpError(`Cannot copy: the other side says: ${first}`, Status.FAILURE);
  for (const path of paths) await new Source(stream, files, plan, result).send(path, files.base(path), 0);
  return result;
}

class Source {
  readonly #stream: ScpStream;
  readonly #files: ScpFiles;
  readonly #plan: ScpPlan;
  readonly #result: ScpResult;

  constructor(stream: ScpStream, files: ScpFiles, plan: ScpPlan, result: ScpResult) {
    this.#stream = stream;
    this.#files = files;
    this.#plan = plan;
    this.#result = result;
  }

  /** Keeps an error and tells the other side, which counts it. */
  async #failed(path: string, why: string): Promise<void> {
    this.#result.errors.push(new SftpError(`Cannot copy ${quoted(path)}: ${why}`, Status.FAILURE, path));
    await this.#stream.refuse(`${this.#files.base(path)}: ${why}`, false);
  }

  async send(path: string, name: string, depth: number): Promise<void> {
    let info: LocalInfo | null;
    try {
      info = await this.#files.stat(path, true);
    } catch (error) {
      return await this.#failed(path, reason(error));
    }
    // A line ends at a line feed, and a name at nothing else.
    if (/[\n\0/]/.test(name)) return await this.#failed(path, "SCP cannot carry this name; SFTP can");
    if (info === null) return await this.#failed(path, "No such file");
    if (info.kind === "file") return await this.#file(path, name);
    if (info.kind !== "directory") return await this.#failed(path, "not a regular file");
    if (!this.#plan.recursive) return await this.#failed(path, "it is a directory; `recursive: true` copies it");
    if (depth >= MAX_DEPTH) return await this.#failed(path, `more than ${MAX_DEPTH} directories deep`);
    // SCP has no links. One to a directory may lead anywhere, to where it lies as well.
    if (depth > 0 && (await this.#files.stat(path, false))?.kind === "link") {
      return await this.#failed(path, "a link to a directory is not copied");
    }
    await this.#directory(path, name, info, depth);
  }

  /** Sends a line and takes its answer; false where the other side refuses what the line announces. */
  async #announce(line: string, path: string): Promise<boolean> {
    await this.#stream.line(line);
    return this.#accepted(await this.#stream.acknowledged(), path);
  }
  #accepted(answer: string | null, path: string): boolean {
    if (answer !== null) {
      this.#result.errors.push(
        new SftpError(`Cannot copy ${quoted(path)}: the other side says: ${answer}`, Status.FAILURE, path),
      );
    }
    return answer === null;
  }

  async #times(info: LocalInfo, path: string): Promise<boolean> {
    return !this.#plan.preserve || await this.#announce(`T${info.mtime} 0 ${info.atime} 0`, path);
  }

  async #directory(path: string, name: string, info: LocalInfo, depth: number): Promise<void> {
    const mode = (info.mode ?? 0o755).toString(8).padStart(4, "0");
    if (!await this.#times(info, path) || !await this.#announce(`D${mode} 0 ${name}`, path)) return;
    try {
      for await (const entry of this.#files.list(path)) await this.send(joinPath(path, entry), entry, depth + 1);
    } catch (error) {
      if (!isLocal(error)) throw error;
      await this.#failed(path, reason(error));
    }
    await this.#announce("E", path);
  }

  async #file(path: string, name: string): Promise<void> {
    let source;
    try {
      source = await this.#files.open(path);
    } catch (error) {
      return await this.#failed(path, reason(error));
    }
    try {
      const { info } = source, total = info.size;
      const mode = (info.mode ?? 0o644).toString(8).padStart(4, "0");
      if (!await this.#times(info, path) || !await this.#announce(`C${mode} ${total} ${name}`, path)) return;
      this.#plan.onProgress?.({ path, bytes: 0, total });
      let trouble: string | null = null;
      for (let left = total; left > 0;) {
        const block = new Uint8Array(Math.min(left, BLOCK));
        let count = 0;
        try {
          if (trouble === null) count = await source.read(block);
        } catch (error) {
          trouble = reason(error);
        }
        if (count === 0) {
          // The size is promised: what is missing is filled up, and the other side told afterwards.
          trouble ??= "it became shorter meanwhile";
          count = block.length;
          block.fill(0);
        }
        await this.#stream.write(block.subarray(0, count));
        left -= count;
        this.#plan.onProgress?.({ path, bytes: total - left, total });
      }
      if (trouble === null) await this.#stream.acknowledge();
      else await this.#failed(path, trouble);
      if (!this.#accepted(await this.#stream.acknowledged(), path) || trouble !== null) return;
      this.#result.files++;
      this.#result.bytes += total;
    } finally {
      await source.close();
    }
  }
}

/** Whether an error is one of the file system, and not of the exchange. */
function isLocal(error: unknown): boolean {
  return error instanceof Error && ("code" in error && (error as { code?: unknown }).code !== "PROTOCOL_ERROR") &&
    !(error instanceof SftpError && error.status === Status.CONNECTION_LOST);
}

/** What the other side may know of an error: its kind. */
export function reason(error: unknown): string {
  if (error instanceof SftpError) return error.message;
  return error instanceof Error ? error.name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase() : "failure";
}
