/**
 * Keys of FIDO authenticators, with OpenSSH at the other end: our client and an agent with sshd, and `ssh` with the same agent to `serve()`.
 * The authenticator is one in software: no hardware is here.
 *
 * @module
 */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { authorizedKeys } from "../../lib/auth/authorized_keys.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { type Saying, softwareKey } from "../_support/authenticator.ts";
import { run } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { openSsh10, peerTest, startOpenSshd } from "../_support/peers.ts";
import { agentAt, agentStreams } from "../_support/served_agent.ts";

const origin = "https://example.com";

/** Lines that let a signature in that says this, and lines that do not. */
const lines: readonly [lets: boolean, kind: "ed25519" | "ecdsa", options: string, says: Saying][] = [
  [true, "ed25519", "", { flags: 1 }],
  [true, "ecdsa", "", { flags: 5 }],
  [true, "ecdsa", "", { origin }],
  [true, "ed25519", "no-touch-required", { flags: 0 }],
  [true, "ecdsa", "verify-required", { flags: 5 }],
  [true, "ecdsa", "no-touch-required,verify-required", { flags: 4 }],
  [false, "ed25519", "", { flags: 0 }],
  [false, "ecdsa", "", { flags: 4 }],
  [false, "ecdsa", "", { flags: 0, origin }],
  [false, "ecdsa", "", { origin, client: '{"type":"webauthn.create","challenge":"%","origin":"https://example.com"}' }],
  [false, "ecdsa", "", { origin, flags: 0x41 }],
  [false, "ecdsa", "no-touch-required,touch-required", { flags: 0 }],
  [false, "ecdsa", "verify-required", { flags: 1 }],
  [false, "ed25519", "no-touch-required,verify-required", { flags: 1 }],
];

for (const [id, version] of [["openssh", "9.2"], ["openssh10", "10"]] as const) {
  peerTest(
    id,
    `sshd ${version} and serve() let in the same signatures of FIDO keys by an agent, and ssh's too`,
    async () => {
      const dir = scratchDir(), file = `${dir}/authorized_keys`, hostKey = await generateKey();
      const keys = await Promise.all(
        lines.map(async ([lets, kind, options, says]) => ({ lets, options, key: await softwareKey(kind, says) })),
      );
      Deno.writeTextFileSync(file, keys.map(({ options, key }) => `${options} ${key.publicKey}`.trim()).join("\n"));
      await using sshd = await startOpenSshd({
        version,
        defaults: true,
        config: [`AuthorizedKeysFile=${file}`, "MaxAuthTries=100", "LogLevel=ERROR"],
      });
      await using ours = serve({
        hostname: "127.0.0.1",
        port: 0,
        hostKeys: [hostKey],
        auth: { publicKey: authorizedKeys(file) },
        handler: () => 3,
        maxAuthTries: 100,
        onListen: () => {},
      });
      const servers = [
        { username: sshd.username, port: sshd.port, verifyHostKey: pinnedHostKey(...sshd.hostKeys) },
        { username: "amiko", port: ours.addr.port, verifyHostKey: pinnedHostKey(hostKey.publicKey.toString()) },
      ];
      for (const server of servers) {
        const wrong = keys.filter(({ lets }) => !lets).map(({ key }) => key);
        await using agent = await connectAgent(agentStreams(wrong));
        const error = await assertRejects(
          () => connect({ hostname: "127.0.0.1", auth: [publicKey(agent)], ...server }),
          SshAuthError,
        );
        // Each was offered, and signed.
        assertEquals(error.message.match(/was refused/g)?.length, wrong.length, error.message);
        for (const { key } of keys.filter(({ lets }) => lets)) {
          await using agent = await connectAgent(agentStreams([key]));
          await using _client = await connect({ hostname: "127.0.0.1", auth: [publicKey(agent)], ...server });
        }
      }

      const ssh = version === "10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh", path = `${dir}/agent`;
      await using _agent = agentAt(
        path,
        keys.toSorted((a, b) => Number(a.lets) - Number(b.lets)).map(({ key }) => key),
      );
      const { code, stderr } = await run([
        ssh,
        ...[
          "-F",
          "none",
          "-p",
          String(ours.addr.port),
          "-o",
          "StrictHostKeyChecking=no",
          "-o",
          "UserKnownHostsFile=/dev/null",
        ],
        ...["-o", `IdentityAgent=${path}`, "-o", "BatchMode=yes", "-v", "amiko@127.0.0.1", "anything"],
      ]);
      assertEquals(code, 3, stderr);
      assertStringIncludes(stderr, "sk-ecdsa-sha2-nistp256@openssh.com");
    },
  );
}
