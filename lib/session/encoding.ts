/**
 * What a client's requests carry, and how a server says that a process has ended. RFC 4254 sections 6.2, 6.7, 6.9 and 6.10. No I/O.
 *
 * @module
 */
import type { Bytes } from "../wire/types.ts";
import { checkPty, checkSignalName, checkSize } from "./check_options.ts";
import { ExitSignal, ExitStatusRequest, PtyReq, Signal, WindowChange, withoutSig } from "./messages.ts";
import { encodeTerminalModes } from "./terminal_modes.ts";
import type { ExitStatus, PtyOptions, WindowSize } from "./types.ts";

/** The data of a pty-req, with the defaults filled in. */
export function encodePty(pty: PtyOptions): Bytes {
  checkPty(pty);
  return PtyReq.encode({
    term: pty.term ?? "xterm-256color",
    columns: pty.columns ?? 80,
    rows: pty.rows ?? 24,
    width: pty.width ?? 0,
    height: pty.height ?? 0,
    modes: encodeTerminalModes(pty.modes ?? {}),
  });
}

/** The data of a window-change. */
export function encodeWindowSize(size: WindowSize): Bytes {
  checkSize(size);
  return WindowChange.encode({
    columns: size.columns,
    rows: size.rows,
    width: size.width ?? 0,
    height: size.height ?? 0,
  });
}

/** The data of a signal request: `TERM` and `SIGTERM` are the same. */
export function encodeSignal(signal: string): Bytes {
  checkSignalName(signal);
  return Signal.encode({ signal: withoutSig(signal) });
}

/** Reads how a process ended, or null for a request that does not say so. Throws `SshProtocolError` when it is malformed. */
export function decodeExit(name: string, data: Uint8Array): ExitStatus | null {
  if (name === ExitStatusRequest.name) {
    const { code } = ExitStatusRequest.decode(data);
    return { success: code === 0, code, signal: null };
  }
  if (name === ExitSignal.name) {
    return { success: false, code: null, signal: withoutSig(ExitSignal.decode(data).signal) || null };
  }
  return null;
}
