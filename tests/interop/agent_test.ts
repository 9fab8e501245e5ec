/**
 * Agents: `ssh-add`, `ssh -A` and other libraries with our agent, our client with `ssh-agent`, and keys that are tied to hosts over two of
 * them.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type AgentConnection, connectAgent } from "../../lib/agent/agent.ts";
import type { AgentHop } from "../../lib/agent/destinations.ts";
import type { AgentUse } from "../../lib/agent/agent_connection.ts";
import { createAgent } from "../../lib/agent/local_agent.ts";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import { endChild, run, runText } from "../_support/child.ts";
import { keyTypes, scratchDir, type TestKey, testKeys } from "../_support/keys.ts";
import { newerPython, openSsh10, peers, peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";

const decoder = new TextDecoder();
const versions = [["openssh", "9.2"], ["openssh10", "10"]] as const;
const programs = (version: "9.2" | "10"): string => version === "10" ? `${openSsh10()}/bin` : "/usr/bin";

async function keyOf({ file }: TestKey): Promise<PrivateKey> {
  return await parsePrivateKey(await Deno.readTextFile(file));
}

/** `ssh-agent`, without keys; its askpass says yes. */
async function startAgent(version: "9.2" | "10"): Promise<AsyncDisposable & { readonly path: string }> {
  const path = `${scratchDir()}/agent`;
  const child = new Deno.Command(`${programs(version)}/ssh-agent`, {
    args: ["-D", "-a", path],
    env: { SSH_ASKPASS: "/bin/true", SSH_ASKPASS_REQUIRE: "force" },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  // The path is there before anybody listens at it.
  const answers = () => Deno.connect({ transport: "unix", path }).then((conn) => (conn.close(), true), () => false);
  await until(answers, "the agent listens", PROGRAM_HANGS);
  return { path, [Symbol.asyncDispose]: () => endChild(child) };
}

async function agentAt(path: string): Promise<AgentConnection> {
  return await connectAgent(await Deno.connect({ transport: "unix", path }));
}

for (const [id, version] of versions) {
  peerTest(
    id,
    `ssh-add of ${peers[id].title} does everything that it can with an agent of ours, and learns what it refuses`,
    async () => {
      const { user } = await testKeys(), dir = scratchDir(), uses: AgentUse[] = [];
      await using agent = createAgent({ onConfirm: (use) => uses.push(use) > 0 });
      await using listener = await agent.listen();
      assertEquals([
        Deno.statSync(listener.path).mode! & 0o777,
        Deno.statSync(listener.path.replace(/\/[^/]*$/, "")).mode! & 0o777,
      ], [
        ...[0o600, 0o700],
      ]);
      Deno.writeTextFileSync(`${dir}/askpass`, "#!/bin/sh\necho s3cret\n", { mode: 0o700 });
      Deno.writeTextFileSync(`${dir}/known_hosts`, `a ${user.ed25519.line}\nb ${user.ecdsa384.line}\n`);
      const env = {
        SSH_AUTH_SOCK: listener.path,
        SSH_ASKPASS: `${dir}/askpass`,
        SSH_ASKPASS_REQUIRE: "force",
        PATH: `${programs(version)}:${Deno.env.get("PATH")}`,
      };
      const sh = (script: string) => run(["/bin/sh", "-c", script], { env });
      const files = keyTypes.map((type) => user[type].file).join(" ");
      const script = `cp ${user.ed25519.file} ${dir}/k && cp ${user.ed25519.file}.pub ${dir}/k.pub
      ssh-keygen -q -s ${user.ecdsa256.file} -I id -n amiko ${dir}/k.pub
      ssh-add -q ${files} ${dir}/k 2>&1 || echo "not added"
      for file in ${files} ${dir}/k; do ssh-add -T $file.pub || echo "not signed: $file"; done
      echo test | ssh-keygen -Y sign -n file -f ${user.ed25519.file}.pub >/dev/null 2>&1 || echo "not signed: file"
      ssh-add -L | wc -l
      ssh-add -l | grep -c CERT
      ssh-add -q -d ${dir}/k || echo "not removed"
      ssh-add -q -c -t 1000 ${user.rsa.file} || echo "not tied"
      ssh-add -T ${user.rsa.file}.pub || echo "not confirmed"
      ssh-add -q -H ${dir}/known_hosts -h a -h 'a>root@b' ${user.ecdsa384.file} || echo "not restricted"
      ssh-add -T ${user.ecdsa384.file}.pub 2>/dev/null && echo "signed for nobody"
      ssh-add -x >/dev/null 2>&1 || echo "not locked"
      ssh-add -l
      ssh-add -T ${user.ecdsa256.file}.pub 2>/dev/null && echo "signed"
      ssh-add -D 2>/dev/null && echo "removed"
      ssh-add -X >/dev/null 2>&1 || echo "not unlocked"
      ssh-add -l | wc -l
      ssh-add -s /usr/lib/x.so 2>&1 | grep -c refused
      ssh-add -q -D 2>/dev/null || echo "not removed"
      ssh-add -l`;
      const { stdout, stderr, code } = await sh(script);
      const lines = decoder.decode(stdout).trim().split("\n");
      assertEquals(lines, ["6", "1", "The agent has no identities.", "4", "1", "The agent has no identities."], stderr);
      assertEquals(code, 1);
      assertEquals(uses.map(({ purpose, username, forwarded }) => [purpose, username, forwarded]), [[
        "other",
        null,
        false,
      ]]);
      assertEquals(await agent.signers(), []);
    },
  );

  peerTest(id, `a client of agents does with ${peers[id].title}'s ssh-agent what ssh-add does`, async () => {
    const { user } = await testKeys();
    await using socket = await startAgent(version);
    await using client = await agentAt(socket.path);
    const keys = await Promise.all(keyTypes.map((type) => keyOf(user[type]))), data = new Uint8Array(100);
    for (const key of keys) await client.add(key, { comment: key.publicKey.type, lifetime: 60_000, confirm: true });
    const signers = await client.signers();
    assertEquals(signers.map(({ comment }) => comment), keys.map(({ publicKey }) => publicKey.type));
    for (const signer of signers) {
      for (const algorithm of signer.algorithms) {
        assert(await signer.publicKey.verify(data, await signer.sign(data, algorithm)), algorithm);
      }
    }
    await client.remove(keys[0]!.publicKey);
    assertEquals((await client.signers()).length, keys.length - 1);
    await client.lock("s3cret");
    assertEquals(await client.signers(), []);
    assertEquals((await assertRejects(() => client.add(keys[0]!), SshError)).code, "REQUEST_DENIED");
    await assertRejects(() => client.unlock("other"), SshError, "be unlocked");
    await client.unlock("s3cret");
    await client.removeAll();
    await client.add(keys[0]!, { lifetime: 1 });
    await until(async () => (await client.signers()).length === 0, "the key is forgotten", PROGRAM_HANGS);
    await assertRejects(() => client.extension("no@such"), SshError);
  });

  peerTest(
    id,
    `keys that are tied to hosts hold over two of them, with ${
      peers[id].title
    }'s ssh -A, its agent and ours, its server and ours`,
    async () => {
      const { user, host } = await testKeys(), dir = scratchDir(), tied = user.ecdsa521;
      await using sshd = await startOpenSshd({ version });
      await using server = serve({
        hostname: "127.0.0.1",
        port: 0,
        hostKeys: await Promise.all([host.ed25519, host.ecdsa256, host.ecdsa384].map(keyOf)),
        auth: { publicKey: (_, key) => `${key}` === tied.line },
        allowAgent: true,
        onListen: () => {},
        handler: async (session) => {
          const { stdout, stderr, code } = await new Deno.Command("/bin/sh", {
            args: ["-c", session.command!],
            env: { SSH_AUTH_SOCK: await session.agent?.listen() ?? "" },
            stdin: "null",
          }).output();
          const writer = session.stdout.getWriter();
          await writer.write(stdout);
          await writer.write(stderr);
          return code;
        },
      });
      // One server is three hosts, by the host key that it is asked for.
      const algorithms = { a: "ssh-ed25519", b: "ecdsa-sha2-nistp256", c: "ecdsa-sha2-nistp384" };
      const lines = { a: host.ed25519.line, b: host.ecdsa256.line, c: host.ecdsa384.line };
      const known = Object.entries(lines).map(([name, line]) => `${name} ${line}\n`).join("");
      Deno.writeTextFileSync(`${dir}/known_hosts`, known);
      const ssh = (program: string, name: keyof typeof lines, at: { port: number; username: string }): string[] => [
        program,
        ...["-F", "/dev/null", "-p", String(at.port), "-o", `UserKnownHostsFile=${dir}/known_hosts`],
        ...["-o", `HostKeyAlias=${name}`, "-o", `HostKeyAlgorithms=${algorithms[name]}`, "-o", "BatchMode=yes"],
        ...["-o", "PreferredAuthentications=publickey", "-o", `IdentityFile=${dir}/none`],
        `${at.username}@127.0.0.1`,
      ];
      const ours = { port: server.addr.port, username: sshd.username };
      const target = {
        hostname: "127.0.0.1",
        port: sshd.port,
        username: sshd.username,
        verifyHostKey: pinnedHostKey(host.ed25519.fingerprint, host.ecdsa384.fingerprint),
      };
      const onward = (at: { port: number; username: string }): string =>
        `${ssh("/usr/bin/ssh", "b", at).join(" ")} echo there; ${
          ssh("/usr/bin/ssh", "c", at).join(" ")
        } echo elsewhere`;
      const check = (output: string, what: string): void => {
        assertStringIncludes(output, "there\n", what);
        assert(!output.includes("elsewhere\n"), what);
        assertStringIncludes(output, "Permission denied", what);
      };
      const hops = ["-q", "-H", `${dir}/known_hosts`, "-h", "a", "-h", `a>${sshd.username}@b`];
      const add = (path: string): Promise<string> =>
        runText([`${programs(version)}/ssh-add`, ...hops, tied.file], { env: { SSH_AUTH_SOCK: path } });
      const through = async (
        path: string,
        first: ServerPeer | typeof ours,
        second: ServerPeer | typeof ours,
      ): Promise<string> => {
        const command = [...ssh(`${programs(version)}/ssh`, "a", first), onward(second)].toSpliced(1, 0, "-A");
        const { stdout, stderr } = await run(command, { env: { SSH_AUTH_SOCK: path } });
        return decoder.decode(stdout) + stderr;
      };
      {
        await using socket = await startAgent(version);
        await add(socket.path);
        check(await through(socket.path, ours, sshd), "ssh-agent, through ours to sshd");
        // And our client, which tells it where it logs in.
        for (const [algorithm, goes] of [["ssh-ed25519", true], ["ecdsa-sha2-nistp384", false]] as const) {
          await using held = await agentAt(socket.path);
          const logIn = connect({ ...target, auth: [publicKey(held)], algorithms: { hostKey: [algorithm] } });
          if (goes) await (await logIn).close();
          else await assertRejects(() => logIn, SshAuthError);
        }
      }
      await using agent = createAgent();
      await using listener = await agent.listen();
      await add(listener.path);
      check(await through(listener.path, sshd, ours), "our agent, through sshd to ours");
      // And as the program's own object, with a key that the program ties.
      await agent.removeAll();
      const hop = (name: keyof typeof lines): AgentHop => ({ hostname: name, hostKeys: [parsePublicKey(lines[name])] });
      const destinations = [{ to: hop("a") }, { from: hop("a"), to: { ...hop("b"), username: sshd.username } }];
      await agent.add(await keyOf(tied), { destinations });
      await using client = await connect({
        ...target,
        auth: [publicKey(agent)],
        algorithms: { hostKey: ["ssh-ed25519"] },
      });
      const output = await client.exec(onward(ours), { agent });
      check(decoder.decode(output.stdout) + decoder.decode(output.stderr), "our client");
    },
  );
}

const python = peers.asyncssh.installed ? "paramiko" : "asyncssh";

peerTest(
  python,
  `${peers.paramiko.title} and ${peers.asyncssh.title} use an agent of ours, and are asked about`,
  async () => {
    const { user } = await testKeys(), asked: (string | null)[] = [];
    const keys = await Promise.all([user.ed25519, user.rsa, user.ecdsa256].map(keyOf));
    await using agent = createAgent({
      keys,
      confirm: true,
      onConfirm: ({ username }) => {
        asked.push(username);
        return true;
      },
    });
    await using listener = await agent.listen();
    const signed: string[] = [];
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [keys[0]!],
      auth: { publicKey: (_, key) => (signed.push(key.type), key.type === "ssh-rsa") },
      onListen: () => {},
      handler: () => 0,
    });
    const { port } = server.addr;
    const scripts = [
      `import paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", ${port}, username="paramiko", look_for_keys=False)
print(len(paramiko.Agent().get_keys()))
client.close()`,
      `import asyncio, asyncssh
async def main():
    async with asyncssh.connect("127.0.0.1", ${port}, username="asyncssh", known_hosts=None, config=None):
        async with asyncssh.connect_agent() as agent:
            print(len(await agent.get_keys()))
            key = asyncssh.generate_private_key("ssh-ed25519")
            await agent.add_keys([key], lifetime=100, confirm=True)
            print(len(await agent.get_keys()))
            await agent.lock("x")
            print(len(await agent.get_keys()))
            await agent.unlock("x")
            await agent.remove_keys([key])
            print(len(await agent.get_keys()))
asyncio.run(main())`,
    ];
    const env = { ...newerPython, SSH_AUTH_SOCK: listener.path, HOME: scratchDir() };
    const outputs: string[] = [];
    for (const script of scripts) {
      outputs.push(
        await runText(["/usr/bin/python3", "-W", "ignore", "-c", script], { env }),
      );
    }
    assertEquals(outputs.map((output) => output.trim().split("\n")), [["3"], ["3", "4", "0", "3"]]);
    // paramiko signs for each key that it tries, and asks nobody before.
    assertEquals([...new Set(asked)], ["paramiko", "asyncssh"]);
  },
);
