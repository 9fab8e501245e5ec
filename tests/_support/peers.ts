/**
 * Test support. The SSH programs of others that the tests talk to: which are installed, and how each is started as a server. peer_clients.ts starts them as
 * clients. `.ci/install_peers` installs all of them on Debian.
 *
 * A peer that is missing shows its tests as ignored, with its name; with `CI=true` they fail. `AMIKO_PEERS=openssh10,paramiko` runs only the tests of
 * these peers; the names are the keys of {@linkcode peers}.
 *
 * Every server listens on 127.0.0.1 on a port of its own, runs commands with `/bin/sh -c`, has throw-away keys, and ends with `await using`.
 *
 * @module
 */
import { freePort, startDaemon } from "./child.ts";
import { dropbearKey, type KeyType, keyTypes, scratchDir, type TestKey, type TestKeys, testKeys } from "./keys.ts";

const root = new URL("../../", import.meta.url).pathname;
const python = "/usr/bin/python3";
const pythonPackages = "/usr/lib/python3/dist-packages";
const newerPackages = `${root}.cache/python/usr/lib/python3/dist-packages`;

/** Where the tests' scripts for paramiko, AsyncSSH and ssh2 lie. */
export const scripts: string = new URL("../interop/peers", import.meta.url).pathname;
/** Where the runtimes that the client is tried on are installed. */
const runtimes = `${root}.cache/runtimes/node_modules`;
/** Node and Bun, by the keys of {@linkcode peers}. */
export const runtimePrograms = {
  node24: `${runtimes}/node24/bin/node`,
  node26: `${runtimes}/node26/bin/node`,
  bun: `${runtimes}/bun/bin/bun`,
} as const;
/** Where ssh2 is installed. */
export const npmFolder = `${root}.cache/npm`;

/** What Java needs to run JSch, and the interpreter of its script: a compiler would be seventy megabytes more. */
export const jschClasses = ["jsch", "jzlib", "bsh"].map((name) => `/usr/share/java/${name}.jar`);

/** Environment in which Python finds the newer paramiko, AsyncSSH and ssh-audit. */
export const newerPython = { PYTHONPATH: newerPackages };
/** Where ssh-audit lies; it wants {@linkcode newerPython}. */
export const sshAudit = `${root}.cache/python/usr/bin/ssh-audit`;

/** Something that tests need from outside. */
export interface Peer {
  /** Name and version, as far as they are known. */
  readonly title: string;
  /** Whether it is there. */
  readonly installed: boolean;
}

