/**
 * Test support. OpenSSH's `ssh -M`, with a control socket for others to come in by.
 *
 * @module
 */
import { scratchDir } from "./keys.ts";
import { openSsh10, type ServerPeer } from "./peers.ts";
import { PROGRAM_HANGS, until } from "./until.ts";

/** A running master. */
export interface ControlMaster extends AsyncDisposable {
  /** Where its control socket is. */
  readonly path: string;
  /** Whether it still runs. */
  readonly runs: boolean;
  /** What it has said. */
  log(): string;
  /** Ends it at once. */
  kill(): Promise<void>;
  /** What `ssh -O command` says through its socket, and whether that went well. */
  control(command: string): Promise<{ success: boolean; said: string }>;
}

/** Where the master is to log in. */
export type MasterTarget = Pick<ServerPeer, "hostname" | "port" | "username"> & { readonly identity: string };

/** Starts a master of OpenSSH and waits until it has logged in. */
export async function startMaster(version: "9.2" | "10", target: MasterTarget): Promise<ControlMaster> {
  const ssh = version === "10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh";
  const path = `${scratchDir()}/ctl`, host = `${target.username}@${target.hostname}`;
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    `IdentityFile=${target.identity}`,
  ];
  const args = ["-F", "/dev/null", "-S", path, "-p", String(target.port), ...options.flatMap((one) => ["-o", one])];
  const child = new Deno.Command(ssh, {
    args: ["-M", "-N", "-v", ...args, host],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "", runs = true;
  const status = child.status.then(() => void (runs = false));
  const logging = child.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({ write: (text) => void (log += text) }),
  );
  const kill = async (): Promise<void> => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await Promise.all([status, logging]);
  };
  const exists = (): boolean => {
    try {
      return Deno.statSync(path).isSocket === true;
    } catch {
      return false;
    }
  };
  try {
    await until(() => !runs || exists(), "the master listens", PROGRAM_HANGS);
    if (!runs) throw new Error(`Master ended: ${log}`);
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    path,
    get runs() {
      return runs;
    },
    log: () => log,
    kill,
    async control(command) {
      const { success, stderr } = await new Deno.Command(ssh, { args: ["-O", command, ...args, host] }).output();
      return { success, said: new TextDecoder().decode(stderr) };
    },
    [Symbol.asyncDispose]: kill,
  };
}
