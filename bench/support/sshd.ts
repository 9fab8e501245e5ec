/**
 * Bench. OpenSSH's sshd on a free port of loopback with keys made for this run.
 *
 * @module
 */

import { atInterrupt, temporaryFolder } from "./ending.ts";
import { descendants, memoryOf } from "./proc.ts";

/** Throw-away keys and the folder they lie in. */
export interface Keys extends AsyncDisposable {
  /** Temporary folder, private to the user. */
  readonly folder: string;
  /** File of the server's private key. */
  readonly hostKeyFile: string;
  /** File of the user's private key. */
  readonly userKeyFile: string;
  /** The server's private key. */
  readonly hostKey: string;
  /** The user's private key. */
  readonly userKey: string;
}

/** Makes an Ed25519 host key and user key. */
export async function makeKeys(): Promise<Keys> {
  const temporary = await temporaryFolder(), folder = temporary.path;
  const make = async (name: string): Promise<string> => {
    const file = `${folder}/${name}`;
    const { success } = await new Deno.Command("ssh-keygen", {
      args: ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file],
    }).output();
    if (!success) throw new Error("Cannot make a key: ssh-keygen failed");
    return file;
  };
  const hostKeyFile = await make("host"), userKeyFile = await make("user");
  return {
    folder,
    hostKeyFile,
    userKeyFile,
    hostKey: await Deno.readTextFile(hostKeyFile),
    userKey: await Deno.readTextFile(userKeyFile),
    [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
  };
}

/** A running sshd. */
export interface Sshd extends AsyncDisposable {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** Process id of the listener. */
  readonly pid: number;
  /** Bytes that the processes of its connections hold, shared pages counted in part. */
  memory(): number;
}

/** Starts sshd, the system's or the one of an OpenSSH 10 unpacked at `usr`, and waits until it answers. */
export async function startSshd(keys: Keys, usr?: string): Promise<Sshd> {
  const port = freePort();
  const authorized = `${keys.folder}/authorized_keys`, config = `${keys.folder}/sshd_config_${port}`;
  await Deno.copyFile(`${keys.userKeyFile}.pub`, authorized);
  await Deno.writeTextFile(
    config,
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${keys.hostKeyFile}`,
      `AuthorizedKeysFile ${authorized}`,
      `PidFile ${keys.folder}/sshd_${port}.pid`,
      "StrictModes no",
      "UsePAM no",
      "UseDNS no",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PrintMotd no",
      "PrintLastLog no",
      "X11Forwarding no",
      "MaxStartups 1000",
      "MaxSessions 1000",
      "LogLevel QUIET",
      // A bash that sshd started reads the user's .bashrc, which may cost more than the command, unless it seems to be nested.
      "SetEnv SHLVL=2",
      "Subsystem sftp /usr/lib/openssh/sftp-server",
      ...usr === undefined ? [] : [
        `SshdSessionPath ${usr}/lib/openssh/sshd-session`,
        `SshdAuthPath ${usr}/lib/openssh/sshd-auth`,
        "PerSourcePenalties no",
      ],
      "",
    ].join("\n"),
  );
  if (Deno.uid() === 0) await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const child = new Deno.Command(`${usr ?? "/usr"}/sbin/sshd`, {
    args: ["-D", "-e", "-f", config],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  void child.status.then(atInterrupt(() => child.kill("SIGTERM")));
  await untilListening(port);
  return {
    port,
    pid: child.pid,
    memory: () =>
      descendants(child.pid).filter(({ name }) => name.startsWith("sshd"))
        .reduce((sum, { pid }) => sum + (memoryOf(pid, "Pss") || 0), 0),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

/** A port that was free a moment ago. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function untilListening(port: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  throw new Error("sshd does not answer");
}
