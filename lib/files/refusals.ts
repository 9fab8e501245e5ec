/**
 * What a server means by a status other than OK. draft-ietf-secsh-filexfer-02 section 7, -13 section 9.1. No I/O.
 *
 * Version 3 has nine numbers, and servers send those of later versions in it as well. Whatever depends on the meaning of a
 * status asks here, and nowhere by its number.
 *
 * @module
 */
import { SftpError } from "../errors.ts";
import { Status } from "./limits.ts";

/** What a status says; `unclear` may be anything. */
export type Refusal =
  | "missing"
  | "exists"
  | "not a directory"
  | "is a directory"
  | "not empty"
  | "denied"
  | "full"
  | "unsupported"
  | "malformed"
  | "unclear";

/** What each number means, and how it reads in an error; of those beyond 8 servers of version 3 should send none. */
const table: Readonly<Record<number, readonly [Refusal, string]>> = {
  [Status.EOF]: ["unclear", "end of file"],
  [Status.NO_SUCH_FILE]: ["missing", "no such file or directory"],
  [Status.PERMISSION_DENIED]: ["denied", "permission denied"],
  [Status.FAILURE]: ["unclear", "the server reports a failure"],
  [Status.BAD_MESSAGE]: ["malformed", "the server found the request malformed"],
  // A client's own, which no server should send; one that does is there all the same.
  [Status.NO_CONNECTION]: ["unclear", "the server says that it has no connection"],
  [Status.CONNECTION_LOST]: ["unclear", "the server says that it lost a connection"],
  [Status.OP_UNSUPPORTED]: ["unsupported", "the server does not support this"],
  9: ["unclear", "the server does not know the handle"],
  10: ["missing", "no such path"],
  11: ["exists", "it exists already"],
  12: ["denied", "it is write-protected"],
  13: ["unclear", "there is no medium in the drive"],
  14: ["full", "no space is left there"],
  15: ["full", "the quota is used up"],
  16: ["denied", "the server does not know the user or group"],
  17: ["unclear", "it is locked"],
  18: ["not empty", "the directory is not empty"],
  19: ["not a directory", "not a directory"],
  20: ["unclear", "the server cannot have such a name"],
  // ELOOP and ENOTDIR are NO_SUCH_FILE with OpenSSH.
  21: ["missing", "too many symbolic links"],
  22: ["denied", "it cannot be deleted"],
  23: ["unclear", "the server finds a parameter invalid"],
  24: ["is a directory", "it is a directory"],
  25: ["unclear", "a part of it is locked"],
  26: ["unclear", "the server refuses the lock"],
  27: ["unclear", "it is being deleted"],
  28: ["unclear", "the file is damaged"],
  29: ["denied", "the server does not know the owner"],
  30: ["denied", "the server does not know the group"],
  31: ["unclear", "there is no such lock"],
};

/** What a status means. */
export function refusalOfStatus(status: number): Refusal {
  return table[status]?.[0] ?? "unclear";
}

/** How a status reads in an error. */
export function meaningOf(status: number): string {
  return table[status]?.[1] ?? `the server reports status ${status}`;
}

/** What a refusal means; null for what is none. */
export function refusalOf(error: unknown): Refusal | null {
  return error instanceof SftpError ? refusalOfStatus(error.status) : null;
}

/** Whether a server says that there is nothing of this name; below what is no directory there is nothing either. */
export function isMissing(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal === "missing" || refusal === "not a directory";
}