/** All peers by the name that AMIKO_PEERS takes. */
export const peers = {
  openssh: lookUp(
    "OpenSSH",
    ["/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keygen"],
    () => versionOf(["/usr/bin/ssh", "-V"], /OpenSSH_([\d.]+)/),
  ),
  openssh10: lookUp(
    "OpenSSH 10",
    [
      `${openSsh10()}/sbin/sshd`,
      `${openSsh10()}/bin/ssh`,
      "/usr/bin/ssh-keygen",
    ],
    () => versionOf([`${openSsh10()}/bin/ssh`, "-V"], /OpenSSH_([\d.]+)/),
    "OpenSSH",
  ),
  dropbear: lookUp("Dropbear", [
    "/usr/sbin/dropbear",
    "/usr/bin/dbclient",
    "/usr/bin/dropbearconvert",
    "/usr/bin/ssh-keygen",
    nssWrapper(),
  ], () => versionOf(["/usr/bin/dbclient", "-V"], /Dropbear v([\d.]+)/)),
  putty: lookUp(
    "PuTTY",
    ["/usr/bin/plink", "/usr/bin/psftp", "/usr/bin/pscp", "/usr/bin/puttygen", "/usr/bin/ssh-keygen"],
    () => versionOf(["/usr/bin/plink", "-V"], /Release ([\d.]+)/),
  ),
  paramiko: lookUp(
    "paramiko 3",
    [python, `${newerPackages}/paramiko`, "/usr/bin/ssh-keygen"],
    () => pythonVersion(newerPackages, "paramiko"),
    "paramiko",
  ),
  paramiko2: lookUp(
    "paramiko 2",
    [python, `${pythonPackages}/paramiko`, "/usr/bin/ssh-keygen"],
    () => pythonVersion(pythonPackages, "paramiko"),
    "paramiko",
  ),
  asyncssh: lookUp(
    "AsyncSSH",
    [python, `${newerPackages}/asyncssh`, "/usr/bin/ssh-keygen"],
    () => pythonVersion(newerPackages, "asyncssh"),
  ),
  asyncssh2: lookUp(
    "AsyncSSH 2.10",
    [python, `${pythonPackages}/asyncssh`, "/usr/bin/ssh-keygen"],
    () => pythonVersion(pythonPackages, "asyncssh"),
    "AsyncSSH",
  ),
  ssh2: lookUp(
    "ssh2",
    ["/usr/bin/ssh-keygen", `${npmFolder}/node_modules/ssh2/package.json`],
    () => JSON.parse(Deno.readTextFileSync(`${npmFolder}/node_modules/ssh2/package.json`)).version,
  ),
  tinyssh: lookUp("TinySSH", [
    "/usr/sbin/tinysshd",
    "/usr/sbin/tinysshd-makekey",
    "/usr/bin/socat",
    "/usr/bin/ssh-keygen",
    nssWrapper(),
  ], () => ""),
  lftp: lookUp(
    "lftp",
    ["/usr/bin/lftp", "/usr/bin/ssh"],
    () => versionOf(["/usr/bin/lftp", "--version"], /Version ([\d.]+)/),
  ),
  chromium: lookUp("Chromium", ["/usr/bin/chromium"], () => ""),
  curl: lookUp("curl", ["/usr/bin/curl"], () => versionOf(["/usr/bin/curl", "--version"], /curl ([\d.]+)/)),
  jsch: lookUp("JSch", ["/usr/bin/java", ...jschClasses], jschVersion),
  rclone: lookUp("rclone", ["/usr/bin/rclone"], () => versionOf(["/usr/bin/rclone", "version"], /rclone v([\d.]+)/)),
  sshfs: lookUp(
    "SSHFS",
    ["/usr/bin/sshfs", "/usr/bin/ssh", "/usr/bin/fusermount3"],
    () => versionOf(["/usr/bin/sshfs", "--version"], /SSHFS version ([\d.]+)/),
  ),
  git: lookUp(
    "git",
    ["/usr/bin/git", "/usr/lib/git-core/git-daemon"],
    () => versionOf(["/usr/bin/git", "--version"], /version ([\d.]+)/),
  ),
  rsync: lookUp("rsync", ["/usr/bin/rsync"], () => versionOf(["/usr/bin/rsync", "--version"], /version ([\d.]+)/)),
  ncat: lookUp("Ncat", ["/usr/bin/ncat"], () => versionOf(["/usr/bin/ncat", "--version"], /Version ([\d.]+)/)),
  postgres: lookUp(
    "PostgreSQL",
    ["/usr/bin/psql", "/usr/bin/setpriv", `${postgresFolder()}/initdb`, `${postgresFolder()}/postgres`],
    () => versionOf(["/usr/bin/psql", "--version"], /PostgreSQL\) ([\d.]+)/),
  ),
  // A display without a screen, and programs that look at it.
  x11: lookUp("Xvfb", ["/usr/bin/Xvfb", "/usr/bin/xauth", "/usr/bin/xdpyinfo"], () => ""),
  tmux: lookUp("tmux", ["/usr/bin/tmux", "/usr/bin/stty"], () => versionOf(["/usr/bin/tmux", "-V"], /tmux ([\d.]+)/)),
  netcat: lookUp("netcat", ["/usr/bin/nc"], () => ""),
  tinyproxy: lookUp(
    "tinyproxy",
    ["/usr/bin/tinyproxy"],
    () => versionOf(["/usr/bin/tinyproxy", "-v"], /tinyproxy ([\d.]+)/),
  ),
  microsocks: lookUp("microsocks", ["/usr/bin/microsocks"], () => ""),
  node24: runtime("Node", "node24"),
  node26: runtime("Node", "node26"),
  bun: runtime("Bun", "bun"),
  // A machine of its own for it is made of mounts, which only root may make.
  sudo: lookUp(
    "sudo",
    Deno.uid() === 0
      ? ["/usr/bin/sudo", "/usr/bin/unshare", "/usr/bin/mount", "/usr/sbin/sshd", "/usr/bin/ssh-keygen", "/bin/bash"]
      : ["/root is not who runs this"],
    () => versionOf(["/usr/bin/sudo", "-V"], /version ([\d.p]+)/),
  ),
  sshaudit: lookUp("ssh-audit", [python, sshAudit, "/usr/bin/ssh-keygen"], () => "3"),
} as const satisfies Record<string, Peer>;

