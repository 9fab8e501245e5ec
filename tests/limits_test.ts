/**
 * The limits that SECURITY.md names are those of the source.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";

const root = new URL("../", import.meta.url);

/** Where a number stands: a file or a folder, and the text right before it, which no other number stands behind there. */
type Place = readonly [path: string, before: string];

/** Each row of the table, and where its numbers come from, in their order. */
const places: Readonly<Record<string, readonly Place[]>> = {
  "packet on the wire": [["lib/crypto/", "MAX_PACKET_LENGTH ="]],
  "identification line": [["lib/transport/", "MAX_LINE ="]],
  "lines before it, for a client": [["lib/transport/", "MAX_PREAMBLE_LINES ="]],
  "KEXINIT": [["lib/transport/", "MAX_KEXINIT ="]],
  "names in one of its lists": [["lib/wire/", "maxNames ="], ["lib/wire/", "name.length ==="]],
  "servers whose wishes a program remembers, of each": [
    ["lib/api/server_memory.ts", "MAX_PLACES ="],
    ["lib/api/server_memory.ts", "MAX_LENGTH ="],
  ],
  "entries of EXT_INFO": [["lib/transport/", "MAX_EXTENSIONS ="]],
  "first key exchange, client": [["lib/transport/", "client:"]],
  "each later key exchange": [["lib/transport/", "REKEY_TIMEOUT ="]],
  "login with its key exchange, server": [["lib/api/connection.ts", "DEFAULT_LOGIN_TIMEOUT ="]],
  "login, client": [["lib/api/login_clock.ts", "DEFAULT_LOGIN_TIMEOUT ="]],
  "… servers on the way to it": [["lib/api/", "MAX_HOPS ="]],
  "… headers of an HTTP proxy": [["lib/proxy/", "MAX_HEAD ="]],
  "… a proxy command that ends, and what it says": [["lib/api/", "terminated:"], ["lib/api/", "MAX_SAID ="]],
  "failed logins of a connection": [["lib/auth/", "maxAuthTries ??"]],
  "… questions for keys that are no failures": [["lib/auth/", "FREE_QUERIES ="]],
  "login requests of a connection": [["lib/auth/", "MAX_REQUESTS ="]],
  "login requests that wait": [["lib/auth/", "MAX_QUEUE ="], ["lib/auth/", "MAX_QUEUE_BYTES ="]],
  "host that vouches for its user, that user": [
    ["lib/auth/", "MAX_HOST_BYTES ="],
    ["lib/auth/", "MAX_CLIENT_USER_BYTES ="],
  ],
  "user name, password": [
    ["lib/auth/", "MAX_USER_BYTES ="],
    ["lib/auth/", "MAX_PASSWORD_BYTES ="],
  ],
  "a refusal takes at least": [
    ["lib/auth/", "failureDelay ??"],
    ["lib/auth/", "JITTER ="],
  ],
  "… and is put off for at most": [["lib/auth/", "MAX_FLOOR ="]],
  "connections without a login": [
    ["lib/api/", "begin:"],
    ["lib/api/", "rate:"],
    ["lib/api/", "full:"],
  ],
  "… of one source": [["lib/api/", "DEFAULT_PER_SOURCE ="]],
  "… of one source that end without a login": [["lib/api/", "least:"]],
  "… whose shared admission has not answered": [["lib/api/", "MAX_UNDECIDED ="]],
  "penalty for a failed login": [["lib/api/", "authFail:"]],
  "refused from penalties of": [["lib/api/admission/penalties.ts", "min:"]],
  "… for at most": [["lib/api/admission/penalties.ts", "max:"]],
  "… sources remembered, each of IPv4 and IPv6": [["lib/api/", "maxSources:"]],
  "sessions of a connection": [["lib/api/", "DEFAULT_MAX_SESSIONS ="]],
  "channels of a connection": [["lib/connection/", "maxChannels ??"]],
  "addresses that a connection has a server listen at": [["lib/api/", "DEFAULT_MAX_LISTENERS ="]],
  "connecting to where a client wants to go": [["lib/api/", "DEFAULT_FORWARD_TIMEOUT ="]],
  "… names looked up at once, by one and in all": [["lib/forward/", "OF_ONE ="], ["lib/forward/", "OF_ALL ="]],
  "… each of which counts for at most": [["lib/forward/", "LOOK_UP_TIME ="]],
  "host, path of a socket, of a forward": [["lib/forward/", "MAX_HOST ="], [
    "lib/forward/accept_forwards.ts",
    "MAX_PATH =",
  ]],
  "message of the master of a control socket": [["lib/transport/", "MAX_CONTROL_MESSAGE ="]],
  "… that lets a client in within": [["lib/api/control_socket.ts", "TIMEOUT ="]],
  "control connections kept open for their masters": [["lib/api/", "MAX_HELD ="]],
  "channels of a connection, client": [["lib/api/", "MAX_CHANNELS ="]],
  "connections of a forward": [["lib/forward/", "MAX_CONNECTIONS ="]],
  "connections that wait for `accept()`": [["lib/forward/", "BACKLOG ="]],
  "path of a socket that is fetched from": [["lib/http/", "LONGEST_PATH ="]],
  "failed connections whose reasons `fetch()` keeps": [["lib/http/", "MOST_FAILURES ="]],
  "SOCKS request": [["lib/forward/", "SOCKS_TIME ="], ["lib/forward/", "MOST ="]],
  "windows of a connection, client and server": [["lib/x11/", "MAX_WINDOWS ="], ["lib/x11/", "MAX_CLIENTS ="]],
  "… that have not shown their cookie yet": [["lib/x11/", "MAX_STRANGERS ="], ["lib/x11/", "STRANGER_TIME ="]],
  "… of untrusted programs are taken for": [["lib/x11/", "UNTRUSTED_TIME ="]],
  "connections to a lent agent, client and server": [
    ["lib/agent/", "MAX_CONNECTIONS ="],
    ["lib/agent/", "MAX_CLIENTS ="],
  ],
  "file of X cookies": [["lib/x11/", "MAX_AUTHORITY ="]],
  "receive window of a channel, at first": [["lib/connection/", "DEFAULT_WINDOW ="]],
  "… times which it may grow, and to at most": [
    ["lib/connection/", "static growth ="],
    ["lib/connection/", "LARGEST ="],
  ],
  "data in a message of a channel": [["lib/connection/", "MAX_PACKET ="]],
  "environment of a session": [
    ["lib/session/", "MAX_VARIABLES ="],
    ["lib/session/", "MAX_VARIABLE ="],
    ["lib/session/", "MAX_ENVIRONMENT ="],
  ],
  "command of a session": [["lib/session/", "MAX_COMMAND ="]],
  "requests of a channel that wait": [
    ["lib/connection/", "MAX_REQUESTS ="],
    ["lib/connection/", "MAX_BYTES ="],
  ],
  "global requests that wait": [
    ["lib/connection/", "MAX_REQUESTS ="],
    ["lib/connection/", "MAX_BYTES ="],
  ],
  "all that waits on a connection": [["lib/connection/", "MAX_WAITING_BYTES ="]],
  "… to be read from a WebSocket": [["lib/api/", "MAX_UNREAD ="]],
  "answers that a peer does not read": [
    ["lib/transport/", "MAX_PROVOKED = { messages:"],
    ["lib/transport/", "MAX_PROVOKED = { messages: 16_384, bytes:"],
  ],
  "one turn of the event loop, for all": [["lib/wire/", "TURN ="]],
  "… for one before and after its login": [["lib/wire/", "stranger:"], ["lib/wire/", "known:"]],
  "one read before the login": [["lib/transport/", "LARGEST_FIRST_READ ="]],
  "a close waits, stalled and in all": [["lib/transport/", "stalled:"], ["lib/transport/", "total:"]],
  "keepalives without an answer, when on": [["lib/connection/", "maxMissed ="]],
  "new keys after": [
    ["lib/transport/", "DEFAULT_BYTES ="],
    ["lib/transport/", "DEFAULT_INTERVAL ="],
    ["lib/transport/", "DEFAULT_PACKETS ="],
  ],
  "exchanges a peer may start without data": [
    ["lib/transport/", "PEER_BURST ="],
    ["lib/transport/", "PEER_PER_SECOND ="],
  ],
  "… each counting, before the login, as": [["lib/transport/", "PEER_COST_BEFORE_LOGIN ="]],
  "bits of RSA keys": [["lib/keys/", "{ min:"], ["lib/keys/", "max:"]],
  "… at a program's wish, from": [["lib/keys/", "insecureMin:"]],
  "bits of RSA keys made": [["lib/keys/", "generateRsa(bits ="]],
  "bits of a group exchange": [
    ["lib/crypto/", "MIN_GROUP_BITS ="],
    ["lib/crypto/", "MAX_GROUP_BITS ="],
  ],
  "bcrypt rounds of a key file": [["lib/keys/", "MAX_ROUNDS ="]],
  "PBKDF2 iterations of a key file": [["lib/keys/", "MAX_ITERATIONS ="]],
  "scrypt of a key file": [["lib/keys/", "MAX_SCRYPT ="]],
  // The source counts these two in KiB.
  "Argon2 memory of a key file": [["lib/keys/", "MAX_MEMORY ="]],
  "… memory times passes": [["lib/keys/", "MAX_WORK ="]],
  "certificate, and its principals": [["lib/keys/", "MAX_CERTIFICATE ="], ["lib/keys/", "MAX_PRINCIPALS ="]],
  "line, file of authorized_keys": [["lib/keys/", "MAX_LINE ="], ["lib/keys/", "MAX_TRUSTED ="]],
  "file of ssh_config, and lines of all": [["lib/api/config/", "MAX_FILE ="], ["lib/config/", "MAX_LINES ="]],
  "… files that others include, and how deep": [["lib/config/", "MAX_INCLUDES ="], ["lib/config/", "MAX_DEPTH ="]],
  "key revocation list, a bitmap in it": [["lib/keys/", "MAX_KRL ="], ["lib/keys/", "MAX_BITMAP ="]],
  "line of allowed signers": [["lib/keys/", "MAX_SIGNER_LINE ="]],
  "banners of a login": [["lib/auth/", "MAX_BANNER_BYTES ="]],
  "prompts in a round, rounds": [["lib/auth/", "MAX_PROMPTS ="], ["lib/auth/", "MAX_ROUNDS ="]],
  "partial successes of a login": [["lib/auth/", "maxRounds ??"]],
  "host keys told, requests to prove them": [["lib/host_keys/", "MAX_KEYS ="], ["lib/host_keys/", "MAX_PROOFS ="]],
  "… a close waits for a proof": [["lib/host_keys/", "SETTLE_TIME ="]],
  "a lock on known_hosts that others hold": [["lib/keys/", "LOCK_TIME ="]],
  "message, identities of an agent": [
    ["lib/agent/", "MAX_FRAME ="],
    ["lib/agent/", "MAX_IDENTITIES ="],
  ],
  "connections to an agent of this program's, comment": [
    ["lib/agent/", "MOST_CLIENTS ="],
    ["lib/agent/", "MAX_COMMENT ="],
  ],
  "… hosts that one comes through, and destinations": [
    ["lib/agent/", "MAX_BINDINGS ="],
    ["lib/agent/", "MAX_DESTINATIONS ="],
  ],
  "… hosts that all its keys are tied to": [["lib/agent/", "MAX_RESTRICTIONS ="]],
  "SFTP: packet": [["lib/sftp/", "MAX_PACKET ="]],
  "SFTP: bytes of a read or write": [["lib/sftp/", "MAX_TRANSFER ="]],
  "SFTP: names in a reply": [["lib/sftp/", "MAX_NAMES ="]],
  "SFTP: requests at work": [["lib/sftp/", "MAX_RUNNING ="]],
  "SFTP: replies that wait": [["lib/sftp/", "REPLY_LIMIT ="]],
  "SFTP: open handles of a session": [["lib/sftp/", "MAX_HANDLES ="]],
  "SFTP: path": [["lib/files/", "MAX_PATH ="]],
  "SFTP: components walked, and by names": [
    ["lib/files/", "MAX_STEPS ="],
    ["lib/files/", "MAX_NAMED_STEPS ="],
  ],
  "SFTP: links followed on a path": [["lib/files/", "MAX_LINKS ="]],
  "SFTP: depth of a tree that is copied or removed": [["lib/files/", "MAX_DEPTH ="]],
  "SFTP: entries of a directory, client": [["lib/sftp/", "MAX_ENTRIES ="]],
  "SFTP: file of unknown size in memory, client": [["lib/sftp/", "UNKNOWN_LIMIT ="]],
  "files in memory: bytes of all": [["lib/files/memory/", "DEFAULT_MAX_BYTES ="]],
  "files in memory: files, directories and links": [["lib/files/memory/", "DEFAULT_MAX_FILES ="]],
  "files in memory: components walked": [["lib/files/memory/", "MAX_WALKED ="]],
  "SCP: line": [["lib/scp/", "MAX_LINE ="]],
};

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}

