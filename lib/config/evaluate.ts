/**
 * What a configuration says of one host: `Host`, `Match` and `Include` of ssh_config(5), in as many passes as it takes. Reaches the system only
 * through what it is given.
 *
 * First all files are read for the name that was given. Where that finds another name (HostName, CanonicalizeHostname), or `Match final`
 * asks for it, all are read once more for the name that was found; what has been set stays set.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { canonicalHost } from "./canonical.ts";
import { type ConfigPlace, lineError, SshConfigError } from "./config_error.ts";
import { isKeyword, readLine } from "./keywords.ts";
import { type ConfigLine, linesOf, Words } from "./lines.ts";
import { matches } from "./match.ts";
import { checkHost, checkUser } from "./names.ts";
import { fitsList, fitsPattern } from "./patterns.ts";
import { type Jump, Settings } from "./settings.ts";
import type { ConfigContext } from "./system.ts";
import { clientTokens, expand, expandTilde, type Named } from "./tokens.ts";

/** Depth to which files include others. */
const MAX_DEPTH = 16;
/** Files that one pass reads, one that is included twice counted twice. */
const MAX_INCLUDES = 1024;
/** Lines that one pass reads. */
const MAX_LINES = 200_000;

/** A file that is read first. */
export interface ConfigSource {
  /** Its path. */
  readonly path: string;
  /** Whether it is the user's own, or the system's. */
  readonly isUser: boolean;
}

/** What is asked for. */
export interface Asked {
  /** The name that somebody gave. */
  readonly alias: string;
  /** The user that somebody named, before any file does. */
  readonly username?: string | undefined;
  /** The port that somebody named. */
  readonly port?: number | undefined;
  /** The host that somebody named in the place of HostName. */
  readonly hostname?: string | undefined;
  /** The way that somebody named in the place of ProxyJump. */
  readonly jump?: Jump | undefined;
}

/** What was found. */
export interface Found extends Named {
  /** What the lines have set. */
  readonly settings: Settings;
}

/** Files that were read already, by their paths. */
export type FileCache = Map<string, Promise<readonly ConfigLine[] | null>>;

/** Everything that the files say of one host. Throws `SshConfigError`. */
export async function evaluate(
  sources: readonly ConfigSource[],
  asked: Asked,
  context: ConfigContext,
  cache: FileCache,
): Promise<Found> {
  const { alias } = asked, { system } = context, settings = new Settings();
  // Before any line is looked at, which may hand them to a shell.
  checkHost(alias);
  if (asked.username !== undefined) settings.set("user", asked.username, null);
  if (asked.username !== undefined) checkUser(asked.username);
  if (asked.port !== undefined) settings.set("port", String(asked.port), null);
  if (asked.hostname !== undefined) checkHost(asked.hostname);
  if (asked.hostname !== undefined) settings.set("hostname", asked.hostname.replaceAll("%", "%%"), null);
  if (asked.jump !== undefined) settings.jump = asked.jump;

  // Where a user is named, nobody needs to know who runs this program.
  let known: Promise<string> | null = null;
  const localUser = (): Promise<string> => known ??= (async () => await system.localUser())();
  const first = new Pass(settings, { alias, host: alias, final: false, localUser }, context, cache);
  for (const source of sources) await first.readSource(source);
  let host = await hostNameOf(settings, alias);
  const command = settings.get("proxycommand")?.toLowerCase() ?? "none";
  const direct = command === "none" && (settings.jump === null || settings.jump === "none");
  host = await canonicalHost(host, settings, direct, (name) => system.lookUp(name));
  if (first.wantsFinal || (settings.get("canonicalizehostname") ?? "false") !== "false") {
    settings.values.set("hostname", [host.replaceAll("%", "%%")]);
    const second = new Pass(settings, { alias, host, final: true, localUser }, context, cache);
    for (const source of sources) await second.readSource(source);
  }

  const port = Number(settings.get("port") ?? 22), jump = jumpText(settings.jump);
  const keyAlias = settings.get("hostkeyalias")?.toLowerCase() ?? alias;
  let username = settings.get("user") ?? await localUser();
  const named = { alias, host, port, username, keyAlias, jump };
  if (asked.username === undefined && /[%$]/.test(username) && settings.values.has("user")) {
    const { r: _r, C: _c, ...tokens } = clientTokens(named, system);
    const place = settings.places.get("user") ?? null;
    const expanded = await expand(username, { tokens, env: (name) => system.env(name), keyword: "user", place });
    // What tokens have put together comes from elsewhere.
    if (expanded !== username) checkUser(expanded);
    username = expanded;
  }
  return { ...named, username, settings };
}

/** The name that HostName gives, as it is before names are made canonical. */
async function hostNameOf(settings: Settings, host: string): Promise<string> {
  const written = settings.get("hostname");
  if (written === undefined) return host;
  const place = settings.places.get("hostname") ?? null;
  return await expand(written, { tokens: { h: () => host }, env: null, keyword: "hostname", place });
}

/** The last hop of ProxyJump by its name: `%j`. */
function jumpText(jump: Jump | null): string {
  return jump === null || jump === "none" ? "" : jump.at(-1)!.host;
}

interface About {
  readonly alias: string;
  readonly host: string;
  readonly final: boolean;
  readonly localUser: () => Promise<string>;
}

/** Where a file stands in a pass. */
interface Level {
  readonly isUser: boolean;
  readonly depth: number;
  /** Nothing in it can apply: it is included where nothing does. */
  readonly never: boolean;
}

/** One reading of all files. */
class Pass {
  /** Whether a line has asked for a second one. */
  wantsFinal = false;
  readonly #settings: Settings;
  readonly #about: About;
  readonly #context: ConfigContext;
  readonly #cache: FileCache;
  #files = 0;
  #lines = 0;
  #active = true;

