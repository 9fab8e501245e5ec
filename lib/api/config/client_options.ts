/**
 * The options of `connect()` that ssh_config comes to: ssh_config(5).
 *
 * @module
 */
import { namesOf, opensshNames } from "../../config/algorithm_lists.ts";
import { type Complete, proxyCommandOf } from "../../config/complete.ts";
import { lineError, SshConfigError } from "../../config/config_error.ts";
import { fitsPattern } from "../../config/patterns.ts";
import type { ConfigSystem } from "../../config/system.ts";
import { type Algorithms, defaultAlgorithms, insecureAlgorithms } from "../../crypto/algorithms.ts";
import { printable } from "../../errors.ts";
import { certified, signatureAlgorithmsOf, signatureLabelOf } from "../../keys/key_types.ts";
import type { KnownHostsVerifier } from "../../keys/trust/known_hosts.ts";
import type { X11Options } from "../../session/types.ts";
import type { ConnectOptions } from "../connect_options.ts";
import { mayRead, shellCommand } from "./deno_system.ts";
import { type Extras, type SessionDefaults, withExtras } from "./extras.ts";
import { hostKeyPolicy, updatePolicy } from "./host_keys.ts";
import { agentAt } from "./identities.ts";
import { agentOf, type Asking, authOf } from "./login.ts";
import { type Notices, tellUnheard } from "./notices.ts";
import { system as own } from "../../system/system.ts";

/** What the options are made with. */
export interface Making extends Asking {
  /** Told of what happens on the connection. */
  readonly onNotice: ((notice: string) => void) | undefined;
  /** The hops of ProxyJump, each with options of its own. */
  readonly hops: readonly ConnectOptions[];
}

/** The options. Throws `SshConfigError` for what cannot be followed and must not be passed over. */
export async function clientOptions(found: Complete, making: Making): Promise<ConnectOptions> {
  const { notices, onNotice, hops } = making;
  const refusal = found.get("refuseconnection");
  if (refusal !== undefined) {
    throw lineError(
      found.settings.places.get("refuseconnection")!,
      `RefuseConnection lets nobody connect to this host: ${printable(refusal, 1024)}`,
    );
  }
  tellUnheard(found, notices);
  const command = await proxyCommandOf(found);
  const policy = hostKeyPolicy(found, notices), updating = updatePolicy(found, notices);
  const keyAlias = found.get("hostkeyalias");
  const seconds = (name: string): number =>
    found.isSet(name) || name === "serveraliveinterval" ? Number(found.get(name)) : 0;
  const connectTime = seconds("connecttimeout"), silence = seconds("serveraliveinterval");
  const [bytes, interval] = found.get("rekeylimit")!.split(" ").map(Number) as [number, number];
  const algorithms = await algorithmsOf(found, notices, policy);
  const options: ConnectOptions = {
    hostname: found.host,
    port: found.port,
    username: found.username,
    ...await authOf(found, making),
    ...policy !== null && { verifyHostKey: policy },
    ...keyAlias !== undefined && { hostKeyAlias: keyAlias },
    ...updating !== null && { updateHostKeys: updating },
    ...onNotice !== undefined && { onNotice },
    ...Object.keys(algorithms).length > 0 && { algorithms },
    ...bytes + interval > 0 && {
      rekey: { ...bytes > 0 && { bytes }, ...interval > 0 && { interval: interval * 1000 } },
    },
    ...silence > 0 && { keepalive: { interval: silence * 1000, maxMissed: missed(found) } },
    ...connectTime > 0 && { handshakeTimeout: connectTime * 1000 },
    ...identOf(found),
    // Nothing of it is a token any more.
    ...command !== null && {
      proxyCommand: shellCommand(command, { instead: true }).map((word) => word.replaceAll("%", "%%")),
    },
    ...hops.length > 0 && { jump: hops },
  };
  return withExtras(options, await extrasFor(found, making));
}

/** Questions without an answer. 0 is none that ends anything. */
function missed(found: Complete): number {
  return Number(found.get("serveralivecountmax")) || Infinity;
}

function identOf(found: Complete): { ident?: string } {
  const addendum = found.get("versionaddendum");
  if (addendum === undefined) return {};
  if (/^[\x20-\x7e]{1,200}$/.test(addendum)) return { ident: `amiko ${addendum}` };
  throw lineError(
    found.settings.places.get("versionaddendum")!,
    "versionaddendum: it is no line of 200 characters of US-ASCII",
  );
}

const lists = { kexalgorithms: "kex", ciphers: "cipher", macs: "mac", hostkeyalgorithms: "hostKey" } as const;
const kinds = { kex: "kex", cipher: "cipher", mac: "mac", hostKey: "key" } as const;

/** The lists of algorithms that lines have set, with the names that there are here. */
async function algorithmsOf(
  found: Complete,
  notices: Notices,
  policy: KnownHostsVerifier | null,
): Promise<{ -readonly [K in keyof Algorithms]?: Algorithms[K] }> {
  const made: { -readonly [K in keyof Algorithms]?: Algorithms[K] } = {};
  for (const [name, list] of Object.entries(lists) as [keyof typeof lists, (typeof lists)[keyof typeof lists]][]) {
    if (!found.isSet(name)) continue;
    const plain = defaultAlgorithms[list], written = found.get(name)!;
    // As with `ssh`, whose defaults have certificates before keys.
    const defaults = list === "hostKey" ? [...plain.map(certified), ...plain] : plain;
    const all = [...defaults, ...insecureAlgorithms[list]];
    made[list] = usable(name, written, namesOf(written, { defaults, all }), all, found, notices);
    if (list === "hostKey" && /^[-+^]/.test(written)) {
      const named = namesOf(written.replace(/^[+^]/, ""), { defaults: [], all }) ?? [];
      made[list] = await forHost(made[list]!, { named, own: written.startsWith("^") }, found, policy);
    }
  }
  if (found.get("compression") === "yes") made.compression = ["zlib@openssh.com", "zlib", "none"];
  return made;
}

