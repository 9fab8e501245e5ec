/**
 * `loadSshConfig()`: the user's ssh_config, and what it comes to for a host. ssh_config(5).
 *
 * @module
 */
import { type Complete, complete, shown } from "../../config/complete.ts";
import { SshConfigError } from "../../config/config_error.ts";
import { type Destination, parseDestination } from "../../config/destinations.ts";
import { type Asked, type ConfigSource, evaluate, type FileCache, readLines } from "../../config/evaluate.ts";
import type { ConfigContext, ConfigSystem } from "../../config/system.ts";
import { printable } from "../../errors.ts";
import {
  checkFlag,
  checkFunction,
  checkNames,
  checkObject,
  checkPort,
  checkText,
  wrongKind,
} from "../../wire/check.ts";
import { checkPassphrase, type Passphrase } from "../../keys/passphrase.ts";
import { requireSystem } from "../../wire/system.ts";
import type { MaybePromise } from "../../wire/types.ts";
import type { ConnectOptions } from "../connect_options.ts";
import { circleError, clientOptions, type Making } from "./client_options.ts";
import { denoSystem } from "./deno_system.ts";
import { Notices } from "./notices.ts";

/** Hosts on the way to another. */
const MAX_HOPS = 16;

/** Options of {@linkcode loadSshConfig}. */
export interface LoadSshConfigOptions {
  /**
   * Paths, `~/` being the home folder, read in this order; the first value of a keyword counts. A file that is missing counts as empty; one that belongs to somebody
   * else, or that others may write, is refused. @default {`~/.ssh/config` and `/etc/ssh/ssh_config`, as `ssh` does}
   */
  files?: readonly string[] | undefined;
  /**
   * Whether `Match exec` may run commands, by the user's shell. Without it, blocks with that criterion apply to no host. ProxyCommand is run
   * where it is used, whatever this says. @default {false}
   */
  exec?: boolean | undefined;
  /**
   * What encrypted key files are encrypted with: a function is asked once for each, with the file's path as its name, and only when the
   * server would take the key. Without it, they are passed over.
   */
  passphrase?: Passphrase | undefined;
  /**
   * Answers what the server asks for where keys do not do: a password, or the prompts of keyboard-interactive. Asked as often as
   * NumberOfPasswordPrompts says, in the order of PreferredAuthentications, and not with `BatchMode yes`. What it throws ends the login.
   * A prompt of the server's comes behind `(user@host) `, as with `ssh`, so that it cannot pass for another's question, and the first of a
   * round behind the server's instructions.
   * `echo` says whether what is typed may be shown; `signal` aborts when nobody waits for the answer any more. `askTerminal` is one.
   */
  answer?: ((prompt: string, question: { echo: boolean; signal: AbortSignal }) => MaybePromise<string>) | undefined;
  /**
   * Told of what the configuration wants and does not get here, once for each keyword, in a sentence that begins with
   * `ssh_config: Keyword:`; and as the option of `connect()` by that name. What it throws is ignored.
   */
  onNotice?: ((notice: string) => void) | undefined;
}

/** What somebody named besides the host, as options of `ssh` do: it comes before the configuration. */
export interface SshConfigOverrides {
  /** User to log in as (`ssh -l`). */
  username?: string | undefined;
  /** TCP port (`ssh -p`). */
  port?: number | undefined;
  /** Host to dial (`ssh -o HostName=…`). */
  hostname?: string | undefined;
  /** Hosts to go through, with commas between (`ssh -J`), each as its own part of the configuration says; `"none"` goes straight there. */
  jump?: string | undefined;
}

/** Settings read from ssh_config files. Files that are included are read when they are met first, and all of them once. */
export interface SshConfig {
  /**
   * What `ssh alias` would use; `alias` may be `user@host:port` and `ssh://` as well. Host keys are checked by the files and the strictness
   * that it names, keys are those of its agent and its files, hops of ProxyJump have options of their own.
   *
   * `connect()` does more with these options, and with copies of them, than they show: it uses a master that answers at ControlPath
   * (unless a copy names another host, user, way or `verifyHostKey`), opens the forwards, and gives sessions SendEnv, SetEnv, ForwardAgent and ForwardX11.
   *
   * Rejects with {@linkcode SshConfigError} for a configuration that `ssh` would refuse, and for names with characters that a shell could
   * take for more than a name.
   */
  connectOptions(alias: string, options?: SshConfigOverrides): Promise<ConnectOptions>;
  /** Every value by its lower-case name, as `ssh -G` of OpenSSH 10 prints them: one entry for each of its lines. Rejects as `connectOptions()`. */
  values(alias: string, options?: SshConfigOverrides): Promise<ReadonlyMap<string, readonly string[]>>;
}

/**
 * Reads the user's ssh_config, as `ssh` does. Takes `--allow-read` for the files, `--allow-env=HOME` and more where the configuration names
 * more: `--allow-sys=uid` for its owner, `--allow-run` for commands, `--allow-net` for names to make canonical.
 *
 * Rejects with {@linkcode SshConfigError}, which names file and line, and with `TypeError` for options that make no sense.
 *
 * @example What `ssh web` would use
 * ```ts
 * import { connect, loadSshConfig } from "@amiko/ssh";
 *
 * async function uptime(): Promise<string> {
 *   const config = await loadSshConfig({ onNotice: (notice) => console.warn(notice) });
 *   await using client = await connect(await config.connectOptions("web"));
 *   return await client.$`uptime`.text();
 * }
 * ```
 */
