/**
 * SCP on a client's connection, for servers that have no SFTP.
 *
 * @module
 */
import type { Mux } from "../connection/mux.ts";
import { printable, SftpError, SshError } from "../errors.ts";
import { type ProcessServices, type RemoteProcess, startProcess } from "../session/process.ts";
import type { ExitStatus } from "../session/types.ts";
import type { ScpOptions } from "../scp/scp.ts";
import type { TransferSummary } from "../files/copied.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { checkCall, checkPaths } from "../files/check_calls.ts";

/** Copies by the `scp` program of the server, as `scp -O` does. Where the server has SFTP, `sftp()` is faster and can resume. */
export interface ScpClient {
  /**
   * Copies a local file or tree there. The server puts it into `remote` where that is a directory, and gives it that name where it
   * is not. Rejects with `SftpError`, at the end for those of single files, and with `SshError` where the server runs no commands.
   */
  upload(local: string, remote: string, options?: ScpOptions): Promise<TransferSummary>;
  /**
   * Copies a remote file or tree to a local path, whatever the server calls it; a file goes into `local` where that is a directory.
   * Nothing in `remote` is expanded. Rejects as `upload()` does.
   */
  download(remote: string, local: string, options?: ScpOptions): Promise<TransferSummary>;
}

/** SSH_FX_FAILURE. */
const FAILURE = 4;
/** How long a server's scp may take to end when everything is said, in milliseconds. */
const GRACE = 1000;

/** Most bytes that are kept of what the server's scp says beside its protocol. */
const MAX_STDERR = 1024;

/**
 * Lets the other side end by itself: some servers speak on, of the exit code, when the channel is closed to them before. Resolves to
 * how it ended, or null where it does not say so in time.
 */
async function ended(process: RemoteProcess): Promise<ExitStatus | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(resolve, GRACE, null);
  const status = await Promise.race([process.status.catch(() => null), promise]);
  clearTimeout(timer);
  return status;
}

/** The start of a stream, which is read to its end. */
function startOf(stream: ReadableStream<Uint8Array>): () => string {
  const start = new Uint8Array(MAX_STDERR);
  let length = 0;
  stream.pipeTo(
    new WritableStream({
      write(chunk) {
        const part = chunk.subarray(0, MAX_STDERR - length);
        start.set(part, length);
        length += part.length;
      },
    }),
  ).catch(() => {});
  return () => new TextDecoder().decode(start.subarray(0, length)).trim();
}

/** How a command ended, where that was not with exit code 0. */
function failureOf(status: ExitStatus | null): string | null {
  if (status === null || status.success || status.code === null && status.signal === null) return null;
  return status.signal === null ? `exit code ${status.code}` : `signal ${status.signal}`;
}

/** What is known besides of why a copy failed: what a device or a shell has to say stands on its standard error. */
function explained(error: unknown, stderr: string, status: ExitStatus | null): unknown {
  if (!(error instanceof SshError)) return error;
  const failure = failureOf(status),
    note = (failure === null ? "" : `; the server's scp ended with ${failure}`) +
      (stderr === "" ? "" : `; on its standard error: "${printable(stderr, MAX_STDERR)}"`);
  if (note === "") return error;
  const [number, path] = error instanceof SftpError ? [error.status, error.path] : [FAILURE, null];
  const code = error instanceof SftpError ? error.code : undefined;
  return new SftpError(error.message + note, number, path, { code, cause: error.cause ?? error });
}

/** The exchange of one copy. */
type Run = (
  scp: typeof import("../scp/scp.ts"),
  channel: ByteDuplex,
  signal: AbortSignal | undefined,
) => Promise<{ readonly summary: TransferSummary; readonly isPartial: boolean }>;

/** SCP over channels of a connection, one for each copy. */
export function scpClient(mux: Mux, services: Pick<ProcessServices, "giveRoom">): ScpClient {
  const copy = async (
    direction: "to" | "from",
    { remote, local }: { readonly remote: string; readonly local: string },
    options: ScpOptions,
    run: Run,
  ): Promise<TransferSummary> => {
    // Only those who copy pay for it.
    const [scp, { scpCommand }] = await Promise.all([import("../scp/scp.ts"), import("../scp/command.ts")]);
    checkPaths({ remote, local });
    checkCall("scp", options);
    scp.requireLocalFiles();
    const command = scpCommand(direction, remote, options), path = direction === "to" ? local : remote;
    return await scp.timed(options, path, (signal) => copyOver(command, scp, signal, run));
  };
  const copyOver = async (
    command: string,
    scp: typeof import("../scp/scp.ts"),
    signal: AbortSignal | undefined,
    run: Run,
  ): Promise<TransferSummary> => {
    await using process = await startProcess(
      mux,
      { kind: "exec", command },
      signal === undefined ? {} : { signal },
      services,
    );
    const stderr = startOf(process.stderr);
    let summary: TransferSummary, isPartial: boolean;
    try {
      ({ summary, isPartial } = await run(scp, process, signal));
    } catch (error) {
      if (signal?.aborted) throw error;
      const status = await ended(process);
      throw explained(error, stderr(), status);
    }
    const status = await ended(process), failure = failureOf(status);
    // With 1 it says that not everything was taken, which was wanted.
    if (failure === null || isPartial && status?.code === 1) return summary;
    // It said of each file that it has it: some devices end like this all the same.
    const warning = `The server's scp took everything, and ended with ${failure}` +
      (stderr() === "" ? "" : `: "${printable(stderr(), MAX_STDERR)}"`);
    return { ...summary, warnings: [...summary.warnings, warning] };
  };
  return {
    upload: (local, remote, options = {}) =>
      copy("to", { remote, local }, options, async (scp, channel, signal) => ({
        summary: await scp.scpUpload(channel, local, { ...options, signal, timeout: undefined }),
        isPartial: false,
      })),
    download: (remote, local, options = {}) =>
      copy(
        "from",
        { remote, local },
        options,
        (scp, channel, signal) => scp.takeScp(channel, remote, local, { ...options, signal, timeout: undefined }),
      ),
  };
}
