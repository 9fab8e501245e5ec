/**
 * SCP over any pair of byte streams: both directions, and what serves `scp -O`. `client.scp` and `scpHandler()` are this over SSH.
 *
 * @example A file of another host, over whatever runs its `scp`
 * ```ts
 * import { type ByteDuplex, scpCommand, scpDownload } from "@amiko/ssh/scp";
 *
 * async function hostname(run: (command: string) => ByteDuplex): Promise<void> {
 *   await scpDownload(run(scpCommand("from", "/etc/hostname")), "/etc/hostname", "hostname.txt");
 * }
 * ```
 *
 * @module
 */
export type { AuthInfo } from "../auth/types.ts";
export type { AuthenticatorData } from "../keys/key_type.ts";
export { SftpError, SshError, type SshErrorCode, type SshErrorOptions } from "../errors.ts";
export type { SftpBackend, SftpBackendEntry, SftpBackendFile, SftpBackendInfo } from "../files/backend.ts";
export type { TransferSummary } from "../files/copied.ts";
export type { TreeProgress } from "../files/tree_progress.ts";
export type { SftpAttributes, SftpDirEntry, SftpFileInfo } from "../files/file_info.ts";
export type { RootedOptions } from "../files/rooted/backend.ts";
export type { PublicKey } from "../keys/types.ts";
export type { ConnectionInfo, NegotiatedDirection } from "../transport/types.ts";
export type { ByteDuplex, Bytes, MaybePromise } from "../wire/types.ts";
export { scpCommand } from "./command.ts";
export { scpDownload, type ScpOptions, scpUpload } from "./scp.ts";
export { serveScp, type ServeScpOptions } from "./server.ts";
