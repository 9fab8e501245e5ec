/**
 * SCP's client: the exchange of `scp -O`, over a command's standard input and output.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { requireSystem } from "../wire/system.ts";
import { heeded } from "../wire/callback.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { checkCall, checkChannel, checkPaths } from "../files/check_calls.ts";
import { exclusionOf } from "../files/exclude.ts";
import { Status } from "../files/limits.ts";
import { localSource } from "../files/local_source.ts";
import { withDeadline } from "../wire/deadline.ts";
import { tally, type TallyTree } from "../files/tally.ts";
import { TreeMeter, type TreeProgress } from "../files/tree_progress.ts";
import { localStat } from "../files/local_files.ts";
import { baseName, joinPath, quoted } from "../files/names.ts";
import { localScpFiles } from "./client_files.ts";
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
  /** Keep times and permission bits. Without it a file that replaces another here keeps that one's bits. @default {false} */
  readonly preserve?: boolean | undefined;
  /** Told of bytes done, per file, by its local path. */
  readonly onProgress?: ((progress: { path: string; bytes: number; total: number | null }) => void) | undefined;
  /**
   * Told how far the whole copy is: when it begins, ten times a second at most while it goes on, and with the last figures when it
   * ends, unless it was aborted or the connection is lost. How much there is to do is counted beside the copying; what comes from the
   * server tells it of single files only. What it throws ends the copy, as with `onProgress`.
   */
  readonly onTreeProgress?: ((progress: TreeProgress) => void) | undefined;
  /**
   * What of a tree is left out: patterns of `*`, `?`, `[…]` and `{…}`, for which a leading dot is nothing special. One without a slash,
   * or with one at its end only, matches a name in any directory; any other matches the path from the top of the tree, with `**` for
   * any number of directories. With a slash at its end it matches directories only. Directories that are left out are not entered;
   * what the call itself names is copied in any case. Up to 1,024 patterns of 4,096 characters. @default {[]}
   */
  readonly exclude?: readonly string[] | undefined;
  /** Aborts the copy. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds for the whole copy. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  readonly timeout?: number | undefined;
}

function planOf(options: ScpOptions, path: string): ScpPlan {
  const { recursive = false, preserve = false, onProgress, onTreeProgress } = options;
  return {
    recursive,
    preserve,
    ...(onProgress === undefined ? {} : { onProgress: heeded(onProgress) }),
    meter: onTreeProgress === undefined ? undefined : new TreeMeter(path, heeded(onTreeProgress)),
    exclude: exclusionOf(options.exclude),
  };
}

/** What SCP sends of local files: links are followed, but none to directories. */
const sentTree: TallyTree = {
  ...localSource,
  async look(path, followLinks) {
    const there = await localStat(path, followLinks);
    return followLinks && there?.kind === "directory" ? null : there;
  },
};

/** Counts what there is to send while `work` sends it. */
async function counting<T>(local: string, plan: ScpPlan, work: () => Promise<T>): Promise<T> {
  const { meter, recursive, exclude: within } = plan;
  if (meter === undefined) return await work();
  let isOver = false;
  const counted = (async () => {
    const info = await localStat(local, true);
    if (info === null) return;
    const isAll = await tally(sentTree, [{ path: local, info, within: within!, name: null }], {
      recursive,
      links: "follow",
      found: (files, bytes) => meter.found(files, bytes),
      over: () => isOver,
    });
    if (isAll) meter.allFound();
  })().catch(() => {});
  try {
    return await work();
  } finally {
    isOver = true;
    await counted;
  }
}

/** Throws `TypeError` in a page: SCP copies to and from local files. */
export function requireLocalFiles(): void {
  requireSystem("copy by SCP", "`readFile()`, `writeFile()` and `open()` of `sftp()` work on bytes and streams");
}

/** A copy that ends as its options say. */
export function timed<T>(
  options: ScpOptions,
  path: string,
  copy: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  return withDeadline(options, () => `${quoted(path)} to be copied`, copy);
}

/** Runs one exchange, ended by its signal, and closes the streams. */
export async function exchange<T>(
  channel: ByteDuplex,
  signal: AbortSignal | undefined,
  run: (stream: ScpStream) => Promise<T>,
): Promise<T> {
  const stream = new ScpStream(channel);
  const abort = (): void => stream.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    signal?.throwIfAborted();
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

function summary({ files, bytes, failed, errors }: ScpResult, plan: ScpPlan): TransferSummary {
  plan.meter?.end(failed);
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
  const plan = planOf(options, local);
  const send = (stream: ScpStream): Promise<ScpResult> => {
    plan.meter?.begin();
    return sendScp(stream, localScpFiles, [local], plan);
  };
  const result = await timed(options, local, (signal) => counting(local, plan, () => exchange(channel, signal, send)));
  return summary(result, plan);
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
  return (await takeScp(channel, remote, local, options)).summary;
}

/** The same, and whether the sender was told that something is not wanted, which it may take for an error. */
export async function takeScp(
  channel: ByteDuplex,
  remote: string,
  local: string,
  options: ScpOptions,
): Promise<{ readonly summary: TransferSummary; readonly isPartial: boolean }> {
  checkChannel(channel);
  checkPaths({ remote, local });
  checkCall("scp", options);
  requireLocalFiles();
  const plan = planOf(options, remote);
  const destination: ScpDestination = { path: local, place: "as", asked: remote };
  const run = async (stream: ScpStream): Promise<ScpResult> => {
    const there = await localStat(local, true).catch((error) => {
      throw copyError("copy to", local, error);
    });
    if (there?.kind === "other") {
      const why =
        "it is no regular file, and would be replaced by one; `download()` of SFTP writes to it with `inPlace: true`";
      throw new SftpError(`Cannot copy to ${quoted(local)}: ${why}`, Status.FAILURE, local);
    }
    const own = there?.kind === "directory" ? localScpFiles.spell(baseName(remote)) : null;
    const inside = own === null ? {} : { file: joinPath(local, own) };
    plan.meter?.begin();
    return await receiveScp(stream, localScpFiles, { ...destination, ...inside }, plan);
  };
  const result = await timed(options, remote, (signal) => exchange(channel, signal, run));
  return { summary: summary(result, plan), isPartial: result.excluded > 0 };
}
