/**
 * SFTP and SCP over any pair of byte streams: the client, the server, and a server's rooted file system.
 *
 * @module
 */
export { openSftp, SftpClient, type SftpServerInfo } from "./client.ts";
export type { SftpDirEntry } from "./entry.ts";
export { SftpFile } from "./file.ts";
export { serveSftp, type ServeSftpOptions } from "./server.ts";
