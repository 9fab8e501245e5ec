/**
 * SCP's client: the exchange of `scp -O`, over a command's standard input and output.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { requireDeno } from "../wire/system.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { checkCall, checkChannel, checkPaths } from "../files/check_calls.ts";
import { Status } from "../files/limits.ts";
import { localStat } from "../files/local_files.ts";
import { baseName, joinPath } from "../files/names.ts";
import { localScpFiles } from "./files.ts";
import type { ScpPlan, ScpResult } from "./result.ts";
import { receiveScp, type ScpDestination } from "./sink.ts";
import { sendScp } from "./source.ts";
import { ScpStream } from "./stream.ts";
import { copyError } from "./text.ts";
import type { TransferSummary } from "../files/copied.ts";

/** Options of a copy by SCP. */
export interface ScpOptions {
  /** Copy directories and what is in them. @default {false} */
  readonly recursive?: boolean | undefined;
  /** Keep times and permission bits. @default {false} */
  readonly preserve?: boolean | undefined;
  /** Told of bytes done, per file, by its local path. */
  readonly onProgress?: ((progress: { path: string; bytes: number; total: number | null }) => void) | undefined;
  /** Aborts the copy. */
  readonly signal?: AbortSignal | undefined;
}

function planOf(options: ScpOptions): ScpPlan {
  const { recursive = false, preserve = false, onProgress } = options;
  return { recursive, preserve, ...(onProgress === undefined ? {} : { onProgress }) };
}

/** Throws `TypeError` in a page: SCP copies to and from local files. */
export function requireLocalFiles(): void {
  requireDeno("copy by SCP", "`readFile()`, `writeFile()` and `open()` of `sftp()` work on bytes and streams");
}

/** Runs one exchange, ended by its signal, and closes the streams. */
export async function exchange<T>(
  channel: ByteDuplex,
  signal: AbortSignal | undefined,
  run: (stream: ScpStream) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const stream = new ScpStream(channel);
  const abort = (): void => stream.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const result = await run(stream);
    await stream.close();
    return result;
  } catch (error) {
    stream.abort(error);
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

function summary({ files, bytes, failed, errors }: ScpResult): TransferSummary {
  const [first] = errors;
  if (first === undefined) return { files, bytes, warnings: [] };
  if (failed === 1 && files === 0) throw first;
  throw new SftpError(
    `Cannot copy everything: ${failed} failed, ${files} files were copied; the first: ${first.message}`,
    first instanceof SftpError ? first.status : Status.FAILURE,
    first instanceof SftpError ? first.path : null,
    { cause: new AggregateError(errors, `${failed} errors`) },
  );
}

/** Sends a local file or tree over the streams of `scpCommand("to", …)`. Errors of single files are told at the end. */
export async function scpUpload(
  channel: ByteDuplex,
  local: string,
  options: ScpOptions = {},
): Promise<TransferSummary> {
  checkChannel(channel);
  checkPaths({ local });
  checkCall("scp", options);
  requireLocalFiles();
  const plan = planOf(options);
  return summary(
    await exchange(channel, options.signal, (stream) => sendScp(stream, localScpFiles, [local], plan)),
  );
}

/**
 * Takes what `scpCommand("from", remote, …)` sends to a local path, or into it where that is a directory and a file comes. What
 * the server calls it does not matter: the name is that of `remote`. Each file is written beside its name and renamed when it
 * is whole.
 */
export async function scpDownload(
  channel: ByteDuplex,
  remote: string,
  local: string,
  options: ScpOptions = {},
): Promise<TransferSummary> {
  checkChannel(channel);
  checkPaths({ remote, local });
  checkCall("scp", options);
  requireLocalFiles();
  const plan = planOf(options);
  const destination: ScpDestination = { path: local, place: "as", asked: remote };
  const base = baseName(remote),
    there = await localStat(local, true).catch((error) => {
      throw copyError("copy to", local, error);
    });
  const own = there?.kind === "directory" ? localScpFiles.spell(base) : null;
  const inside = own === null ? {} : { file: joinPath(local, own) };
  const run = (stream: ScpStream): Promise<ScpResult> => {
    return receiveScp(stream, localScpFiles, { ...destination, ...inside }, plan);
  };
  return summary(await exchange(channel, options.signal, run));
}
