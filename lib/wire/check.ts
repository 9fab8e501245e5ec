/**
 * Whether what a program hands over has the shape that is wanted. Types say so before, but not to JavaScript and not behind `as`:
 * each check throws a `TypeError` or a `RangeError` that says in words what is wanted. What was given is named by its kind, never by
 * its content, which may be a secret. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { isThenable } from "./callback.ts";
import { meantBy } from "./near.ts";

/** What `value` is, for an error: never what is in it. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined || typeof value === "boolean") return String(value);
  if (isThenable(value)) return "a promise";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return value === "" ? "an empty text" : "a text";
  if (typeof value !== "object") return `a ${typeof value}`;
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" && name !== "Object"
    ? `an instance of ${printable(name, 64)}`
    : "an object";
}

/** The error for a value of the wrong kind. `wanted` ends "it must be …". */
export function wrongKind(name: string, value: unknown, wanted: string): TypeError {
  const advice = isThenable(value) ? "; write `await` before it" : "";
  return new TypeError(`Cannot use ${kindOf(value)} as \`${name}\`: it must be ${wanted}${advice}`);
}

/** What a number may be: an integer, and `Infinity` where nothing needs to be limited. */
export interface Bounds {
  /** Least value. */
  readonly min: number;
  /** Greatest value. */
  readonly max: number;
}

/** A number for an error; texts are shown only where they look like one. */
function shown(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "bigint") return `${value}n`;
  return typeof value === "string" && /^[\d.,_ +-]{1,20}$/.test(value) ? JSON.stringify(value) : kindOf(value);
}

/** Throws `RangeError` for what is not an integer within bounds; an option that is not given is none. */
export function checkInteger(name: string, value: unknown, { min, max }: Bounds): void {
  if (value === undefined) return;
  if (typeof value === "number" && (Number.isInteger(value) || value === Infinity) && value >= min && value <= max) {
    return;
  }
  const most = max === Infinity ? "or more" : `to ${max}`;
  throw new RangeError(`Cannot use ${shown(value)} as \`${name}\`: it must be an integer, ${min} ${most}`);
}

/** Throws `RangeError` for what is no time; `Infinity` is one that never comes. */
export function checkTime(name: string, value: unknown): void {
  if (value === undefined || typeof value === "number" && value > 0) return;
  throw new RangeError(`Cannot use ${shown(value)} as \`${name}\`: it must be a number of milliseconds above 0`);
}

/** Throws `RangeError` for what is no TCP port; a client cannot dial port 0. */
export function checkPort(port: unknown, min: 0 | 1, name = "port"): void {
  if (typeof port === "number" && Number.isInteger(port) && port >= min && port <= 0xffff) return;
  const advice = typeof port === "string" && /^\d{1,5}$/.test(port) ? `: write ${Number(port)}, without quotes` : "";
  throw new RangeError(`Cannot use ${shown(port)} as \`${name}\`: a port must be an integer, ${min} to 65535${advice}`);
}

/** Throws `RangeError` for what is no number of connections that wait to be accepted, where an option is given. */
export function checkBacklog(name: string, value: unknown): void {
  // The kernel takes an int, and makes it smaller as it likes.
  checkInteger(name, value, { min: 1, max: 0x7fff_ffff });
}

/** Throws `TypeError` for what is neither true nor false, where an option is given. */
export function checkFlag(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") throw wrongKind(name, value, "true or false");
}

/** Throws `TypeError` for what is no function, where an option is given. */
export function checkFunction(name: string, value: unknown, wanted = "a function"): void {
  if (value !== undefined && typeof value !== "function") throw wrongKind(name, value, wanted);
}

/** Throws `TypeError` for what is no text. */
export function checkText(name: string, value: unknown, wanted = "a text"): void {
  if (typeof value !== "string") throw wrongKind(name, value, wanted);
}

/** Throws `TypeError` for what is none of these words. */
export function checkWord(name: string, value: unknown, words: readonly string[]): void {
  if (typeof value === "string" && words.includes(value)) return;
  const given = typeof value === "string" ? ` ${JSON.stringify(printable(value, 64))}` : "";
  throw new TypeError(`Cannot use ${kindOf(value)}${given} as \`${name}\`: it must be one of ${words.join(", ")}`);
}

/** Throws `TypeError` for what is no bytes, where any are given. */
export function checkBytes(name: string, value: unknown): void {
  if (value === undefined || value instanceof Uint8Array) return;
  const wanted = typeof value === "string" ? "bytes: `new TextEncoder().encode(…)` makes them" : "a Uint8Array";
  throw wrongKind(name, value, wanted);
}

/** Objects of the language that hold something, but under no names: as options they would be read as none at all. */
const nameless = [Map, Set, WeakMap, Date, RegExp, ArrayBuffer, String, Number, Boolean];

/** Whether options can be read from `value`. */
export function isOptions(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isThenable(value) &&
    !ArrayBuffer.isView(value) && !nameless.some((type) => value instanceof type);
}

