/**
 * The error tree, the disconnect reasons, and the one place that turns an error into a DISCONNECT.
 * RFC 4253 section 11.1, RFC 4254 section 5.1. No I/O.
 *
 * @module
 */

/** Machine-readable reason carried by every {@linkcode SshError}. */
export type SshErrorCode =
  | "PROTOCOL_ERROR"
  | "MAC_INVALID"
  | "NO_COMMON_ALGORITHM"
  | "HOST_KEY_REJECTED"
  | "AUTH_FAILED"
  | "CHANNEL_OPEN_FAILED"
  | "REQUEST_DENIED"
  | "DISCONNECTED"
  | "CONNECTION_LOST"
  | "CLOSED"
  | "SFTP_STATUS"
  | "COMMAND_FAILED"
  | "NO_MATCH"
  | "KEY_FORMAT"
  | "CONFIG_INVALID";

/** Options of {@linkcode SshError}: `cause` plus the code. */
export interface SshErrorOptions extends ErrorOptions {
  /** Machine-readable reason. */
  code: SshErrorCode;
}

/** Base class of all errors this module throws for the protocol and the peer. */
export class SshError extends Error {
  /** Machine-readable reason. */
  readonly code: SshErrorCode;
  /** Creates an error with a code and an optional cause. */
  constructor(message: string, options: SshErrorOptions) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.code = options.code;
  }
}

/** DISCONNECT reason codes (RFC 4253 section 11.1). */
export const DisconnectReason = {
  HOST_NOT_ALLOWED_TO_CONNECT: 1,
  PROTOCOL_ERROR: 2,
  KEY_EXCHANGE_FAILED: 3,
  MAC_ERROR: 5,
  COMPRESSION_ERROR: 6,
  SERVICE_NOT_AVAILABLE: 7,
  PROTOCOL_VERSION_NOT_SUPPORTED: 8,
  HOST_KEY_NOT_VERIFIABLE: 9,
  CONNECTION_LOST: 10,
  BY_APPLICATION: 11,
  TOO_MANY_CONNECTIONS: 12,
  AUTH_CANCELLED_BY_USER: 13,
  NO_MORE_AUTH_METHODS_AVAILABLE: 14,
  ILLEGAL_USER_NAME: 15,
} as const;

/** What broke the protocol, and the DISCONNECT reason that tells the peer so. */
export class SshProtocolError extends SshError {
  /** DISCONNECT reason code (RFC 4253 section 11.1) sent to the peer. */
  readonly reason: number;
  /** Creates the error; `reason` defaults to 2, protocol error. */
  constructor(
    message: string,
    reason: number = DisconnectReason.PROTOCOL_ERROR,
    options?: ErrorOptions & { code?: SshErrorCode },
  ) {
    super(message, { ...options, code: options?.code ?? "PROTOCOL_ERROR" });
    this.reason = reason;
  }
}

/** The peer sent DISCONNECT (RFC 4253 section 11.1). */
export class SshDisconnectError extends SshError {
  /** The peer's reason code (RFC 4253 section 11.1). */
  readonly reason: number;
  /** Creates the error. */
  constructor(message: string, reason: number, options?: ErrorOptions) {
    super(message, { ...options, code: "DISCONNECTED" });
    this.reason = reason;
  }
}

