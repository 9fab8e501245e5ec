/**
 * What a host's settings come to once everything is read: tokens replaced, `none` taken for nothing, what is not set by its default, and all of
 * it as `ssh -G` shows it. ssh_config(5). Reaches the system only through what it is given.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { type ListKind, namesOf, opensshNames } from "./algorithm_lists.ts";
import { lineError, SshConfigError } from "./config_error.ts";
import { type Destination, type ForwardEnd, type ForwardSpec, showEnd } from "./destinations.ts";
import type { Found } from "./evaluate.ts";
import type { ConfigSystem } from "./system.ts";
import { clientTokens, expand, expandTilde, proxyTokens } from "./tokens.ts";

/** Keywords for which `none` is as if they were not there. */
const absentByNone = [
  ...["controlpath", "knownhostscommand", "localcommand", "pkcs11provider", "proxycommand", "remotecommand"],
  ...["revokedhostkeys", "securitykeyprovider", "versionaddendum"],
];

/** Everything that is known of a host. */
export interface Complete extends Omit<Found, "settings"> {
  /** The value of a keyword: its default where no line has set it, undefined where it has none. */
  get(name: string): string | undefined;
  /** The values of a keyword that may have several. */
  all(name: string): readonly string[];
  /** Whether a line has set it. */
  isSet(name: string): boolean;
  /** What lines have set, and what lines were passed over. */
  readonly settings: Found["settings"];
  /** LocalForward and DynamicForward, with paths as they are. */
  readonly local: readonly ForwardSpec[];
  /** RemoteForward. */
  readonly remote: readonly ForwardSpec[];
  /** The hops of ProxyJump, first to last. */
  readonly hops: readonly Destination[];
}

const flagDefaults: Readonly<Record<string, string>> = {
  addressfamily: "any",
  batchmode: "no",
  canonicalizefallbacklocal: "yes",
  canonicalizehostname: "false",
  checkhostip: "no",
  compression: "no",
  controlmaster: "false",
  enablesshkeysign: "no",
  clearallforwardings: "no",
  exitonforwardfailure: "no",
  fingerprinthash: "SHA256",
  forwardx11: "no",
  // As Debian has it.
  forwardx11trusted: "yes",
  gatewayports: "no",
  gssapiauthentication: "no",
  gssapikeyexchange: "no",
  gssapidelegatecredentials: "no",
  gssapitrustdns: "no",
  gssapirenewalforcesrekey: "no",
  gssapikexalgorithms: [
    ...["gss-group14-sha256-", "gss-group16-sha512-", "gss-nistp256-sha256-", "gss-curve25519-sha256-"],
    ...["gss-group14-sha1-", "gss-gex-sha1-"],
  ].join(","),
  hashknownhosts: "no",
  hostbasedauthentication: "no",
  identitiesonly: "no",
  kbdinteractiveauthentication: "yes",
  nohostauthenticationforlocalhost: "no",
  passwordauthentication: "yes",
  permitlocalcommand: "no",
  proxyusefdpass: "no",
  pubkeyauthentication: "true",
  requesttty: "auto",
  sessiontype: "default",
  stdinnull: "no",
  forkafterauthentication: "no",
  streamlocalbindunlink: "no",
  stricthostkeychecking: "ask",
  tcpkeepalive: "yes",
  tunnel: "false",
  verifyhostkeydns: "false",
  visualhostkey: "no",
  enableescapecommandline: "no",
  canonicalizemaxdots: "1",
  connectionattempts: "1",
  forwardx11timeout: "1200",
  numberofpasswordprompts: "3",
  serveralivecountmax: "3",
  serveraliveinterval: "0",
  requiredrsasize: "1024",
  obscurekeystroketiming: "yes",
  loglevel: "INFO",
  securitykeyprovider: "internal",
  xauthlocation: "/usr/bin/xauth",
  addkeystoagent: "false",
  forwardagent: "no",
  connecttimeout: "none",
  tunneldevice: "any:any",
  controlpersist: "no",
  escapechar: "~",
  ipqos: "lowdelay throughput",
  rekeylimit: "0 0",
  streamlocalbindmask: "0177",
  syslogfacility: "USER",
};

const listDefaults: Readonly<Record<string, readonly string[]>> = {
  identityfile: ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss"].map((name) =>
    `~/.ssh/${name}`
  ),
  canonicaldomains: ["none"],
  globalknownhostsfile: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
  userknownhostsfile: ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"],
  logverbose: ["none"],
  channeltimeout: ["none"],
  permitremoteopen: ["any"],
  canonicalizepermittedcnames: ["none"],
};

