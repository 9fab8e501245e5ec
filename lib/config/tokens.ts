/**
 * What stands behind `%` and in `${}`: ssh_config(5), TOKENS and ENVIRONMENT VARIABLES. No I/O of its own.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { toHex } from "../wire/base_text.ts";
import type { MaybePromise } from "../wire/types.ts";
import { type ConfigPlace, lineError, SshConfigError } from "./config_error.ts";
import { checkHost, checkUser } from "./names.ts";
import type { ConfigSystem } from "./system.ts";

/** Characters that one value may grow to. */
const MAX_EXPANDED = 1_048_576;

/** What is known of a connection that is to be. */
export interface Named {
  /** `%n`: the name that was given. */
  readonly alias: string;
  /** `%h` */
  readonly host: string;
  /** `%p` */
  readonly port: number;
  /** `%r` */
  readonly username: string;
  /** `%k` */
  readonly keyAlias: string;
  /** `%j` */
  readonly jump: string;
}

/** Tokens, and what gives the value of each. */
export type Tokens = Readonly<Record<string, () => MaybePromise<string>>>;

/** The tokens of most keywords. */
export function clientTokens(named: Named, system: ConfigSystem): Tokens {
  const short = (): string => system.localHost().split(".")[0]!;
  return {
    C: async () => await connectionHash(system.localHost(), named),
    d: () => system.home(),
    h: () => named.host,
    i: () => system.userId(),
    j: () => named.jump,
    k: () => named.keyAlias,
    L: short,
    l: () => system.localHost(),
    n: () => named.alias,
    p: () => String(named.port),
    r: () => named.username,
    u: () => system.localUser(),
  };
}

/** The tokens of ProxyCommand and ProxyJump. */
export function proxyTokens({ host, alias, port, username }: Named): Tokens {
  return { h: () => host, n: () => alias, p: () => String(port), r: () => username };
}

/** `%C`: names a connection in the few characters that a socket's path has room for. */
async function connectionHash(localHost: string, { host, port, username, jump }: Named): Promise<string> {
  const text = new TextEncoder().encode(`${localHost}${host}${port}${username}${jump}`);
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-1", text)));
}

/** How text is expanded. */
export interface ExpandOptions {
  /** What `%` means. */
  readonly tokens: Tokens;
  /** What `${}` means; null leaves it as it stands. */
  readonly env: ((name: string) => string | undefined) | null;
  /** Whose value it is, for errors. */
  readonly keyword: string;
  /** Where it stands. */
  readonly place: ConfigPlace | null;
  /** A shell gets it: no value may bring along what that would take for more than a name. */
  readonly forShell?: boolean;
}

/** The text with its tokens and variables replaced. Throws `SshConfigError` for those that mean nothing. */
export async function expand(text: string, options: ExpandOptions): Promise<string> {
  const { tokens, env, keyword, place, forShell = false } = options;
  const fail = (why: string): SshConfigError =>
    place === null
      ? new SshConfigError(`Cannot use ssh_config: ${keyword}: ${why}`, null)
      : lineError(place, `${keyword}: ${why}`);
  const parts: string[] = [];
  let length = 0;
  const put = (part: string): void => {
    length += part.length;
    if (length > MAX_EXPANDED) throw fail(`it stands for more than ${MAX_EXPANDED} characters`);
    parts.push(part);
  };
  const value = async (token: string): Promise<string> => {
    if (token === "%") return "%";
    if (!Object.hasOwn(tokens, token)) {
      throw fail(
        `token "%${printable(token, 8)}" means nothing here; there are %% and ${
          Object.keys(tokens).map((name) => `%${name}`).join(", ")
        }`,
      );
    }
    const value = await tokens[token]!();
    if (forShell) {
      // Names that the configuration itself has may be any; a shell gets none that it could take for more.
      if (value !== "" && "hjkn".includes(token)) checkHost(value, `"%${token}" in a command of ${keyword}`);
      if (token === "r") checkUser(value, `"%r" in a command of ${keyword}`);
      // deno-lint-ignore no-control-regex
      if (/[\u0000-\u001f\u007f]/.test(value)) throw fail(`the value of "%${token}" has control characters`);
    }
    return value;
  };
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "%") {
      put(text.slice(from, at));
      put(await value(text[at + 1] ?? ""));
      from = ++at + 1;
    } else if (env !== null && text.startsWith("${", at)) {
      const close = text.indexOf("}", at);
      const name = close === -1 ? "" : text.slice(at + 2, close);
      if (!/^[A-Za-z_]\w{0,255}$/.test(name)) throw fail('"${" without the name of a variable and "}" behind it');
      const found = env(name);
      if (found === undefined) throw fail(`the environment has no variable "${name}"`);
      put(text.slice(from, at));
      put(found);
      from = close + 1;
      at = close;
    }
  }
  put(text.slice(from));
  return parts.join("");
}

/** A path whose `~` is the user's home folder. Throws for a home of somebody else: where that is, nothing here can tell. */
export function expandTilde(
  path: string,
  system: Pick<ConfigSystem, "home">,
  keyword: string,
  place: ConfigPlace | null,
): string {
  if (!path.startsWith("~")) return path;
  const [, user, rest] = /^~([^/]*)(.*)$/s.exec(path)!;
  if (user === "") return `${system.home().replace(/\/+$/, "")}${rest}`;
  const why = `${keyword}: "~${printable(user!, 64)}" is the home folder of somebody else, which cannot be looked up`;
  throw place === null ? new SshConfigError(`Cannot use ssh_config: ${why}`, null) : lineError(place, why);
}
