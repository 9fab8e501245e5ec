/**
 * Dialling the user's SSH agent, and the folder of a socket for one: the only file of this folder that reaches the system.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { system } from "../system/system.ts";
import { requireSystem } from "../wire/system.ts";
import type { ByteDuplex } from "../wire/types.ts";

/** Where the agent of Windows' OpenSSH is, as `ssh` there looks for it. */
const WINDOWS_PIPE = "\\\\.\\pipe\\openssh-ssh-agent";

/** What is asked of the system. */
export interface AgentSystem {
  /** SSH_AUTH_SOCK of the environment. */
  socket(): string | undefined;
  /** `windows`, or another. */
  readonly os: string;
  /** Connects to a Unix socket. */
  connect(path: string): Promise<ByteDuplex>;
  /** Opens a named pipe, as a file that is read and written. */
  open(path: string): Promise<ByteDuplex>;
}

const own: AgentSystem = {
  socket: () => system.env.get("SSH_AUTH_SOCK"),
  get os(): string {
    return system.build.os;
  },
  connect: (path) => system.connect({ transport: "unix", path }),
  open: (path) => system.open(path, { read: true, write: true }),
};

/** The path in the environment's SSH_AUTH_SOCK, and on Windows else the pipe of its OpenSSH; null where there is none. */
export function agentSocketPath(system: AgentSystem = own): string | null {
  const path = system.socket();
  return path !== undefined && path !== "" ? path : system.os === "windows" ? WINDOWS_PIPE : null;
}

/** What connects to the agent of the user, as it is now, again and again. Throws `SshError` with code `CONNECTION_LOST` where there is none. */
export function agentDialler(system: AgentSystem = own): () => Promise<ByteDuplex> {
  if (system === own) {
    requireSystem("connect to agent", "hand streams to one to connectAgent(), or keys over themselves");
  }
  const path = agentSocketPath(system);
  if (path === null) {
    throw new SshError("Cannot connect to agent: SSH_AUTH_SOCK is not set; start one with 'eval $(ssh-agent)'", {
      code: "CONNECTION_LOST",
    });
  }
  const isPipe = system.os === "windows" && /^[\\/]{2}[.?][\\/]pipe[\\/]/i.test(path);
  return async () => {
    try {
      return await (isPipe ? system.open(path) : system.connect(path));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const advice = path === WINDOWS_PIPE ? "; start the service with 'Start-Service ssh-agent'" : "";
      const where = path === WINDOWS_PIPE ? "of Windows" : `at SSH_AUTH_SOCK "${printable(path)}"`;
      throw new SshError(`Cannot connect to agent ${where}: ${why}${advice}`, { code: "CONNECTION_LOST", cause });
    }
  };
}

/** Connects to the agent of the user. Throws `SshError` with code `CONNECTION_LOST` where none answers. */
export async function openAgentSocket(): Promise<ByteDuplex> {
  return await agentDialler()();
}

/** A new folder that only the user can enter, and what removes it. */
export async function socketFolder(): Promise<{ readonly path: string; remove(): void }> {
  const path = await Deno.makeTempDir({ prefix: "ssh-agent-" });
  const remove = (): void => {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // Somebody else has removed it.
    }
  };
  return { path, remove };
}