/** Lists of algorithms. */
export const algorithmKeywords: Readonly<Record<string, ListKind>> = {
  ciphers: "cipher",
  hostkeyalgorithms: "key",
  hostbasedacceptedalgorithms: "key",
  kexalgorithms: "kex",
  casignaturealgorithms: "caKey",
  macs: "mac",
  pubkeyacceptedalgorithms: "key",
};

/** Completes what was found. Throws `SshConfigError` for tokens that mean nothing, and for settings that contradict each other. */
export async function complete(found: Found, system: ConfigSystem): Promise<Complete> {
  const { settings } = found, values = new Map(settings.values);
  const tokens = clientTokens(found, system), env = (name: string): string | undefined => system.env(name);
  const expanded = async (name: string, text: string, dollar = true): Promise<string> =>
    await expand(text, {
      tokens,
      env: dollar ? env : null,
      keyword: name,
      place: settings.places.get(name) ?? null,
      forShell: name === "remotecommand",
    });
  const asPath = async (name: string, path: string): Promise<string> =>
    await expanded(name, expandTilde(path, system, name, settings.places.get(name) ?? null));

  for (const name of absentByNone) if (values.get(name)?.[0]?.toLowerCase() === "none") values.delete(name);
  for (const name of ["remotecommand", "versionaddendum"]) {
    const text = values.get(name)?.[0];
    if (text !== undefined) values.set(name, [await expanded(name, text, name !== "remotecommand")]);
  }
  for (const name of ["controlpath", "identityagent", "revokedhostkeys", "forwardagent"]) {
    const path = values.get(name)?.[0];
    if (path === undefined || /^(yes|no|none)$/i.test(path)) continue;
    values.set(name, [await asPath(name, path)]);
  }
  const files = values.get("userknownhostsfile") ?? listDefaults.userknownhostsfile!;
  const isOnlyDefault = files.length === 1 && files[0] === "~/.ssh/known_hosts" || !values.has("userknownhostsfile");
  if (!values.has("updatehostkeys")) {
    const dns = values.get("verifyhostkeydns")?.[0] ?? "false";
    values.set("updatehostkeys", [dns === "false" && isOnlyDefault ? "true" : "false"]);
  }
  const known = files[0]!.toLowerCase() === "none" ? [] : files;
  const paths: string[] = [];
  for (const path of known) paths.push(await asPath("userknownhostsfile", path));
  values.set("userknownhostsfile", known.length === 0 ? ["none"] : paths);
  const variables: string[] = [];
  for (const variable of values.get("setenv") ?? []) {
    const equals = variable.indexOf("=") + 1;
    variables.push(variable.slice(0, equals) + await expanded("setenv", variable.slice(equals)));
  }
  if (variables.length > 0) values.set("setenv", variables);
  // As Debian has it: nobody sits there who would notice that the server has gone.
  if (!values.has("serveraliveinterval") && values.get("batchmode")?.[0] === "yes") {
    values.set("serveraliveinterval", ["300"]);
  }
  const alias = values.get("hostkeyalias")?.[0];
  if (alias !== undefined) values.set("hostkeyalias", [alias.toLowerCase()]);

  const cleared = values.get("clearallforwardings")?.[0] === "yes";
  const forwards = async (specs: readonly ForwardSpec[], name: string): Promise<readonly ForwardSpec[]> => {
    const end = async <E extends ForwardEnd | null>(end: E): Promise<E> =>
      end?.kind === "path" ? { ...end, path: await expanded(name, end.path) } as E : end;
    const ready: ForwardSpec[] = [];
    for (const { from, to } of cleared ? [] : specs) ready.push({ from: await end(from), to: await end(to) });
    return ready;
  };
  const local = await forwards(settings.local, "localforward");
  const remote = await forwards(settings.remote, "remoteforward");

  for (const [name, kind] of Object.entries(algorithmKeywords)) {
    const list = values.get(name)?.[0];
    const names = list === undefined ? opensshNames[kind].defaults : namesOf(list, opensshNames[kind]);
    if (names === null) {
      throw lineError(settings.places.get(name)!, `${name}: "${printable(list!, 128)}" leaves no algorithm`);
    }
    if (list === undefined) values.set(name, [names.join(",")]);
  }
  const jump = settings.jump === null || settings.jump === "none" ? [] : settings.jump, last = jump.at(-1);
  const hops = await expandHops(jump, found);
  if (last !== undefined && isHost(last, found)) {
    throw lineOrName(found, `ProxyJump leads through the host itself, "${printable(last.host, 256)}"`);
  }
  return {
    ...found,
    local,
    remote,
    hops,
    get: (name) => values.get(name)?.[0] ?? flagDefaults[name],
    all: (name) => values.get(name) ?? listDefaults[name] ?? [],
    isSet: (name) => settings.places.has(name),
  };
}