/** Key of {@linkcode peers}. */
export type PeerId = keyof typeof peers;

/**
 * Registers a test that needs a peer, or several: ignored where one is missing, but failed in CI, and left out where AMIKO_PEERS names
 * others alone.
 */
export function peerTest(
  id: PeerId | readonly PeerId[],
  name: string,
  fn: (t: Deno.TestContext) => Promise<void>,
): void {
  const ids = [id].flat() as PeerId[];
  const wanted = (Deno.env.get("AMIKO_PEERS") ?? "").split(",").filter((one) => one !== "");
  if (wanted.length > 0 && !ids.some((one) => wanted.includes(one))) return;
  const peer: Peer | undefined = ids.map((one) => peers[one]).find(({ installed }) => !installed);
  if (peer === undefined) return Deno.test(name, fn);
  Deno.test({
    name: `${name} (${peer.title} is not installed)`,
    ignore: Deno.env.get("CI") !== "true",
    fn: () => {
      throw new Error(`${peer.title} is not installed, and in CI no peer may be missing: see .ci/install_peers`);
    },
  });
}

/** A running server. */
export interface ServerPeer extends AsyncDisposable {
  /** Which peer it is. */
  readonly id: PeerId;
  /** 127.0.0.1. */
  readonly hostname: string;
  /** Where it listens. */
  readonly port: number;
  /** Who may log in. */
  readonly username: string;
  /** Password of that user, or null where no password will do. */
  readonly password: string | null;
  /** Whether keyboard-interactive asks for the password. */
  readonly interactive: boolean;
  /** Keys that the user may log in with; not each peer knows each type. */
  readonly userKeys: TestKeys;
  /** The key to use where the type does not matter. */
  readonly clientKey: TestKey;
  /** Host key lines. */
  readonly hostKeys: readonly string[];
  /** What it wrote so far. */
  log(): string;
  /** Ends it. */
  stop(): Promise<void>;
}

/** Name of the user on every peer but an OpenSSH without libnss_wrapper. */
export const username = "amiko";
/** Password of the user on every peer that takes passwords. */
export const password = "a password for tests only";
/** crypt(3), method 6, of the password above. */
export const passwordHash =
  "$6$amikotests$s/KSH/Jkrtp4Izdxizw0oqLxiAkk9O6Vr8a.2feh4uv7u6.JKBCjzl61umHcSS0UTxE8bxhddS7hvptXvtf1F1";

