/**
 * For the tests of applications: a server and its clients in memory, and a file system in memory. Neither needs a permission.
 *
 * @example
 * ```ts
 * import { memoryFiles, testPair } from "@amiko/ssh/testing";
 * import { sftpSubsystem } from "@amiko/ssh/server";
 *
 * const files = memoryFiles({ "/etc/motd": "hello" });
 * await using pair = await testPair({ subsystems: { sftp: sftpSubsystem(files) } });
 * await using sftp = await pair.client.sftp();
 * console.log(await sftp.readTextFile("/etc/motd")); // hello
 * ```
 *
 * @module
 */
export { type TestClientOptions, type TestPair, testPair, type TestPairOptions } from "./test_pair.ts";
export { type MemoryContent, type MemoryFiles, memoryFiles, type MemoryFilesOptions } from "../files/memory/files.ts";
