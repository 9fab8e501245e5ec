/**
 * Bench. OpenSSH's `sftp` in batch mode as a client; the same scenarios and results as `sftp_scenarios.mjs`.
 * Commands go through a pipe, and `lpwd`, which is answered locally, tells that what came before is done.
 */

import { Lines } from "../support/lines.ts";
import { cpuSecondsOf, descendants, memoryOf } from "../support/proc.ts";
import { params as p, report } from "./common.mjs";

const child = new Deno.Command("sftp", {
  args: [
    ...["-q", "-b", "-", "-F", "none", "-i", p.keyFile, "-P", String(p.port), "-c", p.cipher],
    ...["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR", "-o", "ControlPath=none"],
    ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"],
    ...["-o", "GlobalKnownHostsFile=/dev/null"],
    `${p.username}@${p.hostname}`,
  ],
  stdin: "piped",
  stdout: "piped",
  stderr: "piped",
  env: { LC_ALL: "C" },
}).spawn();
const writer = child.stdin.getWriter();
const lines = new Lines(child.stdout);
const errors = new Lines(child.stderr).rest();

/** Runs commands and waits for their end; resolves to the number of lines they printed, their echoes left out. */
async function run(commands: string): Promise<number> {
  await writer.write(new TextEncoder().encode(`${commands}\nlpwd\n`));
  let printed = 0;
  for (;;) {
    const line = await lines.next();
    if (line === null) throw new Error(`sftp failed: ${(await errors).join(" ")}`);
    if (line.startsWith("Local working directory:")) return printed;
    if (!line.startsWith("sftp> ")) printed++;
  }
}

const quote = (path: string): string => `"${path}"`;
const bytesResult = { bytes: p.bytes };
const countResult = { count: p.count };

const scenarios: Record<string, { command: string; result: object; check?: (printed: number) => boolean }> = {
  sftpGet: { command: `get ${quote(p.remote)} ${quote(p.local)}`, result: bytesResult },
  sftpPut: { command: `put ${quote(p.local)} ${quote(p.remote)}`, result: bytesResult },
  sftpGetTree: { command: `get -R ${quote(p.remote)} ${quote(p.local)}`, result: countResult },
  sftpPutTree: { command: `put -R ${quote(p.local)} ${quote(p.remote)}`, result: countResult },
  sftpList: {
    command: `ls -1f ${quote(p.remote)}`,
    result: countResult,
    check: (printed) => printed === p.count,
  },
};

const scenario = scenarios[p.scenario];
if (scenario === undefined) throw new Error(`No such scenario: "${p.scenario}"`);
await run("pwd");
const pids = [child.pid, ...descendants(child.pid).map(({ pid }) => pid)];
const sum = (of: (pid: number) => number): number => pids.reduce((total, pid) => total + of(pid), 0);
const cpu = sum(cpuSecondsOf);
const begin = performance.now();
const printed = await run(scenario.command);
const seconds = (performance.now() - begin) / 1000;
if (scenario.check?.(printed) === false) throw new Error(`sftp printed ${printed} lines`);
report({
  seconds,
  cpu: sum(cpuSecondsOf) - cpu,
  peak: sum((pid) => memoryOf(pid, "VmHWM")),
  ...scenario.result,
});
await writer.close();
await lines.rest();
await child.status;