/** Starts OpenSSH's sshd with every algorithm that it knows; `config` adds lines such as `RekeyLimit=1M`, which go before all others. */
export async function startOpenSshd(
  options: { version?: "9.2" | "10"; config?: readonly string[]; defaults?: boolean } = {},
): Promise<ServerPeer> {
  const id = options.version === "10" ? "openssh10" : "openssh";
  const keys = await testKeys();
  const dir = scratchDir();
  const { home, env, named } = account(dir, keys.user);
  if (Deno.uid() === 0) Deno.mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const port = freePort();
  const sshd = id === "openssh10" ? `${openSsh10()}/sbin/sshd` : "/usr/sbin/sshd";
  const config = [
    ...options.config ?? [],
    "ListenAddress=127.0.0.1",
    "PidFile=none",
    "UsePAM=no",
    "StrictModes=no",
    "PermitRootLogin=yes",
    "LogLevel=VERBOSE",
    "MaxStartups=100:30:200",
    "UseDNS=no",
    ...options.config?.some((line) => line.startsWith("Subsystem=sftp ")) ? [] : ["Subsystem=sftp internal-sftp"],
    `AuthorizedKeysFile=${home}/.ssh/authorized_keys`,
    `PasswordAuthentication=${named ? "yes" : "no"}`,
    "KbdInteractiveAuthentication=no",
    ...id === "openssh10"
      ? [
        `SshdSessionPath=${openSsh10()}/lib/openssh/sshd-session`,
        `SshdAuthPath=${openSsh10()}/lib/openssh/sshd-auth`,
        "PerSourcePenalties=no",
      ]
      : [],
    ...options.defaults ? [] : everyAlgorithm(id),
  ];
  const daemon = await startDaemon({
    command: [
      sshd,
      ...["-D", "-e", "-f", "/dev/null", "-p", String(port)],
      ...keyTypes.flatMap((type) => ["-h", keys.host[type].file]),
      ...config.flatMap((line) => ["-o", line]),
    ],
    port,
    dir,
    env,
  });
  return server(id, daemon, keys, { username: named ? username : ownName(), password: named ? password : null });
}

/** Starts Dropbear, which takes four host keys at most. */
export async function startDropbear(
  types: readonly KeyType[] = ["ed25519", "ecdsa256", "ecdsa384", "rsa"],
): Promise<ServerPeer> {
  const keys = await testKeys();
  const dir = scratchDir();
  const { env } = account(dir, keys.user);
  const port = freePort();
  const files = await Promise.all(types.map((type) => dropbearKey(keys.host[type])));
  const daemon = await startDaemon({
    command: [
      "/usr/sbin/dropbear",
      ...["-F", "-E", "-m", "-p", `127.0.0.1:${port}`, "-P", `${dir}/pid`],
      ...files.flatMap((file) => ["-r", file]),
    ],
    port,
    dir,
    env,
  });
  return {
    ...server("dropbear", daemon, keys, { username, password }),
    hostKeys: types.map((type) => keys.host[type].line),
  };
}

/** Starts TinySSH, which has one ed25519 key of its own, under socat. */
export async function startTinysshd(): Promise<ServerPeer> {
  const keys = await testKeys();
  const dir = scratchDir(closedFolder());
  const { env } = account(dir, keys.user);
  const made = await new Deno.Command("/usr/sbin/tinysshd-makekey", { args: [`${dir}/key`] }).output();
  if (!made.success) throw new Error(`Cannot make TinySSH's key: ${new TextDecoder().decode(made.stderr)}`);
  const blob = new Uint8Array([
    ...[0, 0, 0, 11, ...new TextEncoder().encode("ssh-ed25519"), 0, 0, 0, 32],
    ...Deno.readFileSync(`${dir}/key/ed25519.pk`),
  ]);
  const port = freePort();
  const daemon = await startDaemon({
    command: [
      "/usr/bin/socat",
      `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,nodelay`,
      `EXEC:/usr/sbin/tinysshd -v ${dir}/key`,
    ],
    port,
    dir,
    env,
  });
  return {
    ...server("tinyssh", daemon, keys, { username, password: null }),
    hostKeys: [`ssh-ed25519 ${blob.toBase64()}`],
  };
}

/** Starts a paramiko server. */
export function startParamikoServer(options: Record<string, unknown> = {}): Promise<ServerPeer> {
  return startScript("paramiko", [python, `${scripts}/paramiko_server.py`], options, newerPython);
}

