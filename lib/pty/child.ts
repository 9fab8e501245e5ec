/**
 * How a program of this machine ends, for those whose program it must not end with.
 *
 * @module
 */

/**
 * How it ended. Never rejects: Deno does where a signal that it has no name for has ended the program, such as a real-time one, and a
 * client chooses which. The exit code is 128 and the signal's number then, as shells have it.
 */
export async function statusOf(child: Deno.ChildProcess): Promise<Deno.CommandStatus> {
  try {
    return await child.status;
  } catch (error) {
    const number = /\d+/.exec(error instanceof Error ? error.message : "")?.[0];
    return { success: false, code: number === undefined ? 255 : 128 + Number(number), signal: null };
  }
}

/** Sends SIGKILL, if the program is there still: Deno refuses that from the moment of its end, which `status` tells only later. */
export function killNow(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended, or is not ours to end, as those that became root.
  }
}
