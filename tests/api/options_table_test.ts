/**
 * Every option of every entry point, at its bounds and beyond them: what makes no sense is a `TypeError` or a `RangeError` that says so
 * in words, before anything is dialled, listened on or sent. The table stands in _options_table.ts.
 */
import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { connect, type ConnectOptions, type ControlPathOptions } from "../../lib/api/client.ts";
import { loadSshConfig, type LoadSshConfigOptions } from "../../lib/api/config/ssh_config.ts";
import { serve, serveConn, type ServeOptions } from "../../lib/api/server.ts";
import { SftpChannels, type SftpOptions } from "../../lib/api/sftp_channels.ts";
import { Transport, type TransportOptions } from "../../lib/api/transport/transport.ts";
import { keyboardInteractive, password, publicKey } from "../../lib/auth/methods.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { SshError } from "../../lib/errors.ts";
import { ClientForwards } from "../../lib/forward/client.ts";
import type { ForwardOptions } from "../../lib/forward/forward.ts";
import { ClientHttp } from "../../lib/http/client.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { checkWait } from "../../lib/wire/check.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { memoryPair } from "../_support/duplex.ts";
import { fakeMux } from "../_support/fake_transport.ts";
import { hostKey, serverOptions } from "../_support/joined.ts";
import { AUTH_METHODS, key } from "./_option_values.ts";
import { type Entry, rows, waiting } from "./_options_table.ts";

/** What is thrown in the place of dialling and listening. */
class Reached extends Error {}

/** Streams that have ended, and tell whether somebody has asked for them. */
function tellTale(): ByteDuplex & { asked: boolean } {
  // Whatever way the rest of the suite cuts its streams: these have to have ended by the time that they are asked for.
  const { client, server } = memoryPair({ chunks: "whole", highWaterMark: 65_536 });
  server.writable.close();
  return {
    asked: false,
    get readable() {
      this.asked = true;
      return client.readable;
    },
    get writable() {
      this.asked = true;
      return client.writable;
    },
  };
}

/** Calls with streams, and throws {@linkcode Reached} where they were asked for. */
async function withStreams(call: (conn: ByteDuplex) => Promise<unknown>): Promise<void> {
  const conn = tellTale();
  try {
    await call(conn);
  } catch (cause) {
    throw conn.asked ? new Reached("the streams were asked for", { cause }) : cause;
  }
}

/** `{ rekey: { bytes: 1 } }` of `rekey.bytes`, and the value itself of `(options)`. */
function optionsWith<T>(base: object, option: string, value: unknown): T {
  if (option === "(options)") return value as T;
  const [name, inner] = option.split(".") as [string, string?];
  if (inner === undefined) return { ...base, [name]: value } as T;
  return { ...base, [name]: { ...name === "keepalive" ? { interval: 60_000 } : {}, [inner]: value } } as T;
}

/** Whether it is among the last argument's options that is tried, where the others are no options. */
function isWait(option: string): boolean {
  return option === "signal" || option === "timeout";
}

/** Connected to nobody: what gets past the checks fails because nothing has begun. */
function idle(): Transport {
  return new Transport(memoryPair({ highWaterMark: 65_536 }).client);
}

/** The paths of a connection on which nothing can be sent. */
async function paths(call: (client: ClientForwards) => Promise<unknown>): Promise<void> {
  const { transport, mux } = fakeMux();
  transport.send = () => {
    throw new Reached("something was sent");
  };
  await call(new ClientForwards(mux, Promise.resolve()));
}

/** The options of a forward, where it is not its addresses that are tried. */
function others(option: string, value: unknown): ForwardOptions {
  const isAddress = option === "from" || option === "to";
  const options = isAddress ? {} : optionsWith<ForwardOptions | undefined>({}, option, value);
  // As the methods of `SshClient` have it.
  return options === undefined ? {} : options;
}