/** The host key was refused: not known, changed, revoked, or turned down by the program's own policy. */
export class HostKeyError extends SshError {
  /** Creates the error. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, { ...options, code: "HOST_KEY_REJECTED" });
  }
}

/** No known_hosts entry names this host. */
export class HostKeyUnknownError extends HostKeyError {}

/** A place in a known_hosts file. */
export interface KnownHostsPlace {
  /** File name, or a description of where the text came from. */
  readonly file: string;
  /** Line number, counted from 1. */
  readonly line: number;
}

/** known_hosts names this host with another key: the host was set up anew, or somebody is in between. */
export class HostKeyChangedError extends HostKeyError {
  /** The entries that name the host. */
  readonly places: readonly KnownHostsPlace[];
  /** Creates the error. */
  constructor(message: string, places: readonly KnownHostsPlace[], options?: ErrorOptions) {
    super(message, options);
    this.places = places;
  }
}

/** known_hosts marks this very key `@revoked`. */
export class HostKeyRevokedError extends HostKeyChangedError {}

/** Why the text of a key was not read. */
export type KeyFormatReason =
  | "NO_PASSPHRASE"
  | "WRONG_PASSPHRASE"
  | "DAMAGED"
  | "UNSUPPORTED"
  | "OTHER_KIND";

/**
 * The text of a key, of a list of keys or of a signature was not read. `reason` tells why: it is encrypted and no passphrase was given
 * (`NO_PASSPHRASE`), what was given does not decrypt it (`WRONG_PASSPHRASE`; a damaged file may look the same), it is of a format, a
 * cipher, a type or a size that is not known or not taken here (`UNSUPPORTED`), it is something else than what was asked for, such as a
 * public key or a certificate in the place of a private key (`OTHER_KIND`), or it is not as its format wants it (`DAMAGED`).
 */
export class KeyFormatError extends SshError {
  /** Why. */
  readonly reason: KeyFormatReason;
  /** Creates the error; `reason` is `DAMAGED` unless given. */
  constructor(message: string, reason: KeyFormatReason = "DAMAGED", options?: ErrorOptions) {
    super(message, { ...options, code: "KEY_FORMAT" });
    this.reason = reason;
  }
}

/** The peer refused to open a channel (RFC 4254 section 5.1). */
export class ChannelOpenError extends SshError {
  /** RFC 4254 reason code. */
  readonly reason: number;
  /** Creates the error. */
  constructor(message: string, reason: number, options?: ErrorOptions) {
    super(message, { ...options, code: "CHANNEL_OPEN_FAILED" });
    this.reason = reason;
  }
}

/** Authentication ended without success. */
export class SshAuthError extends SshError {
  /** Methods the server would still accept. */
  readonly remaining: readonly string[];
  /** Creates the error. */
  constructor(message: string, remaining: readonly string[], options?: ErrorOptions) {
    super(message, { ...options, code: "AUTH_FAILED" });
    this.remaining = remaining;
  }
}

/**
 * An SFTP status other than OK (draft-ietf-secsh-filexfer-02 section 7). `code` is `SFTP_STATUS` for what a server or a file says;
 * where the session ended it is `CONNECTION_LOST`, `CLOSED` if this side closed it, or `PROTOCOL_ERROR`.
 */
export class SftpError extends SshError {
  /** SSH_FX_… number; of a session that ended CONNECTION_LOST (7), or NO_CONNECTION (6) if this side closed it. */
  readonly status: number;
  /** Path the request named, or null. */
  readonly path: string | null;
  /** Creates the error. */
  constructor(
    message: string,
    status: number,
    path: string | null = null,
    options?: ErrorOptions & { code?: SshErrorCode | undefined },
  ) {
    super(message, { ...options, code: options?.code ?? "SFTP_STATUS" });
    this.status = status;
    this.path = path;
  }
}

/** The same error in other words, with the first as its cause: its class, its code and whatever it carries stay. */
export function retold(error: SshError, message: string): SshError {
  const copy = new SshError(message, { code: error.code, cause: error });
  return Object.assign(Object.setPrototypeOf(copy, Object.getPrototypeOf(error)) as SshError, error);
}

/** The DISCONNECT that tells the peer of `error`, or null where it should learn nothing. */
export function disconnectOf(error: unknown): { reason: number; description: string } | null {
  if (error instanceof SshProtocolError) return { reason: error.reason, description: error.message };
  if (error instanceof HostKeyError) {
    return { reason: DisconnectReason.HOST_KEY_NOT_VERIFIABLE, description: "Host key not accepted" };
  }
  if (error instanceof SshAuthError) {
    return { reason: DisconnectReason.NO_MORE_AUTH_METHODS_AVAILABLE, description: "No more authentication methods" };
  }
  if (error instanceof SshError) {
    switch (error.code) {
      case "DISCONNECTED":
      case "CONNECTION_LOST":
        return null;
      case "CLOSED":
        return { reason: DisconnectReason.BY_APPLICATION, description: "Closed by the application" };
      default:
        return { reason: DisconnectReason.PROTOCOL_ERROR, description: error.message };
    }
  }
  return { reason: DisconnectReason.BY_APPLICATION, description: "Internal error" };
}

/**
 * Text from a peer made fit for an error message: control characters, what steers a terminal and bytes that are no UTF-8 are replaced,
 * and it is cut at `limit` characters.
 */
export function printable(text: string, limit = 256): string {
  const cut = text.length > limit ? text.slice(0, limit) + "…" : text;
  // deno-lint-ignore no-control-regex
  return cut.toWellFormed().replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}
