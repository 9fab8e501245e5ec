/**
 * Programs of this machine for the sessions of a server: a shell or a command, with a terminal where the client has asked for one, and
 * with pipes where not. RFC 4254 sections 6.2, 6.5, 6.7 and 6.10.
 *
 * How it ends is what OpenSSH's server makes of it: the session is over when the program has ended and its output has been sent, and a
 * process in the background that has the terminal open still holds nothing up, as the system takes the terminal away from it. With
 * pipes, whoever has those open still does. When the client goes first, SIGHUP goes to the program's process group.
 *
 * @module
 */
import { SshError } from "../errors.ts";
import { errorReporter, type ServerSession, type SessionHandler } from "../session/server_session.ts";
import { callBack } from "../wire/callback.ts";
import { checkFlag, checkNames, checkObject, checkText, wrongKind } from "../wire/check.ts";
import { environmentOf } from "./environment.ts";
import { isSignal } from "./signals.ts";
import { checkTerminals } from "./terminals.ts";
import { commandWords } from "./command_words.ts";
import { statusOf } from "./child.ts";
import { checkEnv, checkIds, checkProgram, type PtyProcess, startOnPty } from "./spawn.ts";

/** Options of {@linkcode runInSession}. */
export interface RunOptions {
  /**
   * Environment of the program, and all of this program's own that it gets. PATH is `/usr/local/bin:/usr/bin:/bin` unless it stands here.
   * TERM, SSH_TTY, SSH_CLIENT, SSH_CONNECTION, and SSH_AUTH_SOCK where the client has lent its agent, are added, and what the login's
   * grants say. SHELL is that of `shellHandler()`. @default {HOME, USER, LOGNAME, SHELL and PATH of this program, as far as it may read
   * them; PATH alone with `uid`, as the others are somebody else's}
   */
  env?: Readonly<Record<string, string>> | undefined;
  /**
   * Variables that a client may set, by names with `*` for anything, as AcceptEnv of sshd_config. What is known to make programs load or
   * run something else, such as LD_PRELOAD, PATH or BASH_ENV, no `*` stands for: only the whole name does, and whoever writes it lets
   * clients run what they like. Programs have others of their own, so `"*"` alone is for clients who may run anything anyhow. @default {["LANG", "LC_*", "COLORTERM", "NO_COLOR"]}
   */
  acceptEnv?: readonly string[] | undefined;
  /** Directory to run in; nothing runs where it is not there. @default {HOME of the environment, or where that is none this program's, "/" with `uid`} */
  cwd?: string | undefined;
  /** User to run as; for root only, and with `gid`. @default {this program's} */
  uid?: number | undefined;
  /** Group to run as, which is the only one with `uid`. @default {this program's} */
  gid?: number | undefined;
}

/** Options of {@linkcode shellHandler}. */
export interface ShellOptions extends RunOptions {
  /** The shell, which gets `-l`, or `-c` and the client's command. @default {"/bin/sh"} */
  shell?: string | undefined;
  /**
   * Whether clients get terminals. Without, those who ask for one are told so and nothing is run for them; `grant: { pty: false }` refuses
   * the terminal alone. @default {true}
   */
  terminals?: boolean | undefined;
}

const runNames: readonly (keyof RunOptions)[] = ["env", "acceptEnv", "cwd", "uid", "gid"];
const shellNames: readonly (keyof ShellOptions)[] = [...runNames, "shell", "terminals"];
/** Milliseconds that a program has for its end when its client has gone, before nobody waits for it any more. */
const GRACE = 5000;
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";
/** Those of this program's own that others get: where programs are, and who its user is. */
const INHERITED = ["PATH"], WHO = ["HOME", "USER", "LOGNAME", "SHELL"];

function checkRun(where: string, options: RunOptions, names: readonly string[]): void {
  checkObject("options", options, "an object such as `{ env }`");
  checkNames(where, options, names);
  const { env, acceptEnv, cwd } = options;
  checkEnv(env);
  if (acceptEnv !== undefined && !Array.isArray(acceptEnv)) {
    throw wrongKind("acceptEnv", acceptEnv, "an array of names");
  }
  for (const name of acceptEnv ?? []) checkText("acceptEnv", name, "an array of names");
  if (cwd !== undefined) checkText("cwd", cwd, "the path of a directory");
  checkIds(options);
}