/** What a product or a power of whole numbers comes to, as source text spells it. */
function value(text: string): number {
  return text.split(" * ").map((factor) => {
    const [base, exponent = "1"] = factor.replaceAll("_", "").split(" ** ") as [string, string?];
    return Number(base) ** Number(exponent);
  }).reduce((product, factor) => product * factor, 1);
}

/** A file, or all files of a folder, as one text. */
function textOf(path: string): string {
  if (!path.endsWith("/")) return read(path);
  return [...Deno.readDirSync(new URL(path, root))]
    .map(({ name, isDirectory }) => textOf(`${path}${name}${isDirectory ? "/" : ""}`)).join("\n");
}

/** The number behind a text of the source, or what is wrong with that place. */
function numberAt([path, before]: Place): number | string {
  const literal = before.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const number = new RegExp(`(?<![\\w.])(?:[\\w.]+\\.)?${literal} (\\d[\\d_]*(?: \\*\\*? \\d[\\d_]*)*)`, "g");
  const found = new Set([...textOf(path).matchAll(number)].map((match) => value(match[1]!)));
  return found.size === 1 ? [...found][0]! : `${path} has ${found.size} numbers behind "${before}"`;
}

const units: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, s: 1000 };

/** The numbers of a cell: bytes where it says KiB, MiB or GiB, and milliseconds where it says s. */
function numbersOf(cell: string): number[] {
  return [...cell.matchAll(/(\d[\d,]*)(\^\d+)?(?: (KiB|MiB|GiB|s)\b)?/g)].map(([, digits, power, unit]) =>
    Number(digits!.replaceAll(",", "")) ** Number(power?.slice(1) ?? 1) * (units[unit ?? ""] ?? 1)
  );
}

