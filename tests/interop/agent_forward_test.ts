/**
 * An agent that is lent to sessions, with OpenSSH's `ssh-agent` and `ssh-add`, and OpenSSH at the other end: `ssh -A` to `serve()`, and
 * `agent` of a client to sshd.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connectAgent } from "../../lib/agent/agent.ts";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshError } from "../../lib/errors.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { endChild, run, runText } from "../_support/child.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { openSsh10, peers, peerTest, startOpenSshd } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";

const decoder = new TextDecoder();

/** `ssh-agent` with a key, which is the one of SSH_AUTH_SOCK until the end. */
async function startAgent(file: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = `${scratchDir()}/agent`, before = Deno.env.get("SSH_AUTH_SOCK");
  const child = new Deno.Command("/usr/bin/ssh-agent", {
    args: ["-D", "-a", path],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  // The path is there before anybody listens at it.
  const answers = () => Deno.connect({ transport: "unix", path }).then((conn) => (conn.close(), true), () => false);
  await until(answers, "the agent listens", PROGRAM_HANGS);
  await runText(["/usr/bin/ssh-add", "-q", file], { env: { SSH_AUTH_SOCK: path } });
  Deno.env.set("SSH_AUTH_SOCK", path);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      before === undefined ? Deno.env.delete("SSH_AUTH_SOCK") : Deno.env.set("SSH_AUTH_SOCK", before);
      await endChild(child);
    },
  };
}

for (const version of ["9.2", "10"] as const) {
  const id = version === "10" ? "openssh10" : "openssh";

  peerTest(
    id,
    `sessions on ${peers[id].title}'s sshd list and sign with a client's agent, and change nothing`,
    async () => {
      const { user } = await testKeys(), { file, line } = user.ecdsa256, [type, blob] = line.split(" ");
      await using agent = await startAgent(file);
      await using sshd = await startOpenSshd({ version });
      await using client = await connect({
        hostname: sshd.hostname,
        port: sshd.port,
        username: sshd.username,
        auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(sshd.clientKey.file)))],
        verifyHostKey: insecureAcceptAnyHostKey(),
      });
      await using connected = await connectAgent();
      const open = () => Deno.connect({ transport: "unix", path: agent.path });
      for (const lent of [true, connected, open] as const) {
        const { stdout, stderr } = await client.exec(
          `ssh-add -L; ssh-add -T ${file}.pub && echo signed; ssh-add -D; ssh-add -x </dev/null; ssh-add ${sshd.clientKey.file}`,
          { agent: lent },
        );
        const lines = decoder.decode(stdout).trim().split("\n");
        assertEquals([lines[0]!.split(" ").slice(0, 2), lines[1], lines.length], [[type, blob], "signed", 2]);
        for (const refused of ["Failed to remove all identities", "Could not add identity"]) {
          assertStringIncludes(decoder.decode(stderr), refused);
        }
      }
      assertStringIncludes(await runText(["/usr/bin/ssh-add", "-L"], { env: { SSH_AUTH_SOCK: agent.path } }), blob!);
      // sshd has its socket for the whole connection, which leads nowhere in a session that was lent none.
      assertNotEquals((await client.exec("ssh-add -l")).code, 0);
      // A key that is for another host alone, from here, is not there on this one.
      const hosts = `${scratchDir()}/known_hosts`, env = { SSH_AUTH_SOCK: agent.path };
      Deno.writeTextFileSync(hosts, `host.invalid ${user.ecdsa384.line}\n`);
      await runText(["/usr/bin/ssh-add", "-q", "-D"], { env });
      await runText(["/usr/bin/ssh-add", "-q", "-H", hosts, "-h", "host.invalid", file], { env });
      assertEquals((await connected.signers()).length, 1);
      const { stdout, code } = await client.exec("ssh-add -l", { agent: true });
      assertEquals([code, decoder.decode(stdout)], [1, "The agent has no identities.\n"]);
      Deno.env.delete("SSH_AUTH_SOCK");
      await assertRejects(() => client.exec("true", { agent: true }), SshError, "SSH_AUTH_SOCK is not set");
    },
  );

  peerTest(
    id,
    `ssh -A of ${peers[id].title} lends its agent to handlers of serve() and to their programs`,
    async () => {
      const { user, host } = await testKeys(), dir = scratchDir(), sockets: string[] = [];
      await using agent = await startAgent(user.ed25519.file);
      await using server = serve({
        hostname: "127.0.0.1",
        port: 0,
        hostKeys: [await parsePrivateKey(await Deno.readTextFile(host.ed25519.file))],
        auth: { publicKey: () => true },
        allowAgent: (info) => info.username === "amiko",
        onListen: () => {},
        handler: async (session) => {
          if (session.agent === null) return 3;
          const [path, again] = [await session.agent.listen(), await session.agent.listen()];
          sockets.push(path);
          assertEquals([again, Deno.statSync(path).mode! & 0o777], [path, 0o600]);
          await using lent = await connectAgent(await session.agent.open());
          const [signer] = await lent.signers(), data = new Uint8Array(100);
          assert(await signer!.publicKey.verify(data, await signer!.sign(data, "ssh-ed25519")));
          const env = { SSH_AUTH_SOCK: path }, program = "/usr/bin/ssh-add";
          const outputs = await Promise.all([1, 2].map(() => runText([program, "-L"], { env })));
          const writer = session.stdout.getWriter();
          for (const output of outputs) await writer.write(new TextEncoder().encode(output));
          return 0;
        },
      });
      const { port } = server.addr;
      Deno.writeTextFileSync(`${dir}/known_hosts`, `[127.0.0.1]:${port} ${host.ed25519.line}\n`);
      const ssh = (name: string) =>
        run([
          version === "10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh",
          ...["-F", "/dev/null", "-p", String(port), "-o", `UserKnownHostsFile=${dir}/known_hosts`],
          ...["-o", "BatchMode=yes", "-A", `${name}@127.0.0.1`, "true"],
        ], { env: { SSH_AUTH_SOCK: agent.path } });
      const { stdout, stderr, code } = await ssh("amiko");
      assertEquals([code, stderr], [0, ""]);
      const [, blob] = user.ed25519.line.split(" ");
      assertEquals(decoder.decode(stdout).trim().split("\n").map((line) => line.split(" ")[1]), [blob, blob]);
      assertEquals((await ssh("mallory")).code, 3);
      await until(() => Deno.stat(sockets[0]!).then(() => false, () => true), "the socket is removed");
      await until(() => Deno.stat(`${sockets[0]}/..`).then(() => false, () => true), "and its folder");
    },
  );
}
