/** What ssh_config comes to as options of `connect()`, on systems that exist only here, and from files. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { connectWithExtras } from "../../lib/api/config/connect_alias.ts";
import { extrasOf } from "../../lib/api/config/extras.ts";
import { loadOn, loadSshConfig, type LoadSshConfigOptions } from "../../lib/api/config/ssh_config.ts";
import { denoSystem, shellCommand } from "../../lib/api/config/deno_system.ts";
import { SshConfigError } from "../../lib/config/config_error.ts";
import type { ConfigSystem } from "../../lib/config/system.ts";
import { globPaths } from "../../lib/config/glob_paths.ts";
import { withoutNames } from "../../lib/api/jump.ts";
import { serveConn } from "../../lib/api/server.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { PublicKey } from "../../lib/keys/types.ts";
import { join, serverOptions } from "../_support/joined.ts";
import { memoryPair } from "../_support/duplex.ts";
import { inTime, until } from "../_support/until.ts";
import vectors from "../vectors/mldsa44_ed25519.json" with { type: "json" };

const HOME = "/home/alice";

/** The configuration at its usual place, on a system of its own. */
async function load(
  text: string,
  options: LoadSshConfigOptions & { system?: Partial<ConfigSystem>; files?: never; others?: Record<string, string> } =
    {},
) {
  const { system: own, others = {}, ...rest } = options, notices: string[] = [];
  const files: Record<string, string> = { [`${HOME}/.ssh/config`]: text, ...others };
  const system: ConfigSystem = {
    ...denoSystem,
    home: () => HOME,
    localUser: () => "alice",
    localHost: () => "desk",
    userId: () => "1000",
    env: () => undefined,
    read: (path) => Promise.resolve(files[path] ?? null),
    glob: (pattern) =>
      globPaths(pattern, { async *list() {}, exists: (path) => Promise.resolve(files[path] !== undefined) }),
    lookUp: () => Promise.resolve(null),
    ...own,
  };
  const config = await loadOn(system, { onNotice: (notice) => notices.push(notice), ...rest });
  return Object.assign(config, {
    notices,
    options: (alias = "web") => config.connectOptions(alias),
  });
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

/** The words of a command for a shell. */
const shell = (command: string): string[] => [Deno.env.get("SHELL") || "/bin/sh", "-c", command];

/** Options without what cannot be compared. */
function plain(options: ConnectOptions): unknown {
  const { verifyHostKey: _verifyHostKey, auth: _auth, ...rest } = options;
  return JSON.parse(JSON.stringify(rest));
}

Deno.test("a host without a line is itself, the local user's, and left to the defaults", async () => {
  const { options, notices } = await load("");
  assertEquals(plain(await options()), { hostname: "web", port: 22, username: "alice" });
  assertEquals(notices, []);
});

Deno.test("what has a name among the options of connect() gets there", async () => {
  const { options, notices } = await load([
    ...["HostName web.example", "User bob", "Port 2222", "HostKeyAlias The-Web", "Compression yes"],
    ...["ServerAliveInterval 15", "ServerAliveCountMax 2", "ConnectTimeout 1m", "RekeyLimit 1G 1h"],
    ...["Ciphers ^aes256-ctr", "MACs -*sha2-256*", "KexAlgorithms curve25519-sha256", "VersionAddendum for bob"],
  ].join("\n"));
  const options1 = await options();
  assertEquals(plain(options1), {
    hostname: "web.example",
    port: 2222,
    username: "bob",
    hostKeyAlias: "the-web",
    algorithms: {
      kex: ["curve25519-sha256"],
      cipher: [
        ...["aes256-ctr", "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
        ...["aes128-ctr", "aes192-ctr"],
      ],
      mac: ["hmac-sha2-512-etm@openssh.com", "hmac-sha2-512"],
      compression: ["zlib@openssh.com", "zlib", "none"],
    },
    rekey: { bytes: 2 ** 30, interval: 3_600_000 },
    keepalive: { interval: 15_000, maxMissed: 2 },
    handshakeTimeout: 60_000,
    ident: "amiko for bob",
  });
  assertEquals(notices, []);
});

Deno.test("algorithms that are not there are left out and told, and a list of nothing else is refused", async () => {
  const { options, notices } = await load("MACs umac-64@openssh.com,hmac-sha2-256\n");
  assertEquals((await options()).algorithms, { mac: ["hmac-sha2-256"] });
  assertEquals(notices, ["ssh_config: macs: umac-64@openssh.com are not there, and left out"]);
  const none = await load("MACs umac-64@openssh.com\n");
  await assertRejects(() => none.options(), SshConfigError, "none of its algorithms is known here");
});

Deno.test("certificates of hosts are asked for where a list names them, or a CA is known for the host", async () => {
  const dir = await Deno.makeTempDir(), key = (await generateKey("ecdsa")).publicKey;
  const listed = async (list: string, host: string): Promise<readonly string[]> => {
    const { options } = await load(
      `UserKnownHostsFile ${dir}/known\nGlobalKnownHostsFile none\nHostKeyAlgorithms ${list}\n`,
    );
    return (await options(host)).algorithms!.hostKey!;
  };
  try {
    await Deno.writeTextFile(`${dir}/known`, `@cert-authority *.certified ${key}\nplain ${key}\n`);
    const cert = "ssh-ed25519-cert-v01@openssh.com", isCert = (name: string): boolean => name.includes("-cert");
    assertEquals(await listed(`${cert},ssh-ed25519`, "plain"), [cert, "ssh-ed25519"]);
    assertEquals((await listed("+ssh-rsa", "a.certified")).slice(0, 2).map(isCert), [true, true]);
    for (const list of ["+ssh-rsa", "-ssh-dss"]) {
      const names = await listed(list, "plain");
      assertEquals([names[0], names.some(isCert)], ["ecdsa-sha2-nistp256", false]);
    }
    assertEquals((await listed(`+${cert}`, "plain")).filter(isCert), [cert]);
    const first = await listed("^ssh-ed25519", "a.certified");
    assertEquals([first[0], first.some(isCert)], ["ssh-ed25519", true]);
    assertEquals((await listed("^ssh-ed25519", "plain")).some(isCert), false);
    assertEquals((await listed("-*-cert*", "a.certified")).some(isCert), false);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("UpdateHostKeys is off where a line says so, and where VerifyHostKeyDNS is on and no line does", async () => {
  const cases: [string, boolean | undefined][] = [
    ["Port 22", undefined],
    ["UpdateHostKeys yes", true],
    ["UpdateHostKeys no", false],
    ["VerifyHostKeyDNS no", undefined],
    ["VerifyHostKeyDNS ask", false],
    ["VerifyHostKeyDNS yes\nUpdateHostKeys yes", true],
  ];
  for (const [text, wanted] of cases) {
    assertEquals((await (await load(`${text}\n`)).options()).updateHostKeys, wanted, text);
  }
});

Deno.test("hops have options of their own, and the first of them its own way", async () => {
  const { options } = await load([
    ...["Host web", "ProxyJump gate,bob@[::1]:2201,inner", "Host gate", "ProxyJump outer", "Port 2200"],
    ...["Host inner", "ProxyJump never", "ProxyCommand never", "User carol", "Host outer", "ProxyCommand nc %h %p"],
  ].join("\n"));
  const own = { port: 22, username: "alice" };
  assertEquals(plain(await options()), {
    hostname: "web",
    ...own,
    jump: [
      {
        hostname: "gate",
        port: 2200,
        username: "alice",
        jump: [{ hostname: "outer", ...own, proxyCommand: shell("exec nc outer 22") }],
      },
      { hostname: "::1", port: 2201, username: "bob" },
      { hostname: "inner", port: 22, username: "carol" },
    ],
  });
});

Deno.test("hops that a program names are those that ProxyJump would be, in the place of the configuration's way", async () => {
  const hops = ["Host gate", "ProxyJump outer", "Port 2200", "Host inner", "ProxyJump never", "User carol"];
  const named = "gate,bob@[::1]:2201,ssh://inner";
  const config = await load(["Host web", `ProxyJump ${named}`, ...hops].join("\n"));
  const other = await load(["Host web", "ProxyCommand nc %h %p", "Host a", "ProxyJump b", ...hops].join("\n"));
  const wanted = plain(await config.options());
  assertEquals(plain(await other.connectOptions("web", { jump: named })), wanted);
  assertEquals(plain(await config.connectOptions("a", { jump: "NONE" })), {
    hostname: "a",
    port: 22,
    username: "alice",
  });
  // As with `ssh -J none`, the way is none at all.
  assertEquals((await other.connectOptions("web", { jump: "none" })).proxyCommand, undefined);
  for (const jump of ["web", "x,web"]) {
    await assertRejects(() => config.connectOptions("web", { jump }), SshConfigError, "through the host itself");
  }
  await assertRejects(() => config.connectOptions("web", { jump: "a;b" }), SshConfigError, "a shell could take it");
  const secret = await assertRejects(() => config.connectOptions("web", { jump: "bob:hunter2@a b:1" }), SshConfigError);
  assert(!secret.message.includes("hunter2"), secret.message);
  await assertRejects(() => config.connectOptions("web", { jump: 5 as never }), TypeError, "`jump`");

  // Beside options, at any depth; only the first of all goes its own way.
  const open = { hostname: "open", username: "alice" };
  const hop = async (...jump: readonly (string | ConnectOptions)[]): Promise<unknown> => {
    const find = (name: string, isFirst: boolean): Promise<ConnectOptions> =>
      other.connectOptions(name, isFirst ? {} : { jump: "none" });
    return plain({ ...open, jump: (await withoutNames(jump, find))! });
  };
  const a = { ...open, hostname: "a", port: 22 }, b = { ...a, hostname: "b" };
  assertEquals(await hop("a,b", "none", "a"), { ...open, jump: [{ ...a, jump: [b] }, b, a] });
  assertEquals(await hop(open, "a", { ...open, jump: "a" }), { ...open, jump: [open, a, { ...open, jump: [a] }] });
  let found = 0;
  for (const jump of ["h,".repeat(16) + "h", [...new Array(16).fill(open), "h"]]) {
    const find = (): Promise<ConnectOptions> => (found++, Promise.resolve(open));
    await assertRejects(() => withoutNames(jump, find), RangeError, "more than 16 hops");
  }
  assertEquals(found, 0);
  assertEquals(await hop({ ...open, jump: ["a", open] }), {
    ...open,
    jump: [{ ...open, jump: [{ ...a, jump: [b] }, open] }],
  });
});

Deno.test("a file that could not be read is read anew the next time, and one that could is not", async () => {
  const reads: string[] = [];
  let isBusy = true;
  const read = (path: string): Promise<string | null> => {
    reads.push(path);
    if (path === `${HOME}/.ssh/config`) return Promise.resolve("Include ~/more\n");
    if (path !== `${HOME}/more`) return Promise.resolve(null);
    return isBusy ? Promise.reject(new Error("Too many open files")) : Promise.resolve("User bob\n");
  };
  const config = await load("", {
    system: { read, glob: (pattern) => Promise.resolve([pattern]) },
  });
  await assertRejects(() => config.options(), SshConfigError, "Too many open files");
  isBusy = false;
  for (let i = 0; i < 2; i++) assertEquals((await config.options()).username, "bob");
  assertEquals(reads, [`${HOME}/.ssh/config`, "/etc/ssh/ssh_config", `${HOME}/more`, `${HOME}/more`]);
});

Deno.test("hops that lead in a circle are refused", async () => {
  const { options } = await load("Host a\nProxyJump b\nHost b\nProxyJump a\nHost web\nProxyJump web\n");
  await assertRejects(() => options("a"), SshConfigError, "in a circle");
  await assertRejects(() => options("web"), SshConfigError, "through the host itself");
});

Deno.test("a host that RefuseConnection names is not connected to, nor through", async () => {
  const config = await load('Host old\nRefuseConnection "moved to new"\nHost web\nProxyJump old\n');
  const why = "config:2: RefuseConnection lets nobody connect to this host: moved to new";
  await assertRejects(() => config.options("old"), SshConfigError, why);
  await assertRejects(() => config.options("web"), SshConfigError, why);
  assertEquals((await config.options("new")).hostname, "new");
  assertEquals((await config.values("old")).get("refuseconnection"), ["moved to new"]);
});

Deno.test("ProxyCommand goes to the user's shell with its tokens replaced, and gets no name that would be more", async () => {
  const text = 'Host *.example\nProxyCommand nc -x "100%%" %h %p %r %n # %h\n';
  const { options } = await load(text);
  assertEquals(
    (await options("bob@web.example:99")).proxyCommand,
    shell('exec nc -x "100%%" web.example 99 bob web.example # web.example'),
  );
  for (
    const alias of ["$(id).example", "a;b.example", "`id`@x.example", "a$b@x.example", "a\\b@x.example", "-x.example"]
  ) {
    await assertRejects(() => options(alias), SshConfigError, "a shell could take it");
  }
  // The shell of Windows has no `exec`.
  assertEquals(shellCommand("nc a 1", { instead: true, onWindows: true }), ["cmd.exe", "/d", "/c", "nc a 1"]);
  // Names of the configuration may be any, but not there.
  const own = await load("User $(id)\nProxyCommand nc %h %p %r\n");
  await assertRejects(() => own.options(), SshConfigError, "a shell could take it");
  const unused = await load("User $(id)\nProxyCommand nc %h %p\n");
  assertEquals((await unused.options()).username, "$(id)");
});

Deno.test("what a program names comes before the configuration, and is refused where a shell could take it for more", async () => {
  const config = await load("User bob\nPort 7\nHostName real.example\nMatch user carol\nCompression yes\n");
  const options = await config.connectOptions("web", { username: "carol", port: 9 });
  assertEquals([options.username, options.port, options.algorithms !== undefined], ["carol", 9, true]);
  assertEquals((await config.connectOptions("web", { hostname: "10.0.0.1" })).hostname, "10.0.0.1");
  for (const username of ["$HOME", "a\\b", "a;b", "a\nb", "-l"]) {
    await assertRejects(() => config.connectOptions("web", { username }), SshConfigError);
  }
  await assertRejects(() => config.connectOptions("web", { user: "x" } as never), TypeError, "write `username`");
  await assertRejects(() => config.connectOptions(1 as never), TypeError);
  await assertRejects(() => config.connectOptions("web:port"), SshConfigError, "user@host:port");
  assertEquals((await config.values("ssh://dave@web:10")).get("user"), ["dave"]);
});

Deno.test("what has no meaning here is told once, and what changes nothing is not", async () => {
  const { options, notices } = await load([
    ...[
      "IgnoreUnknown fut*",
      "Host web db",
      "Tunnel yes",
      "ForkAfterAuthentication no",
      "BindAddress 10.0.0.1",
      "GSSAPIAuthentication yes",
    ],
    ...["StrictHostKeyChecking ask", "IPQoS af21", "Future x", "Host other", "VisualHostKey yes"],
  ].join("\n"));
  await options();
  await options("db");
  const told = notices.map((notice) => notice.split(": ")[1]).sort();
  assertEquals(told, ["BindAddress", "GSSAPIAuthentication", "IPQoS", "StrictHostKeyChecking", "Tunnel", "future"]);
  await options("other");
  assertEquals(notices.length, 7);
});

Deno.test("no keyword is dropped without a word that says more than the default does", async () => {
  const lines = ["KbdInteractiveDevices pam", "PubkeyAuthentication unbound", "WarnWeakCrypto yes", "XAuthLocation /x"];
  const { options, notices } = await load(lines.join("\n"));
  await options();
  assertEquals(notices.map((notice) => notice.split(": ")[1]), lines.map((line) => line.split(" ")[0]!));
});

Deno.test("an error of onNotice is nobody's", async () => {
  const { options } = await load("Tunnel yes\n", {
    onNotice: () => {
      throw new Error("no");
    },
  });
  assertEquals((await options()).hostname, "web");
});

Deno.test("what connect() does besides goes along with copies of the options, and with none where there is nothing", async () => {
  const { options } = await load([
    ...[
      "LocalForward 8080 web:80",
      "DynamicForward [::1]:1080",
      "RemoteForward 9000 localhost:22",
      "ControlPath ~/s-%n",
    ],
    ...[
      "SetEnv A=1 B=%h",
      "SendEnv HOME_NOT_SET",
      "ExitOnForwardFailure yes",
      "ForwardX11 yes",
      "ForwardX11Trusted no",
    ],
  ].join("\n"));
  const extras = extrasOf({ ...await options(), window: 1 });
  assert(extras !== null);
  assertEquals([extras.controlPath, extras.strict, extras.gateway], [`${HOME}/s-web`, true, false]);
  assertEquals([extras.local.length, extras.remote.length], [2, 1]);
  assertEquals(extras.sessions, { env: { A: "1", B: "web" }, x11: { trusted: false, timeout: 1_200_000 } });
  assertEquals(extrasOf(await (await load("User x\n")).options()), null);
  // A master is not looked for where one is to be started.
  const master = await load("ControlPath /x\nControlMaster yes\n");
  assertEquals(extrasOf(await master.options()), null);
});

Deno.test("a connection that is lost while its forwards are opened is an error, and not a forward that failed", async () => {
  const config = await load("RemoteForward 9000 localhost:22\n"), options = await config.options(), pair = memoryPair();
  const allowForward = () => {
    pair.reset();
    return false;
  };
  const { client, served } = await join({ allowForward }, {}, pair);
  const connecting = connectWithExtras(options, extrasOf(options)!, () => Promise.resolve(client));
  const error = await assertRejects(
    () => connecting,
    SshError,
    "Cannot open forward of ssh_config, RemoteForward 9000",
  );
  assertEquals([error.code, config.notices], ["CONNECTION_LOST", []]);
  await served;
});

Deno.test("a master is for whom the configuration means, and not for another user, host or trust that a program names", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/master`, listener = Deno.listen({ transport: "unix", path });
  let dialled = 0;
  const accepting = (async () => {
    for await (const conn of listener) {
      dialled++;
      conn.close();
    }
  })();
  try {
    const config = await load(`ControlPath ${path}\nUser alice\nServerAliveInterval 9\n`);
    const options = await config.options(), verifyHostKey = insecureAcceptAnyHostKey();
    const connected = async (own: Partial<ConnectOptions>): Promise<void> => {
      const merged = { ...options, ...own }, login = () => Promise.reject(new Error("logged in by itself"));
      await assertRejects(() => connectWithExtras(merged, extrasOf(merged)!, login), Error, "logged in by itself");
    };
    for (
      const own of [{ username: "bob" }, { hostname: "b" }, { port: 7 }, { verifyHostKey }, { proxy: "http://p:1" }]
    ) {
      await connected(own);
    }
    assertEquals(dialled, 0);
    assertEquals(config.notices, [
      "ssh_config: ControlPath: no master is looked for, because the program itself says `username`",
    ]);
    await connected({ window: 65_536 });
    assertEquals(dialled, 1);
  } finally {
    listener.close();
    await accepting;
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the post-quantum key at its default place logs in, unless a list takes it away", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/.ssh/config`;
  const offered = async (lines: string): Promise<string[]> => {
    const others = { [path]: `IdentityAgent none\n${lines}` }, keys: string[] = [];
    const { options } = await load("", { system: { home: () => dir }, others });
    const { client, server } = memoryPair(),
      auth = { publicKey: (_: unknown, { type }: PublicKey) => keys.push(type) < 0 };
    const serving = serveConn(server, { ...await serverOptions(), auth });
    const own = { transport: client, verifyHostKey: insecureAcceptAnyHostKey() };
    await assertRejects(async () => await connect(await options(), own), SshAuthError);
    await serving.catch(() => {});
    return keys;
  };
  try {
    await Deno.mkdir(`${dir}/.ssh`);
    await Deno.writeTextFile(`${dir}/.ssh/id_mldsa44_ed25519`, vectors.privateKey);
    for (const list of ["", "PubkeyAcceptedAlgorithms -ssh-dss\n", "PubkeyAcceptedAlgorithms +ssh-dss\n"]) {
      assertEquals(await offered(list), ["ssh-mldsa44-ed25519"]);
    }
    assertEquals(await offered("PubkeyAcceptedAlgorithms -*mldsa*\n"), []);
    assertEquals(await offered("IdentityFile none\n"), []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a function answers the server's prompts, in the order and as often as the configuration says", async () => {
  const asked: string[] = [];
  const login = async (lines: string): Promise<{ asked: string[]; methods: string[] }> => {
    asked.length = 0;
    const { options } = await load(`IdentityFile none\n${lines}`, {
      answer: (prompt, { echo }) => (asked.push(echo ? `${prompt}(shown)` : prompt), "wrong"),
    });
    const { client, server } = memoryPair(), methods: string[] = [];
    const serving = serveConn(server, {
      ...await serverOptions(),
      maxAuthTries: 30,
      auth: {
        password: () => (methods.push("password"), false),
        keyboardInteractive: async (_info, ask) => {
          methods.push("keyboard-interactive");
          await ask([{ text: "Code: ", echo: true }, { text: "Pin: ", echo: false }], {
            name: "Two of them",
            instruction: "One was sent.\n",
          });
          return false;
        },
      },
    });
    const own = { transport: client, verifyHostKey: insecureAcceptAnyHostKey() };
    await assertRejects(async () => await connect(await options(), own), SshAuthError);
    await serving.catch(() => {});
    return { asked: [...asked], methods };
  };
  const prompt = "alice@web's password: ";
  assertEquals(await login("NumberOfPasswordPrompts 2\nKbdInteractiveAuthentication no\n"), {
    asked: [prompt, prompt],
    methods: ["password", "password"],
  });
  assertEquals(
    (await login("PreferredAuthentications password,keyboard-interactive\nNumberOfPasswordPrompts 1\n")).asked,
    [
      prompt,
      "Two of them\nOne was sent.\n(alice@web) Code: (shown)",
      "(alice@web) Pin: ",
    ],
  );
  assertEquals((await login("BatchMode yes\n")).asked, []);
  assertEquals((await login("PasswordAuthentication no\nKbdInteractiveAuthentication no\n")).asked, []);
});

Deno.test({
  name: "a permission that is missing is told with its flag",
  permissions: { env: ["HOME"], read: false },
  fn: async () => {
    const read = await assertRejects(() => connect("web", { files: ["/etc/hostname"] }), Deno.errors.NotCapable);
    assertStringIncludes(read.message, "--allow-read");
    const env = await assertRejects(
      async () => await (await loadSshConfig({ files: [] })).values("web"),
      Deno.errors.NotCapable,
    );
    assertStringIncludes(env.message, "--allow-env");
  },
});

Deno.test("loadSshConfig() refuses what is no option, and what is no file of the user's", async () => {
  await assertRejects(() => loadSshConfig({ files: "x" as never }), TypeError, "a list of paths");
  await assertRejects(() => loadSshConfig({ exec: 1 as never }), TypeError, "`exec`");
  await assertRejects(() => loadSshConfig({ file: "x" } as never), TypeError, "`files: [path]`");
  await assertRejects(() => loadSshConfig({ onNotice: "x" as never }), TypeError, "`onNotice`");
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/config`;
    await Deno.writeTextFile(path, "Host web\nUser bob\nInclude " + dir + "/more\n", { mode: 0o600 });
    await Deno.writeTextFile(`${dir}/more`, "Port 3\n", { mode: 0o600 });
    const options = async (): Promise<ConnectOptions> =>
      await (await loadSshConfig({ files: [path, `${dir}/missing`] })).connectOptions("web");
    assertEquals([(await options()).username, (await options()).port], ["bob", 3]);
    for (const [file, mode] of [[path, 0o620], [path, 0o602], [`${dir}/more`, 0o666]] as const) {
      await Deno.chmod(file, mode);
      await assertRejects(options, SshConfigError, `${file}: it can be written by`);
      await Deno.chmod(file, 0o600);
    }
    if (Deno.uid() === 0) {
      await Deno.chown(path, 12345, null);
      await assertRejects(options, SshConfigError, "it belongs to somebody else");
    }
    // A folder is no configuration, and neither is what never ends.
    assertEquals((await (await loadSshConfig({ files: [dir, "/dev/zero"] })).connectOptions("web")).port, 22);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("connect() with a host of ssh_config that is aborted waits for no command of Match exec, and ends it", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/config`, over = new AbortController();
  try {
    await Deno.writeTextFile(path, `Match exec "echo $$ > ${dir}/new; mv ${dir}/new ${dir}/pid; exec sleep 600"\n`, {
      mode: 0o600,
    });
    const connecting = connect("web", { files: [path], exec: true, signal: over.signal });
    const refused = assertRejects(() => connecting, Error, "over");
    await until(() => exists(`${dir}/pid`), "the command does not run");
    over.abort(new Error("over"));
    await inTime(refused, "the command is waited for");
    const pid = (await Deno.readTextFile(`${dir}/pid`)).trim();
    await until(async () => !await exists(`/proc/${pid}`), "the command still runs");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("connect() with a host of ssh_config checks its options and its names before it reads anything, and lets streams go", async () => {
  await assertRejects(() => connect("web", { files: 1 as never }), TypeError, "`files`");
  const { client } = memoryPair();
  await assertRejects(() => connect("$(id)", { files: [], transport: client }), SshConfigError);
  await client.readable.getReader().closed.catch(() => {});
  const given = [memoryPair().client, memoryPair().client] as const, options = { hostname: "h", username: "a" };
  const jump = [{ ...options, transport: given[0] }, "$(id)"];
  await assertRejects(() => connect({ ...options, jump, transport: given[1] }, { files: [] }), SshConfigError);
  for (const { readable } of given) await readable.getReader().closed.catch(() => {});
  const signal = AbortSignal.abort(new Error("over"));
  await assertRejects(() => connect("web", { files: [], signal }), Error, "over");
  await assertRejects(() => connect({ ...options, jump: "b", signal }, { files: [] }), Error, "over");
  await assertRejects(() => connect({ ...options, jump: "b" }, { files: 1 as never }), TypeError, "`files`");
  await assertRejects(() => connect("web", { files: [], username: "a;b" }), SshConfigError, "user name");
  const error = await assertRejects(() => connect("", { files: [] }));
  assertInstanceOf(error, SshConfigError);
  assertStringIncludes(error.message, "as a host");
});
