/**
 * The keywords of ssh_config and what each takes: ssh_config(5). One row a keyword; `Host`, `Match` and `Include` are the reader's own. No I/O.
 *
 * A line is checked whether it applies or not; it sets something only where it does.
 *
 * @module
 */
import { type ListKind, unknownName } from "./algorithm_lists.ts";
import { choices, logFacilities, logLevels, qosNames } from "./choices.ts";
import { type Destination, parseDestination, parseForward } from "./destinations.ts";
import type { Words } from "./lines.ts";
import { domainProblem } from "./names.ts";
import { parseCount, parsePort, parseSize, parseTime } from "./numbers.ts";
import { fitsPattern } from "./patterns.ts";
import type { Settings } from "./settings.ts";

/** Reads a line's arguments; `settings` is null where the line does not apply. */
type Reader = (line: Words, settings: Settings | null, name: string) => void;

/** Entries of IdentityFile and CertificateFile. */
const MAX_IDENTITIES = 100;
/** Entries of lists in one line. */
const MAX_FILES = 32;
/** Entries of SendEnv and SetEnv. */
const MAX_VARIABLES = 1024;

/** The reader of a keyword that takes one value; null of `read` sets nothing. */
const one = (read: (word: string, line: Words) => string | null): Reader => (line, settings, name) => {
  const value = read(line.need(), line);
  if (value !== null) settings?.set(name, value, line.place);
};

const text = one((word) => word);

