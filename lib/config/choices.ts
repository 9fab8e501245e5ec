/**
 * Keywords that take one of few words, and how `ssh -G` shows each: ssh_config(5). Data only.
 *
 * @module
 */

/** What may be written, and what it is shown as. */
export type Choices = Readonly<Record<string, string>>;

const shownAs = (...pairs: readonly (readonly [shown: string, ...written: string[]])[]): Choices =>
  Object.fromEntries(pairs.flatMap(([shown, ...written]) => [shown, ...written].map((word) => [word, shown])));

const flag = shownAs(["yes", "true"], ["no", "false"]);
const askable = shownAs(["true", "yes"], ["false", "no"], ["ask"]);

const flags = [
  "batchmode",
  "canonicalizefallbacklocal",
  "checkhostip",
  "clearallforwardings",
  "enableescapecommandline",
  "enablesshkeysign",
  "exitonforwardfailure",
  "forkafterauthentication",
  "forwardx11",
  "forwardx11trusted",
  "gatewayports",
  "gssapiauthentication",
  "gssapidelegatecredentials",
  "gssapikeyexchange",
  "gssapirenewalforcesrekey",
  "gssapitrustdns",
  "hashknownhosts",
  "hostbasedauthentication",
  "identitiesonly",
  "kbdinteractiveauthentication",
  "nohostauthenticationforlocalhost",
  "passwordauthentication",
  "permitlocalcommand",
  "proxyusefdpass",
  "stdinnull",
  "streamlocalbindunlink",
  "tcpkeepalive",
  "visualhostkey",
];

/** The keywords and their choices. */
export const choices: Readonly<Record<string, Choices>> = {
  ...Object.fromEntries(flags.map((name) => [name, flag])),
  warnweakcrypto: shownAs(["yes", "true"], ["no", "false"], ["no-pq-kex"]),
  addressfamily: shownAs(["any"], ["inet"], ["inet6"]),
  canonicalizehostname: shownAs(["true", "yes"], ["false", "no"], ["always"]),
  compression: shownAs(["yes"], ["no"]),
  controlmaster: shownAs(["true", "yes"], ["false", "no"], ["auto"], ["ask"], ["autoask"]),
  pubkeyauthentication: shownAs(["true", "yes"], ["false", "no"], ["unbound"], ["host-bound"]),
  requesttty: shownAs(["true", "yes"], ["false", "no"], ["force"], ["auto"]),
  sessiontype: shownAs(["none"], ["subsystem"], ["default"]),
  stricthostkeychecking: shownAs(["true", "yes"], ["false", "no", "off"], ["ask"], ["accept-new"]),
  tunnel: shownAs(["ethernet"], ["point-to-point", "yes", "true"], ["false", "no"]),
  updatehostkeys: askable,
  verifyhostkeydns: askable,
};

/** Levels of LogLevel. */
export const logLevels: readonly string[] = [
  ...["QUIET", "FATAL", "ERROR", "INFO", "VERBOSE", "DEBUG", "DEBUG1", "DEBUG2", "DEBUG3"],
];

/** Facilities of SyslogFacility. */
export const logFacilities: readonly string[] = [
  ...["DAEMON", "USER", "AUTH", "AUTHPRIV"],
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `LOCAL${n}`),
];

/** Names of IPQoS, and the bits that each stands for. */
export const qosNames: Readonly<Record<string, number>> = {
  ...Object.fromEntries([1, 2, 3, 4].flatMap((n) => [1, 2, 3].map((m) => [`af${n}${m}`, n << 5 | m << 3]))),
  ...Object.fromEntries([0, 1, 2, 3, 4, 5, 6, 7].map((n) => [`cs${n}`, n << 5])),
  ef: 0xb8,
  le: 0x04,
  lowdelay: 0x10,
  throughput: 0x08,
  reliability: 0x04,
  va: 0xb0,
  none: -1,
};