/** Whether a hop is the host that it should lead to. */
function isHost({ host, port, username }: Destination, found: Found): boolean {
  return host.toLowerCase() === found.host.toLowerCase() && (port ?? 22) === found.port &&
    (username === null || username === found.username);
}

function lineOrName({ settings }: Found, why: string): SshConfigError {
  const place = settings.places.get("proxyjump");
  return place === undefined ? new SshConfigError(`Cannot use ssh_config: ${why}`, null) : lineError(place, why);
}

/** The hops with what tokens stand for: they go into a command of `ssh`, which replaces them. */
async function expandHops(hops: readonly Destination[], found: Found): Promise<readonly Destination[]> {
  const place = found.settings.places.get("proxyjump") ?? null;
  const options = { tokens: proxyTokens(found), env: null, keyword: "proxyjump", place };
  const ready: Destination[] = [];
  for (const { username, host, port } of hops) {
    ready.push({
      username: username === null ? null : await expand(username, options),
      host: await expand(host, options),
      port,
    });
  }
  return ready;
}

/** Keywords that `ssh -G` shows only where they have a value. */
const shownIfSet = [
  ...["bindaddress", "bindinterface", "controlpath", "gssapiclientidentity", "gssapiserveridentity", "hostkeyalias"],
  ...["identityagent", "ignoreunknown", "kbdinteractivedevices", "knownhostscommand", "localcommand"],
  ...["preferredauthentications", "pkcs11provider", "refuseconnection", "remotecommand", "revokedhostkeys", "tag"],
  ...["versionaddendum", "warnweakcrypto"],
];
/** Keywords that it shows in one line each value. */
const shownByLine = ["identityfile", "certificatefile", "sendenv", "setenv"];
/** Keywords whose values it shows in one line. */
const shownTogether = [
  ...["canonicaldomains", "globalknownhostsfile", "userknownhostsfile", "logverbose", "channeltimeout"],
  ...["permitremoteopen", "canonicalizepermittedcnames"],
];

/** Every value by its lower-case name, one entry for each line that `ssh -G` prints. */
export function shown(found: Complete): Map<string, readonly string[]> {
  const lines = new Map<string, readonly string[]>();
  const put = (name: string, values: readonly string[]): void => {
    if (values.length > 0) lines.set(name, values);
  };
  put("host", [found.alias]);
  put("user", [found.username]);
  put("hostname", [found.host]);
  put("port", [String(found.port)]);
  for (const name of [...Object.keys(flagDefaults), "updatehostkeys", ...shownIfSet]) {
    const value = found.get(name);
    if (value !== undefined) put(name, [value]);
  }
  if (found.settings.get("securitykeyprovider")?.toLowerCase() === "none") lines.delete("securitykeyprovider");
  for (const [name, kind] of Object.entries(algorithmKeywords)) {
    put(name, [namesOf(found.get(name)!, opensshNames[kind])!.join(",")]);
  }
  for (const name of shownByLine) put(name, found.all(name));
  for (const name of shownTogether) put(name, [found.all(name).join(" ")]);
  const line = ({ from, to }: ForwardSpec): string => `${showEnd(from)} ${showEnd(to)}`;
  // A socket's path is no host that SOCKS would not be: `ssh -G` shows such a forward in both places.
  const dynamic = found.local.filter(({ to }) => to === null || to.kind === "path");
  put("dynamicforward", dynamic.map(({ from }) => showEnd(from)));
  put("localforward", found.local.filter(({ to }) => to !== null).map(line));
  put("remoteforward", found.remote.map(line));
  const { jump } = found.settings;
  if (jump !== null && jump !== "none") put("proxyjump", [jump.map(showHop).join(",")]);
  else if (found.get("proxycommand") !== undefined) put("proxycommand", [found.get("proxycommand")!]);
  return lines;
}

function showHop({ username, host, port }: Destination): string {
  const bare = host.includes(":") || /^[\d.]+$/.test(host) ? `[${host}]` : host;
  return `${username === null ? "" : `${username}@`}${bare}${port === null ? "" : `:${port}`}`;
}

/** The command of ProxyCommand as a shell gets it, or null without one. Throws `SshConfigError`. */
export async function proxyCommandOf(found: Complete): Promise<string | null> {
  const command = found.get("proxycommand"), place = found.settings.places.get("proxycommand") ?? null;
  if (command === undefined || found.hops.length > 0) return null;
  if (command === "-") {
    throw new SshConfigError(
      'Cannot use ssh_config: ProxyCommand "-" is for programs whose standard streams are the connection; hand them over as `transport`',
      place,
    );
  }
  return await expand(command, {
    tokens: proxyTokens(found),
    env: null,
    keyword: "proxycommand",
    place,
    forShell: true,
  });
}
