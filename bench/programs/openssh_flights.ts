/**
 * Bench. OpenSSH's `ssh` with a command, or with `params.sftp` its `sftp` with a small file; the same marks as `flights_scenario.mjs`.
 * `ssh -v` says when it has logged in, and a command that `sftp` runs here says when the one before it is done.
 */

import { Lines } from "../support/lines.ts";
import { params as p, report } from "./common.mjs";

const options = [
  ...["-v", "-F", "none", "-i", p.keyFile, p.sftp ? "-P" : "-p", String(p.port)],
  ...["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ControlPath=none"],
  ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"],
];
const destination = `${p.username}@${p.hostname}`;
let since = performance.now();
const mark = (name: string): void => {
  const now = performance.now();
  report({ mark: name, ms: now - since });
  since = now;
};

const child = new Deno.Command(p.sftp ? "sftp" : "ssh", {
  args: p.sftp ? [...options, "-b", "-", destination] : [...options, "-T", destination, "true"],
  stdin: p.sftp ? "piped" : "null",
  stdout: "piped",
  stderr: "piped",
  env: { LC_ALL: "C" },
}).spawn();
if (p.sftp) {
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`!echo mark sftp\nget ${p.remote} /dev/null\n!echo mark file\n`));
  await writer.close();
}
const said: string[] = [];
await Promise.all([
  (async () => {
    const lines = new Lines(child.stderr);
    for (let line = await lines.next(); line !== null; line = await lines.next()) {
      said.push(line);
      if (/^Authenticated to /.test(line)) mark("connect");
    }
  })(),
  (async () => {
    const lines = new Lines(child.stdout);
    for (let line = await lines.next(); line !== null; line = await lines.next()) {
      const name = /^mark (\w+)/.exec(line)?.[1];
      if (name !== undefined) mark(name);
    }
  })(),
]);
if (!(await child.status).success) throw new Error(`It failed: ${said.slice(-3).join(" ")}`);
mark(p.sftp ? "close" : "exec");
report({ mark: "end" });
