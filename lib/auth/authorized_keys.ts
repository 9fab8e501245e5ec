/**
 * Who may log in by authorized_keys, and what the options of a line let the login do: a {@linkcode Grant}. sshd(8), AUTHORIZED_KEYS FILE
 * FORMAT.
 *
 * @module
 */
import { equals } from "@std/bytes";
import type { KeyText } from "../keys/key_text.ts";
import { isAuthenticators } from "../keys/key_types.ts";
import { RSA_BITS } from "../keys/rsa_public.ts";
import { listsAddress } from "../keys/trust/address_patterns.ts";
import {
  type AuthorizedKey,
  type AuthorizedKeyOption,
  authorizedLines,
  type RejectedLine,
} from "../keys/trust/authorized_keys.ts";
import { wildcardMatch } from "../keys/trust/host_patterns.ts";
import { expiryTime, listenPattern, variable } from "../keys/trust/key_options.ts";
import type { PublicKey } from "../keys/types.ts";
import { isListPath, readTrusted } from "../keys/user_files.ts";
import { toBase64 } from "../wire/base_text.ts";
import { callBack } from "../wire/callback.ts";
import { checkFlag, checkFunction, checkNames, checkObject, wrongKind } from "../wire/check.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { Grant } from "./grants.ts";
import type { AuthInfo } from "./types.ts";
import { addressOf, authorityOf, certificateProblem } from "./user_certificates.ts";

/** A line of authorized_keys that lets a key in. As it is, it is the answer of a login's handler: its grant puts its options into force. */
export interface AuthorizedKeyMatch extends AuthorizedKey {
  /** What the login may do. */
  readonly grant: Grant;
}

/** Who comes with a key: an {@linkcode AuthInfo} is one. */
export interface AuthorizedKeyClient {
  /** Where the client comes from; without it, no line with `from=` lets it in. */
  readonly remoteAddr?: Deno.Addr | undefined;
  /** As whom it wants to log in; without it, no line lets a certificate in that does not say `principals=`. */
  readonly username?: string | undefined;
}

/** How lines of authorized_keys are read. */
export interface AuthorizedKeysOptions {
  /**
   * Variables that `environment=` may set, as patterns with `*` and `?`; `true` is all. Others are not set, as those of an `sshd` without
   * PermitUserEnvironment. Whoever may write the file says then what programs started for the session see. @default {false}
   */
  environment?: boolean | readonly string[] | undefined;
  /** Told of each line that holds the key and does not let it in, and why. What it throws is ignored. @default {nobody is told} */
  onRejected?: ((line: RejectedLine) => void) | undefined;
  /** Reads a file that its group or everybody may write, too: any of them can let themselves in. @default {false} */
  insecureWritable?: boolean | undefined;
}

/** Where authorized_keys stands, a path or a `file:` URL, or what it says. */
export type AuthorizedKeysSource = KeyText | URL;

/** Keys whose line said more than yes. */
const restricted = new WeakSet<PublicKey>();

/**
 * Whether a handler lets a key in without the options of the line that it has found: it has to give the grant, or one of its own, or to
 * say which options it enforces.
 */
export function forgetsOptions(key: PublicKey, result: unknown): boolean {
  if (!restricted.has(key)) return false;
  return result === true ||
    typeof result === "object" && result !== null && "partial" in result &&
      (result as { grant?: unknown }).grant === undefined;
}

/**
 * The line of authorized_keys that lets a key in, or null. It is itself what a handler answers; its grant puts the options into force:
 *
 * ```ts
 * import { matchAuthorizedKey, type ServerAuth } from "@amiko/ssh";
 *
 * const auth = (text: string): ServerAuth => ({
 *   publicKey: (info, key) => info.username === "alice" ? matchAuthorizedKey(text, key, info) : false,
 * });
 * ```
 *
 * A handler that answers `true` in the place of a line with options lets nobody in, and `onError` is told. Lines count in their order, and
 * the first that lets the key in from there and at this time decides. What each option means is what sshd(8) says, but for this:
 *
 * - `from` names addresses and networks. Names of hosts are never looked up, so they fit nobody, and with a `!` the line is rejected.
 * - `expiry-time` ends the login, too.
 * - `permitopen` and `permitlisten` leave no Unix sockets; as in `sshd`, they allow nothing that the server does not.
 * - `environment` sets what `options.environment` allows.
 * - A line with `cert-authority` has the key of a CA, and lets in whom that has certified: the certificate has to hold as it does for
 *   {@linkcode trustedUserCAs}, and the user name, or with `principals` one of those, has to be one of its principals. What the line and the
 *   certificate allow both is allowed. Such a line lets no plain key in, and no other a certificate.
 * - `verify-required` lets in keys of FIDO authenticators alone: signatures of others do not prove that somebody was there.
 * - `tunnel` and `user-rc` speak of nothing that is done here.
 *
 * An option that is not known, or has a value that makes no sense, rejects its line.
 *
 * Without `client`, no line with `from` lets a key in. Names of options in its place are those that the caller enforces itself, in lower
 * case: then only a line without others does, and the first line with the key decides, whatever else it says.
 */