/** How each entry point is called with one option; a promise that rejects with what the check throws, or with {@linkcode past}. */
const calls: Readonly<Record<Entry, (option: string, value: unknown) => unknown>> = {
  connect: (option, value) => {
    const base = {
      hostname: "host.invalid",
      username: "alice",
      auth: AUTH_METHODS,
      verifyHostKey: insecureAcceptAnyHostKey(),
    };
    return connect(optionsWith<ConnectOptions>(base, option, value));
  },
  controlPath: async (option, value) => {
    try {
      await connect(optionsWith<ControlPathOptions>({ controlPath: "/nowhere/socket" }, option, value));
    } catch (cause) {
      throw cause instanceof SshError ? new Reached("the socket was looked for", { cause }) : cause;
    }
  },
  serve: async (option, value) => {
    serve(optionsWith<ServeOptions>({ hostname: "127.0.0.1", port: 0, ...await serverOptions() }, option, value));
  },
  serveConn: async (option, value) => {
    const options = optionsWith<ServeOptions>(await serverOptions(), option, value);
    await withStreams((conn) => serveConn(conn, options));
  },
  Transport: async (option, value) => {
    if (option === "conn") return void new Transport(value as ByteDuplex);
    await withStreams(async (conn) => {
      await new Transport(conn, optionsWith<TransportOptions>({}, option, value)).startClient();
    });
  },
  startClient: (option, value) => {
    if (option === "conn") return new Transport(value as ByteDuplex).startClient();
    return withStreams((conn) => new Transport(conn).startClient(optionsWith({}, option, value)));
  },
  startServer: (option, value) =>
    withStreams(async (conn) => {
      const transport = new Transport(conn);
      transport.addServerKey(await hostKey());
      if (option === "server") await transport.startServer(value as object);
      else await transport.startServer(undefined, optionsWith({}, option, value));
    }),
  "Transport.connect": (option, value) =>
    withStreams((conn) =>
      new Transport(conn).connect(optionsWith({ username: "alice", password: "x" }, option, value))
    ),
  addServerKey: (_option, value) => {
    idle().addServerKey(value as typeof key);
    throw new Reached();
  },
  authNone: (option, value) =>
    isWait(option) ? idle().authNone("alice", optionsWith({}, option, value)) : idle().authNone(value as string),
  authPassword: (option, value) =>
    isWait(option)
      ? idle().authPassword("alice", "x", optionsWith({}, option, value))
      : option === "username"
      ? idle().authPassword(value as string, "x")
      : idle().authPassword("alice", value as string),
  authPublickey: (option, value) =>
    isWait(option)
      ? idle().authPublickey("alice", key, optionsWith({}, option, value))
      : option === "username"
      ? idle().authPublickey(value as string, key)
      : idle().authPublickey("alice", value as typeof key),
  authInteractive: (option, value) =>
    isWait(option)
      ? idle().authInteractive("alice", () => [], optionsWith({}, option, value))
      : option === "username"
      ? idle().authInteractive(value as string, () => [])
      : idle().authInteractive("alice", value as () => string[]),
  openSession: (option, value) => idle().openSession(optionsWith({}, option, value)),
  openChannel: (option, value) =>
    option === "kind" ? idle().openChannel(value as string) : idle().openChannel("x", optionsWith({}, option, value)),
  accept: async (option, value) => {
    const transport = idle(), accepted = transport.accept(optionsWith({}, option, value));
    await transport.close();
    await accepted;
    throw new Reached();
  },
  globalRequest: (option, value) =>
    isWait(option)
      ? idle().globalRequest("x", undefined, optionsWith({}, option, value))
      : option === "name"
      ? idle().globalRequest(value as string)
      : idle().globalRequest("x", value as Uint8Array),
  connectAgent: (option, value) =>
    option === "conn"
      ? connectAgent(value as ByteDuplex)
      : withStreams((conn) => connectAgent(conn, optionsWith({}, option, value)).then((agent) => agent.signers())),
  loadSshConfig: async (option, value) => {
    await loadSshConfig(optionsWith<LoadSshConfigOptions>({ files: [] }, option, value));
    throw new Reached();
  },
  sftp: async (option, value) => {
    const { transport, mux } = fakeMux();
    transport.send = () => {
      throw new Reached("something was sent");
    };
    const options = optionsWith<SftpOptions | undefined>({}, option, value) ?? {};
    checkWait(options);
    await new SftpChannels(mux, { peer: "SSH-2.0-x", own: "SSH-2.0-y" }).open(options);
  },
  dial: (option, value) => paths((client) => client.dial(optionsWith({ hostname: "h", port: 1 }, option, value))),
  dialUnix: (option, value) =>
    paths((client) =>
      option === "path" ? client.dialUnix(value as string) : client.dialUnix("/x", optionsWith({}, option, value))
    ),
  listen: (option, value) => paths((client) => client.listen(optionsWith({ port: 1 }, option, value))),
  listenUnix: (option, value) =>
    paths((client) =>
      option === "path" ? client.listenUnix(value as string) : client.listenUnix("/x", optionsWith({}, option, value))
    ),
  forwardLocal: (option, value) =>
    paths((client) => {
      const from = option === "from" ? value : { port: 0 }, to = option === "to" ? value : { hostname: "h", port: 1 };
      return client.forwardLocal(from as { port: number }, to as { path: string }, others(option, value));
    }),
  forwardRemote: (option, value) =>
    paths((client) => {
      const from = option === "from" ? value : { port: 0 }, to = option === "to" ? value : { port: 1 };
      return client.forwardRemote(from as { port: number }, to as { path: string }, others(option, value));
    }),
  forwardDynamic: (option, value) =>
    paths((client) => {
      const from = option === "from" ? value : { port: 0 };
      return client.forwardDynamic(from as { port: number }, others(option, value));
    }),
  fetch: (option, value) =>
    paths((client) => {
      const input = option === "input" ? value : "http://h/", init = option === "init" ? value : undefined;
      return new ClientHttp(client).fetch(input as string, init as RequestInit);
    }),
  createHttpClient: (option, value) =>
    // deno-lint-ignore require-await
    paths(async (client) => new ClientHttp(client).createHttpClient(optionsWith({}, option, value))),
  "client.serve": (option, value) =>
    paths((client) => {
      const handler = option === "handler" ? value : () => new Response();
      const options = option === "handler" ? { port: 0 } : optionsWith<{ port: number }>({ port: 0 }, option, value);
      return new ClientHttp(client).serve(options, handler as () => Response);
    }),
  password: (option, value) => {
    if (option === "value") password(value as string);
    else password("x", optionsWith({}, option, value));
    throw new Reached();
  },
  keyboardInteractive: (_option, value) => {
    keyboardInteractive(value as () => string[]);
    throw new Reached();
  },
  publicKey: (_option, value) => {
    publicKey(value as string);
    throw new Reached();
  },
};

