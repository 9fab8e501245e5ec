/**
 * Numbers and limits of SFTP version 3. draft-ietf-secsh-filexfer-02, OpenSSH PROTOCOL sections 3 and 4. No I/O.
 *
 * @module
 */

/** Packet types (draft-ietf-secsh-filexfer-02 section 3), without `SSH_FXP_`. */
export const Fxp = {
  INIT: 1,
  VERSION: 2,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  LSTAT: 7,
  FSTAT: 8,
  SETSTAT: 9,
  FSETSTAT: 10,
  OPENDIR: 11,
  READDIR: 12,
  REMOVE: 13,
  MKDIR: 14,
  RMDIR: 15,
  REALPATH: 16,
  STAT: 17,
  RENAME: 18,
  READLINK: 19,
  SYMLINK: 20,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED: 200,
  EXTENDED_REPLY: 201,
} as const;

/** Open flags (section 6.3), without `SSH_FXF_`. */
export const OpenFlag = { READ: 1, WRITE: 2, APPEND: 4, CREAT: 8, TRUNC: 16, EXCL: 32 } as const;

/** The protocol version spoken (section 4). */
export const SFTP_VERSION = 3;
/** Longest packet accepted and sent, its length field not counted; OpenSSH's own limit. */
export const MAX_PACKET = 262_144;
/** Most bytes of one READ or WRITE: a packet less 1 KiB, as OpenSSH has it. */
export const MAX_TRANSFER = 261_120;
/** Bytes of a READ or WRITE where the server names no limits: every server takes these (section 3). */
export const SAFE_TRANSFER = 32_768;
/** Longest handle (section 6.2). */
export const MAX_HANDLE = 256;
/** Extensions of OpenSSH (PROTOCOL section 4) by short names. */
export const Extension = {
  posixRename: "posix-rename@openssh.com",
  statvfs: "statvfs@openssh.com",
  fstatvfs: "fstatvfs@openssh.com",
  hardlink: "hardlink@openssh.com",
  fsync: "fsync@openssh.com",
  lsetstat: "lsetstat@openssh.com",
  limits: "limits@openssh.com",
  expandPath: "expand-path@openssh.com",
  copyData: "copy-data",
  homeDirectory: "home-directory",
  usersGroupsById: "users-groups-by-id@openssh.com",
} as const;

/**
 * What limits@openssh.com would answer, told in VERSION by servers of this module: its four numbers as decimal text. It saves whoever knows it a
 * round trip.
 */
export const LIMITS_TOLD = "limits-told@amiko-ssh";