export function matchAuthorizedKey(
  text: KeyText,
  key: PublicKey,
  client: AuthorizedKeyClient | readonly string[] = {},
  options: Omit<AuthorizedKeysOptions, "insecureWritable"> = {},
): AuthorizedKeyMatch | null {
  checkOptions(options);
  if (typeof client !== "object" || client === null) throw wrongKind("client", client, "who comes with the key");
  const blob = authorityOf(key) ?? key.blob;
  // A key that is this short got here because the program let it in.
  for (const entry of authorizedLines(text, { insecureMinRsaBits: RSA_BITS.insecureMin }, toBase64(blob))) {
    if ("key" in entry && !equals(entry.key.blob, blob)) continue;
    const reason = "reason" in entry ? entry.reason : rejects(entry.options, key, client);
    if (reason !== null) {
      callBack(() => options.onRejected?.({ line: entry.line, reason }));
      continue;
    }
    const { options: set } = entry as AuthorizedKey, grant = grantOf(set, key, options.environment ?? false);
    const match = { ...entry as AuthorizedKey, grant };
    if (isNames(client)) return set.every(({ name }) => client.includes(name)) ? match : null;
    // That nobody needs to touch anything is no restriction; that somebody has to is one where the certificate says otherwise.
    const touch = grant.touchRequired === true && key.certificate?.extensions.has("no-touch-required");
    if (touch || Object.keys(grant).some((part) => part !== "touchRequired")) restricted.add(key);
    return match;
  }
  return null;
}

/**
 * A handler for `auth.publicKey` that lets in who stands in authorized_keys, as {@linkcode matchAuthorizedKey} does, and puts the options
 * of their lines into force. Any user name is let in: where names count, `source` is a function, which gives each its own file.
 *
 * ```ts
 * import { authorizedKeys, serve, type Signer } from "@amiko/ssh";
 *
 * const start = (hostKeys: Signer[]) =>
 *   serve({
 *     hostKeys,
 *     auth: {
 *       publicKey: authorizedKeys(({ username }) => username === "alice" ? "/home/alice/.ssh/authorized_keys" : null),
 *     },
 *   });
 * ```
 *
 * A file is read at each login. One that is not there lets nobody in. One that cannot be read, is no file, has more than a megabyte, or can
 * be written by its group or by everybody is an error, of which the server's `onError` is told, and lets nobody in.
 *
 * A string is a path, unless it is empty, begins with `#`, or holds a line break or a key.
 */
export function authorizedKeys(
  source: AuthorizedKeysSource | ((info: AuthInfo) => MaybePromise<AuthorizedKeysSource | null>),
  options: AuthorizedKeysOptions = {},
): (info: AuthInfo, key: PublicKey) => Promise<AuthorizedKeyMatch | false> {
  checkOptions(options);
  if (typeof source !== "function") checkSource(source);
  return async (info, key) => {
    const given = typeof source === "function" ? await source(info) : source;
    if (given === null) return false;
    checkSource(given);
    const text = isListPath(given) ? await readTrusted(given, options.insecureWritable ?? false) : given;
    return text === null ? false : matchAuthorizedKey(text, key, info, options) ?? false;
  };
}

function checkSource(source: unknown): void {
  if (source instanceof URL && source.protocol !== "file:") {
    throw new TypeError(`Cannot read authorized keys from a ${source.protocol} URL: only files are read`);
  }
  if (typeof source === "string" || source instanceof Uint8Array || source instanceof URL) return;
  throw wrongKind("source", source, "a path, a file: URL, a text or its bytes");
}

function checkOptions(options: AuthorizedKeysOptions): void {
  checkObject("options", options, "an object such as `{ onRejected }`");
  checkNames("authorized keys", options, ["environment", "onRejected", "insecureWritable"]);
  const { environment, onRejected, insecureWritable } = options;
  const patterns = environment instanceof Array && environment.every((one) => typeof one === "string");
  if (environment !== undefined && typeof environment !== "boolean" && !patterns) {
    throw wrongKind("environment", environment, "true, false or patterns of names");
  }
  checkFunction("onRejected", onRejected);
  checkFlag("insecureWritable", insecureWritable);
}