/** Whether an error shows that the checks let a value pass. */
function isPast(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof Reached) return true;
  return error instanceof Error &&
    /^Cannot use connection: nobody is logged in|^Cannot log in: startClient\(\) has not been called/.test(
      error.message,
    );
}

/** The error of a call, with dialling and listening taken away. */
async function errorOf(entry: Entry, option: string, value: unknown): Promise<unknown> {
  const { Command, connect, listen, serve } = Deno;
  // What `new` can be called with, too.
  const reached = function (): never {
    throw new Reached("the network or a program was reached");
  };
  Object.assign(Deno, { Command: reached, connect: reached, listen: reached, serve: reached });
  try {
    await calls[entry](option, value);
    return null;
  } catch (error) {
    return error;
  } finally {
    Object.assign(Deno, { Command, connect, listen, serve });
  }
}

for (const entry of Object.keys(calls) as Entry[]) {
  Deno.test(`${entry}() takes what makes sense, and refuses the rest in words before anything happens`, async () => {
    for (const { entries, option, good, bad } of rows) {
      if (!entries.includes(entry)) continue;
      for (const value of good) {
        const error = await errorOf(entry, option, value);
        assert(isPast(error), `${option}, ${Deno.inspect(value)}: ${error}`);
      }
      for (const { error: type, text, values } of bad) {
        for (const value of values) {
          const error = await errorOf(entry, option, value), what = `${option}, ${Deno.inspect(value)}: ${error}`;
          assertInstanceOf(error, type, what);
          assert(error.message.startsWith("Cannot "), what);
          assertStringIncludes(error.message, text, what);
          assert(!error.message.endsWith("."), what);
        }
      }
    }
  });
}

