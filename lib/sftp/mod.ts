/**
 * SFTP and SCP over any pair of byte streams: the client, the server, and a server's rooted file system.
 *
 * @module
 */
export { openSftp, SftpClient, type SftpDirEntry, type SftpServerInfo } from "./client.ts";
export { SftpFile } from "./file.ts";