function isNames(client: AuthorizedKeyClient | readonly string[]): client is readonly string[] {
  return Array.isArray(client);
}

/**
 * Why a line's options keep a key out, whoever has it; or null. Names in the client's place speak of all but who may use which line, and nothing
 * speaks for a certificate then.
 */
function rejects(
  options: readonly AuthorizedKeyOption[],
  key: PublicKey,
  client: AuthorizedKeyClient | readonly string[],
): string | null {
  const has = (name: string): boolean => options.some((option) => option.name === name);
  if (key.certificate === undefined) {
    if (has("cert-authority") || has("principals")) return "it is for certificates, and this is a plain key";
    if (isNames(client)) return null;
  } else {
    if (!has("cert-authority")) return "it is for the key itself, and this is a certificate by it";
    if (isNames(client)) return "it is for certificates, and nobody says who comes with one";
  }
  if (lastOf(options, "verify-required") && !isAuthenticators(key.type)) {
    return "it wants the user verified, which such a key cannot prove";
  }
  for (const { name, value } of options) {
    if (name === "from" && !listsAddress(value!, addressOf(client))) {
      return "the client's address does not stand in its from=";
    }
    if (name === "expiry-time" && expiryTime(value!)!.getTime() <= Date.now()) return "it has expired";
  }
  if (key.certificate === undefined) return null;
  const listed = options.find(({ name }) => name === "principals")?.value?.split(",");
  return certificateProblem(key, addressOf(client), listed ?? [client.username].filter((name) => name !== undefined));
}

/** Whether the last of an option and its opposite is the option. */
function lastOf(options: readonly AuthorizedKeyOption[], wanted: string): boolean {
  const opposite = wanted.startsWith("no-") ? wanted.slice(3) : `no-${wanted}`;
  return options.findLast(({ name }) => name === wanted || name === opposite)?.name === wanted;
}

/** What a flag of a line speaks of. */
const flags = {
  "pty": "pty",
  "agent-forwarding": "agentForwarding",
  "x11-forwarding": "x11Forwarding",
  "port-forwarding": "portForwarding",
} as const;

/** What options let a login do. They stand in order: what `restrict` takes, a later option gives back, and the other way round. */
function grantOf(
  options: readonly AuthorizedKeyOption[],
  key: PublicKey,
  variables: boolean | readonly string[],
): Grant {
  const off = new Set<keyof Grant>(), open: string[] = [], listen: string[] = [];
  const environment = new Map<string, string>();
  let command: string | undefined, expires: Date | undefined;
  for (const { name, value } of options) {
    const flag = flags[name.replace(/^no-/, "") as keyof typeof flags];
    if (name === "restrict") { for (const part of Object.values(flags)) off.add(part); }
    else if (flag !== undefined) name.startsWith("no-") ? off.add(flag) : off.delete(flag);
    else if (name === "command") command = value!;
    else if (name === "permitopen") open.push(value!);
    else if (name === "permitlisten") listen.push(listenPattern(value!));
    else if (name === "environment") {
      const [key, text] = variable(value!)!;
      const allowed = variables === true || variables !== false && variables.some((one) => wildcardMatch(key, one));
      // The first says what it is.
      if (allowed && !environment.has(key)) environment.set(key, text);
    } else if (name === "expiry-time") {
      const time = expiryTime(value!)!;
      if (expires === undefined || time < expires) expires = time;
    }
  }
  return {
    ...Object.fromEntries([...off].map((part) => [part, false])),
    ...command === undefined ? {} : { command },
    ...open.length + listen.length === 0 ? {} : {
      forwardOnly: { ...open.length === 0 ? {} : { open }, ...listen.length === 0 ? {} : { listen } },
    },
    ...environment.size === 0 ? {} : { environment: Object.fromEntries(environment) },
    ...expires === undefined ? {} : { expires },
    ...isAuthenticators(key.type) ? touchOf(lastOf(options, "no-touch-required"), key.certificate !== undefined) : {},
    ...lastOf(options, "verify-required") ? { verifyRequired: true } : {},
  };
}

/** With a certificate, the line and that have to leave the touch out, both: a line that does not says so. */
function touchOf(leftOut: boolean, certified: boolean): Grant {
  return leftOut ? { touchRequired: false } : certified ? { touchRequired: true } : {};
}