Deno.test("connect() refuses the names that other libraries have for its options, and leaves unknown ones alone", async () => {
  const full = { hostname: "host.invalid", username: "alice", auth: AUTH_METHODS };
  for (
    const [option, write] of [
      ["host", "`hostname`"],
      ["hostName", "`hostname`"],
      ["user", "`username`"],
      ["userName", "`username`"],
      ["usrname", "`username`"],
      ["password", "`auth: [password(text)]`"],
      ["privateKey", "`auth: [publicKey(text)]`"],
      ["passphrase", "parsePrivateKey(text, { passphrase })"],
      ["key_filename", "`auth: [publicKey(text)]`"],
      ["agent", "`auth: [publicKey(await connectAgent())]`"],
      ["ProxyJump", '`jump: "user@host"`'],
      ["tunnel", '`jump: "user@host"`'],
      ["ProxyCommand", '`proxyCommand: ["nc", "%h", "%p"]`'],
      ["proxycommand", "`proxyCommand`"],
      ["socksProxy", "`proxy: "],
      ["HostKeyAlias", "`hostKeyAlias`"],
      ["login_timeout", "`loginTimeout`, in milliseconds,"],
      ["tryKeyboard", "keyboardInteractive(answer)"],
      ["timeout", "`loginTimeout`"],
      ["readyTimeout", "`handshakeTimeout`"],
      ["keepaliveInterval", "`keepalive: { interval }`"],
      ["keepAlive", "`keepalive`"],
      ["hostVerifier", "`verifyHostKey"],
      ["verifyHostkey", "`verifyHostKey`"],
      ["known_hosts", "knownHosts(text)"],
      ["sock", "`transport"],
      ["ciphers", "`algorithms: { cipher: […] }`"],
      ["compress", "`algorithms: { compression: […] }`"],
      ["algorithm", "`algorithms`"],
      ["on_banner", "`onBanner`"],
    ] as const
  ) {
    const { hostname, username, auth } = full;
    const options = {
      ...write === "`hostname`" ? {} : { hostname },
      ...write === "`username`" ? {} : { username },
      ...write.includes("auth: [") || write.includes("(answer)") || write.includes("passphrase") ? {} : { auth },
      [option]: "hunter2",
    };
    const error = await errorOf("connect", "(options)", options);
    assertInstanceOf(error, TypeError, `${option}: ${error}`);
    assertStringIncludes(error.message, `Cannot use option \`${option}\` of connect(): write `);
    assertStringIncludes(error.message, write);
    assert(!error.message.includes("hunter2"));
    // Nothing is wrong with it where it is not given, and beside the option that is meant.
    for (const off of [undefined, null, false]) {
      assert(isPast(await errorOf("connect", "(options)", { ...full, [option]: off })), option);
    }
  }
  const spread = {
    id: 5,
    name: "web-1",
    tags: ["a"],
    host: "elsewhere",
    user: "bob",
    password: "hunter2",
    ports: [1],
    debug: true,
    foo: null,
  };
  assert(isPast(await errorOf("connect", "(options)", { ...spread, ...full })));
});

Deno.test("connect() without a mistake in its options lets go of the streams that it was given, and with one, too", async () => {
  for (const extra of [{ port: 0 }, { auth: "x" }, { verifyHostKey: true }]) {
    const { client, server } = memoryPair();
    const options = { hostname: "host.invalid", username: "alice", transport: client, ...extra };
    assertInstanceOf(await errorOf("connect", "(options)", options), Error);
    assertEquals((await server.readable.getReader().read().catch(() => ({ done: true }))).done, true);
  }
});

// ------------------------------------------------------------------------------------ nothing is left out

const root = new URL("../../", import.meta.url);