/** Starts a server on the paramiko of Debian 12, which knows no strict key exchange. */
export function startParamiko2Server(options: Record<string, unknown> = {}): Promise<ServerPeer> {
  return startScript("paramiko2", [python, `${scripts}/paramiko_server.py`], options);
}

/** Starts an AsyncSSH server. */
export function startAsyncSshServer(options: Record<string, unknown> = {}): Promise<ServerPeer> {
  return startScript("asyncssh", [python, `${scripts}/asyncssh_server.py`], options, newerPython);
}

/** Starts a server on the AsyncSSH of Debian 12, which goes on sending behind its KEXINIT. */
export function startAsyncSsh2Server(options: Record<string, unknown> = {}): Promise<ServerPeer> {
  return startScript("asyncssh2", [python, `${scripts}/asyncssh_server.py`], options);
}

/** Starts an ssh2 server on Node. */
export function startSsh2Server(options: Record<string, unknown> = {}): Promise<ServerPeer> {
  return startScript("ssh2", ["node", `${scripts}/ssh2_server.mjs`, npmFolder], options);
}

async function startScript(
  id: PeerId,
  command: readonly string[],
  options: Record<string, unknown>,
  env: Record<string, string> = {},
): Promise<ServerPeer> {
  const keys = await testKeys();
  const port = freePort();
  const config = {
    port,
    username,
    password,
    host_keys: keyTypes.map((type) => keys.host[type].file),
    authorized: keyTypes.map((type) => keys.user[type].line),
    ...options,
  };
  const daemon = await startDaemon({ command: [...command, JSON.stringify(config)], port, dir: scratchDir(), env });
  return server(id, daemon, keys, { username, password, interactive: true });
}

function server(
  id: PeerId,
  daemon: { port: number; log(): string; stop(): Promise<void> },
  keys: { host: TestKeys; user: TestKeys },
  login: { username: string; password: string | null; interactive?: boolean },
): ServerPeer {
  return {
    id,
    hostname: "127.0.0.1",
    port: daemon.port,
    username: login.username,
    password: login.password,
    interactive: login.interactive ?? false,
    userKeys: keys.user,
    clientKey: keys.user.ed25519,
    hostKeys: keyTypes.map((type: KeyType) => keys.host[type].line),
    log: daemon.log,
    stop: daemon.stop,
    [Symbol.asyncDispose]: daemon.stop,
  };
}

/**
 * An account that only the started program sees, by libnss_wrapper: a user of its own name, home and password with this process's user id. Nothing on the
 * machine changes. Without the library the program sees the real accounts.
 */
function account(dir: string, keys: TestKeys): { home: string; env: Record<string, string>; named: boolean } {
  const home = `${dir}/home`;
  Deno.mkdirSync(`${home}/.ssh`, { recursive: true, mode: 0o700 });
  const lines = keyTypes.map((type) => `${keys[type].line}\n`).join("");
  Deno.writeTextFileSync(`${home}/.ssh/authorized_keys`, lines, { mode: 0o600 });
  if (!exists(nssWrapper())) return { home, env: {}, named: false };
  const passwd = `${Deno.readTextFileSync("/etc/passwd")}${username}:x:${Deno.uid()}:${Deno.gid()}::${home}:/bin/sh\n`;
  Deno.writeTextFileSync(`${dir}/passwd`, passwd);
  Deno.writeTextFileSync(`${dir}/group`, Deno.readTextFileSync("/etc/group"));
  Deno.writeTextFileSync(`${dir}/shadow`, `${username}:${passwordHash}:20000:0:99999:7:::\n`);
  return {
    home,
    env: {
      LD_PRELOAD: nssWrapper(),
      NSS_WRAPPER_PASSWD: `${dir}/passwd`,
      NSS_WRAPPER_GROUP: `${dir}/group`,
      NSS_WRAPPER_SHADOW: `${dir}/shadow`,
    },
    named: true,
  };
}

const everything = new Map<string, string[]>();

