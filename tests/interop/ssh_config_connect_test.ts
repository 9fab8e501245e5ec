/**
 * `connect("alias")` to sshd by an ssh_config, beside `ssh` by the same file: hops, keys, host keys, environment, forwards, a master.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  HostKeyChangedError,
  HostKeyRevokedError,
  knownHosts,
  loadSshConfig,
  parsePrivateKey,
  publicKey,
  SshAuthError,
  SshError,
} from "../../mod.ts";
import { letGoOfHeld } from "../../lib/api/control_path.ts";
import { freePort } from "../_support/child.ts";
import { startMaster } from "../_support/control_master.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { inTime } from "../_support/until.ts";

/** A configuration for a server, in a folder of its own. */
async function configured(server: ServerPeer, more = ""): Promise<{ files: readonly string[]; dir: string }> {
  const dir = scratchDir(), path = `${dir}/config`;
  const known = server.hostKeys.map((line) => `[127.0.0.1]:${server.port} ${line}\n`).join("");
  await Deno.writeTextFile(`${dir}/known`, known, { mode: 0o600 });
  const text = [
    more.replaceAll("DIR", dir),
    "Host gate inner direct outer",
    "  HostName 127.0.0.1",
    `  Port ${server.port}`,
    `  User ${server.username}`,
    `  IdentityFile ${server.clientKey.file}`,
    "  IdentitiesOnly yes",
    "  IdentityAgent none",
    `  UserKnownHostsFile ${dir}/known`,
    "  GlobalKnownHostsFile none",
    "  StrictHostKeyChecking yes",
    "Host inner",
    "  ProxyJump gate",
  ].join("\n");
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  return { files: [path], dir };
}

/** What `ssh` prints with the same file. */
async function bySsh(files: readonly string[], ...args: string[]): Promise<string> {
  const command = new Deno.Command("/usr/bin/ssh", { args: ["-F", files[0]!, ...args], stdin: "null", stderr: "null" });
  return new TextDecoder().decode((await command.output()).stdout);
}

