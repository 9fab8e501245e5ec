/**
 * Test support. An OpenSSH server with users of its own and the real sudo, in mounts that nobody else sees: nothing on the machine changes.
 *
 * @module
 */
import { connect, type SshClient } from "../../lib/api/client.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { freePort, startDaemon } from "./child.ts";
import { scratchDir, testKeys } from "./keys.ts";
import { passwordHash } from "./peers.ts";

/** Who is there, and what sudoers says of them. All have the password of the tests; `rules` are lines for sudoers. */
const users: Readonly<Record<string, { readonly rules: string; readonly shell?: string }>> = {
  asked: { rules: "asked ALL=(ALL:ALL) ALL" },
  free: { rules: "free ALL=(ALL:ALL) NOPASSWD: ALL" },
  // One try, and no more.
  once: { rules: "once ALL=(ALL:ALL) ALL\nDefaults:once passwd_tries=1" },
  onterm: { rules: "onterm ALL=(ALL:ALL) ALL\nDefaults:onterm requiretty" },
  outsider: { rules: "" },
  other: { rules: "" },
  // Its shell shows all that it reads and runs.
  shown: { rules: "shown ALL=(ALL:ALL) NOPASSWD: ALL", shell: '#!/bin/sh\nexec /bin/bash -xv "$@"\n' },
  // Its shell is none of POSIX: it would run what it can read of a line, and has no `export`.
  foreign: { rules: "foreign ALL=(ALL:ALL) NOPASSWD: ALL", shell: '#!/bin/sh\necho "Unmatched quote" >&2\nexit 1\n' },
  // sudo is not there.
  without: { rules: "", shell: '#!/bin/sh\nPATH=/nowhere exec /bin/sh "$@"\n' },
};

/** A running server. */
export interface SudoServer extends AsyncDisposable {
  /** Where it listens, with the tests' Ed25519 keys of host and user. */
  readonly port: number;
  /** Logs in. */
  connect(username: string): Promise<SshClient>;
  /** What sshd wrote so far. */
  log(): string;
}

const script = `set -e
etc=$1; shift
for file in passwd group shadow sudoers hosts pam.d/sudo; do mount --bind "$etc/$file" "/etc/$file"; done
mount -t tmpfs none /run
mount -t tmpfs none /var/lib/sudo
mkdir -m 755 /run/sshd /run/sudo
exec "$@"`;

/** Starts it. */
export async function startSudoServer(): Promise<SudoServer> {
  const dir = scratchDir(), keys = await testKeys(), port = freePort(), etc = `${dir}/etc`, names = Object.keys(users);
  Deno.chmodSync(dir, 0o755);
  for (const folder of [etc, `${etc}/pam.d`, `${dir}/home`]) Deno.mkdirSync(folder, { mode: 0o755 });
  Deno.writeTextFileSync(`${dir}/authorized_keys`, `${keys.user.ed25519.line}\n`, { mode: 0o644 });
  const accounts = names.map((name, i) => {
    const home = `${dir}/home/${name}`, shell = users[name]!.shell === undefined ? "/bin/sh" : `${dir}/shell_${name}`;
    Deno.mkdirSync(home, { mode: 0o755 });
    Deno.chownSync(home, 61_001 + i, 61_001 + i);
    if (users[name]!.shell !== undefined) Deno.writeTextFileSync(shell, users[name]!.shell!, { mode: 0o755 });
    return `${name}:x:${61_001 + i}:${61_001 + i}::${home}:${shell}\n`;
  });
  const write = (name: string, mode: number, ...lines: readonly string[]): void => {
    Deno.writeTextFileSync(`${etc}/${name}`, lines.join(""), { mode });
    Deno.chmodSync(`${etc}/${name}`, mode);
  };
  write("passwd", 0o644, Deno.readTextFileSync("/etc/passwd"), ...accounts);
  write("group", 0o644, Deno.readTextFileSync("/etc/group"), ...names.map((name, i) => `${name}:x:${61_001 + i}:\n`));
  write(
    "shadow",
    0o600,
    "root:*:20000:0:99999:7:::\n",
    ...names.map((name) => `${name}:${passwordHash}:20000:0:99999:7:::\n`),
  );
  write("hosts", 0o644, `127.0.0.1 localhost ${Deno.hostname()}\n`);
  // As Debian has it, but for the pause behind a wrong password, and with each password asked for.
  write("pam.d/sudo", 0o644, "auth required pam_unix.so nodelay\naccount required pam_unix.so\n");
  write(
    "sudoers",
    0o440,
    "Defaults env_reset, use_pty, timestamp_timeout=0, !mail_badpass, !syslog\n",
    'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n',
    "root ALL=(ALL:ALL) ALL\n",
    ...names.map((name) => `${users[name]!.rules}\n`),
  );
  const config = [
    "ListenAddress=127.0.0.1",
    "PidFile=none",
    "UsePAM=no",
    "StrictModes=no",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "UseDNS=no",
    "LogLevel=VERBOSE",
    "AcceptEnv=ACCEPTED",
    "Subsystem=sftp internal-sftp",
    `AuthorizedKeysFile=${dir}/authorized_keys`,
  ];
  const daemon = await startDaemon({
    command: [
      ...["unshare", "-m", "sh", "-c", script, "sh", etc],
      ...["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", String(port), "-h", keys.host.ed25519.file],
      ...config.flatMap((line) => ["-o", line]),
    ],
    port,
    dir,
  });
  return {
    port,
    connect: async (username) =>
      await connect({
        hostname: "127.0.0.1",
        port,
        username,
        auth: [publicKey(await parsePrivateKey(keys.user.ed25519.text))],
        verifyHostKey: insecureAcceptAnyHostKey(),
      }),
    log: daemon.log,
    [Symbol.asyncDispose]: daemon.stop,
  };
}
