/**
 * Programs of this machine for the sessions of a server, on terminals of their own. Linux only.
 *
 * @module
 */
export { runInSession, type RunOptions, shellHandler, type ShellOptions } from "./run.ts";
export { type PtyProcess, spawnPty, type SpawnPtyOptions } from "./spawn.ts";