peerTest(
  ["openssh", "netcat"],
  'connect("alias") does what ssh does with the same file: hops, keys, hosts, environment, forwards',
  async (t) => {
    await using server = await startOpenSshd({ config: ["AcceptEnv=GREETING WHO LOCAL_*", "AllowAgentForwarding=no"] });

    await t.step("through ProxyJump, with SetEnv and SendEnv, and forwards that end with the client", async () => {
      const port = freePort(), dynamic = freePort(), back = freePort();
      const { files } = await configured(
        server,
        [
          "Host inner",
          'SetEnv "GREETING=hello %h" WHO=%n',
          "SendEnv LOCAL_*",
          `LocalForward ${port} 127.0.0.1:${server.port}`,
          `DynamicForward ${dynamic}`,
          `RemoteForward ${back} 127.0.0.1:${server.port}`,
          "ExitOnForwardFailure yes",
          "ForwardAgent yes",
          "Host *",
        ].join("\n"),
      );
      const command = 'echo "$GREETING, $WHO, $LOCAL_X, ${SSH_CONNECTION%% *}"';
      Deno.env.set("LOCAL_X", "sent");
      try {
        await using client = await connect("inner", { files });
        const output = await inTime(client.exec(command, { env: { WHO: "me" } }), "the command");
        assertEquals(output.text(), "hello 127.0.0.1, me, sent, 127.0.0.1\n");
        for (const listening of [port, back]) {
          using conn = await Deno.connect({ hostname: "127.0.0.1", port: listening });
          const bytes = new Uint8Array(8);
          await conn.read(bytes);
          assertEquals(new TextDecoder().decode(bytes.subarray(0, 4)), "SSH-");
        }
        (await Deno.connect({ hostname: "127.0.0.1", port: dynamic })).close();
      } finally {
        Deno.env.delete("LOCAL_X");
      }
      await assertRejects(() => Deno.connect({ hostname: "127.0.0.1", port }), Deno.errors.ConnectionRefused);
      assertEquals((await bySsh(files, "-o", "ClearAllForwardings=yes", "inner", "echo $WHO")).trim(), "%n");
    });

    await t.step(
      "a forward that cannot be opened ends it where ExitOnForwardFailure says so, and is told otherwise",
      async () => {
        const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
        try {
          const lines = `Host direct\nLocalForward ${taken.addr.port} a:1\n`;
          const { files } = await configured(server, lines), notices: string[] = [];
          await using client = await connect("direct", { files, onNotice: (notice) => notices.push(notice) });
          assertEquals((await client.exec("echo on")).text(), "on\n");
          assert(
            notices.some((notice) => notice.includes(`LocalForward ${taken.addr.port}: could not be opened`)),
            String(notices),
          );
          const strict = await configured(server, `${lines}ExitOnForwardFailure yes\n`);
          await assertRejects(() => connect("direct", { files: strict.files }), Deno.errors.AddrInUse);
        } finally {
          taken.close();
        }
      },
    );

    await t.step("through hosts that the program names, as by ssh -J", async () => {
      const { files } = await configured(server, "Host wrong\nHostName 127.0.0.1\nUser nobody\n");
      const { port, username } = server, here = { hostname: "127.0.0.1", port, username };
      const key = await parsePrivateKey(await Deno.readTextFile(server.clientKey.file));
      const own = { ...here, auth: [publicKey(key)], verifyHostKey: knownHosts(`*:${port} ${server.hostKeys[0]}`) };
      for (const jump of ["gate", `gate,${username}@inner`, ["gate", own], { ...own, jump: "gate" }]) {
        for (const way of [() => connect("direct", { files, jump }), () => connect({ ...own, jump }, { files })]) {
          await using client = await way();
          assertEquals((await client.exec("echo through")).text(), "through\n");
          // Each hop is a connection of its own to the server, whose sessions it has none of.
          assertEquals((await client.exec("echo ${SSH_CONNECTION%% *}")).text(), "127.0.0.1\n");
        }
      }
      const error = await assertRejects(() => connect({ ...own, jump: "wrong,gate" }, { files }), SshError);
      assert(/through "127.0.0.1" port 22 \(hop 1 of 2\)/.test(error.message), error.message);
    });

    await t.step("by ProxyCommand, and by another name for the host", async () => {
      const { files, dir } = await configured(server, "Host outer\nProxyCommand nc %h %p\nHostKeyAlias the-host\n");
      await Deno.writeTextFile(`${dir}/known`, `the-host ${server.hostKeys[0]}\n`);
      await using client = await connect(`${server.username}@outer`, { files });
      assertEquals((await client.exec("echo through")).text(), "through\n");
    });

    await t.step("only with keys that are named, and algorithms that are accepted", async () => {
      const other = (await testKeys()).host.ed25519.file;
      const { files } = await configured(
        server,
        `Host direct\nIdentityFile ${other}\nHost gate\nPubkeyAcceptedAlgorithms ecdsa-*\n`,
      );
      await using client = await connect("direct", { files });
      assertEquals((await client.exec("true")).code, 0);
      const { files: wrong } = await configured(server, "Host gate\nPubkeyAcceptedAlgorithms -*\n");
      const error = await assertRejects(() => connect("gate", { files: wrong }), SshAuthError);
      assert(error.message.includes("no key to offer"), error.message);
    });

    await t.step(
      "hosts that are new are added by accept-new, changed ones are refused even by no, and revoked ones always",
      async () => {
        const { files, dir } = await configured(
          server,
          "Host *\nUserKnownHostsFile DIR/new\nStrictHostKeyChecking accept-new\n",
        );
        await (await connect("direct", { files })).close();
        assert((await Deno.readTextFile(`${dir}/new`)).startsWith(`[127.0.0.1]:${server.port} `));
        assertEquals(await bySsh([files[0]!], "-o", "StrictHostKeyChecking=yes", "direct", "echo known"), "known\n");
        const changed = (await testKeys()).user.ed25519;
        const line = (await Deno.readTextFile(`${changed.file}.pub`)).split(" ").slice(0, 2).join(" ");
        const off = await configured(server, "Host *\nStrictHostKeyChecking no\nHostKeyAlgorithms ssh-ed25519\n");
        await Deno.writeTextFile(`${off.dir}/known`, `[127.0.0.1]:${server.port} ${line}\n`);
        await assertRejects(() => connect("direct", { files: off.files }), HostKeyChangedError);
        const revoked = await configured(server, "Host *\nRevokedHostKeys DIR/revoked\n");
        await assertRejects(() => connect("direct", { files: revoked.files }), SshError, "is not there");
        await Deno.writeTextFile(`${revoked.dir}/revoked`, server.hostKeys.join("\n"));
        await assertRejects(() => connect("direct", { files: revoked.files }), HostKeyRevokedError);
      },
    );

    await t.step("through the master of ControlPath where one runs, and without it where it has gone", async () => {
      const master = await startMaster("9.2", { ...server, identity: server.clientKey.file });
      const { files } = await configured(server, `Host direct\nControlPath ${master.path}\nControlMaster auto\n`);
      const notices: string[] = [];
      const text = async (): Promise<string> => {
        await using client = await connect("direct", { files, onNotice: (notice) => notices.push(notice) });
        return (await client.exec("echo $PPID")).text();
      };
      try {
        // Sessions of one connection have one process above them.
        assertEquals(await text(), await text());
        await using client = await connect(await (await loadSshConfig({ files })).connectOptions("direct"));
        assert(client.closed instanceof Promise);
      } finally {
        await letGoOfHeld();
        await master[Symbol.asyncDispose]();
      }
      assert(await text() !== await text());
      assert(notices.every((notice) => notice.includes("ControlMaster")), String(notices));
    });

    await t.step("with the program's own options on top", async () => {
      const { files } = await configured(server, "Host direct\nPort 1\nProxyCommand false\nUser nobody\n");
      const { port, username } = server;
      // Another way takes the place of the configuration's.
      const transport = await Deno.connect({ hostname: "127.0.0.1", port });
      await using client = await connect("direct", { files, port, username, transport });
      assertEquals((await client.exec("echo $LOGNAME")).text(), `${username}\n`);
    });
  },
);