/** Settings that turn on all that an OpenSSH was built with, the insecure included; for `ssh` and `sshd`. It is asked once. */
export function everyAlgorithm(id: "openssh" | "openssh10"): string[] {
  let settings = everything.get(id);
  if (settings === undefined) everything.set(id, settings = askAlgorithms(id));
  return settings;
}

function askAlgorithms(id: string): string[] {
  const ssh = id === "openssh10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh";
  return (["KexAlgorithms", "Ciphers", "MACs", "HostKeyAlgorithms", "PubkeyAcceptedAlgorithms"] as const).map(
    (name) => {
      const names = new TextDecoder().decode(new Deno.Command(ssh, { args: ["-Q", name] }).outputSync().stdout);
      // Behind what it wants by default, in its order.
      return `${name}=+${names.trim().split("\n").join(",")}`;
    },
  );
}

/** Where OpenSSH 10 is unpacked. */
export function openSsh10(): string {
  return `${root}.cache/openssh10/usr`;
}

/** Where the programs of PostgreSQL's server lie; Debian has a folder for each version. */
export function postgresFolder(): string {
  const versions = "/usr/lib/postgresql";
  if (!exists(versions)) return `${versions}/none/bin`;
  const newest = [...Deno.readDirSync(versions)].map(({ name }) => Number(name)).sort((a, b) => b - a)[0];
  return `${versions}/${newest}/bin`;
}

/** A folder that others cannot write to, and none above it: TinySSH trusts no keys below such a one, so /tmp will not do. */
function closedFolder(): string {
  const own = Deno.uid();
  const closed = (path: string): boolean => {
    const { uid, mode } = Deno.statSync(path);
    const safe = (uid === 0 || uid === own) && ((mode ?? 0) & 0o022) === 0;
    return safe && (path === "/" || closed(path.slice(0, path.lastIndexOf("/")) || "/"));
  };
  const candidates = [`${root}.cache`, Deno.env.get("HOME") ?? "", "/root", "/run", "/var/lib"];
  const found = candidates.find((path) => path !== "" && exists(path) && closed(path));
  if (found === undefined) throw new Error(`No folder is closed to others: ${candidates.join(", ")}`);
  return found;
}

/** The library that shows a started program accounts of its own. */
export function nssWrapper(): string {
  return `/usr/lib/${Deno.build.arch}-linux-gnu/libnss_wrapper.so`;
}

function ownName(): string {
  return new TextDecoder().decode(new Deno.Command("/usr/bin/id", { args: ["-un"] }).outputSync().stdout).trim();
}

function runtime(name: string, id: keyof typeof runtimePrograms): Peer {
  const version = () => JSON.parse(Deno.readTextFileSync(`${runtimes}/${id}/package.json`)).version;
  return lookUp(name, [runtimePrograms[id]], version);
}

function lookUp(name: string, files: readonly string[], version: () => string, installedName = name): Peer {
  const installed = files.every(exists);
  let title: string | undefined;
  return {
    // A program is asked for its version when a test wants to say it: each test file has a copy of this module, and most name few peers.
    get title(): string {
      return title ??= installed ? `${installedName} ${version()}`.trim() : name;
    },
    installed,
  };
}

function versionOf(command: readonly string[], pattern: RegExp): string {
  const { stdout, stderr } = new Deno.Command(command[0]!, { args: command.slice(1), stdin: "null" }).outputSync();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return pattern.exec(text)?.[1]?.replace(/\.$/, "") ?? "";
}

function pythonVersion(folder: string, name: string): string {
  for (const entry of Deno.readDirSync(folder)) {
    const match = new RegExp(`^${name}-([\\d.]+)\\.(?:egg|dist)-info$`).exec(entry.name);
    if (match !== null) return match[1]!;
  }
  return "";
}

function jschVersion(): string {
  return /jsch-([\d.]+)\.jar$/.exec(Deno.realPathSync(jschClasses[0]!))?.[1] ?? "";
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