/** Interfaces of options, where they stand, and who takes them; `within` is the option that holds them. */
const interfaces: readonly { name: string; file: string; entries: readonly Entry[]; within?: string }[] = [
  ...["ConnectOptions", "DialOptions", "HandshakeOptions", "LoginOptions"].map((name) => (
    { name, file: "lib/api/connect_options.ts", entries: ["connect"] as const }
  )),
  ...["ProtocolOptions", "ChannelOptions"].map((name) => (
    { name, file: "lib/api/options.ts", entries: ["connect", "serve", "serveConn", "Transport"] as const }
  )),
  ...["AdmissionOptions", "ServerHandshakeOptions", "ServerLoginOptions", "ServiceOptions", "ServeConnOptions"].map(
    (name) => ({ name, file: "lib/api/serve_options.ts", entries: ["serve", "serveConn"] as const }),
  ),
  { name: "SftpOptions", file: "lib/api/sftp_channels.ts", entries: ["sftp"] },
  { name: "WaitOptions", file: "lib/wire/deadline.ts", entries: waiting },
  { name: "ControlPathOptions", file: "lib/api/control_options.ts", entries: ["controlPath"] },
  { name: "ListenOptions", file: "lib/api/serve_options.ts", entries: ["serve"] },
  { name: "TransportOptions", file: "lib/api/transport/options.ts", entries: ["Transport"] },
  { name: "RsaKeyOptions", file: "lib/keys/rsa_public.ts", entries: ["connect", "serve", "Transport", "connectAgent"] },
  { name: "PasswordOptions", file: "lib/auth/methods.ts", entries: ["password"] },
  { name: "RekeyLimits", file: "lib/transport/types.ts", entries: ["connect", "serve", "Transport"], within: "rekey" },
  {
    name: "Algorithms",
    file: "lib/crypto/algorithms.ts",
    entries: ["connect", "serve", "Transport"],
    within: "algorithms",
  },
  {
    name: "KeepaliveOptions",
    file: "lib/api/options.ts",
    entries: ["connect", "serve", "Transport"],
    within: "keepalive",
  },
  {
    name: "ForwardOptions",
    file: "lib/forward/forward.ts",
    entries: ["forwardLocal", "forwardRemote", "forwardDynamic", "client.serve"],
  },
  { name: "LoadSshConfigOptions", file: "lib/api/config/ssh_config.ts", entries: ["loadSshConfig"] },
  { name: "HttpClientOptions", file: "lib/http/http_client.ts", entries: ["createHttpClient"] },
  { name: "MaxStartups", file: "lib/api/admission/admission.ts", entries: ["serve"], within: "maxStartups" },
  { name: "SourcePenalties", file: "lib/api/admission/penalties.ts", entries: ["serve"], within: "penalties" },
];

/** Interfaces whose options have no rows here: what they are checked by is told beside them. */
const elsewhere: Readonly<Record<string, string>> = {
  AgentKeyOptions: "tests/agent/",
  AskOptions: "tests/terminal/question_test.ts",
  AttachOptions: "tests/terminal/attach_test.ts",
  AliasOptions: "tests/api/ssh_config_test.ts",
  AuthorizedKeysOptions: "tests/auth/authorized_keys_test.ts",
  CertificateOptions: "tests/keys/",
  CommandOptions: "what lib/system/ is asked for: tests/system/",
  CopyIdOptions: "tests/sftp/copy_id_test.ts",
  CreateAgentOptions: "tests/agent/",
  CreatePasskeyOptions: "tests/keys/passkey_test.ts",
  DefaultIdentitiesOptions: "tests/keys/",
  ExecOptions: "tests/session/exec_options_test.ts",
  ExpectOptions: "tests/session/expect_test.ts",
  ExportOptions: "tests/keys/export_test.ts",
  HostBasedOptions: "tests/auth/host_based_test.ts",
  KeyDestinationsOptions: "tests/agent/",
  KnownHostOptions: "tests/keys/",
  KnownHostsOptions: "tests/keys/accept_new_test.ts",
  MessageSignerOptions: "tests/keys/sshsig_test.ts",
  PasskeyOptions: "tests/keys/passkey_test.ts",
  MemoryFilesOptions: "tests/files/memory_test.ts",
  PrivateKeyOptions: "tests/keys/private_key_test.ts",
  PtyOptions: "tests/session/exec_options_test.ts",
  OpenPtyOptions: "tests/pty/",
  ReplaceKnownHostOptions: "tests/keys/",
  RootedOptions: "tests/sftp/",
  RunOptions: "tests/pty/",
  ScpOptions: "tests/sftp/",
  ServeAgentOptions: "tests/agent/",
  ServeOptions: "here, by its parts",
  ServeScpOptions: "tests/sftp/",
  ShellOptions: "tests/pty/",
  SpawnPtyOptions: "tests/pty/",
  TestPairOptions: "tests/testing/test_pair_test.ts",
  ServeSftpOptions: "tests/sftp/",
  SignMessageOptions: "tests/keys/sshsig_test.ts",
  SudoOptions: "tests/session/sudo_test.ts",
  TransferOptions: "tests/sftp/",
  TrustedUserCAsOptions: "tests/auth/",
  VerifyMessageOptions: "tests/keys/sshsig_test.ts",
  X11Options: "tests/session/exec_options_test.ts",
};