/**
 * A handler that gives each client a shell of this machine, or runs its command: `serve({ handler: shellHandler() })`. What is asked for
 * is handed to the shell as one argument behind `-c`.
 *
 * **Everything runs as the user of this program**, whoever has logged in, unless `uid` says otherwise: who may log in may do all that this
 * user may, to this very program as well.
 *
 * Linux only, with `--allow-ffi` for terminals and `--allow-run` for `/bin/sh` and the shell. Throws `TypeError` and `RangeError` for
 * options that make no sense, and `Error` where terminals cannot be made here, at once and not to the first client.
 *
 * @example A server of shells
 * ```ts
 * import { authorizedKeys, generateKey, serve } from "@amiko/ssh";
 * import { shellHandler } from "@amiko/ssh/pty";
 *
 * const start = async () =>
 *   serve({
 *     port: 2222,
 *     hostKeys: [await generateKey()],
 *     auth: { publicKey: authorizedKeys("authorized_keys") },
 *     handler: shellHandler({ shell: "/bin/bash" }),
 *   });
 * ```
 */
export function shellHandler(options: ShellOptions = {}): SessionHandler {
  checkRun("shellHandler()", options, shellNames);
  const { shell = "/bin/sh", terminals = true, ...rest } = options;
  checkProgram(shell);
  checkFlag("terminals", terminals);
  if (terminals) checkTerminals();
  return async (session) => {
    if (!terminals && session.pty !== null) return await refuse(session, "This server gives no terminals\n");
    return await run(session, commandWords(shell, session.command), { SHELL: shell }, rest);
  };
}

/**
 * Runs a program of this machine for a session: on a terminal where the client has asked for one, which follows its size and its
 * signals, and with pipes otherwise. `command` is the program and its arguments; no shell sees them. Resolves to the exit code when all
 * output has been sent, for the handler to return; where a signal has ended the program, the client has been told by then.
 *
 * **The program runs as the user of this one**, unless `uid` says otherwise. What a client may choose of `command` is for the caller to
 * decide.
 *
 * Rejects with `TypeError` and `RangeError` for options that make no sense, and where the program cannot be started; the client is told
 * no more than that.
 *
 * @example A program in the place of a shell
 * ```ts
 * import type { SessionHandler } from "@amiko/ssh";
 * import { runInSession } from "@amiko/ssh/pty";
 *
 * const handler: SessionHandler = (session) => runInSession(session, ["top", "-d", "1"], { env: { HOME: "/" } });
 * ```
 */
export async function runInSession(
  session: ServerSession,
  command: readonly string[],
  options: RunOptions = {},
): Promise<number> {
  checkRun("runInSession()", options, runNames);
  return await run(session, command, {}, options);
}

async function run(
  session: ServerSession,
  [program, ...args]: readonly string[],
  more: Readonly<Record<string, string>>,
  options: RunOptions,
): Promise<number> {
  checkProgram(program);
  for (const arg of args) checkText("command", arg, "an array of texts");
  const { uid, gid } = options, own = options.env ?? inherited(uid === undefined ? [...INHERITED, ...WHO] : INHERITED);
  // What the server's own user has as SHELL is not what clients get, unless somebody says so.
  const given = { PATH: DEFAULT_PATH, ...own, ...more, ...options.env };
  const env = environmentOf(session, given, options.acceptEnv);
  const agent = await agentSocket(session);
  if (agent !== null) env["SSH_AUTH_SOCK"] = agent;
  const start: Start = { program, args, env, uid, gid, cwd: options.cwd ?? await homeOf(env, uid) };
  let running: Running;
  try {
    session.signal.throwIfAborted();
    running = session.pty === null ? onPipes(start) : onTerminal(session, start);
  } catch (error) {
    if (!session.signal.aborted) await refuse(session, "The command could not be started\n");
    throw error;
  }
  const status = await attend(session, running);
  if (status === null) return 1;
  const name = status.signal?.replace(/^SIG/, "") ?? null;
  if (name !== null && !session.signal.aborted) await session.exit({ signal: name });
  return status.code;
}

