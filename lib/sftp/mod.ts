/**
 * SFTP over any pair of byte streams: the client, the server, and what it serves: a part of the real file system, files in memory,
 * or a backend of your own.
 *
 * @example A client of a program that serves SFTP on its standard input and output
 * ```ts ignore
 * import { openSftp } from "@amiko/ssh/sftp";
 *
 * const server = new Deno.Command("/usr/lib/openssh/sftp-server", { stdin: "piped", stdout: "piped" }).spawn();
 * await using sftp = await openSftp({ readable: server.stdout, writable: server.stdin });
 * for await (const entry of sftp.readDir("/tmp")) console.log(entry.name, entry.info.size);
 * ```
 *
 * @module
 */
export type { AuthInfo } from "../auth/types.ts";
export type { AuthenticatorData } from "../keys/key_type.ts";
export { SftpError, SshError, type SshErrorCode, type SshErrorOptions } from "../errors.ts";
export type { PublicKey } from "../keys/types.ts";
export type { ConnectionInfo, NegotiatedDirection } from "../transport/types.ts";
export { decodeText, encodeText } from "../wire/byte_text.ts";
export type { WaitOptions } from "../wire/deadline.ts";
export type { ByteDuplex, Bytes, MaybePromise } from "../wire/types.ts";
export type { SftpAttributes, SftpFileInfo } from "../files/file_info.ts";
export type { SftpBackend, SftpBackendEntry, SftpBackendFile, SftpBackendInfo } from "../files/backend.ts";
export { openSftp, type RemoteFiles, SftpClient, type SftpServerInfo } from "./client.ts";
export type { SftpDirEntry } from "../files/file_info.ts";
export { SftpFile } from "./remote/file.ts";
export type { SftpChannel } from "./wire/channel.ts";
export { type MemoryContent, type MemoryFiles, memoryFiles, type MemoryFilesOptions } from "../files/memory/files.ts";
export type { RootedOptions } from "../files/rooted/backend.ts";
export { serveSftp, type ServeSftpOptions } from "./server/server.ts";
export type { SftpFileSystemInfo } from "./remote/space.ts";
export type { TransferOptions } from "./transfer/run.ts";
export type { TransferSummary } from "../files/copied.ts";
export type { TreeProgress } from "../files/tree_progress.ts";