/** Throws `TypeError` for what is no object to read options from. */
export function checkObject(name: string, value: unknown, wanted: string): void {
  if (!isOptions(value)) throw wrongKind(name, value, wanted);
}

function isSignal(value: unknown): value is AbortSignal {
  const signal = value as Partial<AbortSignal> | null | undefined;
  return typeof signal === "object" && signal !== null && typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function" && typeof signal.throwIfAborted === "function";
}

/** Throws `TypeError` for what is no `AbortSignal`, where one is given. */
export function checkSignal(value: unknown, name = "signal"): void {
  if (value === undefined || isSignal(value)) return;
  const wanted = typeof value === "number"
    ? `an AbortSignal: write \`AbortSignal.timeout(${value})\``
    : isSignal((value as { signal?: unknown } | null)?.signal)
    ? "an AbortSignal: hand over the controller's `.signal`"
    : "an AbortSignal, such as `AbortSignal.timeout(5000)`";
  throw wrongKind(name, value, wanted);
}

/** Throws `TypeError` for the options of a call that takes a signal, where they are none or the signal is none. */
export function checkSignalOption(options: unknown): void {
  if (options === undefined) return;
  if (isSignal(options)) {
    throw new TypeError("Cannot use an AbortSignal as the options of a call: write `{ signal }`, in braces");
  }
  checkObject("options", options, "an object such as `{ signal }`");
  checkSignal((options as { signal?: unknown }).signal);
}

/** Throws as {@linkcode checkSignalOption} for the options of a call that waits, and `RangeError` where its time is none. */
export function checkWait(options: unknown): void {
  checkSignalOption(options);
  checkTime("timeout", (options as { timeout?: unknown } | undefined)?.timeout);
}

/** A property that is not read: a socket makes its streams only when it is asked for them. */
const unasked = Symbol();

function peek(value: object, name: string): unknown {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at)) {
    const property = Object.getOwnPropertyDescriptor(at, name);
    if (property !== undefined) return property.get === undefined ? property.value : unasked;
  }
  return undefined;
}

/**
 * Throws `TypeError` for what has no pair of byte streams that can be read and written. With `peeking`, streams that are made when they
 * are asked for are not asked for.
 */
export function checkDuplex(name: string, value: unknown, peeking = false): void {
  const wanted =
    "a pair of byte streams, `{ readable, writable }`, such as `await Deno.connect({ hostname, port })` gives";
  if (typeof value !== "object" || value === null) throw wrongKind(name, value, wanted);
  const [readable, writable] = ["readable", "writable"].map((which) =>
    peeking ? peek(value, which) : (value as Record<string, unknown>)[which]
  ) as [unknown, unknown];
  const isStream = (stream: unknown, method: string): boolean =>
    stream === unasked || typeof (stream as Record<string, unknown> | null | undefined)?.[method] === "function";
  if (!isStream(readable, "getReader") || !isStream(writable, "getWriter")) {
    // Node's streams have `pipe()`.
    const isNode = typeof (value as { pipe?: unknown }).pipe === "function";
    throw wrongKind(
      name,
      value,
      isNode ? `${wanted}; \`Duplex.toWeb()\` of node:stream makes one of a Node stream` : wanted,
    );
  }
  for (const [which, stream] of Object.entries({ readable, writable })) {
    if (stream === unasked || !(stream as { locked?: boolean }).locked) continue;
    throw new TypeError(
      `Cannot use \`${name}\`: its \`${which}\` is locked, somebody else has a reader or a writer of it`,
    );
  }
}

/** What somebody who comes from another library writes, and how it is written here. */
export interface Habit {
  /** The options that are meant; where one of them is given, the other name is none of ours and left alone. */
  readonly ours: readonly string[];
  /** What to write. */
  readonly write: string;
}

/**
 * Throws `TypeError` for option names that are not ours where one of ours is meant and not given. All others are left alone, so that a
 * program may spread objects that hold more.
 */
export function checkNames(
  where: string,
  options: object,
  names: readonly string[],
  habits: Readonly<Record<string, Habit>> = {},
): void {
  const valueOf = (name: string): unknown => (options as Record<string, unknown>)[name];
  const given = (name: string): boolean => valueOf(name) !== undefined;
  for (const name of Object.keys(options)) {
    // What is switched off there is nothing that would be missed here.
    if (names.includes(name) || !given(name) || valueOf(name) === null || valueOf(name) === false) continue;
    const habit = Object.hasOwn(habits, name) ? habits[name] : undefined;
    if (habit !== undefined) {
      if (!habit.ours.some(given)) throw noSuchOption(where, name, habit.write);
      continue;
    }
    const meant = meantBy(name, names);
    if (meant !== null && !given(meant)) throw noSuchOption(where, name, `\`${meant}\``);
  }
}

function noSuchOption(where: string, name: string, write: string): TypeError {
  return new TypeError(`Cannot use option \`${printable(name, 64)}\` of ${where}: write ${write} in its place`);
}