  constructor(settings: Settings, about: About, context: ConfigContext, cache: FileCache) {
    this.#settings = settings;
    this.#about = about;
    this.#context = context;
    this.#cache = cache;
  }

  async readSource({ path, isUser }: ConfigSource): Promise<void> {
    this.#active = true;
    await this.#read(path, isUser, { isUser, depth: 0, never: false });
  }

  /** Reads a file; `checked` where its owner matters. */
  async #read(path: string, checked: boolean, level: Level): Promise<void> {
    if (++this.#files > MAX_INCLUDES) {
      throw lineError({ file: path, line: 0 }, `more than ${MAX_INCLUDES} files are included`);
    }
    const lines = await readLines(path, checked, this.#context, this.#cache);
    for (const line of lines ?? []) {
      if (++this.#lines > MAX_LINES) throw lineError(line.place, `more than ${MAX_LINES} lines are read`);
      if (line.keyword === "host") this.#host(new Words(line), level);
      else if (line.keyword === "match") {
        const words = new Words(line);
        const fits = await matches(words, this.#matched(level));
        words.end();
        this.#active = fits && !level.never;
      } else if (line.keyword === "include") await this.#include(new Words(line), level);
      else this.#setting(line);
    }
  }

  #host(line: Words, { never }: Level): void {
    this.#active = false;
    for (let word; (word = line.next()) !== undefined;) {
      if (word === "") throw line.error("an argument is empty");
      if (never) return;
      const negated = word.startsWith("!");
      if (!fitsPattern(this.#about.host, negated ? word.slice(1) : word)) continue;
      this.#active = !negated;
      if (negated) return;
    }
  }

  #setting(line: ConfigLine): void {
    const settings = this.#settings;
    if (isKeyword(line.keyword)) return readLine(new Words(line), this.#active ? settings : null);
    if (!fitsList(line.keyword, (settings.get("ignoreunknown") ?? "").toLowerCase())) {
      throw lineError(
        line.place,
        `"${printable(line.keyword, 64)}" is no keyword; IgnoreUnknown before it passes over it`,
      );
    }
    new Words(line).skip();
    if (this.#active) settings.ignored.set(line.keyword, line.place);
  }

  async #include(line: Words, level: Level): Promise<void> {
    const { system } = this.#context, { place } = line;
    if (level.depth >= MAX_DEPTH) throw line.error(`files include others more than ${MAX_DEPTH} deep`);
    for (const word of line.all()) {
      if (word.startsWith("~") && !level.isUser) throw line.bad(word, "path of the system's configuration");
      const expanded = async (): Promise<string> => {
        const tokens = clientTokens(await this.#named(), system);
        return await expand(word, { tokens, env: (name) => system.env(name), keyword: "include", place });
      };
      const pattern = /[%$]/.test(word) ? await expanded() : word;
      const folder = (): string => level.isUser ? `${system.home().replace(/\/+$/, "")}/.ssh` : "/etc/ssh";
      const path = pattern.startsWith("~")
        ? expandTilde(pattern, system, "include", place)
        : pattern.startsWith("/") || /^[a-z]:[\\/]/i.test(pattern)
        ? pattern
        : `${folder()}/${pattern}`;
      const active = this.#active, never = level.never || !active;
      for (const file of await system.glob(path)) {
        this.#active = active;
        await this.#read(file, true, { isUser: level.isUser, depth: level.depth + 1, never });
      }
      this.#active = active;
    }
  }

  /** What is known so far, defaults in the place of what is not. */
  async #named(): Promise<Named> {
    const settings = this.#settings, { alias, localUser } = this.#about;
    return {
      alias,
      host: await this.#hostSoFar(),
      port: Number(settings.get("port") ?? 22),
      username: settings.get("user") ?? await localUser(),
      keyAlias: settings.get("hostkeyalias") ?? alias,
      jump: jumpText(settings.jump),
    };
  }

  async #hostSoFar(): Promise<string> {
    return await hostNameOf(this.#settings, this.#about.host);
  }

  #matched({ never }: Level): Parameters<typeof matches>[1] {
    const settings = this.#settings,
      { alias, final, localUser } = this.#about,
      { system, exec, notice } = this.#context;
    return {
      final,
      host: () => this.#hostSoFar(),
      alias,
      username: () => settings.get("user") ?? localUser(),
      localUser,
      tag: settings.get("tag") ?? "",
      addresses: () => system.addresses(),
      run: !exec ? null : async (command: string, place: ConfigPlace): Promise<boolean> => {
        // Where nothing can apply, nothing needs to run.
        if (never) return false;
        const tokens = clientTokens(await this.#named(), system);
        return await system.run(
          await expand(command, { tokens, env: null, keyword: "match exec", place, forShell: true }),
        );
      },
      wantFinal: () => this.wantsFinal = true,
      undecided: (criterion, why) => notice(criterion, why),
    };
  }
}

/** The lines of a file, or null where there is none. */
export function readLines(
  path: string,
  checked: boolean,
  { system }: ConfigContext,
  cache: FileCache,
): Promise<readonly ConfigLine[] | null> {
  const known = cache.get(path);
  if (known !== undefined) return known;
  const read = (async () => {
    let text: string | null;
    try {
      text = await system.read(path, checked);
    } catch (cause) {
      if (!(cause instanceof Error) || cause instanceof TypeError || cause.name === "NotCapable") throw cause;
      if (cause instanceof SshConfigError) throw cause;
      throw lineError({ file: path, line: 0 }, printable(cause.message), cause);
    }
    return text === null ? null : linesOf(text, path);
  })();
  cache.set(path, read);
  // What could not be read may be the next time.
  read.catch(() => cache.delete(path));
  return read;
}
