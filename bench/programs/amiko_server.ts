/**
 * Bench. This module as a server: makes and discards bytes in process, or with `spawn` runs the same commands as sshd does;
 * with `root` serves the files there.
 * Prints its port; then for each line on stdin its memory and CPU so far; ends when stdin does.
 */

import { parsePrivateKey, serve, type ServerSession } from "../../mod.ts";
import { cpuSeconds, held, params, peakRss, report, settle } from "./common.mjs";

const chunk = new Uint8Array(64 * 1024);
const mark = new TextEncoder().encode("start\n");

async function inProcess(session: ServerSession): Promise<number> {
  const command = session.command ?? "";
  if (command.includes("echo start >&2")) {
    const writer = session.stderr.getWriter();
    await writer.write(mark);
    writer.releaseLock();
  }
  const zeros = /head -c (\d+) \/dev\/zero/.exec(command);
  if (zeros !== null) {
    const writer = session.stdout.getWriter();
    for (let left = Number(zeros[1]); left > 0; left -= chunk.length) {
      await writer.write(left < chunk.length ? chunk.subarray(0, left) : chunk);
    }
    await writer.close();
    return 0;
  }
  if (command.includes("cat >/dev/null")) {
    for await (const _ of session.stdin);
    return 0;
  }
  if (command === "cat") {
    await session.stdin.pipeTo(session.stdout);
    return 0;
  }
  return command === "true" ? 0 : 127;
}

async function spawned(session: ServerSession): Promise<number> {
  const child = new Deno.Command("sh", {
    args: ["-c", session.command ?? ""],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdin = session.stdin.pipeTo(child.stdin).catch(() => {});
  await Promise.all([child.stdout.pipeTo(session.stdout), child.stderr.pipeTo(session.stderr)]);
  const { code } = await child.status;
  // A command that never read its input leaves the pipe open: nothing waits for it.
  void stdin;
  return code;
}

// Loaded only where they are used: revisions of old that are compared lack one or the other.
if (params.fixedWindow) (await import("../../lib/connection/receive_window.ts")).ReceiveWindow.growth = 1;
const subsystems = params.root
  ? { subsystems: { sftp: (await import("../../mod.ts")).sftpSubsystem({ root: params.root }) } }
  : {};

await using server = serve({
  hostname: "127.0.0.1",
  port: 0,
  hostKeys: [await parsePrivateKey(params.hostKey)],
  auth: { publicKey: () => true },
  handler: params.spawn ? spawned : inProcess,
  // Many connections at once from one address are what some sections measure.
  maxStartups: { begin: 1000, rate: 30, full: 2000 },
  maxStartupsPerSource: 1000,
  ...(params.fixedWindow ? { window: params.fixedWindow } : {}),
  ...(params.forwards ? { allowForward: () => true } : {}),
  ...subsystems,
  onListen: ({ port }) => report({ port }),
  onError: (error) => Deno.stderr.writeSync(new TextEncoder().encode(`server: ${error}\n`)),
});

for await (const _line of Deno.stdin.readable) {
  await settle();
  report({ ...held(), peak: peakRss(), cpu: cpuSeconds() });
}
await server.shutdown();
