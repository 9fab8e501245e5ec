/**
 * L5. SCP, client and server: the exchange of `scp -O`, over a command's standard input and output.
 *
 * @module
 */
import type { AuthInfo } from "../auth/types.ts";
import { SftpError } from "../errors.ts";
import type { ByteDuplex } from "../wire/types.ts";
import type { SftpBackend } from "./backend.ts";
import { Status } from "./constants.ts";
import { expandGlob } from "./glob.ts";
import { localStat } from "./local_files.ts";
import { baseName, isSafeEntryName, joinPath, quoted } from "./names.ts";
import { openRootedBackend, type RootedOptions } from "./rooted_backend.ts";
import { parseScpCommand, type ScpCommand } from "./scp_command.ts";
import { backendScpFiles, localScpFiles, type ScpFiles } from "./scp_files.ts";
import { receiveScp, type ScpDestination } from "./scp_sink.ts";
import { reason, type ScpPlan, type ScpResult, sendScp } from "./scp_source.ts";
import { ScpStream } from "./scp_stream.ts";
import type { TransferSummary } from "./transfer.ts";

/** Options of a copy by SCP. */
export interface ScpOptions {
  /** Copy directories and what is in them. @default {false} */
  readonly recursive?: boolean;
  /** Keep times and permission bits. @default {false} */
  readonly preserve?: boolean;
  /** Told of bytes done, per file, by its local path. */
  readonly onProgress?: (progress: { path: string; bytes: number; total: number | null }) => void;
  /** Aborts the copy. */
  readonly signal?: AbortSignal;
}

function planOf(options: ScpOptions): ScpPlan {
  const { recursive = false, preserve = false, onProgress } = options;
  return { recursive, preserve, ...(onProgress === undefined ? {} : { onProgress }) };
}

/** Runs one exchange, ended by its signal, and closes the streams. */
async function exchange<T>(
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

function summary(result: ScpResult): TransferSummary {
  const [first] = result.errors;
  if (first === undefined) return { files: result.files, bytes: result.bytes };
  if (result.errors.length === 1 && result.files === 0) throw first;
  throw new SftpError(
    `Cannot copy everything: ${result.errors.length} failed, ${result.files} files were copied; the first: ${first.message}`,
    Status.FAILURE,
    first instanceof SftpError ? first.path : null,
    { cause: new AggregateError(result.errors, `${result.errors.length} errors`) },
  );
}

/** Sends a local file or tree over the streams of `scpCommand("to", …)`. Errors of single files are told at the end. */
export async function scpUpload(
  channel: ByteDuplex,
  local: string,
  options: ScpOptions = {},
): Promise<TransferSummary> {
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
  const plan = planOf(options);
  const destination: ScpDestination = { path: local, place: "as" };
  const base = baseName(remote), there = await localStat(local, true);
  const inside = there?.kind === "directory" && isSafeEntryName(base) ? { file: joinPath(local, base) } : {};
  const run = (stream: ScpStream): Promise<ScpResult> => {
    return receiveScp(stream, localScpFiles, { ...destination, ...inside }, plan);
  };
  return summary(await exchange(channel, options.signal, run));
}

/** Options of {@linkcode serveScp}. */
export interface ServeScpOptions {
  /** Ends the exchange. */
  readonly signal?: AbortSignal;
}

/**
 * Serves a client's `scp -t` or `scp -f` from a part of the real file system, or any backend; resolves to the exit code. The
 * command is read here, and no shell sees it; one that is not SCP resolves to 127 with nothing done.
 */
export async function serveScp(
  channel: ByteDuplex,
  command: string,
  backend: SftpBackend | RootedOptions,
  info: AuthInfo,
  options: ServeScpOptions = {},
): Promise<number> {
  const parsed = parseScpCommand(command);
  if (parsed === null) return 127;
  if (typeof (backend as SftpBackend).open === "function") {
    return await serve(channel, parsed, backendScpFiles(backend as SftpBackend, info), options);
  }
  await using rooted = await openRootedBackend(backend as RootedOptions);
  return await serve(channel, parsed, backendScpFiles(rooted, info), options);
}

async function serve(
  channel: ByteDuplex,
  command: ScpCommand,
  files: ScpFiles,
  options: ServeScpOptions,
): Promise<number> {
  try {
    return await exchange(channel, options.signal, async (stream) => {
      const { errors } = command.direction === "from"
        ? await sendScp(stream, files, await pathsOf(command, files), command)
        : await take(stream, command, files);
      return errors.length === 0 ? 0 : 1;
    });
  } catch {
    // The client was told where it still listened.
    return 1;
  }
}

async function take(stream: ScpStream, command: ScpCommand, files: ScpFiles): Promise<ScpResult> {
  const path = command.paths[0]!.text;
  const there = await files.stat(path, true).catch(async (error) => {
    await stream.refuse(reason(error), true);
    throw error;
  });
  const isDirectory = there?.kind === "directory";
  if (command.directory && !isDirectory) {
    await stream.refuse(`${baseName(path)}: not a directory`, true);
    throw new SftpError(`Cannot copy to ${quoted(path)}: it is no directory`, Status.FAILURE, path);
  }
  return await receiveScp(stream, files, { path, place: isDirectory ? "inside" : "as" }, command);
}

/** Paths with globs expanded; one that matches nothing stands for itself, as in a shell. */
async function pathsOf(command: ScpCommand, files: ScpFiles): Promise<string[]> {
  const list: string[] = [];
  for (const { text, glob } of command.paths) {
    const found: string[] = [];
    if (glob) {
      const tree = {
        list: async (path: string) => {
          if ((await files.stat(path, true))?.kind !== "directory") return [];
          return await Array.fromAsync(files.list(path), async (name) => ({
            name,
            isDirectory: (await files.stat(joinPath(path, name), false))?.kind === "directory",
          }));
        },
        exists: async (path: string) => await files.stat(path, false) !== null,
      };
      for await (const path of expandGlob(tree, text)) found.push(path);
    }
    list.push(...(found.length > 0 ? found : [text]));
  }
  return list;
}
