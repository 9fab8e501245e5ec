/**
 * What a login may do: a grant that a handler returns, and the grants of all its steps together. The names are those of authorized_keys
 * (sshd(8)) and of certificates. Sessions and forwards ask; nothing here refuses by itself. No I/O.
 *
 * @module
 */
import type { AuthenticatorData } from "../keys/key_type.ts";

/** What a login may do; what is left out is as the server's options say. Enforced by the library. */
export interface Grant {
  /**
   * Runs in the place of whatever the client asks for, shell and subsystem included (`command=`, force-command). What it asked for
   * stands in the variable `SSH_ORIGINAL_COMMAND`. `internal-sftp` is the subsystem `sftp`.
   */
  readonly command?: string | undefined;
  /** May have a terminal. */
  readonly pty?: boolean | undefined;
  /** May forward an agent. */
  readonly agentForwarding?: boolean | undefined;
  /** May forward X11. */
  readonly x11Forwarding?: boolean | undefined;
  /**
   * May forward ports: all, none, or `host:port` patterns for each direction, where `*` is any host or any port; a direction without a
   * list has none. A Unix socket is allowed by its path, which begins with `/` and stands for itself. What is granted here needs no
   * `allowForward` of the server; where there is one, both have to allow it. `true` and `*` do not reach ports below 1024 to listen on,
   * nor addresses that others than the programs of this machine reach, and `true` does not reach Unix sockets: those need to be named, or
   * `allowForward`. An empty host to listen at stands for all addresses, as in `:8080`.
   */
  readonly portForwarding?:
    | boolean
    | { readonly open?: readonly string[] | undefined; readonly listen?: readonly string[] | undefined }
    | undefined;
  /**
   * Narrows what ports may be forwarded, and allows nothing by itself (`permitopen=`, `permitlisten=`): patterns as those of
   * `portForwarding`; a host to listen at may have wildcards `*` and `?` anywhere. A direction without a list is not narrowed; one with a
   * list has nothing else, Unix sockets included.
   */
  readonly forwardOnly?:
    | { readonly open?: readonly string[] | undefined; readonly listen?: readonly string[] | undefined }
    | undefined;
  /** Set in each session, whatever the client sets. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** The login ends then. */
  readonly expires?: Date | undefined;
  /**
   * Of a login by public key: whether somebody has to have touched the FIDO authenticator that signed (`no-touch-required`). Other keys have
   * none that could be touched. @default {true}
   */
  readonly touchRequired?: boolean | undefined;
  /**
   * Of a login by public key: whether the FIDO authenticator that signed has to have verified who touched it, by a PIN or a fingerprint
   * (`verify-required`). A key that is not in one cannot prove that, and is refused. @default {false}
   */
  readonly verifyRequired?: boolean | undefined;
}

/** The variable that tells a granted command what the client asked for; not set for a shell. */
export const ORIGINAL_COMMAND = "SSH_ORIGINAL_COMMAND";

/** A yes or no of a grant. */
export type GrantFlag = "pty" | "agentForwarding" | "x11Forwarding";

const isText = (value: unknown): boolean => typeof value === "string" && !value.includes("\0");
const isFlag = (value: unknown): boolean => typeof value === "boolean";
const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isPatterns = (value: unknown): boolean => value === undefined || Array.isArray(value) && value.every(isText);
const isLists = (value: unknown): boolean =>
  isObject(value) && Object.keys(value).every((name) => name === "open" || name === "listen") &&
  Object.values(value).every(isPatterns);

/** What each part of a grant has to be. */
const parts: Readonly<Record<keyof Grant, readonly [fits: (value: unknown) => boolean, what: string]>> = {
  command: [isText, "text"],
  pty: [isFlag, "true or false"],
  agentForwarding: [isFlag, "true or false"],
  x11Forwarding: [isFlag, "true or false"],
  portForwarding: [
    (value) => isFlag(value) || isLists(value),
    "true, false or lists `open` and `listen` of patterns",
  ],
  forwardOnly: [isLists, "lists `open` and `listen` of patterns"],
  environment: [
    (value) => isObject(value) && Object.entries(value).every(([name, text]) => /^[^=\0]+$/.test(name) && isText(text)),
    "an object of texts, by names without `=`",
  ],
  expires: [(value) => value instanceof Date && !Number.isNaN(value.getTime()), "a valid Date"],
  touchRequired: [isFlag, "true or false"],
  verifyRequired: [isFlag, "true or false"],
};

