/**
 * Dialling the user's SSH agent, and the folder of a socket for one: the only file of this folder that reaches the system.
 *
 * @module
 */
import { printable, SshError } from "../errors.ts";
import { requireDeno } from "../wire/system.ts";
import type { ByteDuplex } from "../wire/types.ts";

/** The path in the environment's SSH_AUTH_SOCK, or null where it is not set. */
export function agentSocketPath(): string | null {
  const path = Deno.env.get("SSH_AUTH_SOCK");
  return path === undefined || path === "" ? null : path;
}

/** Connects to the agent at SSH_AUTH_SOCK. Throws `SshError` with code `CONNECTION_LOST` where none answers. */
export async function openAgentSocket(): Promise<ByteDuplex> {
  requireDeno("connect to agent", "hand streams to one to connectAgent(), or keys over themselves");
  const path = agentSocketPath();
  if (path === null) {
    throw new SshError("Cannot connect to agent: SSH_AUTH_SOCK is not set; start one with 'eval $(ssh-agent)'", {
      code: "CONNECTION_LOST",
    });
  }
  try {
    return await Deno.connect({ transport: "unix", path });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SshError(`Cannot connect to agent at SSH_AUTH_SOCK "${printable(path)}": ${why}`, {
      code: "CONNECTION_LOST",
      cause,
    });
  }
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
