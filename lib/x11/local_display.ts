/**
 * The display of this machine's user: where it is, and how one proves oneself there. ssh_config(5), ForwardX11Trusted and
 * ForwardX11Timeout. The only file of this folder that reaches the system.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { connectLocal } from "../forward/local_sockets.ts";
import type { PumpSide } from "../forward/pump.ts";
import type { X11Options } from "../session/types.ts";
import { abortable } from "../wire/abortable.ts";
import { fromHex } from "../wire/base_text.ts";
import { checkDuplex } from "../wire/check.ts";
import { requireDeno } from "../wire/system.ts";
import { Timer } from "../wire/timer.ts";
import type { Bytes } from "../wire/types.ts";
import { type AuthorityEntry, findCookie, MAGIC_COOKIE, parseAuthority } from "./authority.ts";
import { type Display, parseDisplay } from "./display.ts";

/** A display that connections can be made to. */
export interface LocalDisplay {
  /** Number of its screen. */
  readonly screen: number;
  /** Connects; `cookie` is what it wants to see, null where none is known. */
  connect(signal: AbortSignal): Promise<{ readonly socket: PumpSide; readonly cookie: Bytes | null }>;
}

/** Milliseconds that new connections of untrusted programs are taken, unless told otherwise. */
export const UNTRUSTED_TIME = 1_200_000;
/** Milliseconds by which a display knows the cookie longer than that. */
const SLACK = 60_000;
/** Milliseconds that `xauth` may take. */
const XAUTH_TIME = 30_000;
/** Bytes of a file of cookies. */
const MAX_AUTHORITY = 1_048_576;

function failed(why: string, cause?: unknown): SshError {
  return new SshError(`Cannot lend display: ${why}`, { code: "REQUEST_DENIED", ...cause !== undefined && { cause } });
}

function reasonOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error));
}

/** Finds the display and a cookie for it, before anything is asked of a server. Rejects with `SshError` where that cannot be. */
export async function localDisplay(options: X11Options, signal: AbortSignal | undefined): Promise<LocalDisplay> {
  const { cookie: given, trusted = false, connect } = options;
  if (connect === undefined) requireDeno("lend a display", "`connect` of `x11` connects to one");
  const fixed = given === undefined ? null : fromHex(given);
  const name = options.display ?? (connect === undefined ? Deno.env.get("DISPLAY") ?? "" : ":0");
  if (name === "") throw failed("DISPLAY is not set, and no `display` is given");
  const display = parseDisplay(name);
  if (display === null) throw failed(`"${printable(name, 64)}" is no display, such as ":0"`);
  if (connect !== undefined) {
    return {
      screen: display.screen,
      connect: async (signal) => {
        const socket = await abortable((async () => await connect())(), signal, letGo);
        checkDuplex("x11.connect()", socket, true);
        return { socket, cookie: fixed };
      },
    };
  }
  const cookies = fixed !== null
    ? null
    : trusted
    ? await userCookies()
    : await untrusted(name, options.timeout, signal);
  signal?.throwIfAborted();
  return {
    screen: display.screen,
    connect: async (signal) => {
      const { socket, address } = await dial(display, signal);
      return { socket, cookie: cookies === null ? fixed : findCookie(cookies, display.number, address, ownName) };
    },
  };
}

async function letGo(late: { readable?: ReadableStream; writable?: WritableStream }): Promise<void> {
  await Promise.allSettled([late.readable?.cancel(), late.writable?.abort()]);
}

/** Connects; the address is null for a socket of this machine. */
async function dial({ at }: Display, signal: AbortSignal): Promise<{ socket: PumpSide; address: string | null }> {
  if (!("paths" in at)) {
    const socket = await connectLocal(at, signal), addr = socket.remoteAddr;
    return { socket, address: addr.transport === "tcp" ? addr.hostname : null };
  }
  let reason: unknown;
  for (const path of at.paths) {
    try {
      return { socket: await connectLocal({ path }, signal), address: null };
    } catch (error) {
      signal.throwIfAborted();
      reason ??= error;
    }
  }
  throw reason;
}

/** This machine's name, or null where the program may not know it. */
function ownName(): string | null {
  try {
    return Deno.hostname();
  } catch {
    return null;
  }
}

/** The user's own cookies: none where there is no file. */
async function userCookies(): Promise<AuthorityEntry[]> {
  const named = Deno.env.get("XAUTHORITY") ?? "", home = Deno.env.get("HOME") ?? "";
  if (named === "" && home === "") return [];
  const path = named === "" ? `${home}/.Xauthority` : named;
  try {
    return parseAuthority(await readUpTo(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return [];
    throw failed(`its cookie in "${printable(path)}" cannot be read: ${reasonOf(error)}`, error);
  }
}

async function readUpTo(path: string): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const buffer = new Uint8Array(Math.min((await file.stat()).size, MAX_AUTHORITY) + 1);
  let length = 0;
  for (;;) {
    const n = await file.read(buffer.subarray(length));
    if (n === null) return buffer.subarray(0, length);
    length += n;
    if (length === buffer.length) throw new RangeError(`it is longer than ${MAX_AUTHORITY} bytes, or grows`);
  }
}

/**
 * A cookie of its own that the display makes for untrusted programs, by `xauth`. It forgets it some time after the last new connection
 * would be taken.
 */
async function untrusted(
  display: string,
  time = UNTRUSTED_TIME,
  signal: AbortSignal | undefined,
): Promise<AuthorityEntry[]> {
  const seconds = time === Infinity ? 0 : Math.min(Math.ceil((time + SLACK) / 1000), 0x7fff_ffff);
  const ending = new AbortController(), timer = new Timer(() => ending.abort());
  const onAbort = (): void => ending.abort();
  const advice = "Give `trusted: true` where the server may do on the display what local programs may";
  let folder: string | null = null;
  try {
    signal?.throwIfAborted();
    signal?.addEventListener("abort", onAbort, { once: true });
    folder = await Deno.makeTempDir({ prefix: "ssh-x11-" });
    const file = `${folder}/authority`;
    signal?.throwIfAborted();
    timer.start(XAUTH_TIME);
    const { code } = await new Deno.Command("xauth", {
      args: ["-f", file, "generate", display, MAGIC_COOKIE, "untrusted", "timeout", String(seconds)],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      signal: ending.signal,
    }).output();
    signal?.throwIfAborted();
    const made = code === 0 ? parseAuthority(await readUpTo(file)).filter(({ name }) => name === MAGIC_COOKIE) : [];
    if (made.length === 0) {
      throw failed(
        `\`xauth generate\` makes no cookie for untrusted programs on "${printable(display, 64)}". ${advice}`,
      );
    }
    return made;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof SshError) throw error;
    throw failed(`\`xauth\` cannot make a cookie for untrusted programs: ${reasonOf(error)}. ${advice}`, error);
  } finally {
    timer.stop();
    signal?.removeEventListener("abort", onAbort);
    if (folder !== null) await Deno.remove(folder, { recursive: true }).catch(() => {});
  }
}