/**
 * The grant that a handler gave, with what it has from a class. Throws `TypeError` for anything that is none, a part that is not known
 * included: a restriction that is not understood must not be one that does not hold.
 */
export function checkGrant(value: unknown): Grant {
  if (!isObject(value)) throw new TypeError("Cannot grant login: the handler's `grant` is no object");
  const grant: Record<string, unknown> = {};
  for (const name of namesOf(value)) {
    const part = (value as Record<string, unknown>)[name];
    if (!Object.hasOwn(parts, name)) {
      // What a class can do restricts nothing.
      if (typeof part === "function" && !Object.hasOwn(value, name)) continue;
      throw new TypeError(
        `Cannot grant login: "${name}" is no part of a grant; known are ${Object.keys(parts).join(", ")}`,
      );
    }
    const [fits, what] = parts[name as keyof Grant];
    if (part !== undefined && !fits(part)) throw new TypeError(`Cannot grant login: \`${name}\` must be ${what}`);
    grant[name] = part;
  }
  const proto = Object.getPrototypeOf(value), plain = proto === Object.prototype || proto === null;
  if (!plain && Object.keys(grant).length === 0) {
    throw new TypeError("Cannot grant login: the handler's `grant` is of a class that has no part of a grant");
  }
  return grant;
}

/** Names of all that can be read of an object, whether it is its own, hidden, or comes from a class; those of a proxy as far as it tells. */
function namesOf(value: object): Set<string> {
  const names = new Set<string>(Object.keys(parts).filter((name) => name in value));
  for (let at = value; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  return names;
}

/** What all steps of a login granted: each of them has to allow a thing. */
export class Grants {
  readonly #all: readonly Grant[];

  /** In the order of the steps. */
  constructor(all: readonly Grant[]) {
    this.#all = all;
  }

  /** These and one more. */
  and(grant: Grant | null): Grants {
    return grant === null ? this : new Grants([...this.#all, grant]);
  }

  /** Whether two steps want different commands: such a login can be allowed nothing. */
  get contradict(): boolean {
    return new Set(this.#commands()).size > 1;
  }

  /** What runs in the place of what the client asks for, or null. */
  get command(): string | null {
    return this.#commands()[0] ?? null;
  }

  /** Whether a thing is allowed, where the server's options say `unsaid`. */
  allow(flag: GrantFlag, unsaid: boolean): boolean {
    const said = this.#all.map((grant) => grant[flag]).filter((one) => one !== undefined);
    return said.length === 0 ? unsaid : said.every(Boolean);
  }

  /** What each step says of forwarded ports, where it says something. */
  get portForwarding(): NonNullable<Grant["portForwarding"]>[] {
    return this.#all.map(({ portForwarding }) => portForwarding).filter((one) => one !== undefined);
  }

  /** The lists by which steps narrow a direction of forwarding. */
  forwardOnly(direction: "open" | "listen"): (readonly string[])[] {
    return this.#all.map(({ forwardOnly }) => forwardOnly?.[direction]).filter((one) => one !== undefined);
  }

  /**
   * Whether a client may set a variable: not the one that tells the granted command what was asked for, and none whose name would set
   * another one where name and value go together.
   */
  allowsVariable(name: string): boolean {
    return name !== "" && !name.includes("=") && (this.command === null || name !== ORIGINAL_COMMAND);
  }

  /** Variables of each session; a later step's value wins. */
  get environment(): Readonly<Record<string, string>> {
    return Object.assign(Object.create(null), ...this.#all.map(({ environment }) => environment ?? {}));
  }

  /** When the login ends, in milliseconds since 1970; `Infinity` is never. */
  get expires(): number {
    return Math.min(...this.#all.map(({ expires }) => expires?.getTime() ?? Infinity));
  }

  /**
   * Whether whoever signed was there as far as any of the steps wants that; `null` is a key that is in no FIDO authenticator. Whether a touch
   * may be left out, the key's own step says.
   */
  areAttended(authenticator: AuthenticatorData | null): boolean {
    const wants = (part: "touchRequired" | "verifyRequired"): boolean =>
      this.#all.some((grant) => grant[part] === true);
    if (wants("verifyRequired") && authenticator?.userVerified !== true) return false;
    return authenticator === null || authenticator.userPresent || !wants("touchRequired");
  }

  #commands(): string[] {
    return this.#all.map(({ command }) => command).filter((one) => one !== undefined);
  }
}
