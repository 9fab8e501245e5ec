/**
 * SCP's server: what a client's `scp -t` or `scp -f` talks to, over a part of the real file system or any backend.
 *
 * @module
 */
import type { AuthInfo } from "../auth/types.ts";
import { SftpError, SshError } from "../errors.ts";
import { TurnShare } from "../wire/turns.ts";
import { callBack } from "../wire/callback.ts";
import type { ByteDuplex } from "../wire/types.ts";
import type { SftpBackend } from "../files/backend.ts";
import { checkServed } from "../files/check_backend.ts";
import { checkCall, checkChannel, checkWord } from "../files/check_calls.ts";
import { MAX_PATH, Status } from "../files/limits.ts";
import { expandGlob, GlobLimitError, type GlobTree } from "../files/glob.ts";
import { quoted } from "../files/names.ts";
import { openRootedBackend, type RootedOptions } from "../files/rooted/backend.ts";
import { parseScpCommand, type ScpCommand } from "./command.ts";
import { BackendScpFiles } from "./backend_files.ts";
import type { ScpFiles } from "./files.ts";
import type { ScpResult } from "./result.ts";
import { exchange } from "./scp.ts";
import { receiveScp } from "./sink.ts";
import { sendScp } from "./source.ts";
import type { ScpStream } from "./stream.ts";
import { copyError, reasonOf } from "./text.ts";

/** Options of {@linkcode serveScp}. */
export interface ServeScpOptions {
  /** Ends the exchange. */
  readonly signal?: AbortSignal | undefined;
  /** Told of errors of a backend that are neither an `SftpError` nor one of the file system. */
  readonly onError?: ((error: unknown) => void) | undefined;
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
  checkServed(backend);
  checkChannel(channel);
  checkWord("command", command);
  checkCall("serve", options);
  const parsed = parseScpCommand(command);
  if (parsed === null) return 127;
  const { onError = () => {} } = options;
  if (typeof (backend as SftpBackend).open === "function") {
    return await serve(channel, parsed, new BackendScpFiles(backend as SftpBackend, info, onError), options);
  }
  await using rooted = await openRootedBackend(backend as RootedOptions);
  return await serve(channel, parsed, new BackendScpFiles(rooted, info, onError), options);
}

async function serve(
  channel: ByteDuplex,
  command: ScpCommand,
  files: ScpFiles,
  options: ServeScpOptions,
): Promise<number> {
  const { signal, onError } = options;
  try {
    return await exchange(channel, signal, async (stream) => {
      const { failed } = command.direction === "from"
        ? await sendScp(stream, files, pathsOf(command, files, stream, signal), command)
        : await take(stream, command, files);
      return failed === 0 ? 0 : 1;
    });
  } catch (error) {
    // The client was told where it still listened; what is no error of it or of the files is one of this program.
    if (!signal?.aborted && !(error instanceof SshError)) callBack(() => onError?.(error));
    return 1;
  }
}

async function take(stream: ScpStream, command: ScpCommand, files: ScpFiles): Promise<ScpResult> {
  const path = command.paths[0]!.text;
  const there = await files.stat(path, true).catch(async (error) => {
    await stream.refuse(path, reasonOf(error), true);
    throw copyError("copy to", path, error);
  });
  const isDirectory = there?.kind === "directory";
  if (command.directory && !isDirectory) {
    await stream.refuse(path, there === null ? "No such file or directory" : "Not a directory", true);
    throw new SftpError(`Cannot copy to ${quoted(path)}: it is no directory`, Status.FAILURE, path);
  }
  return await receiveScp(stream, files, { path, place: isDirectory ? "inside" : "as" }, command);
}

/** Comparisons that the patterns of one command may take, which is no fewer than the names that are looked at. */
const MAX_LOOKS = 262_144;

/**
 * Paths with globs expanded, each pattern when its turn has come; one that matches nothing stands for itself, as in a shell.
 * What cannot be looked at has nothing that matches.
 */
async function* pathsOf(
  command: ScpCommand,
  files: ScpFiles,
  stream: ScpStream,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  const turn = TurnShare.known();
  let left = MAX_LOOKS;
  const tree: GlobTree = {
    look(comparisons) {
      signal?.throwIfAborted();
      left -= comparisons;
      if (left < 0) throw new GlobLimitError(`Cannot expand glob: it takes more than ${MAX_LOOKS} comparisons`);
    },
    async *list(path) {
      try {
        if ((await files.stat(path, true))?.kind === "directory") yield* files.list(path);
      } catch {
        // A mistake in the backend has been told.
      }
    },
    exists: (path) => files.stat(path, false).then((info) => info !== null, () => false),
    rest: () => turn.rest(),
  };
  for (const { text, glob } of command.paths) {
    signal?.throwIfAborted();
    let found = false;
    // What is longer is no path, and nothing is done for it.
    if (glob !== null && text.length <= MAX_PATH) {
      try {
        for await (const path of expandGlob(tree, glob)) {
          found = true;
          yield path;
        }
      } catch (error) {
        if (!(error instanceof GlobLimitError)) throw error;
        await stream.refuse(text, reasonOf(error), true);
        throw copyError("copy", text, error);
      }
    }
    if (!found) yield text;
  }
}
