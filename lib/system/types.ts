/**
 * What a client asks of the system: files, sockets, programs and the environment. It is the part of `Deno` that is used, with the same names, values and
 * errors, so that Deno is one, and node.ts another. Types only.
 *
 * @module
 */
import type { ByteDuplex } from "../wire/types.ts";

/** The system that a program runs on. */
export interface System extends FileSystem {
  /** Which one it is. */
  readonly build: { readonly os: string };
  /** The environment. */
  readonly env: {
    get(name: string): string | undefined;
    toObject(): Record<string, string>;
  };
  /** What the program may do. */
  readonly permissions: {
    query(what: Deno.PermissionDescriptor): Promise<{ readonly state: Deno.PermissionState }>;
    querySync(what: Deno.PermissionDescriptor): { readonly state: Deno.PermissionState };
  };
  /** Classes of errors. */
  readonly errors: SystemErrors;
  /** Number of the user; null where users have none. */
  uid(): number | null;
  /** Name of this machine. */
  hostname(): string;
  /** Addresses of this machine. */
  networkInterfaces(): readonly { readonly address: string }[];
  /** What DNS says. */
  resolveDns(name: string, type: "A" | "AAAA" | "CNAME", options?: { signal?: AbortSignal }): Promise<string[]>;
  /** Connects by TCP. */
  connect(to: { hostname: string; port: number; signal?: AbortSignal }): Promise<TcpSocket>;
  /** Connects to a Unix socket. */
  connect(to: { transport: "unix"; path: string }): Promise<UnixSocket>;
  /** A program to run. */
  readonly Command: new (program: string, options: CommandOptions) => SystemCommand;
  /** The program's own standard output. */
  readonly stdout: { write(p: Uint8Array): Promise<number> };
  /** The program's own standard error. */
  readonly stderr: { write(p: Uint8Array): Promise<number> };
}

/** A class of errors. */
type ErrorClass = new (message: string, options?: ErrorOptions) => Error;

/** Those that are told apart. */
export type SystemErrors = Readonly<
  Record<"NotFound" | "NotADirectory" | "AlreadyExists" | "NotCapable" | "ConnectionRefused", ErrorClass>
>;

/** Where a file may be. */
type Path = string | URL;

/** Files. */
export interface FileSystem {
  stat(path: Path): Promise<FileFacts>;
  lstat(path: Path): Promise<FileFacts>;
  open(path: Path, options?: Deno.OpenOptions): Promise<OpenFile>;
  readFile(path: Path): Promise<Uint8Array<ArrayBuffer>>;
  readTextFile(path: Path): Promise<string>;
  readDir(path: string): AsyncIterable<Deno.DirEntry>;
  mkdir(path: string, options?: { recursive?: boolean; mode?: number }): Promise<void>;
  remove(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  symlink(target: string, path: string): Promise<void>;
  readLink(path: string): Promise<string>;
  realPath(path: string): Promise<string>;
  chmod(path: string, mode: number): Promise<void>;
  chown(path: string, uid: number, gid: number): Promise<void>;
  utime(path: string, atime: number, mtime: number): Promise<void>;
}

/** What is known of a file. */
export type FileFacts = Pick<
  Deno.FileInfo,
  | ("isFile" | "isDirectory" | "isSymlink" | "isSocket")
  | ("size" | "mode" | "uid" | "gid" | "ino" | "dev" | "atime" | "mtime")
>;

/** An open file. */
export interface OpenFile extends ByteDuplex, Disposable {
  read(p: Uint8Array): Promise<number | null>;
  write(p: Uint8Array): Promise<number>;
  seek(offset: number, whence: 0): Promise<number>;
  stat(): Promise<FileFacts>;
  statSync(): FileFacts;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  /** Until it is closed; on Node for this program alone. False where another has the lock; rejects where there are no locks. */
  tryLock(exclusive: boolean): Promise<boolean>;
  close(): void;
}

/** An open connection. */
export interface SystemConn extends ByteDuplex {
  read(p: Uint8Array): Promise<number | null>;
  write(p: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** One over TCP. */
export interface TcpSocket extends SystemConn {
  readonly remoteAddr: Deno.Addr;
  setNoDelay(on: boolean): void;
  setKeepAlive(on: boolean): void;
}

/** One to a Unix socket. */
export interface UnixSocket extends SystemConn {
  readonly remoteAddr: Deno.Addr;
}

/** How a program is run. */
export interface CommandOptions {
  readonly args: string[];
  readonly stdin: "piped" | "null";
  readonly stdout: "piped" | "null";
  readonly stderr: "piped" | "null";
  /** Kills it. */
  readonly signal?: AbortSignal;
}

/** How it has ended. */
export interface CommandEnd {
  readonly success: boolean;
  readonly code: number;
  readonly signal: string | null;
}

/** A program that was not started yet. */
export interface SystemCommand {
  /** Throws where it cannot be started. */
  spawn(): SystemChild;
  /** Runs it to its end. */
  output(): Promise<CommandEnd>;
}

/** A program that runs; its streams are there where they are piped. */
export interface SystemChild {
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  readonly status: Promise<CommandEnd>;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
  ref(): void;
  unref(): void;
}