export async function loadSshConfig(options: LoadSshConfigOptions = {}): Promise<SshConfig> {
  checkLoadOptions(options);
  requireSystem("read ssh_config", "hand options over to `connect()`");
  return await loadOn(denoSystem, options);
}

/** Throws `TypeError` for options that make no sense. */
export function checkLoadOptions(options: LoadSshConfigOptions): void {
  checkObject("options", options, "an object such as `{ files, exec }`");
  checkNames("loadSshConfig()", options, ["files", "exec", "passphrase", "answer", "onNotice"], {
    file: { ours: ["files"], write: "`files: [path]`" },
    path: { ours: ["files"], write: "`files: [path]`" },
    config: { ours: ["files"], write: "`files: [path]`" },
  });
  const { files, exec, passphrase, answer, onNotice } = options;
  if (
    files !== undefined && !(Array.isArray(files) && files.every((file) => typeof file === "string" && file !== ""))
  ) {
    throw wrongKind("files", files, "a list of paths");
  }
  checkFlag("exec", exec);
  checkPassphrase(passphrase);
  checkFunction("answer", answer);
  checkFunction("onNotice", onNotice);
}

/** As {@linkcode loadSshConfig}, on any system. */
export async function loadOn(system: ConfigSystem, options: LoadSshConfigOptions): Promise<SshConfig> {
  const config = new Loaded(system, options);
  await config.load();
  return config;
}

class Loaded implements SshConfig {
  readonly #sources: readonly ConfigSource[];
  readonly #context: ConfigContext;
  readonly #notices: Notices;
  readonly #asking: Pick<Making, "passphrase" | "answer" | "onNotice">;
  readonly #cache: FileCache = new Map();

  constructor(system: ConfigSystem, { files, exec = false, passphrase, answer, onNotice }: LoadSshConfigOptions) {
    this.#notices = new Notices(onNotice);
    this.#asking = { passphrase, answer, onNotice };
    this.#context = { system, exec, notice: (keyword, text) => this.#notices.tell(keyword, text) };
    const home = (rest: string): string => `${system.home().replace(/[\\/]+$/, "")}/${rest}`;
    const own = (path: string): string => path.startsWith("~/") ? home(path.slice(2)) : path;
    this.#sources = files?.map((path) => ({ path: own(path), isUser: true })) ?? [
      { path: home(".ssh/config"), isUser: true },
      { path: "/etc/ssh/ssh_config", isUser: false },
    ];
  }

  /** Reads the first files, so that what is wrong with their lines comes out now. */
  async load(): Promise<void> {
    for (const { path, isUser } of this.#sources) await readLines(path, isUser, this.#context, this.#cache);
  }

  async values(alias: string, options: SshConfigOverrides = {}): Promise<ReadonlyMap<string, readonly string[]>> {
    return shown(await this.#find(askedFor(alias, options)));
  }

  async connectOptions(alias: string, options: SshConfigOverrides = {}): Promise<ConnectOptions> {
    return await this.#optionsFor(askedFor(alias, options), 0);
  }

  async #find(asked: Asked): Promise<Complete> {
    const { system } = this.#context;
    return await complete(await evaluate(this.#sources, asked, this.#context, this.#cache), system);
  }

  async #optionsFor(asked: Asked, depth: number): Promise<ConnectOptions> {
    const found = await this.#find(asked);
    if (depth + found.hops.length > MAX_HOPS) throw circleError(found);
    const hops: ConnectOptions[] = [];
    for (const [i, { host, username, port }] of found.hops.entries()) {
      const hop = { alias: host, ...username !== null && { username }, ...port !== null && { port } };
      // Only the first has a way of its own; the others are reached through the one before.
      hops.push(await this.#optionsFor(i === 0 ? hop : { ...hop, jump: "none" }, depth + found.hops.length));
    }
    const { system } = this.#context;
    return await clientOptions(found, { system, notices: this.#notices, ...this.#asking, hops });
  }
}

/** What was named, as it comes before the configuration. */
function askedFor(alias: string, options: SshConfigOverrides): Asked {
  const { host, username, port } = destinationOf(alias);
  checkObject("options", options, "an object such as `{ username }`");
  checkNames("connectOptions()", options, ["username", "port", "hostname", "jump"], {
    user: { ours: ["username"], write: "`username`" },
    host: { ours: ["hostname"], write: "`hostname`" },
  });
  if (options.username !== undefined) checkText("username", options.username);
  if (options.hostname !== undefined) checkText("hostname", options.hostname);
  if (options.port !== undefined) checkPort(options.port, 1);
  return {
    alias: host,
    username: options.username ?? username ?? undefined,
    port: options.port ?? port ?? undefined,
    hostname: options.hostname,
    jump: options.jump === undefined ? undefined : hopsNamed(options.jump),
  };
}

function hopsNamed(jump: string): Asked["jump"] {
  checkText("jump", jump, 'hosts as `ssh -J` takes them, such as "user@host:22", with commas between');
  return jump.toLowerCase() === "none" ? "none" : jump.split(",").map((name) => destinationOf(name, "jump"));
}

/** Throws `SshConfigError` for what names no host. */
function destinationOf(alias: string, option = "alias"): Destination {
  checkText(option, alias, "a host's name, `user@host:port`, or a `ssh://` URI");
  const found = parseDestination(alias);
  if (found !== null) return found;
  // A password may stand where none belongs.
  throw new SshConfigError(
    `Cannot use ${
      alias.includes("@") ? "what was given" : `"${printable(alias, 128)}"`
    } as a host: write \`host\`, \`user@host:port\`, \`[::1]:22\` or \`ssh://user@host:port\``,
    null,
  );
}