interface Start {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Record<string, string>;
  readonly cwd: string | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** A program, whatever it is connected by. */
interface Running extends Pick<PtyProcess, "stdin" | "stdout" | "status" | "kill" | "hangUp"> {
  readonly stderr: ReadableStream<Uint8Array> | null;
  readonly resize: PtyProcess["resize"] | null;
  /** The program of this server does not wait for its end. */
  readonly unref: () => void;
}

function onTerminal(session: ServerSession, { cwd, ...start }: Start): Running {
  const { program, args, env, uid, gid } = start, { term, modes } = session.pty!;
  const window = session.window ?? session.pty!;
  const process = startOnPty(program, { args, env, clearEnv: true, cwd, uid, gid, term, modes, window }, "SSH_TTY");
  return {
    stderr: null,
    stdin: process.stdin,
    stdout: process.stdout,
    status: process.status,
    resize: (size) => process.resize(size),
    kill: (signal) => process.kill(signal),
    hangUp: () => process.hangUp(),
    unref: () => process.unref(),
  };
}

function onPipes({ program, args, env, cwd, uid, gid }: Start): Running {
  const child = new Deno.Command(program, {
    args: [...args],
    env,
    clearEnv: true,
    ...cwd !== undefined && { cwd },
    ...uid !== undefined && { uid },
    ...gid !== undefined && { gid },
    // A process group of its own, so that a signal reaches what a shell has started.
    detached: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let hasEnded = false, hungUp: Promise<void> | null = null;
  const status = statusOf(child).then((status) => {
    hasEnded = true;
    return status;
  });
  const kill = async (signal: string): Promise<void> => {
    if (!hasEnded) await killGroup(child.pid, signal);
  };
  const { stdin, stdout, stderr } = child;
  return {
    ...{ stdin, stdout, stderr, status, kill, resize: null },
    hangUp: () => hungUp ??= kill("HUP"),
    unref: () => child.unref(),
  };
}

/** Deno's own `kill()` of a group takes the permission to run anything. */
async function killGroup(group: number, signal: string): Promise<void> {
  const args = ["-c", 'kill -s "$0" -- "-$1"', signal, String(group)];
  await new Deno.Command("/bin/sh", { args, stdin: "null", stdout: "null", stderr: "null" }).output();
}

/** Moves everything until the program has ended and its output has been taken. */
async function attend(session: ServerSession, running: Running): Promise<Deno.CommandStatus | null> {
  const over = new AbortController(), { signal } = over, onError = errorReporter(session);
  const hangUp = (): void => void running.hangUp().catch(onError);
  session.signal.addEventListener("abort", hangUp, { once: true });
  if (session.signal.aborted) hangUp();
  void eachOf(session.signals, signal, async (name) => {
    if (isSignal(name)) await running.kill(name);
  }).catch(onError);
  if (running.resize !== null) void eachOf(session.resizes, signal, running.resize).catch(onError);
  // A program may well end, or close its input, before it has read everything; and a client that leaves sends no end.
  session.stdin.pipeTo(running.stdin, { signal, preventCancel: true }).catch(() => {});
  try {
    await Promise.all(outputsOf(running, session)).catch((error) => {
      // The client has gone; what it would not hear of is nobody's.
      hangUp();
      if (!session.signal.aborted && !(error instanceof SshError)) throw error;
    });
    // Who has closed its outputs may well read on, and heed signals.
    return await endOf(session, running);
  } finally {
    over.abort();
    session.signal.removeEventListener("abort", hangUp);
    // The terminal is given back by the time that the session is over.
    await running.hangUp();
  }
}

function outputsOf({ stdout, stderr }: Running, session: ServerSession): Promise<void>[] {
  const outputs = [stdout.pipeTo(session.stdout, { preventClose: true })];
  if (stderr !== null) outputs.push(stderr.pipeTo(session.stderr, { preventClose: true }));
  return outputs;
}

/** How it ended; null where the client has gone and it goes on, as what was started by `nohup` does: nobody waits for that. */
async function endOf(session: ServerSession, running: Running): Promise<Deno.CommandStatus | null> {
  const tired = Promise.withResolvers<null>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => {
      running.unref();
      tired.resolve(null);
    }, GRACE);
  };
  if (session.signal.aborted) onAbort();
  else session.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([running.status, tired.promise]);
  } finally {
    clearTimeout(timer);
    session.signal.removeEventListener("abort", onAbort);
  }
}

/** Acts on each event until there are no more, or the program has ended. */
async function eachOf<T>(events: AsyncIterable<T>, over: AbortSignal, act: (event: T) => unknown): Promise<void> {
  const iterator = events[Symbol.asyncIterator]();
  // Whoever went on waiting would take the first event from the session's next program.
  over.addEventListener("abort", () => callBack(() => iterator.return?.()), { once: true });
  for await (const event of { [Symbol.asyncIterator]: () => iterator }) {
    if (over.aborted) return;
    await act(event);
  }
}

async function refuse(session: ServerSession, why: string): Promise<number> {
  const writer = session.stderr.getWriter();
  try {
    await writer.write(new TextEncoder().encode(why));
  } catch {
    // The client has gone.
  } finally {
    writer.releaseLock();
  }
  return 1;
}

async function agentSocket(session: ServerSession): Promise<string | null> {
  try {
    return await session.agent?.listen() ?? null;
  } catch (error) {
    // As with OpenSSH, a session is worth having without.
    errorReporter(session)(error);
    return null;
  }
}

/** Where a program runs when nobody says: as with OpenSSH, a session is worth having without its home. */
async function homeOf(
  { HOME }: Readonly<Record<string, string>>,
  uid: number | undefined,
): Promise<string | undefined> {
  if (HOME !== undefined && await isDirectory(HOME)) return HOME;
  return uid === undefined ? undefined : "/";
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    // Whoever may not look lets the system say it.
    return error instanceof Deno.errors.NotCapable;
  }
}

function inherited(names: readonly string[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const variable of names) {
    if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") continue;
    const value = Deno.env.get(variable);
    if (value !== undefined) env[variable] = value;
  }
  return env;
}
