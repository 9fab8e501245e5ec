/**
 * Test support. The table of options: each option of each entry point with values at its bounds, and beyond them with the error that
 * they get. tests/api/options_table_test.ts runs it.
 *
 * A row is `row(entries, option, good, ...bad)`. `option` is a path such as `rekey.bytes`, or the name of an argument; where only the
 * whole options or nothing at all can be wrong, it is `(options)`. `bad` are errors with the values that get them: `typeError("text",
 * value, …)`, `rangeError("text", value, …)`. What stands in `good` gets past the checks.
 *
 * @module
 */
import { AUTH_METHODS, Handlers, key, lockedPair, nodeStream } from "./_option_values.ts";
import { SshConfigError } from "../../lib/config/config_error.ts";
import { insecureAlgorithms } from "../../lib/crypto/algorithms.ts";
import {
  insecureAcceptAnyHostKey,
  knownHosts,
  password,
  pinnedHostKey,
  publicKey,
  sharedAdmission,
} from "../../mod.ts";
import { memoryPair } from "../_support/duplex.ts";

/** What takes options. */
export type Entry =
  | "connect"
  | "controlPath"
  | "serve"
  | "serveConn"
  | "Transport"
  | "startClient"
  | "startServer"
  | "Transport.connect"
  | "addServerKey"
  | "authNone"
  | "authPassword"
  | "authPublickey"
  | "authInteractive"
  | "openSession"
  | "openChannel"
  | "accept"
  | "globalRequest"
  | "connectAgent"
  | "loadSshConfig"
  | "sftp"
  | "dial"
  | "dialUnix"
  | "listen"
  | "listenUnix"
  | "forwardLocal"
  | "forwardRemote"
  | "forwardDynamic"
  | "fetch"
  | "createHttpClient"
  | "client.serve"
  | "password"
  | "publicKey"
  | "keyboardInteractive";

