/**
 * The words of a proxy command, and what is put into them: ssh_config(5), ProxyCommand and TOKENS. No I/O.
 *
 * @module
 */
import { kindOf, wrongKind } from "../wire/check.ts";

/** What the tokens stand for. */
export interface CommandTokens {
  /** `%h` */
  readonly hostname: string;
  /** `%p` */
  readonly port: number;
  /** `%r` */
  readonly username: string;
}

/** Throws `TypeError` for what is no command. */
export function checkCommand(value: unknown, name = "proxyCommand"): asserts value is readonly [string, ...string[]] {
  const wanted = 'words such as `["nc", "%h", "%p"]`';
  if (!Array.isArray(value)) {
    throw wrongKind(name, value, typeof value === "string" ? `${wanted}: no shell takes them apart` : wanted);
  }
  if (value.length === 0 || value[0] === "") throw new TypeError(`Cannot use \`${name}\`: it names no program`);
  for (const word of value) {
    if (typeof word !== "string") throw new TypeError(`Cannot use \`${name}\`: ${kindOf(word)} is no word of it`);
    if (word.includes("\0")) throw new TypeError(`Cannot use \`${name}\`: a word of a command has no zero bytes`);
    const token = /%(?:[hpr%]|(.?))/gsu;
    for (const [whole, unknown] of word.matchAll(token)) {
      if (unknown === undefined) continue;
      const what = whole === "%" ? '"%" at the end of a word' : `token "${whole}"`;
      throw new TypeError(
        `Cannot use \`${name}\`: ${what} means nothing; there are %h, %p and %r, and %% is a percent sign`,
      );
    }
  }
}

/** The words with the tokens replaced. Throws `TypeError` for a host or user that programs would take for an option. */
export function expandCommand(
  command: readonly [string, ...string[]],
  { hostname, port, username }: CommandTokens,
): [string, ...string[]] {
  const values: Readonly<Record<string, string>> = { h: hostname, p: String(port), r: username, "%": "%" };
  const [program, ...args] = command.map((word) => {
    for (const [token, what] of Object.entries({ h: "hostname", r: "username" })) {
      if (!word.startsWith(`%${token}`) || !values[token]!.startsWith("-")) continue;
      throw new TypeError(
        `Cannot put \`${what}\` into \`proxyCommand\`: it begins with "-", as options of programs do`,
      );
    }
    return word.replace(/%([hpr%])/g, (_, token: string) => values[token]!);
  });
  return [program!, ...args];
}