/** The names that are left. Throws where none is, and tells of those that are not there. */
function usable(
  name: string,
  written: string,
  names: readonly string[] | null,
  all: readonly string[],
  found: Complete,
  notices: Notices,
): readonly string[] {
  const place = found.settings.places.get(name)!;
  if (names === null || names.length === 0) throw lineError(place, `${name}: none of its algorithms is known here`);
  const kind = name === "hostkeyalgorithms" || name === "pubkeyacceptedalgorithms"
    ? "key"
    : kinds[lists[name as keyof typeof lists]];
  const wanted = /^-/.test(written) ? [] : namesOf(written.replace(/^[+^]/, ""), opensshNames[kind]) ?? [];
  // Patterns name what there is, wherever that may be.
  const missing = wanted.filter((one) => !all.includes(one) && written.replace(/^[+^]/, "").split(",").includes(one));
  if (missing.length > 0) notices.tell(name, `${missing.join(", ")} are not there, and left out`);
  return names;
}

/**
 * As `ssh` does it: keys that are known for the host come first, unless the list has an order of its own. Certificates that it does not name
 * are asked for where a CA is known for the host.
 */
async function forHost(
  names: readonly string[],
  { named, own }: { named: readonly string[]; own: boolean },
  found: Complete,
  policy: KnownHostsVerifier | null,
): Promise<readonly string[]> {
  const alias = found.get("hostkeyalias");
  const host = alias === undefined ? { hostname: found.host, port: found.port } : { hostname: alias, port: 22 };
  const verifier = policy ?? (await import("../../keys/trust/known_hosts.ts")).knownHosts();
  const known = new Set((await verifier.wantedTypes(host)).flatMap(signatureAlgorithmsOf));
  const wanted = names.filter((name) => signatureLabelOf(name) === name || named.includes(name) || known.has(name));
  return own ? wanted : [...wanted.filter((name) => known.has(name)), ...wanted.filter((name) => !known.has(name))];
}

async function extrasFor(found: Complete, { system, notices }: Making): Promise<Extras> {
  const master = found.get("controlmaster")!;
  if (master !== "false" && found.isSet("controlmaster")) {
    notices.tell(
      "ControlMaster",
      "a running master is used where ControlPath leads to one; this program does not become one",
    );
  }
  const remote = found.remote.filter(({ to }) => to !== null);
  if (remote.length < found.remote.length) {
    notices.tell("RemoteForward", "the server is not lent SOCKS: forwards without a target are left out");
  }
  return {
    controlPath: master === "true" || master === "ask" ? null : found.get("controlpath") ?? null,
    local: found.local,
    remote,
    gateway: found.get("gatewayports") === "yes",
    strict: found.get("exitonforwardfailure") === "yes",
    sessions: await sessionsOf(found, system, notices),
    notices,
  };
}

async function sessionsOf(found: Complete, system: ConfigSystem, notices: Notices): Promise<SessionDefaults> {
  const env = environmentOf(found, await sentVariables(found.all("sendenv"), system, notices));
  const lent = found.get("forwardagent")!;
  // As `ssh`, which has IdentityAgent take the place of SSH_AUTH_SOCK.
  const path = lent === "no" ? null : agentOf(lent === "yes" ? found.get("identityagent") : lent, system);
  const isThere = path === true ? Boolean(system.env("SSH_AUTH_SOCK")) : path !== null;
  const agent = !isThere ? null : path === true ? true : agentAt(path!);
  return {
    ...Object.keys(env).length > 0 && { env },
    ...agent !== null && { agent },
    ...found.get("forwardx11") === "yes" && { x11: x11Of(found) },
  };
}

function x11Of(found: Complete): X11Options {
  const trusted = found.get("forwardx11trusted") === "yes", seconds = Number(found.get("forwardx11timeout"));
  return { trusted, ...!trusted && { timeout: seconds === 0 ? Infinity : seconds * 1000 } };
}

/** SetEnv comes after SendEnv, and so has the last word. */
function environmentOf(found: Complete, sent: Record<string, string>): Record<string, string> {
  const set = found.all("setenv").map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)]);
  return { ...sent, ...Object.fromEntries(set) };
}

/** Variables of the environment that may be read: nobody is asked for permission for the sake of a locale. */
async function sentVariables(
  patterns: readonly string[],
  system: ConfigSystem,
  notices: Notices,
): Promise<Record<string, string>> {
  const sent: Record<string, string> = {};
  if (patterns.length === 0) return sent;
  // Only the whole environment tells which names there are.
  const isOpen = (await own.permissions.query({ name: "env" })).state === "granted";
  const isKnown = (pattern: string): boolean => isOpen || !/[*?]/.test(pattern) && mayRead(pattern);
  const left = patterns.filter((pattern) => !isKnown(pattern));
  if (left.length > 0) notices.tell("SendEnv", `${left.join(" ")} is left out: it takes --allow-env`);
  const names = isOpen ? Object.keys(own.env.toObject()) : patterns.filter(isKnown);
  for (const name of names) {
    const value = patterns.some((pattern) => fitsPattern(name, pattern)) ? system.env(name) : undefined;
    if (value !== undefined) sent[name] = value;
  }
  return sent;
}

/** The error of hops that lead through themselves. */
export function circleError(found: Complete): SshConfigError {
  const place = found.settings.places.get("proxyjump");
  const why = "ProxyJump leads through more than 16 hosts, or in a circle";
  return place === undefined ? new SshConfigError(`Cannot use ssh_config: ${why}`, null) : lineError(place, why);
}