/** Values that get the same error. */
export interface Bad {
  readonly error: typeof TypeError | typeof RangeError | typeof SshConfigError;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** One option of some entry points. */
export interface Row {
  readonly entries: readonly Entry[];
  readonly option: string;
  readonly good: readonly unknown[];
  readonly bad: readonly Bad[];
}

function row(entries: Entry | readonly Entry[], option: string, good: readonly unknown[], ...bad: Bad[]): Row {
  return { entries: typeof entries === "string" ? [entries] : entries, option, good, bad };
}

function typeError(text: string, ...values: readonly unknown[]): Bad {
  return { error: TypeError, text, values };
}

function rangeError(text: string, ...values: readonly unknown[]): Bad {
  return { error: RangeError, text, values };
}

/** Options that have no place beside `controlPath`. */
const BESIDE = [
  "hostname",
  "username",
  "auth",
  "transport",
  "keepalive",
  "idleTimeout",
  "rekey",
  "algorithms",
  "verifyHostKey",
  "jump",
  "proxy",
  "proxyCommand",
  "controlpath",
];
const connection: readonly Entry[] = ["connect", "serve", "serveConn", "Transport"];
const servers: readonly Entry[] = ["serve", "serveConn"];
/** What waits no longer than a signal or a time lets. */
export const waiting: readonly Entry[] = [
  "startClient",
  "startServer",
  "Transport.connect",
  "authNone",
  "authPassword",
  "authPublickey",
  "authInteractive",
  "openSession",
  "openChannel",
  "accept",
  "globalRequest",
  "sftp",
  "dial",
  "dialUnix",
  "listen",
  "listenUnix",
  "forwardLocal",
  "forwardRemote",
  "forwardDynamic",
  "client.serve",
];
const signalled: readonly Entry[] = ["connect", "controlPath", ...waiting];
/** A server on the way to another one. */
const HOP = { hostname: "hop.invalid", username: "alice", auth: AUTH_METHODS, verifyHostKey: () => true };

/** Options that lead through themselves. */
function endlessHop(...names: string[]): object {
  const hop: typeof HOP & { jump?: object } = { ...HOP };
  return hop.jump = names.length === 0 ? hop : [hop, ...names];
}

const NO_INTEGER = [-1, -5, 0.5, 1.5, NaN, -Infinity, "7", null, true, {}, 10n];
const NO_COUNT = [0, ...NO_INTEGER];
const NO_TIME = [0, -1, NaN, -Infinity, "5000", null, true, {}, 5n];
const NO_FUNCTION = ["text", 5, true, null, {}, []];
const NO_TEXT = [5, true, null, {}, [], new Uint8Array(3), Promise.resolve("text")];

export const rows: readonly Row[] = [
  // -------------------------------------------------------------------------------- what both roles have
  row(
    [...connection, "controlPath"],
    "window",
    [1, 2_097_152, 2 ** 32 - 1],
    rangeError("1 to 4294967295", ...NO_COUNT, 2 ** 32, Infinity),
  ),
  row(
    connection,
    "rekey",
    [{}, { bytes: undefined }, { bytes: 1, interval: 1, packets: 1 }],
    typeError("such as `{ bytes:", 1_000_000, "1G", null, [], true),
    typeError("write `interval` in its place", { intervall: 1 }),
  ),
  row(connection, "rekey.bytes", [1, 2 ** 40, Infinity], rangeError("`rekey.bytes`", ...NO_COUNT)),
  row(connection, "rekey.packets", [1, 2 ** 40, Infinity], rangeError("`rekey.packets`", ...NO_COUNT)),
  row(connection, "rekey.interval", [1, 0.5, 2 ** 40, Infinity], rangeError("milliseconds above 0", ...NO_TIME)),
  row(
    connection,
    "ident",
    ["a", "amiko_1.0 with a comment", "x".repeat(245)],
    typeError("1 to 245 printable US-ASCII", "", "-bad", " bad", "bad\r\n", "bad\0", "b\u00e4d", "x".repeat(246)),
    typeError("it must be a text", ...NO_TEXT),
  ),
  row(
    connection,
    "algorithms",
    [{}, { cipher: undefined }],
    typeError("lists of names", "aes128-ctr", null, ["aes128-ctr"], 5),
    typeError("`cipher` is meant", { ciphers: ["aes128-ctr"] }, { Cipher: [] }, { encryption: [] }),
    typeError("`mac` is meant", { hmac: ["hmac-sha2-256"] }, { macs: [] }),
    typeError("`hostKey` is meant", { serverHostKey: ["ssh-ed25519"] }, { hostKeyAlgorithms: [] }, { host_key: [] }),
    typeError("`kex` is meant", { kexAlgorithms: [] }, { keyExchange: [] }),
    typeError("`compression` is meant", { compress: [] }, { compresssion: [] }),
    typeError("the lists are kex, hostKey, cipher, mac, compression", { gssapi: ["x"] }),
  ),
  ...(["kex", "cipher", "mac", "hostKey", "compression"] as const).map((list) =>
    row(
      connection,
      `algorithms.${list}`,
      [],
      typeError("a list of names", "none", 5, null, {}, [5], [null], [["none"]]),
    )
  ),
  row(
    connection,
    "algorithms.kex",
    [["curve25519-sha256", "kex-strict-s"], ...insecureAlgorithms.kex.map((name) => [name])],
    typeError("names none", [], ["ext-info-c"]),
    typeError("no such algorithm is known; known are", ["no such"], [""], ["curve25519-sha256", "x"]),
    typeError('"curve25519-sha256" is meant', ["curve25519"], ["Curve25519-SHA256"]),
    typeError('"ecdh-sha2-nistp256" is meant', ["ecdh-sha2-nistp265"], ["ecdh-sha2-nistp256@example.com"]),
    typeError("it belongs in `algorithms.cipher`", ["aes128-ctr"]),
  ),
  row(
    connection,
    "algorithms.cipher",
    [["aes128-ctr"], ...insecureAlgorithms.cipher.map((name) => [name])],
    typeError("names none", []),
    typeError("no such algorithm is known", ["blowfish"], [""], ["aes1024-ctr"], ["a,b"], ["aes128-ctr", "no such"]),
    typeError('"aes256-gcm@openssh.com" is meant', ["aes256-gcm"], ["AES256-GCM@openssh.com"], ["aes-256-gcm"]),
    typeError('"aes128-ctr" is meant', ["AES128-CTR"], ["aes128ctr"], ["aes-128-ctr"], ["aes128-ctr@openssh.com"]),
    typeError('"chacha20-poly1305@openssh.com" is meant', ["chacha20-poly1305"], ["chacha20"]),
    typeError("it belongs in `algorithms.mac`", ["hmac-sha2-256"]),
  ),
  row(
    connection,
    "algorithms.mac",
    [[], ["hmac-sha2-256"], ...insecureAlgorithms.mac.map((name) => [name])],
    typeError("no such algorithm is known", ["no such"], ["hmac-sha2-256", ""]),
    typeError('"hmac-sha2-256" is meant', ["hmac-sha256"], ["HMAC-SHA2-256"]),
    typeError("it belongs in `algorithms.cipher`", ["aes128-ctr"]),
  ),
  row(
    connection,
    "algorithms.compression",
    [["zlib@openssh.com", "none"]],
    typeError("names none", []),
    typeError("no such algorithm is known", ["gzip"], [""]),
  ),
  row(
    "connect",
    "algorithms.hostKey",
    [["ssh-ed25519"], ["ssh-rsa", "rsa-sha2-512"]],
    typeError("names none", []),
    typeError("no such algorithm is known", ["no such"], ["ssh-ed448-cert-v01@openssh.com"], [""], ["ssh-dss"]),
    typeError('"ssh-ed25519" is meant', ["ed25519"], ["SSH-Ed25519"]),
    typeError('"rsa-sha2-512" is meant', ["rsa"]),
  ),
  row(
    servers,
    "algorithms.hostKey",
    [["ssh-ed25519"], ["rsa-sha2-512", "ssh-ed25519"]],
    typeError("no host key fits `algorithms.hostKey`", [], ["rsa-sha2-512"], ["none"]),
  ),
  row(
    connection,
    "keepalive",
    [{ interval: 1 }, { interval: 60_000, maxMissed: undefined }],
    typeError("written as `{ interval: 5000 }`", 5000),
    typeError("such as `{ interval: 15_000 }`", true, "15s", null, []),
    typeError("without `interval`", {}, { maxMissed: 3 }),
  ),
  row(
    connection,
    "idleTimeout",
    [1, 0.5, 600_000, 2 ** 40, Infinity],
    rangeError("milliseconds above 0", ...NO_TIME),
  ),
  row(
    connection,
    "keepalive.interval",
    [1, Infinity],
    rangeError("`keepalive.interval`", ...NO_TIME),
  ),
  row(
    connection,
    "keepalive.maxMissed",
    [1, 3, Infinity],
    rangeError("`keepalive.maxMissed`", ...NO_COUNT),
  ),
  row(["connect", "serve", "serveConn"], "trace", [() => {}]),
  row(
    [...connection, "connectAgent"],
    "insecureMinRsaBits",
    [1024, 2047, 2048],
    rangeError("1024 to 2048 are allowed", 1023, 0, -1, 2049, NaN, Infinity, 1500.5, "1024", null, true),
  ),

  // -------------------------------------------------------------------------- loadSshConfig()
  row("loadSshConfig", "(options)", [{}], typeError("an object such as `{ files, exec }`", null, "x", [], 1)),
  row("loadSshConfig", "files", [[], ["/nowhere"]], typeError("a list of paths", "/nowhere", [""], [1], {}, null)),
  row("loadSshConfig", "exec", [true, false], typeError("true or false", "yes", 1, null)),
  row("loadSshConfig", "passphrase", ["secret", () => null], typeError("not a string, nor a function", 1, null, {})),
  row("loadSshConfig", "answer", [() => ""], typeError("a function", "secret", null)),
  row("loadSshConfig", "onNotice", [() => {}], typeError("a function", "x", null)),

  // -------------------------------------------------------------------------------- connect()
  row(
    "connect",
    "(options)",
    [],
    typeError("no options were given; write `connect({ hostname, username })`", undefined),
    typeError("is no object of options", 22, null, [], true, () => {}),
  ),
  row(
    "connect",
    "hostname",
    ["localhost", "127.0.0.1", "::1", "[::1]", "fe80::1%lo", "a.example.com.", "a_b", "-x"],
    typeError("`hostname` is missing", undefined),
    typeError("it must be a text", ...NO_TEXT),
    typeError("write `url.hostname`", new URL("ssh://example.com")),
    typeError("`hostname` is empty", ""),
    typeError('write `hostname: "example.com", username: "alice"`', "alice@example.com"),
    typeError('write `hostname: "example.com", port: 2222`', "example.com:2222"),
    typeError('write `hostname: "::1", port: 2222`', "[::1]:2222"),
    typeError(
      'write `hostname: "h", port: 2222, username: "alice"`',
      "ssh://alice@h:2222",
      "ssh://alice@h:2222/path",
      "alice@h:2222",
    ),
    typeError('write `hostname: "h"`', "ssh://h", "https://h/x?y", "h:"),
    typeError("no spaces and no control characters", "a b", " a", "a\n", "a\0b", "a\tb"),
    typeError("brackets belong around an IPv6 address", "[::1", "::1]", "[[::1]]"),
    typeError("no lone surrogates", "a\ud800", "\udc00"),
    rangeError("1025 are the most", "x".repeat(1026), "x".repeat(65_536)),
  ),
  row(
    "connect",
    "port",
    [1, 22, 65_535],
    rangeError("1 to 65535", 0, -1, 0.5, 65_536, 2 ** 32 + 22, NaN, Infinity, null, true, "ssh"),
    rangeError("write 22, without quotes", "22"),
  ),
  row(
    "connect",
    "username",
    ["alice", "a b", "alice@EXAMPLE.COM", "\u00e4"],
    typeError("`username` is missing", undefined),
    typeError("it must be a text", ...NO_TEXT),
    typeError("`username` is empty", ""),
  ),
  row(
    "connect",
    "auth",
    [[], [password("x")], AUTH_METHODS],
    typeError("write a list of it", password("x"), publicKey(key)),
    typeError("it must be a list", "secret", 5, true, null, {}, key, new Set(), Promise.resolve([])),
    typeError("make it with none(), password()", ["x"], [undefined], [null], [{ name: "password" }], [
      password("x"),
      5,
    ]),
    typeError("call it, password(…)", [password]),
    typeError("call it, publicKey(…)", [publicKey]),
    typeError("write publicKey(…) around it", [key], [key.publicKey]),
    typeError("not a list of lists", [[password("x")]]),
  ),
  row(
    "connect",
    "verifyHostKey",
    [() => true, knownHosts(""), pinnedHostKey(`SHA256:${"A".repeat(43)}`), insecureAcceptAnyHostKey()],
    typeError("`pinnedHostKey(text)` makes one of a fingerprint", "SHA256:abc", "ssh-ed25519 AAAA", ""),
    typeError("`insecureAcceptAnyHostKey()`", true),
    typeError("it must be a function", false, null, 5, {}, []),
    typeError("`pinnedHostKey(await key.fingerprint())`", key.publicKey),
    typeError("call it, knownHosts()", knownHosts),
    typeError("call it, pinnedHostKey()", pinnedHostKey),
    typeError("call it, insecureAcceptAnyHostKey()", insecureAcceptAnyHostKey),
  ),
  row(
    "connect",
    "transport",
    [],
    typeError("left out to dial by TCP", "tcp"),
    typeError("a pair of byte streams", "ws://x", 5, null, {}, { readable: 1, writable: 2 }, {
      readable: memoryPair().client.readable,
    }),
    typeError("`await` before it", Promise.resolve(memoryPair().client)),
    typeError("`readable` is locked", lockedPair("readable")),
    typeError("`writable` is locked", lockedPair("writable")),
    typeError("Duplex.toWeb()", nodeStream()),
  ),
  row(
    "controlPath",
    "controlPath",
    ["/a", "a", `/${"x".repeat(102)}`, "/100%/x", "/a%%b"],
    typeError("it must be a text", ...NO_TEXT.filter((value) => value !== undefined)),
    typeError("it is empty", ""),
    typeError("no NUL", "/a\0b"),
    typeError('Cannot use "none"', "none"),
    typeError("the home directory in the place of ~", "~/.ssh/ctl"),
    typeError("`ssh -G host` tells", "/tmp/%C", "/tmp/%r@%h:%p"),
    rangeError("bytes, and the path of a socket", `/${"x".repeat(107)}`, `/${"\u00e4".repeat(54)}`),
  ),
  row(
    "controlPath",
    "(options)",
    [{ controlPath: "/a", hostname: undefined, auth: undefined }],
    typeError("beside `controlPath`", ...BESIDE.map((name) => ({ controlPath: "/a", [name]: "x" }))),
  ),
  row("controlPath", "trace", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row(
    ["connect", "controlPath"],
    "handshakeTimeout",
    [1, 0.5, Infinity],
    rangeError("milliseconds above 0", ...NO_TIME),
  ),
  row(
    "connect",
    "updateHostKeys",
    [true, false, () => true],
    typeError("it must be true, false, or a function that is asked", "yes", "ask", 1, null, {}, []),
  ),
  row("connect", "onNotice", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row(
    "connect",
    "hostKeyAlias",
    ["h", "[h]:22", "\u00e4", "x".repeat(1025)],
    typeError("it must be a text", ...NO_TEXT),
    typeError("`hostKeyAlias` is empty", ""),
    typeError("no spaces and no control characters", "a b", "a\n", "a\0"),
    typeError("no lone surrogates", "a\ud800"),
    rangeError("1025 are the most", "x".repeat(1026), "x".repeat(65_536)),
  ),
  row(
    "connect",
    "jump",
    [
      [],
      HOP,
      [HOP],
      [HOP, { ...HOP, port: 65_535, username: "bob" }],
      { ...HOP, jump: { ...HOP, jump: [HOP, HOP] } },
      { ...HOP, proxy: "socks5://proxy.invalid" },
      { ...HOP, proxyCommand: ["nc", "%h", "%p"] },
      new Array(16).fill(HOP),
      "none",
      "hop.invalid",
      "alice@hop.invalid:22,bob@[::1]:2222",
      ["hop.invalid", HOP],
      { ...HOP, jump: "ssh://alice@hop.invalid" },
    ],
    typeError("options such as `{ hostname, username }`", 5, true, null, [null], [[HOP]], [["hop.invalid"]]),
    {
      error: SshConfigError,
      text: "as a host: write `host`, `user@host:port`",
      values: ["@h", "hop:0", ["hop:x"], "", "hop.invalid,", [HOP, ""]],
    },
    rangeError(
      "more than 16 hops",
      new Array(17).fill("hop.invalid"),
      "h,".repeat(16) + "h",
      endlessHop("hop.invalid"),
    ),
    typeError("`await` before it", Promise.resolve(HOP)),
    typeError("`username` is missing; write `connect({ hostname, username })` (hop 1 of `jump`)", { hostname: "h" }),
    typeError("write `hostname` in its place (hop 2 of `jump`)", [HOP, { host: "h", username: "alice" }]),
    typeError("(hop 2 of `jump`)", [HOP, { ...HOP, auth: "x" }], { ...HOP, auth: "x", jump: HOP }),
    rangeError("(hop 3 of `jump`)", [HOP, HOP, { ...HOP, port: 0 }], [HOP, { ...HOP, port: 0, jump: HOP }]),
    typeError("`proxy` of a hop that is reached through another one", [HOP, { ...HOP, proxy: "http://h" }]),
    typeError("`transport` of a hop that is", [HOP, { ...HOP, transport: memoryPair().client }]),
    typeError("by two ways at once, `jump` and `proxyCommand`", { ...HOP, jump: HOP, proxyCommand: ["nc"] }),
    rangeError("more than 16 hops", new Array(17).fill(HOP), endlessHop()),
  ),
  row(
    "connect",
    "proxyCommand",
    [["nc", "%h", "%p"], ["/bin/x"], ["a b", "", "%%h %r@%h:%p"]],
    typeError("words such as", "nc %h %p", 5, true, null, {}),
    typeError("no shell takes them apart", "nc %h %p"),
    typeError("it names no program", [], ["", "x"]),
    typeError("is no word of it", ["nc", 22], ["nc", null], [["nc"]]),
    typeError("no zero bytes", ["nc\0"]),
    typeError("means nothing", ["nc", "%n"], ["nc", "100%"], ["nc", "%"]),
  ),
  row(
    "connect",
    "proxy",
    [
      "socks5://proxy.invalid",
      "socks5h://alice:secret@proxy.invalid:1080",
      "socks4a://alice@[::1]:65535",
      "http://alice:secret@proxy.invalid:3128/",
      new URL("http://proxy.invalid"),
    ],
    typeError("it must be a URL such as", 5, true, null, {}, [], "", "proxy:1080", "Environment", "env"),
    typeError("is none of socks5://", "https://h", "ftp://h", "socks4://h", new URL("ssh://h")),
    rangeError("(its port)", "http://h:0", "socks5://h:65536", "http://h:999999"),
    typeError("it names no host", "socks5://"),
    typeError("a proxy has no path", "http://h/path", "http://h/?x", "http://h/#x"),
    typeError("SOCKS4 knows user names but no passwords", "socks4a://alice:secret@h"),
    typeError("255 bytes of a password at most", `socks5://alice:${"x".repeat(256)}@h`),
  ),
  row(["connect"], "loginTimeout", [1, 0.5, Infinity], rangeError("milliseconds above 0", ...NO_TIME)),
  row("connect", "onBanner", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row("connect", "trace", [], typeError("it must be a function", ...NO_FUNCTION)),
  row("connect", "requireStrictKex", [true, false], typeError("true or false", "yes", "false", 1, 0, null, {})),
  row("connect", "requireAuth", [true, false], typeError("true or false", "yes", "false", 1, 0, null, {})),
  row(
    signalled,
    "signal",
    [new AbortController().signal, AbortSignal.timeout(2 ** 31 - 1)],
    typeError("write `AbortSignal.timeout(5000)`", 5000),
    typeError("the controller's `.signal`", new AbortController()),
    typeError("an AbortSignal, such as", "5s", null, true, {}, () => {}, new EventTarget()),
  ),
  row("sftp", "channels", [1, 4, 8], rangeError("1 to 8", ...NO_COUNT, 9, Infinity)),
  row(waiting, "timeout", [1, 0.5, 2 ** 31, 2 ** 40, Infinity], rangeError("milliseconds above 0", ...NO_TIME)),
  row(
    ["startClient", "startServer", "openSession", "openChannel", "accept"],
    "(options)",
    [undefined, {}],
    typeError("write `{ signal }`, in braces", new AbortController().signal),
  ),
  row(
    ["startClient", "startServer", "openSession", "accept"],
    "(options)",
    [],
    typeError("an object such as", null, 5, "x"),
  ),

  // -------------------------------------------------------------------------------- paths through a connection
  row(
    ["dial", "listen"],
    "(options)",
    [],
    typeError("an object such as `{ hostname, port }`", null, 5, "host:80", []),
    typeError("write `hostname` in its place", { host: "h", port: 80 }, { hostName: "h", port: 80 }),
    typeError("write `port` in its place", { hostname: "h", dstPort: 80 }),
    typeError('it must be "tcp"', { hostname: "h", port: 80, transport: "unix" }, { port: 80, transport: "udp" }),
  ),
  row(
    "dial",
    "hostname",
    ["h", "::1", "[::1]", "\u00e4", "x".repeat(1025)],
    typeError("it must be a text", undefined, ...NO_TEXT),
    typeError("it is empty", ""),
    typeError("no spaces, control characters", "a b", "a\0b", "a\n"),
    rangeError("1025 are the most", "x".repeat(1026), "x".repeat(65_536)),
  ),
  row(
    "listen",
    "hostname",
    [undefined, "", "*", "0.0.0.0", "::", "localhost", "127.0.0.1", "::1", "[::1]"],
    typeError("it must be a text", ...NO_TEXT),
    typeError("no spaces, control characters", "a b", "a\0b"),
    rangeError("1025 are the most", "x".repeat(65_536)),
  ),
  row("dial", "port", [1, 65_535], rangeError("1 to 65535", undefined, 0, -1, 65_536, 2 ** 32, NaN, null, "x")),
  row("listen", "port", [0, 1, 65_535], rangeError("0 to 65535", undefined, -1, 65_536, 2 ** 32, 0.5, NaN, null)),
  row(
    ["dialUnix", "listenUnix"],
    "path",
    ["/run/x", "x", "\u00e4", "x".repeat(4096)],
    typeError("it must be a text", undefined, ...NO_TEXT),
    typeError("it is empty", ""),
    typeError("no NUL", "a\0b", "\0abstract"),
    rangeError("4096 are the most", "x".repeat(4097), "x".repeat(65_536)),
  ),
  row(
    ["forwardLocal", "forwardDynamic"],
    "from",
    [
      ...[{ port: 0 }, { hostname: "", port: 65_535 }, { hostname: "[::1]", port: 1 }, { path: "/x" }],
      ...[{ transport: "unix", path: "/x" }, { path: "/x", reusePort: false }],
      ...[{ port: 0, reusePort: true, tcpBacklog: 1 }, { port: 0, reusePort: undefined, tcpBacklog: 2 ** 31 - 1 }],
    ],
    typeError(
      "`from.reusePort`: it must be true or false",
      ...[0, 1, "yes", null].map((reusePort) => ({ port: 0, reusePort })),
    ),
    typeError("only TCP ports can be shared", { path: "/x", reusePort: true }),
    rangeError("`from.tcpBacklog`", ...[...NO_COUNT, 2 ** 31].map((tcpBacklog) => ({ port: 0, tcpBacklog }))),
    typeError("an object such as `{ hostname, port }` or `{ path }`", undefined, null, 8080, "localhost:8080", []),
    typeError("write `hostname` in its place", { host: "h", port: 80 }),
    typeError("write `path` in its place", { socketPath: "/x" }),
    typeError('it must be "tcp" or "unix"', { transport: "udp", port: 80 }),
    typeError("one or the other", { path: "/x", port: 80 }, { path: "/x", hostname: "h" }, {
      path: "/x",
      transport: "tcp",
    }),
    typeError("`from.path`", { transport: "unix" }, { path: "" }, { path: 5 }, { path: "a\0" }),
    typeError("`from.hostname`", { hostname: 5, port: 1 }, { hostname: "a\0", port: 1 }),
    rangeError("`from.port`", {}, { port: -1 }, { port: 65_536 }, { port: "80" }),
    rangeError("4096 are the most", { path: "x".repeat(65_536) }),
  ),
  row(
    "forwardRemote",
    "from",
    [{ port: 0 }, { hostname: "", port: 65_535 }, { path: "/x" }],
    typeError("`{ hostname, port }` or `{ path }`", undefined, null, 8080, "localhost:8080", []),
    rangeError("`from.port`", {}, { port: -1 }, { port: 65_536 }),
    rangeError("1025 are the most", { hostname: "x".repeat(65_536), port: 1 }),
    typeError("`from.path`", { path: "" }),
  ),
  row(
    "forwardLocal",
    "to",
    [{ hostname: "h", port: 1 }, { path: "/x" }],
    typeError("`to.hostname`", { port: 1 }, { hostname: "", port: 1 }),
    rangeError("`to.port`", { hostname: "h" }, { hostname: "h", port: 0 }, { hostname: "h", port: 65_536 }),
    typeError("`to.path`", { path: "" }, { path: "a\0" }),
    typeError("an object such as", undefined, null, 80, "h:80"),
  ),
  row(
    "forwardRemote",
    "to",
    [{ port: 1 }, { hostname: "h", port: 65_535 }, { transport: "unix", path: "/x" }],
    typeError("`to.hostname`", { hostname: "", port: 1 }),
    rangeError("`to.port`", {}, { port: 0 }, { port: 65_536 }),
    typeError("an object such as", undefined, null, 80, "h:80"),
  ),
  row(
    "client.serve",
    "(options)",
    [{ port: 0 }, { hostname: "", port: 65_535 }, { path: "/x" }, { path: "/x", transport: "unix" }],
    typeError("`{ hostname, port }` or `{ path }`", undefined, null, 8080, "localhost:8080", []),
    typeError("one or the other", { path: "/x", port: 80 }),
    typeError("`maxConnections`", { port: 0, maxConnection: 5 }),
    rangeError("`port`", {}, { port: -1 }, { port: 65_536 }, { port: "80" }),
    typeError("it is empty", { path: "" }),
  ),
  row(
    "client.serve",
    "handler",
    [() => new Response()],
    typeError("a function", undefined, ...NO_FUNCTION),
  ),
  row(
    "fetch",
    "input",
    ["http://h/", new URL("https://h:8443/x"), new Request("http://[::1]/")],
    typeError("a URL", 5, true, null, undefined, {}, [], Promise.resolve("http://h/")),
    typeError("no URL", "", "h", "/x", "http://", "http://h:65536/"),
    typeError('only "http:" and "https:"', "file:///etc/passwd", "ftp://h/", "data:,x", "ws://h/", "h:80"),
  ),
  row(
    "fetch",
    "init",
    [undefined, null, {}, { method: "POST", body: "x" }, new Request("http://h/")],
    typeError("`init`", 5, "x", true, []),
    typeError("Cannot fetch: ", { method: "GET", body: "x" }, { method: "no method" }, { headers: { "a b": "x" } }),
    typeError("`createHttpClient()` of this connection", { client: {} }, { client: null }),
  ),
  row(
    "createHttpClient",
    "(options)",
    [{}],
    typeError("an object such as `{ caCerts }`", null, 5, "x", []),
    typeError("write `path` in its place", { socketPath: "/x" }),
    typeError("write `caCerts` in its place", { ca: "x" }, { cacerts: [] }),
    typeError("lead through the server", { proxy: { url: "http://h/" } }, { localAddress: "127.0.0.1" }),
    typeError("one belongs to the other", { cert: "x" }, { key: "x" }),
    typeError("neither HTTP/1.1 nor HTTP/2", { http1: false, http2: false }),
  ),
  row(
    "createHttpClient",
    "path",
    ["/run/x", "\u00e4", "x".repeat(250)],
    typeError("it must be a text", ...NO_TEXT),
    typeError("it is empty", ""),
    typeError("no NUL", "a\0b"),
    rangeError("250 are the most", "x".repeat(251), "\u00e4".repeat(126)),
  ),
  row("createHttpClient", "caCerts", [[], ["x"]], typeError("in PEM format", "x", 5, {}, [5], [undefined], null)),
  row("createHttpClient", "cert", [], typeError("in PEM format", ...NO_TEXT)),
  row("createHttpClient", "key", [], typeError("in PEM format", ...NO_TEXT)),
  ...(["http1", "http2", "allowHost"] as const).map((option) =>
    row("createHttpClient", option, [true, false], typeError("true or false", 0, "yes", null, {}))
  ),
  row("createHttpClient", "poolMaxIdlePerHost", [0, 1, 100], rangeError("0 to", ...NO_INTEGER, Infinity)),
  row("createHttpClient", "poolIdleTimeout", [0, 1, false], rangeError("0 to", ...NO_INTEGER, Infinity)),
  row(
    ["forwardLocal", "forwardRemote", "forwardDynamic"],
    "(options)",
    [undefined, {}],
    typeError("an object such as `{ signal, onError }`", null, 5, "x"),
    typeError("`maxConnections`", { maxConnection: 5 }),
  ),
  row(
    ["forwardLocal", "forwardRemote", "forwardDynamic", "client.serve"],
    "maxConnections",
    [1, 100_000, Infinity],
    rangeError("`maxConnections`", ...NO_COUNT),
  ),
  row(
    ["forwardLocal", "forwardRemote", "forwardDynamic", "client.serve"],
    "onError",
    [() => {}],
    typeError("it must be a function", ...NO_FUNCTION),
  ),

  // -------------------------------------------------------------------------------- serve() and serveConn()
  row(servers, "(options)", [], typeError("Cannot serve: ", undefined, null, 5, "x", [])),
  row("serve", "hostname", ["127.0.0.1", "::1"], typeError("it must be a text", ...NO_TEXT), typeError("is empty", "")),
  row("serve", "reusePort", [true, false], typeError("true or false", 0, 1, "yes", null, {}, Promise.resolve(true))),
  row(
    "serve",
    "tcpBacklog",
    [1, 511, 2 ** 31 - 1],
    rangeError("`tcpBacklog`: it must be an integer, 1 to 2147483647", ...NO_COUNT, 2 ** 31, Infinity),
  ),
  row(
    "serve",
    "admission",
    [],
    typeError("a port that `port()` of `sharedAdmission()` has given", 5, "x", true, null, {}, []),
    typeError("write `admission.port()`", sharedAdmission()),
    typeError("write `await` before it", Promise.resolve()),
  ),
  row("serve", "port", [0, 22, 65_535], rangeError("0 to 65535", -1, 0.5, 65_536, 2 ** 32, NaN, Infinity, "22", null)),
  row(
    servers,
    "hostKeys",
    [[key], [key, key]],
    typeError("without host keys", [], undefined, null),
    typeError("a host key is none", [undefined], [{}], [key, null], [{ algorithms: [] }], new Array(1)),
    typeError("it must be an array", {}, true, 5, () => [key], new Set([key])),
    typeError("`hostKeys: [await parsePrivateKey(text)]`", "a key", new Uint8Array(3), ["a key"], [new Uint8Array(3)]),
    typeError("in brackets", key),
    typeError("a public one cannot sign", [key.publicKey], [key, key.publicKey]),
    typeError("write `await` before it", Promise.resolve([key]), [Promise.resolve(key)]),
  ),
  row(
    servers,
    "auth",
    [{}, { password: () => false }, { password: undefined, none: undefined, other: undefined }, new Handlers()],
    typeError("without `auth`", undefined, null, true, "none", [], [() => true], () => true),
    typeError("`auth.password`: it must be a function", { password: "secret" }, { password: true }, { password: null }),
    typeError("`auth.publicKey`: it must be a function", { publicKey: [] }, { publicKey: key.publicKey }),
    typeError("`auth.none`: it must be a function", { none: true }),
    typeError("`publicKey` is meant", { publickey: () => true }, { public_key: () => true }, {
      publicKeys: () => true,
    }),
    typeError("`keyboardInteractive` is meant", { "keyboard-interactive": () => true }, { keyboard_interactive: [] }),
    typeError("`passwordChange` is meant", { passwordchange: () => true }, { password_change: 1 }),
    typeError("`hostBased` is meant", { hostbased: () => true }),
    typeError("no method of login has this name", { users: [] }, { gssapi: () => true, password: () => true }),
  ),
  row(servers, "handler", [() => 0], typeError("`handler`: it must be a function", ...NO_FUNCTION)),
  row(
    servers,
    "subsystems",
    [{}, { echo: () => 0 }],
    typeError("handlers by name", null, 5, "sftp", [], () => 0),
    typeError("`subsystems.sftp`: it must be a function", { sftp: {} }, { sftp: true }, { sftp: undefined }),
  ),
  row(servers, "loginTimeout", [1, Infinity], rangeError("milliseconds above 0", ...NO_TIME)),
  row(servers, "forwardTimeout", [1, Infinity], rangeError("milliseconds above 0", ...NO_TIME)),
  row([...servers, "Transport"], "maxAuthTries", [1, 100, Infinity], rangeError("`maxAuthTries`", ...NO_COUNT)),
  row(
    servers,
    "maxStartups",
    [{ begin: 0, rate: 0, full: 1 }, { begin: 5, rate: 100, full: 5 }, { begin: 1, rate: 30.5, full: Infinity }],
    rangeError("`maxStartups.full`", {}, ...[0, -1, 1.5, NaN, "7"].map((full) => ({ begin: 0, rate: 30, full }))),
    rangeError(
      "`maxStartups.begin`",
      { full: 10 },
      ...[-1, 1.5, NaN, 101].map((begin) => ({ begin, rate: 30, full: 100 })),
    ),
    rangeError(
      "`maxStartups.rate`",
      ...[undefined, -1, 101, NaN, "30"].map((rate) => ({ begin: 10, rate, full: 100 })),
    ),
    typeError("such as `{ begin: 60", null, 10, "10:30:100", [10, 30, 100]),
    typeError("write `begin` in its place", { Begin: 10, rate: 30, full: 100 }),
  ),
  row(servers, "maxStartups.begin", []),
  row(servers, "maxStartups.rate", []),
  row(servers, "maxStartups.full", []),
  row(servers, "maxStartupsPerSource", [1, 100, Infinity], rangeError("`maxStartupsPerSource`", ...NO_COUNT)),
  row(
    servers,
    "penalties",
    [false, {}, { authFail: undefined }, { authFail: 0, min: 15_000, max: Infinity }],
    typeError("`penalties`: it must be false", true, null, 5, "no", []),
    typeError("write `authFail` in its place", { authfail: 1 }, { auth_fail: 1 }),
  ),
  ...["authFail", "noAuth", "graceExceeded", "min", "max"].map((name) =>
    row(servers, `penalties.${name}`, [0, 0.5, 1, Infinity], rangeError("0 or more", -1, NaN, -Infinity, "5", null, {}))
  ),
  row(servers, "penalties.maxSources", [1, 2 ** 24], rangeError("1 to 16777216", ...NO_COUNT, 2 ** 24 + 1, Infinity)),
  row(servers, "maxSessions", [1, 100, Infinity], rangeError("`maxSessions`", ...NO_COUNT)),
  row(servers, "maxChannels", [1, 100, Infinity], rangeError("`maxChannels`", ...NO_COUNT)),
  row(servers, "allowForward", [() => true], typeError("`allowForward`", ...NO_FUNCTION)),
  row(servers, "onForward", [() => {}], typeError("`onForward`", ...NO_FUNCTION)),
  row(
    servers,
    "allowX11",
    [true, false, () => true],
    typeError("`allowX11`", null, 5, "yes", {}, Promise.resolve(true)),
  ),
  row(
    servers,
    "allowAgent",
    [true, false, () => true],
    typeError("`allowAgent`", null, 5, "yes", {}, Promise.resolve(true)),
  ),
  row(servers, "maxListeners", [1, 100, Infinity], rangeError("`maxListeners`", ...NO_COUNT)),
  row(
    servers,
    "banner",
    ["", "Hello"],
    typeError("it must be a text", ...NO_TEXT),
    rangeError("the banner", "x".repeat(300_000)),
  ),
  row(
    servers,
    "signal",
    [new AbortController().signal],
    typeError("an AbortSignal: write `AbortSignal.timeout(5000)`", 5000),
    typeError("controller's `.signal`", new AbortController()),
    typeError("an AbortSignal", "x", null, {}),
  ),
  row("serve", "onListen", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row(servers, "onError", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row(servers, "trace", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),

  // -------------------------------------------------------------------------------- Transport, step by step
  row("Transport", "(options)", [undefined, {}], typeError("it must be an object", null, 5, "x", [])),
  row("Transport", "loginTimeout", [1, Infinity], rangeError("milliseconds above 0", ...NO_TIME)),
  row(
    "Transport",
    "banner",
    ["", "Hello\n"],
    typeError("it must be a text", ...NO_TEXT),
    rangeError("the banner", "x".repeat(300_000)),
  ),
  row(["Transport"], "onBanner", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row(["Transport"], "onError", [() => {}], typeError("it must be a function", ...NO_FUNCTION)),
  row(
    "Transport",
    "conn",
    [],
    typeError("a pair of byte streams", null, "host", ["host", 22], { hostname: "h", port: 22 }, {}),
    typeError("`await` before it", Promise.resolve(memoryPair().client)),
    typeError("`readable` is locked", lockedPair("readable")),
    typeError("`writable` is locked", lockedPair("writable")),
  ),
  row("startClient", "conn", [], typeError("Duplex.toWeb()", nodeStream())),
  row(
    "startServer",
    "server",
    [undefined, {}, { checkAuthPassword: () => true, checked: 5, getName() {} }],
    typeError("it must be an object with methods", null, 5, "x", []),
    typeError("write `new` before a class", class {}),
    typeError("it must be a method", { checkAuthPassword: true }, { getAllowedAuths: ["password"] }),
    typeError("`checkAuthPassword` is meant", { checkauthpassword() {} }, { check_auth_password() {} }, {
      checkAuthPasword() {},
    }),
    typeError("`getAllowedAuths` is meant", { get_allowed_auths() {} }),
    typeError(
      "`checkAuthPublickey` is meant",
      new (class {
        checkAuthPublicKey() {}
      })(),
    ),
  ),
  row(
    "addServerKey",
    "key",
    [key],
    typeError("`await parsePrivateKey(text)` reads one", "-----BEGIN OPENSSH PRIVATE KEY-----"),
    typeError("a public key, which cannot sign", key.publicKey),
    typeError("`await` before it", Promise.resolve(key)),
    typeError("a private key or another signer", undefined, null, 5, {}, [key], { sign() {}, algorithms: [] }),
  ),
  row(
    "Transport.connect",
    "(options)",
    [],
    typeError("an object such as `{ username", undefined, null, "alice", []),
    typeError("write `username` in its place", { user: "alice" }),
    typeError("write `key` in its place", { username: "alice", pkey: key }),
    typeError("write `hostKey` in its place", { username: "alice", hostkey: key.publicKey }),
  ),
  row(
    ["Transport.connect", "authNone", "authPassword", "authPublickey", "authInteractive"],
    "username",
    ["alice", ""],
    typeError("`username` is missing", undefined),
    typeError("it must be a text", ...NO_TEXT),
  ),
  row(
    "Transport.connect",
    "hostKey",
    [key.publicKey],
    typeError("`parsePublicKey(line)` reads one", "ssh-ed25519 AAAA"),
    typeError("write `key.publicKey`", key),
    typeError("it must be a public key", null, 5, {}, []),
  ),
  row(["Transport.connect", "authPassword"], "password", ["", "secret"], typeError("it must be a text", ...NO_TEXT)),
  row(
    ["Transport.connect", "authPublickey"],
    "key",
    [key],
    typeError("`await parsePrivateKey(text)` reads one", "a key"),
    typeError("a public key, which cannot sign", key.publicKey),
    typeError("a private key or another signer", null, 5, {}, [key]),
  ),
  row("authPassword", "password", [], typeError("it must be a text", undefined)),
  row("authPublickey", "key", [], typeError("a private key or another signer", undefined)),
  row("authInteractive", "answer", [() => []], typeError("a function that gives a list", undefined, ...NO_FUNCTION)),
  row(
    "openChannel",
    "kind",
    ["session", "x@example.com"],
    typeError("the name of a type of channels", undefined, ...NO_TEXT),
    typeError("its type is empty", ""),
  ),
  row(
    "openChannel",
    "(options)",
    [undefined, {}],
    typeError("an object such as `{ dest, origin }`", null, 5, "x", []),
    typeError("write `dest` in its place", { destination: {} }, { dest_addr: ["h", 22] }),
  ),
  ...["dest", "origin"].map((name) =>
    row(
      "openChannel",
      name,
      [{ transport: "tcp", hostname: "", port: 0 }, { transport: "tcp", hostname: "h", port: 65_535 }],
      typeError("an address", null, "h:22", ["h", 22], 5),
      typeError(`${name}.hostname`, { port: 22 }, { hostname: 5, port: 22 }),
      rangeError(
        `${name}.port`,
        { hostname: "h" },
        ...[-1, 65_536, 1.5, NaN, "22"].map((port) => ({ hostname: "h", port })),
      ),
    )
  ),
  row(
    ["openChannel", "globalRequest"],
    "data",
    [undefined, new Uint8Array(0), new Uint8Array(10)],
    typeError("`new TextEncoder().encode(…)`", "text"),
    typeError("a Uint8Array", null, 5, {}, [1, 2], new ArrayBuffer(3), Promise.resolve(new Uint8Array(1))),
  ),
  row(
    "globalRequest",
    "name",
    ["keepalive@openssh.com"],
    typeError("the name of a request", undefined, ...NO_TEXT),
    typeError("its name is empty", ""),
  ),

  // -------------------------------------------------------------------------------- what makes methods, and the agent
  row(
    "connectAgent",
    "conn",
    [],
    typeError("a pair of byte streams", null, "/tmp/agent.sock", 5, {}),
    typeError("`await` before it", Promise.resolve(memoryPair().client)),
    typeError("`readable` is locked", lockedPair("readable")),
  ),
  row(
    "password",
    "value",
    ["", "secret", () => "secret"],
    typeError("a text, or a function that gives one", undefined, null, 5, {}, ["x"], Promise.resolve("x")),
  ),
  row("password", "change", [() => "new"], typeError("it must be a function", ...NO_FUNCTION)),
  row(
    "password",
    "(options)",
    [undefined, {}],
    typeError("an object such as `{ change }`", null, "x", 5, [], () => "new"),
  ),
  row(
    "keyboardInteractive",
    "answer",
    [() => []],
    typeError("a function that gives a list of answers", undefined, ...NO_FUNCTION, ["answer"]),
  ),
  row(
    "publicKey",
    "key",
    [key, "text of a key", new Uint8Array(5), (async function* () {})(), { signers: () => Promise.resolve([]) }],
    typeError("write publicKey(...keys)", [key], []),
    typeError("it is a public key, and the private one is needed", key.publicKey),
    typeError("`await` before it", Promise.resolve(key)),
    typeError("it is a function, call it", () => key),
    typeError("it looks like a path", "~/.ssh/id_ed25519", "./key.pem", "id_ed25519", "C:\\keys\\id", "/etc/key"),
    typeError("a private key or another signer", undefined, null, 5, {}),
  ),
];
