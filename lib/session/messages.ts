/**
 * Requests of a session channel: what follows want_reply, declared in wire order.
 * RFC 4254 sections 6 and 8, RFC 4335, OpenSSH PROTOCOL. No I/O.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { explanation } from "../transport/message_size.ts";
import { MAX_PAYLOAD } from "../transport/outbox.ts";
import {
  anyEnd,
  bool,
  bytes,
  byteText,
  type Codec,
  codec,
  type Field,
  looseText,
  orCut,
  orEnd,
  u32,
} from "../wire/codec.ts";
import type { Bytes } from "../wire/types.ts";

/** Bytes of CHANNEL_REQUEST beside the name and the data. */
const HEADER = 14;

/**
 * Declares a channel request by its name and its fields in wire order; `encode()` throws `RangeError` for what no packet holds.
 */
function request<const F extends Record<string, Field<unknown>>>(name: string, fields: F): Codec<F> {
  const data = codec(name, fields, `channel request "${name}"`);
  return {
    ...data,
    encode(values): Bytes {
      const encoded = data.encode(values);
      if (encoded.length > MAX_PAYLOAD - HEADER - name.length) {
        throw new RangeError(`Cannot send request "${name}": ${encoded.length} bytes do not fit in a packet`);
      }
      return encoded;
    },
  };
}

/** Text that ends up in a command line, a name or an environment, whatever its bytes are. NUL would cut it short there. */
const textWithoutNul: Field<string> = {
  read: (r) => {
    const value = byteText.read(r);
    if (value.includes("\0")) throw new SshProtocolError("Cannot read message: a string contains NUL");
    return value;
  },
  write: (w, v) => {
    if (v.includes("\0")) throw new TypeError("Cannot write a session request: a string contains NUL");
    byteText.write(w, v);
  },
};

/** Text that only explains, cut to what every peer takes. */
const explaining: Field<string> = { read: (r) => looseText.read(r), write: (w, v) => void w.text(explanation(v)) };

/** A signal's name without `SIG` (RFC 4254 section 6.10); local ones end in `@domain`. */
const signalName: Field<string> = {
  read: (r) => {
    const value = r.ascii();
    if (!isSignalName(value)) throw new SshProtocolError("Cannot read message: a signal's name is malformed");
    return value;
  },
  write: (w, v) => {
    if (!isSignalName(v)) throw new TypeError(`Cannot send signal: "${v}" is not a name such as "TERM"`);
    w.text(v);
  },
};

/** A signal's name as it goes over the wire, from one with `SIG` before it. */
export function withoutSig(signal: string): string {
  return signal.startsWith("SIG") ? signal.slice(3) : signal;
}

function isSignalName(name: string): boolean {
  return name.length <= 64 && /^[A-Za-z0-9][A-Za-z0-9+-]*(@[A-Za-z0-9.-]+)?$/.test(name);
}

/** RFC 4254 section 6.2. */
export const PtyReq = request("pty-req", {
  term: textWithoutNul,
  columns: u32,
  rows: u32,
  width: u32,
  height: u32,
  modes: bytes,
});
/** RFC 4254 section 6.4. */
export const Env = request("env", { name: textWithoutNul, value: textWithoutNul });
/** RFC 4254 section 6.5. */
export const Shell = request("shell", {});
/** RFC 4254 section 6.5. */
export const Exec = request("exec", { command: textWithoutNul });
/** RFC 4254 section 6.5. */
export const Subsystem = request("subsystem", { name: textWithoutNul });
/** RFC 4254 section 6.7. */
export const WindowChange = request("window-change", { columns: u32, rows: u32, width: u32, height: u32 });
/** RFC 4254 section 6.9. */
export const Signal = request("signal", { signal: signalName });
/** RFC 4254 section 6.10. */
export const ExitStatusRequest = request("exit-status", { code: u32 });
/**
 * RFC 4254 section 6.10. It comes behind the output, which must not be lost with it: where it is cut short, what is there counts, and
 * the name of the signal is empty where even that is not.
 */
export const ExitSignal = request("exit-signal", {
  signal: orCut(signalName),
  coreDumped: orEnd(bool, false),
  message: orCut(explaining),
  language: anyEnd,
});
/** RFC 4335 section 3: milliseconds, 0 for the receiver's own default. */
export const Break = request("break", { length: u32 });
/** RFC 4254 section 6.3.1. The cookie is hexadecimal. */
export const X11Req = request("x11-req", {
  single: bool,
  protocol: textWithoutNul,
  cookie: textWithoutNul,
  screen: u32,
});
/** OpenSSH PROTOCOL.agent section 3. */
export const AuthAgentReq = request("auth-agent-req@openssh.com", {});
