/**
 * Whether what a program hands to a call makes sense, before anything is asked for by it. No I/O.
 *
 * @module
 */
import {
  type Bounds,
  checkBytes,
  checkDuplex,
  checkFlag,
  checkFunction,
  checkInteger,
  checkNames,
  checkObject,
  checkSignal,
  checkText,
  checkTime,
  type Habit,
  wrongKind,
} from "../wire/check.ts";
import { exclusionOf } from "./exclude.ts";
import type { SftpAttributes } from "./file_info.ts";

/** A whole number of bytes that a file system may have. */
const BYTES: Bounds = { min: 0, max: Number.MAX_SAFE_INTEGER };
/** Permission bits, with the file type that `stat()` gives along. */
const MODE: Bounds = { min: 0, max: 0xffff };
/** What the wire carries. */
const UINT32: Bounds = { min: 0, max: 0xffff_ffff };

type Check = (value: unknown, name: string) => void;

const flag: Check = (value, name) => checkFlag(name, value);
const signal: Check = (value, name) => checkSignal(value, name);
const timeout: Check = (value, name) => checkTime(name, value);
const callback: Check = (value, name) => checkFunction(name, value);
const patterns: Check = (value) => void exclusionOf(value);
const mode: Check = (value, name) => checkNumber(name, value, MODE);

function checkNumber(name: string, value: unknown, bounds: Bounds): void {
  if (value === Infinity) {
    throw new RangeError(`Cannot use Infinity as \`${name}\`: it must be an integer, ${bounds.min} to ${bounds.max}`);
  }
  checkInteger(name, value, bounds);
}

/** The checks of each kind of options. */
const kinds = {
  open: {
    read: flag,
    write: flag,
    append: flag,
    truncate: flag,
    create: flag,
    createNew: flag,
    mode,
    signal,
    timeout,
  },
  write: { append: flag, create: flag, createNew: flag, mode, signal, timeout },
  wait: { signal, timeout },
  makeDirectory: { mode, recursive: flag, signal, timeout },
  remove: { recursive: flag, signal, timeout },
  setStat: { followLinks: flag, signal, timeout },
  session: { signal, timeout, linkFirst: flag },
  copy: {
    recursive: flag,
    preserve: flag,
    resume: flag,
    inPlace: flag,
    concurrency: (value, name) => checkInteger(name, value, { min: 1, max: Infinity }),
    links: (value, name) => {
      if (value === "copy" || value === "follow" || value === "skip") return;
      throw wrongKind(name, value, '"copy", "follow" or "skip"');
    },
    onProgress: callback,
    onTreeProgress: callback,
    exclude: patterns,
    signal,
    timeout,
  },
  scp: {
    recursive: flag,
    preserve: flag,
    onProgress: callback,
    onTreeProgress: callback,
    exclude: patterns,
    signal,
    timeout,
  },
  scpCommand: { recursive: flag, preserve: flag, directory: flag },
  serve: { signal, onError: callback },
} satisfies Record<string, Record<string, Check>>;

/** What others call some of them. */
const habits: Readonly<Record<string, Habit>> = {
  overwrite: { ours: ["truncate", "createNew"], write: "`createNew: true`, or nothing, as files are replaced," },
  parents: { ours: ["recursive"], write: "`recursive`" },
  recurse: { ours: ["recursive"], write: "`recursive`" },
  progress: { ours: ["onProgress"], write: "`onProgress`" },
  ignore: { ours: ["exclude"], write: "`exclude`, an array of patterns," },
  filter: { ours: ["exclude"], write: "`exclude`, an array of patterns," },
  step: { ours: ["onProgress"], write: "`onProgress`" },
  followSymlinks: { ours: ["links", "followLinks"], write: "`links` of a copy, or `followLinks` of `setStat()`," },
  permissions: { ours: ["mode"], write: "`mode`" },
};

/** Throws `TypeError` or `RangeError` for options that make no sense, and for names that are near misses of ours. */
export function checkCall(kind: keyof typeof kinds, options: unknown): void {
  if (options === undefined) return;
  checkObject("options", options, "an object");
  const checks: Record<string, Check> = kinds[kind];
  const names = Object.keys(checks);
  const ours = Object.entries(habits).filter(([, { ours }]) => ours.some((name) => names.includes(name)));
  checkNames("this call", options as object, names, Object.fromEntries(ours));
  for (const [name, check] of Object.entries(checks)) {
    const value = (options as Record<string, unknown>)[name];
    // Options of Deno's own shape may hold null.
    if (value !== undefined && !(name === "signal" && value === null)) check(value, name);
  }
}

