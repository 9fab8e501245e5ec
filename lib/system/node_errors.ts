/**
 * Errors of Node as Deno has them: in classes, and with the words of the system. No I/O.
 *
 * @module
 */
import { nodeModule } from "./node_modules.ts";
import type { SystemErrors } from "./types.ts";

/** Classes by the system's name for an error; where a name is missing, it is an `Error`. */
const names: Readonly<Record<string, string>> = {
  ENOENT: "NotFound",
  // Of DNS: no such name, and nothing of the kind that was asked for.
  ENOTFOUND: "NotFound",
  ENODATA: "NotFound",
  ENOTDIR: "NotADirectory",
  EISDIR: "IsADirectory",
  EEXIST: "AlreadyExists",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  ELOOP: "FilesystemLoop",
  EBUSY: "Busy",
  EPIPE: "BrokenPipe",
  ECONNREFUSED: "ConnectionRefused",
  ECONNRESET: "ConnectionReset",
  ECONNABORTED: "ConnectionAborted",
  ETIMEDOUT: "TimedOut",
  // Node's own permissions.
  ERR_ACCESS_DENIED: "NotCapable",
};

/** What Node calls otherwise than the system itself. */
const ownWords: Readonly<Record<string, string>> = { EEXIST: "file exists", EISDIR: "is a directory" };

function classNamed(name: string): new (message: string, options?: ErrorOptions) => Error {
  return class extends Error {
    override readonly name = name;
  };
}

const classes = new Map(Object.values(names).map((name) => [name, classNamed(name)]));

/** The classes that are told apart. */
export const nodeErrors: SystemErrors = Object.fromEntries(classes) as SystemErrors;

/** What Node says of an error of the system. */
interface NodeError extends Error {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly syscall?: unknown;
  readonly path?: unknown;
  /** One for each address that was tried. */
  readonly errors?: readonly unknown[];
}

/** An error of Node's, or what else was thrown. */
export function asDenoError(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { code, errno, syscall, path, errors } = thrown as NodeError;
  if (errors?.[0] instanceof Error) return asDenoError(errors[0]);
  if (typeof code !== "string") return thrown;
  const made = new (classes.get(names[code] ?? "") ?? Error)(
    code === "ERR_ACCESS_DENIED" ? thrown.message : textOf(thrown, code, errno, syscall, path),
    { cause: thrown },
  );
  return Object.assign(made, { code });
}

function textOf({ message }: Error, code: string, errno: unknown, syscall: unknown, path: unknown): string {
  // What Bun's DNS says has a number of its own, which is none of the system's.
  if (typeof errno !== "number" || errno >= 0) {
    if (syscall !== "getaddrinfo") return message;
    return `failed to lookup address information: ${code === "ENOTFOUND" ? "name or service not known" : code}`;
  }
  const { getSystemErrorMessage } = nodeModule("node:util") as { getSystemErrorMessage?: (errno: number) => string };
  // Bun has no such function.
  const words = ownWords[code] ?? getSystemErrorMessage?.(errno) ??
    new RegExp(`^${code}:? ([^,]+)`).exec(message)?.[1] ?? code;
  if (syscall === "getaddrinfo") return `failed to lookup address information: ${words}`;
  const text = `${words.charAt(0).toUpperCase()}${words.slice(1)} (os error ${-errno})`;
  return typeof path === "string" && typeof syscall === "string" ? `${text}: ${syscall} '${path}'` : text;
}

/** Does something, and throws as Deno does. */
export async function denoLike<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw asDenoError(error);
  }
}
