/**
 * The limits that SECURITY.md names are those of the source.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";

const root = new URL("../", import.meta.url);

/** Where a number stands: a file, and the text right before it, which is there once. */
type Place = readonly [file: string, before: string];

/** Each row of the table, and where its numbers come from, in their order. */
const places: Readonly<Record<string, readonly Place[]>> = {
  "packet on the wire": [["lib/crypto/cipher/packets.ts", "MAX_PACKET_LENGTH ="]],
  "identification line": [["lib/transport/ident.ts", "MAX_LINE ="]],
  "lines before it, for a client": [["lib/transport/ident.ts", "MAX_PREAMBLE_LINES ="]],
  "KEXINIT": [["lib/transport/kex_machine.ts", "MAX_KEXINIT ="]],
  "names in one of its lists": [["lib/wire/reader.ts", "maxNames ="], ["lib/wire/reader.ts", "name.length ==="]],
  "entries of EXT_INFO": [["lib/transport/ext_info.ts", "MAX_EXTENSIONS ="]],
  "first key exchange, client": [["lib/transport/transport_options.ts", "client:"]],
  "each later key exchange": [["lib/transport/transport_options.ts", "REKEY_TIMEOUT ="]],
  "login with its key exchange, server": [["lib/api/served_connection.ts", "DEFAULT_LOGIN_TIMEOUT ="]],
  "failed logins of a connection": [["lib/auth/server.ts", "maxAuthTries ??"]],
  "login requests of a connection": [["lib/auth/server.ts", "MAX_REQUESTS ="]],
  "login requests that wait": [["lib/auth/server.ts", "MAX_QUEUE ="], ["lib/auth/server.ts", "MAX_QUEUE_BYTES ="]],
  "user name, password": [
    ["lib/auth/server.ts", "MAX_USER_BYTES ="],
    ["lib/auth/server_methods.ts", "MAX_PASSWORD_BYTES ="],
  ],
  "a refusal takes at least": [
    ["lib/auth/server.ts", "failureDelay ??"],
    ["lib/auth/failure_delay.ts", "JITTER ="],
  ],
  "… and is put off for at most": [["lib/auth/failure_delay.ts", "MAX_FLOOR ="]],
  "connections without a login": [
    ["lib/api/server.ts", "begin:"],
    ["lib/api/server.ts", "rate:"],
    ["lib/api/server.ts", "full:"],
  ],
  "… of one source": [["lib/api/server.ts", "DEFAULT_PER_SOURCE ="]],
  "… of one source that end without a login": [["lib/api/admission/admission.ts", "least:"]],
  "penalty for a failed login": [["lib/api/admission/penalties.ts", "authFail:"]],
  "refused from penalties of": [["lib/api/admission/penalties.ts", "min:"]],
  "… for at most": [["lib/api/admission/penalties.ts", "max:"]],
  "… sources remembered, each of IPv4 and IPv6": [["lib/api/admission/penalties.ts", "maxSources:"]],
  "sessions of a connection": [["lib/api/served_connection.ts", "DEFAULT_MAX_SESSIONS ="]],
  "channels of a connection": [["lib/connection/mux.ts", "maxChannels ??"]],
  "receive window of a channel, at first": [["lib/connection/channel_core.ts", "DEFAULT_WINDOW ="]],
  "… times which it may grow, and to at most": [
    ["lib/connection/receive_window.ts", "static growth ="],
    ["lib/connection/receive_window.ts", "LARGEST ="],
  ],
  "data in a message of a channel": [["lib/connection/channel_core.ts", "MAX_PACKET ="]],
  "environment of a session": [
    ["lib/session/server_session.ts", "MAX_VARIABLES ="],
    ["lib/session/server_session.ts", "MAX_VARIABLE ="],
    ["lib/session/server_session.ts", "MAX_ENVIRONMENT ="],
  ],
  "command of a session": [["lib/session/server_session.ts", "MAX_COMMAND ="]],
  "requests of a channel that wait": [
    ["lib/connection/channel_core.ts", "MAX_REQUESTS ="],
    ["lib/connection/request_queue.ts", "MAX_BYTES ="],
  ],
  "global requests that wait": [
    ["lib/connection/mux.ts", "MAX_REQUESTS ="],
    ["lib/connection/request_queue.ts", "MAX_BYTES ="],
  ],
  "all that waits on a connection": [["lib/connection/mux.ts", "MAX_WAITING_BYTES ="]],
  "answers that a peer does not read": [
    ["lib/transport/secure_transport.ts", "MAX_PROVOKED = { messages:"],
    ["lib/transport/secure_transport.ts", "MAX_PROVOKED = { messages: 16_384, bytes:"],
  ],
  "one turn of the event loop, for all": [["lib/wire/turns.ts", "TURN ="]],
  "… for one before and after its login": [["lib/wire/turns.ts", "stranger:"], ["lib/wire/turns.ts", "known:"]],
  "one read before the login": [["lib/transport/framer.ts", "LARGEST_FIRST_READ ="]],
  "a close waits, stalled and in all": [["lib/transport/closing.ts", "stalled:"], [
    "lib/transport/closing.ts",
    "total:",
  ]],
  "keepalives without an answer, when on": [["lib/connection/keepalive.ts", "maxMissed ="]],
  "new keys after": [
    ["lib/transport/rekey_policy.ts", "DEFAULT_BYTES ="],
    ["lib/transport/rekey_policy.ts", "DEFAULT_INTERVAL ="],
    ["lib/transport/rekey_policy.ts", "DEFAULT_PACKETS ="],
  ],
  "exchanges a peer may start without data": [
    ["lib/transport/rekey_policy.ts", "PEER_BURST ="],
    ["lib/transport/rekey_policy.ts", "PEER_PER_SECOND ="],
  ],
  "… each counting, before the login, as": [["lib/transport/rekey_policy.ts", "PEER_COST_BEFORE_LOGIN ="]],
  "bits of RSA keys": [["lib/keys/rsa_public.ts", "{ min:"], ["lib/keys/rsa_public.ts", "max:"]],
  "… at a program's wish, from": [["lib/keys/rsa_public.ts", "insecureMin:"]],
  "bits of RSA keys made": [["lib/keys/private_key.ts", "modulusLength = bits ??"]],
  "bits of a group exchange": [
    ["lib/crypto/kex/group_exchange.ts", "MIN_GROUP_BITS ="],
    ["lib/crypto/kex/group_exchange.ts", "MAX_GROUP_BITS ="],
  ],
  "bcrypt rounds of a key file": [["lib/keys/format/openssh.ts", "MAX_ROUNDS ="]],
  "PBKDF2 iterations of a key file": [["lib/keys/format/pbes2.ts", "MAX_ITERATIONS ="]],
  // The source counts these two in KiB.
  "Argon2 memory of a key file": [["lib/keys/format/ppk.ts", "MAX_MEMORY ="]],
  "… memory times passes": [["lib/keys/format/ppk.ts", "MAX_WORK ="]],
  "banners of a login": [["lib/auth/client.ts", "MAX_BANNER_BYTES ="]],
  "prompts in a round, rounds": [["lib/auth/messages.ts", "MAX_PROMPTS ="], ["lib/auth/methods.ts", "MAX_ROUNDS ="]],
  "partial successes of a login": [["lib/auth/client.ts", "maxRounds ??"]],
  "message, identities of an agent": [
    ["lib/agent/agent.ts", "MAX_FRAME ="],
    ["lib/agent/agent.ts", "MAX_IDENTITIES ="],
  ],
  "SFTP: packet": [["lib/sftp/wire/constants.ts", "MAX_PACKET ="]],
  "SFTP: bytes of a read or write": [["lib/sftp/wire/constants.ts", "MAX_TRANSFER ="]],
  "SFTP: names in a reply": [["lib/sftp/server/requests.ts", "MAX_NAMES ="]],
  "SFTP: requests at work": [["lib/sftp/server/server.ts", "MAX_RUNNING ="]],
  "SFTP: replies that wait": [["lib/sftp/server/server.ts", "REPLY_LIMIT ="]],
  "SFTP: open handles of a session": [["lib/sftp/server/handles.ts", "MAX_HANDLES ="]],
  "SFTP: path": [["lib/files/limits.ts", "MAX_PATH ="]],
  "SFTP: components walked, and by names": [
    ["lib/files/rooted/tree.ts", "MAX_STEPS ="],
    ["lib/files/rooted/tree.ts", "MAX_NAMED_STEPS ="],
  ],
  "SFTP: links followed on a path": [["lib/files/rooted/tree.ts", "MAX_LINKS ="]],
  "SFTP: depth of a tree that is copied or removed": [["lib/files/limits.ts", "MAX_DEPTH ="]],
  "SFTP: entries of a directory, client": [["lib/sftp/remote/listing.ts", "MAX_ENTRIES ="]],
  "SFTP: file of unknown size in memory, client": [["lib/sftp/remote/read_pipeline.ts", "UNKNOWN_LIMIT ="]],
  "SCP: line": [["lib/scp/stream.ts", "MAX_LINE ="]],
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

/** The number behind a text of the source, with the text that shows where it is missing. */
function numberAt([file, before]: Place): number | string {
  const literal = before.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const found = [
    ...read(file).matchAll(
      new RegExp(`(?<![\\w.])(?:[\\w.]+\\.)?${literal} (\\d[\\d_]*(?: \\*\\*? \\d[\\d_]*)*)`, "g"),
    ),
  ];
  return found.length === 1 ? value(found[0]![1]!) : `${file} has ${found.length} of "${before} <number>"`;
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
    "lib/transport/types.ts",
    "lib/keys/private_key.ts",
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
