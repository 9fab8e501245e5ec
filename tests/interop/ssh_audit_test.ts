/**
 * What ssh-audit says about a server of ours: with the default algorithms, which reach as far as sshd's, no more than about sshd's own; with the hardened
 * ones nothing.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { type Algorithms, generateKey, hardenedAlgorithms, serve } from "../../mod.ts";
import { run } from "../_support/child.ts";
import { newerPython, peerTest, sshAudit } from "../_support/peers.ts";

interface Audited {
  readonly algorithm: string;
  readonly notes?: { readonly fail?: readonly string[]; readonly warn?: readonly string[] };
}

interface Report {
  readonly cves: readonly unknown[];
  readonly kex: readonly Audited[];
  readonly key: readonly Audited[];
  readonly enc: readonly Audited[];
  readonly mac: readonly Audited[];
  readonly additional_notes: readonly string[];
  readonly recommendations: Readonly<Record<string, unknown>>;
}

async function audit(algorithms?: Algorithms): Promise<Report> {
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await generateKey("ed25519"), await generateKey("rsa")],
    auth: { none: () => false },
    onError: () => {},
    ...algorithms === undefined ? {} : { algorithms },
  });
  const { stdout, stderr } = await run(
    ["/usr/bin/python3", sshAudit, "-j", "-p", String(server.addr.port), "127.0.0.1"],
    { env: newerPython },
  );
  try {
    return JSON.parse(new TextDecoder().decode(stdout));
  } catch (error) {
    throw new Error(`ssh-audit failed: ${new TextDecoder().decode(stdout)}${stderr}`, { cause: error });
  }
}

/** Every finding as "failure|warning: algorithm: text". */
function findings(report: Report): string[] {
  return [...report.kex, ...report.key, ...report.enc, ...report.mac].flatMap(({ algorithm, notes }) => [
    ...(notes?.fail ?? []).map((text) => `failure: ${algorithm}: ${text}`),
    ...(notes?.warn ?? []).map((text) => `warning: ${algorithm}: ${text}`),
  ]);
}

/** That the report is about something: each list was seen. */
function assertSeen(report: Report): void {
  for (const list of ["kex", "key", "enc", "mac"] as const) assert(report[list].length > 0, `ssh-audit saw no ${list}`);
  assert(report.kex.some(({ algorithm }) => algorithm === "kex-strict-s-v00@openssh.com"));
  assertEquals(report.cves, []);
  // It tries how many connections a source may make at once (CVE-2002-20001).
  assertEquals(report.additional_notes.filter((note) => note.includes("throttling")), []);
}

// What sshd offers too: curves that ssh-audit suspects, key exchanges that are not post-quantum, and encrypt-and-MAC.
peerTest(
  "sshaudit",
  "serve() has no finding from ssh-audit but for the curves and MACs that sshd offers too",
  async () => {
    const report = await audit();
    assertSeen(report);
    const others = findings(report).filter((text) => {
      const [kind, name] = text.split(": ") as [string, string];
      if (/^(?:ecdh|ecdsa)-sha2-nistp\d+$/.test(name)) return false;
      return kind === "failure" ||
        !/^(?:curve25519-sha256(?:@libssh\.org)?|diffie-hellman-group1[46]-sha\d+|hmac-sha2-(?:256|512))$/.test(name);
    });
    assertEquals(others, []);
  },
);

peerTest("sshaudit", "serve() with hardenedAlgorithms has no finding from ssh-audit", async () => {
  const report = await audit(hardenedAlgorithms);
  assertSeen(report);
  assertEquals(findings(report), []);
  assertEquals(Object.keys(report.recommendations), []);
});