const rows = [...read("SECURITY.md").matchAll(/^\| ([^|]+?) +\| ([^|]+?) +\|([^|]*)\|$/gm)]
  .map(([, name, cell, option]) => [name!, cell!, option!.trim()] as const)
  .filter(([name]) => !/^(?:limit|-+)$/.test(name));

Deno.test("the limits of SECURITY.md are those of the source", () => {
  assert(rows.length > 50);
  assertEquals(rows.map(([name]) => name).toSorted(), Object.keys(places).toSorted());
  const inKiB = ["Argon2 memory of a key file", "… memory times passes"];
  assertEquals(
    Object.fromEntries(
      rows.map(([name, cell]) => [name, numbersOf(inKiB.includes(name) ? cell.replace(" KiB", "") : cell)]),
    ),
    Object.fromEntries(rows.map(([name]) => [name, places[name]!.map(numberAt)])),
  );
});

Deno.test("the options that SECURITY.md names are documented, with the same default where it is a number", () => {
  const declarations = [
    "lib/api/serve_options.ts",
    "lib/api/connect_options.ts",
    "lib/api/admission/penalties.ts",
    "lib/api/options.ts",
    "lib/forward/forward.ts",
    "lib/transport/types.ts",
    "lib/keys/private_key.ts",
    "lib/files/memory/files.ts",
  ].map(read).join("\n");
  const wrong: string[] = [];
  for (const [name, cell, option] of rows) {
    if (option === "") continue;
    const last = option.replaceAll("`", "").split(".").at(-1)!;
    const declared = [...declarations.matchAll(new RegExp(`((?:^ *(?:/\\*\\*|\\*).*\\n)+) *${last}\\??:`, "gm"))];
    const defaults = declared.flatMap(([, comment]) => /@default \{(\d+)\}/.exec(comment!)?.[1] ?? []).map(Number);
    const [number] = numbersOf(cell);
    if (!new RegExp(`\\b${last}\\b`).test(declarations)) wrong.push(`${name}: no option ${option}`);
    // What is set below its default, in an option for what is insecure, has no default of that value.
    if (last.startsWith("insecure")) continue;
    if (defaults.some((one) => one !== number)) wrong.push(`${name}: ${option} has the default ${defaults}`);
  }
  assertEquals(wrong, []);
});