/** A path, or a variable that holds one, as `$NAME`. */
function socketPath(word: string, line: Words): string {
  if (/^\$(?!\{)/.test(word) && !/^\$\w+$/.test(word)) throw line.bad(word, "path, nor a variable that holds one");
  return word;
}

const choice: Reader = (line, settings, name) => {
  const word = line.need(), shown = choices[name]!, found = word.toLowerCase();
  if (!Object.hasOwn(shown, found)) throw line.bad(word, `one of ${Object.keys(shown).join(", ")}`);
  settings?.set(name, shown[found]!, line.place);
};

const time = one((word, line) => {
  if (word === "none") return null;
  const seconds = parseTime(word);
  if (seconds === null) throw line.bad(word, "time such as 30, 10m or 1h30m");
  return String(seconds);
});

const count = one((word, line) => {
  const number = parseCount(word);
  if (number === null) throw line.bad(word, "number");
  return String(number);
});

const upper = (known: readonly string[], what: string): Reader =>
  one((word, line) => {
    const found = word.toUpperCase();
    if (!known.includes(found)) throw line.bad(word, what);
    return found === "DEBUG1" ? "DEBUG" : found;
  });

/** A command for a shell: all that stands behind the keyword. */
const command: Reader = (line, settings, name) => {
  const value = line.raw();
  if (value === "") throw line.error("it lacks an argument");
  // Where ProxyJump stands, the command of a proxy is not wanted any more.
  if (name === "proxycommand" && settings?.jump) return;
  settings?.set(name, value, line.place);
};

const algorithms = (kind: ListKind): Reader =>
  one((word, line) => {
    // Empty names between commas are none.
    const list = /^[-+^]?/.exec(word)![0] +
      word.replace(/^[-+^]/, "").split(",").filter((name) => name !== "").join(",");
    const unknown = unknownName(list, kind);
    if (unknown !== null) throw line.bad(unknown, "algorithm that is known");
    return list;
  });

/** A list in one line, of which `none` must be the only entry. */
const list =
  (limits: { max?: number; none?: readonly string[]; check?: (word: string, line: Words) => void }): Reader =>
  (line, settings, name) => {
    const words = line.all();
    const alone = words.find((word) => (limits.none ?? ["none"]).includes(word.toLowerCase()));
    if (alone !== undefined && words.length > 1) throw line.error(`"${alone}" must stand alone`);
    if (words.length > (limits.max ?? MAX_FILES)) throw line.error("too many entries");
    if (words.length === 0) throw line.error("it lacks an argument");
    if (alone === undefined) { for (const word of words) limits.check?.(word, line); }
    settings?.set(name, words, line.place);
  };

/** A list that grows with each line. */
const growing: Reader = (line, settings, name) => {
  const value = line.need();
  if (settings === null) return;
  if (settings.all(name).length >= MAX_IDENTITIES) throw line.error(`more than ${MAX_IDENTITIES} files`);
  settings.add(name, value, line.place);
};

const forward: Reader = (line, settings, name) => {
  const from = line.need(), remote = name === "remoteforward";
  let dynamic = name === "dynamicforward", whole = from;
  if (!dynamic) {
    const to = line.next() ?? "";
    if (to !== "") whole = `${from}:${to}`;
    else if (remote) dynamic = true;
    else throw line.error("it lacks a target");
  }
  const spec = parseForward(whole, { dynamic, remote });
  if (spec === null) throw line.bad(whole, "forward");
  if (settings === null) return;
  if (!settings.addForward(remote ? "remote" : "local", spec)) throw line.error("too many forwards");
  if (!settings.places.has(name)) settings.places.set(name, line.place);
};

const jump: Reader = (line, settings, name) => {
  const whole = line.raw().replace(/#.*$/s, "").trim();
  if (whole === "") throw line.error("it lacks an argument");
  let hops: readonly Destination[] | "none" = "none";
  if (whole.toLowerCase() !== "none") {
    hops = whole.split(",").map((hop) => {
      const found = parseDestination(hop);
      // Without brackets nobody could tell an address's colons from that before a port.
      if (found === null || /\s/.test(hop) || found.host.includes(":") && !hop.includes("[")) {
        throw line.bad(hop, "host to jump through");
      }
      return found;
    });
  }
  if (settings === null || settings.jump !== null || settings.values.has("proxycommand")) return;
  settings.jump = hops;
  settings.places.set(name, line.place);
};

const sendEnv: Reader = (line, settings, name) => {
  for (const word of line.all()) {
    if (word.includes("=")) throw line.bad(word, "name of an environment variable");
    if (settings === null) continue;
    if (word.startsWith("-")) {
      const kept = settings.all(name).filter((one) => !fitsPattern(one, word.slice(1)));
      settings.values.set(name, kept);
      continue;
    }
    if (settings.all(name).length >= MAX_VARIABLES) throw line.error("too many variables");
    const before = settings.values.get(name);
    if (before === undefined) settings.set(name, word, line.place);
    else before.push(word);
  }
};

const setEnv: Reader = (line, settings, name) => {
  const words = line.all();
  for (const word of words) if (!word.includes("=")) throw line.bad(word, "variable: it has no =");
  if (words.length > MAX_VARIABLES) throw line.error("too many variables");
  const byName = new Map<string, string>();
  for (const word of words) {
    const key = word.slice(0, word.indexOf("="));
    if (!byName.has(key)) byName.set(key, word);
  }
  settings?.set(name, [...byName.values()], line.place);
};

const rekeyLimit: Reader = (line, settings, name) => {
  const word = line.need(), bytes = word.toLowerCase() === "default" ? 0 : parseSize(word);
  if (bytes === null || bytes !== 0 && bytes < 16) throw line.bad(word, "size such as 512M or 1G, or default");
  const after = line.next(), seconds = after === undefined || after.toLowerCase() === "none" ? 0 : parseTime(after);
  if (seconds === null) throw line.bad(after!, "time such as 1h, or none");
  settings?.set(name, `${bytes} ${seconds}`, line.place);
};

const addKeysToAgent: Reader = (line, settings, name) => {
  const word = line.need(), after = line.next(), isChoice = /^(yes|true|no|false|ask|confirm)$/i.test(word);
  let shown = word.toLowerCase().replace("yes", "true").replace(/^no$/, "false");
  const lifetime = after !== undefined ? parseTime(after) : isChoice ? 0 : parseTime(word);
  if (lifetime === null || after !== undefined && shown !== "confirm") {
    throw line.bad(after ?? word, "time, nor one of yes, no, ask, confirm");
  }
  // No time is one without end.
  if (!isChoice) shown = "true";
  if (lifetime > 0) shown = `${shown === "confirm" ? "confirm " : ""}${lifetime}`;
  settings?.set(name, shown, line.place);
};

const controlPersist = one((word, line) => {
  const found = word.toLowerCase();
  if (found === "no" || found === "false") return "no";
  if (found === "yes" || found === "true") return "yes";
  const seconds = parseTime(word);
  if (seconds === null) throw line.bad(word, "time, nor yes or no");
  return seconds === 0 ? "yes" : String(seconds);
});

const escapeChar = one((word, line) => {
  if (word.toLowerCase() === "none") return "none";
  if (word.length === 1) return word;
  const control = /^\^[\x40-\x7f]$/.test(word) ? word.charCodeAt(1) & 31 : -1;
  if (control === -1) throw line.bad(word, "character, such as ~ or ^a");
  return `\\^${String.fromCharCode(control | 64)}`;
});

const qos: Reader = (line, settings, name) => {
  const words = [line.need(), line.next()].filter((word) => word !== undefined).map((word) => {
    const found = word.toLowerCase(), number = /^(0x[\da-f]{1,2}|\d{1,3})$/.test(found) ? Number(found) : 256;
    if (!Object.hasOwn(qosNames, found) && number > 255) throw line.bad(word, "quality of service");
    return Object.hasOwn(qosNames, found) ? found : Object.keys(qosNames).find((one) => qosNames[one] === number) ??
      `0x${number.toString(16).padStart(2, "0")}`;
  });
  settings?.set(name, `${words[0]} ${words[1] ?? words[0]}`, line.place);
};

const tunnelDevice = one((word, line) => {
  const [local, remote = "any"] = word.split(":", 2) as [string, string?];
  const part = (text: string): string | null =>
    text === "any" ? text : parseCount(text) === null ? null : String(Number(text));
  if (word.split(":").length > 2 || part(local) === null || part(remote) === null) {
    throw line.bad(word, "pair of tunnel devices");
  }
  return `${part(local)}:${part(remote)}`;
});

const bindMask = one((word, line) => {
  if (!/^[0-7]{1,4}$/.test(word) || parseInt(word, 8) > 0o777) throw line.bad(word, "mask of octal digits");
  return `0${parseInt(word, 8).toString(8)}`;
});

const fingerprintHash = one((word, line) => {
  if (!/^(md5|sha256|sha384|sha512|sha1)$/i.test(word)) throw line.bad(word, "hash");
  return word.toUpperCase();
});

const port = one((word, line) => {
  const number = parsePort(word);
  if (number === null || number === 0) throw line.bad(word, "port");
  return String(number);
});

const obscure = one((word, line) => {
  const found = word.toLowerCase(), [, interval] = /^interval:(\d{1,5})$/.exec(found) ?? [];
  if (/^(yes|true)$/.test(found)) return "yes";
  if (/^(no|false)$/.test(found)) return "no";
  if (interval === undefined || Number(interval) === 0 || Number(interval) > 1000) {
    throw line.bad(word, "interval of milliseconds, such as interval:80, nor yes or no");
  }
  return interval === "20" ? "yes" : String(Number(interval));
});

const domains = list({
  check: (word, line) => {
    const problem = domainProblem(word);
    if (problem !== null) throw line.error(`"${word.slice(0, 128)}" is no domain: ${problem}`);
  },
});
const cnames = list({
  check: (word, line) => {
    if (!/^[^:]+:[^:]+$/.test(word)) throw line.bad(word, "pair of domain lists with a colon between them");
  },
});
const timeouts = list({
  max: MAX_VARIABLES,
  check: (word, line) => {
    const seconds = parseTime(word.replace(/^[^=]+=/, ""));
    if (!/^[^=]+=/.test(word) || seconds === null) throw line.bad(word, "timeout such as session=5m");
  },
});
const remoteOpens = list({
  max: MAX_VARIABLES,
  none: ["any", "none"],
  check: (word, line) => {
    if (!/^(\[[^\]]*\]|[^:]+):(\*|\d{1,5})$/.test(word)) throw line.bad(word, "host and port");
  },
});

/** `ssh` keeps the first pattern of a line alone. */
const logVerbose: Reader = (line, settings, name) => {
  const [first] = line.all();
  if (first !== undefined) settings?.set(name, first, line.place);
};

/** Keywords that had a meaning once: `ssh` passes over them. */
const deprecated = new Set([
  ...["protocol", "cipher", "fallbacktorsh", "globalknownhostsfile2", "rhostsauthentication", "userknownhostsfile2"],
  ...["useroaming", "usersh", "useprivilegedport", "useblacklistedkeys"],
]);
/** Keywords of things that `ssh` has no more. */
const unsupported = new Set([
  ...["afstokenpassing", "kerberosauthentication", "kerberostgtpassing", "rsaauthentication"],
  ...["rhostsrsaauthentication", "compressionlevel"],
]);

/** Other names of keywords. */
const aliases: Readonly<Record<string, string>> = {
  challengeresponseauthentication: "kbdinteractiveauthentication",
  dsaauthentication: "pubkeyauthentication",
  hostbasedkeytypes: "hostbasedacceptedalgorithms",
  identityfile2: "identityfile",
  keepalive: "tcpkeepalive",
  protocolkeepalives: "serveraliveinterval",
  pubkeyacceptedkeytypes: "pubkeyacceptedalgorithms",
  setuptimeout: "serveraliveinterval",
  skeyauthentication: "kbdinteractiveauthentication",
  smartcarddevice: "pkcs11provider",
  tisauthentication: "kbdinteractiveauthentication",
};

const readers: Readonly<Record<string, Reader>> = {
  ...Object.fromEntries(Object.keys(choices).map((name) => [name, choice])),
  addkeystoagent: addKeysToAgent,
  bindaddress: text,
  bindinterface: text,
  canonicaldomains: domains,
  canonicalizemaxdots: count,
  canonicalizepermittedcnames: cnames,
  casignaturealgorithms: algorithms("caKey"),
  certificatefile: growing,
  channeltimeout: timeouts,
  ciphers: algorithms("cipher"),
  connectionattempts: one((word, line) => {
    if (!parseCount(word)) throw line.bad(word, "number of attempts");
    return String(Number(word));
  }),
  connecttimeout: time,
  controlpath: text,
  controlpersist: controlPersist,
  dynamicforward: forward,
  escapechar: escapeChar,
  fingerprinthash: fingerprintHash,
  forwardagent: one((word, line) => {
    return ({ yes: "yes", true: "yes", no: "no", false: "no" })[word.toLowerCase()] ?? socketPath(word, line);
  }),
  forwardx11timeout: time,
  globalknownhostsfile: list({}),
  gssapiclientidentity: text,
  gssapikexalgorithms: text,
  gssapiserveridentity: text,
  hostbasedacceptedalgorithms: algorithms("key"),
  hostkeyalgorithms: algorithms("key"),
  hostkeyalias: text,
  hostname: text,
  identityagent: one(socketPath),
  identityfile: growing,
  ignoreunknown: text,
  ipqos: qos,
  kbdinteractivedevices: text,
  kexalgorithms: algorithms("kex"),
  knownhostscommand: command,
  localcommand: command,
  localforward: forward,
  loglevel: upper(logLevels, "level of logging"),
  logverbose: logVerbose,
  macs: algorithms("mac"),
  numberofpasswordprompts: count,
  obscurekeystroketiming: obscure,
  permitremoteopen: remoteOpens,
  pkcs11provider: text,
  port,
  preferredauthentications: text,
  proxycommand: command,
  proxyjump: jump,
  pubkeyacceptedalgorithms: algorithms("key"),
  refuseconnection: text,
  rekeylimit: rekeyLimit,
  remotecommand: command,
  remoteforward: forward,
  requiredrsasize: count,
  revokedhostkeys: text,
  securitykeyprovider: text,
  sendenv: sendEnv,
  serveralivecountmax: count,
  serveraliveinterval: time,
  setenv: setEnv,
  streamlocalbindmask: bindMask,
  syslogfacility: upper(logFacilities, "facility of logging"),
  tag: text,
  tunneldevice: tunnelDevice,
  user: text,
  userknownhostsfile: list({}),
  versionaddendum: command,
  xauthlocation: text,
};

/** Whether there is such a keyword, today's or one of old. */
export function isKeyword(name: string): boolean {
  return Object.hasOwn(readers, name) || Object.hasOwn(aliases, name) || deprecated.has(name) || unsupported.has(name);
}

/** Reads a line whose keyword is known. Throws `SshConfigError` for arguments that it does not take. */
export function readLine(line: Words, settings: Settings | null): void {
  const name = Object.hasOwn(aliases, line.keyword) ? aliases[line.keyword]! : line.keyword;
  if (deprecated.has(name) || unsupported.has(name)) {
    settings?.ignored.set(name, line.place);
    line.skip();
  } else readers[name]!(line, settings, name);
  line.end();
}