/** Throws `TypeError` for what is no path, here or there. What a path holds, the file system decides. */
export function checkPaths(paths: Readonly<Record<string, unknown>>): void {
  for (const [name, path] of Object.entries(paths)) {
    const advice = path instanceof URL
      ? ": `.pathname` is that of a URL"
      : path instanceof ReadableStream
      ? ": `writeFile()` takes a stream"
      : "";
    checkText(name, path, `a path, which is a text${advice}`);
  }
}

/** Throws `TypeError` for what is no text of other kinds. */
export function checkWord(name: string, value: unknown): void {
  checkText(name, value);
}

/** Throws `TypeError` for what cannot be the contents of a file. */
export function checkContents(data: unknown): void {
  if (data instanceof ReadableStream && data.locked) {
    throw new TypeError("Cannot write this stream: it is locked, somebody else has a reader of it");
  }
  if (data instanceof Uint8Array || data instanceof ReadableStream) return;
  const advice = typeof data === "string" ? "; `writeTextFile()` takes a text" : "";
  throw wrongKind("data", data, `a Uint8Array or a ReadableStream of them${advice}`);
}

/** Throws where the memory of a buffer that had `length` bytes is no longer the program's to share, as behind `postMessage()`. */
export function checkStays(action: "read" | "write", bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  const done = action === "read" ? "filled" : "written";
  throw new TypeError(`Cannot ${action}: the buffer was moved elsewhere, or shrunk, before all of it was ${done}`);
}

/** Throws `TypeError` for what is no buffer. */
export function checkBuffer(value: unknown): void {
  if (value === undefined) throw wrongKind("p", value, "a Uint8Array");
  checkBytes("p", value);
}

/** Throws `RangeError` for what are no permission bits. */
export function checkMode(value: unknown): void {
  checkNumber("mode", value ?? NaN, MODE);
}

/** Throws `RangeError` for what is no number of a user or group. */
export function checkIds(ids: Readonly<Record<string, unknown>>): void {
  for (const [name, id] of Object.entries(ids)) checkNumber(name, id ?? NaN, UINT32);
}

/** Throws `TypeError` for what is no time, and `RangeError` for one that is not finite. */
export function checkTimes(times: Readonly<Record<string, unknown>>): void {
  for (const [name, time] of Object.entries(times)) {
    if (typeof time !== "number" && !(time instanceof Date)) {
      throw wrongKind(name, time, "a Date, or a number of seconds since 1970");
    }
    if (!Number.isFinite(Number(time))) throw new RangeError(`Cannot use an invalid time as \`${name}\``);
  }
}

/** Throws for attributes that cannot be sent. */
export function checkAttributes(attrs: unknown): void {
  checkObject("attrs", attrs, "an object of attributes such as `{ mode: 0o644 }`");
  const { size, uid, gid, mode, atime, mtime } = attrs as SftpAttributes;
  checkNames("attributes", attrs as object, ["size", "uid", "gid", "mode", "atime", "mtime", "extended"]);
  checkNumber("size", size, BYTES);
  checkNumber("uid", uid, UINT32);
  checkNumber("gid", gid, UINT32);
  checkNumber("mode", mode, MODE);
  for (const [name, time] of Object.entries({ atime, mtime })) {
    if (time === undefined) continue;
    if (typeof time !== "number") throw wrongKind(name, time, "a number of seconds since 1970");
    if (!Number.isFinite(time)) {
      throw new RangeError(`Cannot use ${time} as \`${name}\`: it must be a number of seconds`);
    }
  }
  for (const [one, other] of [["uid", "gid"], ["gid", "uid"], ["atime", "mtime"], ["mtime", "atime"]] as const) {
    const { [one]: given, [other]: missing } = attrs as SftpAttributes;
    if (given === undefined || missing !== undefined) continue;
    throw new TypeError(`Cannot change \`${one}\` without \`${other}\`: a request has both of them or neither`);
  }
}

/** Throws `TypeError` for what is no pair of streams. */
export function checkChannel(channel: unknown): void {
  checkDuplex("channel", channel);
}