/** Interfaces that no program sees: what it gives has been checked before it gets there. */
const internal = [
  "AdmissionLimits",
  "AnnounceOptions",
  "AttemptOptions",
  "AuthenticateOptions",
  "ClientAuthOptions",
  "ExpandOptions",
  "KeepaliveLimits",
  "KeyExchangeOptions",
  "LearnOptions",
  "MuxOptions",
  "OutboxOptions",
  "ProxiedOptions",
  "RelayOptions",
  "SecureTransportOptions",
  "SendOptions",
  "ServeAuthOptions",
  "SshErrorOptions",
];

/** Names of the members of an interface, as its source has them. */
function membersOf(file: string, name: string): string[] {
  const text = Deno.readTextFileSync(new URL(file, root));
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([\\s\\S]*?)^\\}`, "m").exec(text)?.[1];
  assert(body !== undefined, `${file} has no interface ${name}`);
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map((match) => match[1]!);
}

function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(new URL(folder, root))) {
    if (entry.isDirectory) yield* sources(`${folder}${entry.name}/`);
    else yield `${folder}${entry.name}`;
  }
}

Deno.test("serve() refuses the names that other servers have for its options, and leaves unknown ones alone", async () => {
  const full = { hostname: "127.0.0.1", port: 0, ...await serverOptions() };
  const { hostKeys, auth, handler, hostname } = full;
  for (
    const [option, write, base] of [
      ["host", "`hostname`", { hostKeys, auth }],
      ["path", "`serveConn()`", { hostKeys, auth }],
      ["reuseport", "`reusePort`", { hostKeys, auth }],
      ["backlog", "`tcpBacklog`", { hostKeys, auth }],
      ["hostName", "`hostname`", { hostKeys, auth }],
      ["hostKey", "`hostKeys: [await parsePrivateKey(text)]`", { auth }],
      ["hostkeys", "`hostKeys`", { auth }],
      ["server_host_keys", "`hostKeys: [", { auth }],
      ["authorizedKeys", "`auth: { publicKey", { hostKeys }],
      ["handlers", "`handler`", { hostKeys, auth }],
      ["subsystem", "`subsystems`", { hostKeys, auth }],
      ["sftp", "sftpSubsystem({ root })", { hostKeys, auth }],
      ["LoginGraceTime", "`loginTimeout`, in milliseconds,", { hostKeys, auth }],
      ["maxAuthtries", "`maxAuthTries`", { hostKeys, auth }],
      ["onerror", "`onError`", { hostKeys, auth }],
      ["keepAlive", "`keepalive`", { hostKeys, auth }],
    ] as const
  ) {
    const options: object = { ...base, [option]: "x" };
    assertStringIncludes(String(await errorOf("serve", "(options)", options)), write);
    assertStringIncludes(String(await errorOf("serveConn", "(options)", options)), write);
  }
  for (const more of [{ host: "x" }, { somethingElse: 5 }, { allowForward: () => true, reusePort: true }]) {
    const options = { ...more, hostname, hostKeys, auth, handler };
    assert(isPast(await errorOf("serve", "(options)", options)));
  }
});

Deno.test("every option of every entry point has a row in the table", () => {
  const missing: string[] = [];
  for (const { name, file, entries, within } of interfaces) {
    const members = membersOf(file, name);
    assert(members.length > 0, name);
    for (const member of members) {
      const option = within === undefined ? member : `${within}.${member}`;
      for (const entry of entries) {
        if (!rows.some((row) => row.option === option && row.entries.includes(entry))) {
          missing.push(`${entry}: ${option}`);
        }
      }
    }
  }
  assertEquals(missing, []);
});

Deno.test("every interface of options is one of the table's, or is known to be tested elsewhere", () => {
  const found = [...sources("lib/")].flatMap((file) =>
    [
      ...Deno.readTextFileSync(new URL(file, root)).matchAll(
        /^export interface (\w*(?:Options|Limits|Startups|Penalties)|Algorithms)\b/gm,
      ),
    ]
      .map((match) => match[1]!)
  );
  assertEquals(
    found.toSorted(),
    [...interfaces.map(({ name }) => name), ...Object.keys(elsewhere), ...internal].toSorted(),
  );
});
