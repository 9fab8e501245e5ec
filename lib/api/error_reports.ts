/**
 * Where the errors of a server go: to its `onError`, or without one to the console, as with `Deno.serve`. The one file of this
 * module that names the console.
 *
 * @module
 */
import { SshError, SshProtocolError } from "../errors.ts";
import { HostKeySignerError } from "../transport/host_key_signature.ts";
import { callBack } from "../wire/callback.ts";
import { hasDeno } from "../wire/system.ts";
import type { ServeErrorInfo } from "./serve_options.ts";

/** Tells of errors. An error of the program's own handler of errors has nowhere to go, and must not end the server. */
export interface ErrorReports {
  /** Of the program: what its handlers threw. */
  program(error: unknown): void;
  /** Of a connection, which it has ended. */
  connection(error: unknown): void;
}

/** Reports to a server's `onError`; where there is none, what is the program's own fault is printed. */
export function errorReports(
  onError: ((error: unknown, info: ServeErrorInfo) => void) | undefined,
  info: ServeErrorInfo = { remoteAddr: undefined },
): ErrorReports {
  if (onError !== undefined) {
    const tell = (error: unknown): void => callBack(() => onError(error, info));
    return { program: tell, connection: tell };
  }
  // Whoever finds the port could fill the console with what clients do wrong, and with connections that are lost.
  return {
    // A subsystem of this module fails with the protocol error of its client.
    program: (error) => print(error, () => error instanceof SshProtocolError),
    connection: (error) => print(error, () => error instanceof SshError && !(error instanceof HostKeySignerError)),
  };
}

function print(error: unknown, isClients: () => boolean): void {
  let text: string;
  try {
    if (isClients()) return;
    text = looksLike(error);
  } catch {
    // An error can be made so that looking at it throws.
    error = text = "An error that cannot be shown";
  }
  // A handler's error may quote what a client sent, which must not steer a terminal.
  // deno-lint-ignore no-control-regex
  const harmless = text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  // deno-lint-ignore no-console
  console.error(text === harmless ? error : harmless);
}

/** What the console makes of an error: by Deno, by Node or Bun, or where neither is there, in a page, what the error says of itself. */
function looksLike(error: unknown): string {
  if (hasDeno()) return Deno.inspect(error);
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const util = process?.getBuiltinModule?.("node:util") as { inspect(value: unknown): string } | undefined;
  if (util !== undefined) return util.inspect(error);
  return error instanceof Error && error.stack !== undefined ? error.stack : String(error);
}
