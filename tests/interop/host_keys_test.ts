/**
 * Host keys told and proved after the login, with OpenSSH on the other side: the client's known_hosts gains what is new, and loses what is no more.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { opensshClient } from "../_support/peer_clients.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { until } from "../_support/until.ts";

/** A command that ends once a file has a text: the client and what it logs in to are on one machine. */
const waits = (text: string, file: string) =>
  `for i in $(seq 400); do grep -q -e '${text}' ${file} && exit; sleep 0.05; done; exit 1`;

for (const [id, version] of [["openssh", "9.2"], ["openssh10", "10"]] as const) {
  peerTest(
    id,
    `a client learns the host keys of sshd ${version}, and forgets one, as ssh ${version} does`,
    async () => {
      await using server = await startOpenSshd({ version });
      const folder = scratchDir(), [ours, theirs] = [`${folder}/ours`, `${folder}/theirs`];
      const name = `[127.0.0.1]:${server.port}`, retired = await generateKey();
      const before = `# mine\n${name} ${server.hostKeys[0]}\nother ${retired.publicKey.toString().slice(0, -4)}\n` +
        `${name} ${(await generateKey()).publicKey} old\n`;
      for (const file of [ours, theirs]) await Deno.writeTextFile(file, before);
      const notices: string[] = [];
      await using client = await connect({
        hostname: "127.0.0.1",
        port: server.port,
        username: server.username,
        auth: [publicKey(await parsePrivateKey(Deno.readTextFileSync(server.clientKey.file)))],
        verifyHostKey: knownHosts({ files: [ours] }),
        updateHostKeys: true,
        onNotice: (notice) => notices.push(notice),
      });
      const text = () => Deno.readTextFileSync(ours);
      await until(() => !text().includes(" old\n"), "the old key is not forgotten");
      await client.close();
      assertEquals(notices, []);
      const ssh = await opensshClient(version, {
        config: [`UserKnownHostsFile=${theirs}`, "UpdateHostKeys=yes", "HashKnownHosts=no"],
        defaults: true,
      });
      await ssh.run({
        port: server.port,
        hostKeys: [],
        username: server.username,
        login: { key: server.clientKey },
        command: waits("ssh-rsa", theirs),
        input: new Uint8Array(0),
      });
      const lines = (file: string) => Deno.readTextFileSync(file).split("\n").map((line) => line.trim()).sort();
      assertEquals(lines(ours), lines(theirs));
      assertEquals(
        server.hostKeys.filter((key) => !text().includes(`${name} ${key.split(" ").slice(0, 2).join(" ")}`)),
        [],
      );
    },
  );

  peerTest(id, `ssh ${version} learns the host keys of a server, and forgets one that it has no more`, async () => {
    const keys = await testKeys(), file = `${scratchDir()}/known_hosts`;
    const read = async (type: "ed25519" | "ecdsa256" | "rsa") =>
      await parsePrivateKey(Deno.readTextFileSync(keys.host[type].file));
    const hostKeys = [await read("ed25519"), await read("ecdsa256"), await read("rsa"), await generateKey()];
    const errors: unknown[] = [];
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys,
      auth: { publicKey: () => true },
      // The session lasts until the file is written, and renews its keys before.
      handler: async () => {
        await until(() => Deno.readTextFileSync(file).includes("ssh-rsa"), "ssh learns nothing");
      },
      rekey: { packets: 8 },
      onError: (error) => errors.push(error),
    });
    const name = `[127.0.0.1]:${server.addr.port}`, line = (i: number) => `${name} ${hostKeys[i]!.publicKey}\n`;
    await Deno.writeTextFile(file, `${line(0)}${name} ${(await generateKey()).publicKey} old\n`);
    const ssh = await opensshClient(version, {
      config: [`UserKnownHostsFile=${file}`, "UpdateHostKeys=yes", "HashKnownHosts=no"],
      defaults: true,
    });
    const { code } = await ssh.run({
      port: server.addr.port,
      hostKeys: [],
      username: "alice",
      login: { key: keys.user.ed25519 },
      command: "x",
      input: new Uint8Array(0),
    });
    assertEquals([code, errors], [0, []]);
    const text = await Deno.readTextFile(file);
    assert(!text.includes(" old"), text);
    assertEquals(text.split("\n").sort(), [0, 1, 2, 3].flatMap((i) => [line(i).trim()]).concat("").sort());
  });
}

peerTest("openssh", "hosts that ssh and a program of this module add to one file at once are all in it", async () => {
  const keys = await testKeys(), file = `${scratchDir()}/known_hosts`, key = await generateKey();
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [key],
    auth: { publicKey: () => true },
    handler: () => 0,
  });
  await Deno.writeTextFile(file, "# no end");
  const aliases = ["one", "two", "three"];
  let running = true, added = 0;
  const ours = (async () => {
    const verify = knownHosts({ files: [file], acceptNew: true });
    while (running) await verify(key.publicKey, { hostname: `host${added++}`, port: 22 });
  })();
  await Promise.all(aliases.map(async (alias) => {
    const ssh = await opensshClient("9.2", {
      config: [
        `UserKnownHostsFile=${file}`,
        "StrictHostKeyChecking=accept-new",
        "HashKnownHosts=no",
        `HostKeyAlias=${alias}`,
      ],
      defaults: true,
    });
    await ssh.run({
      port: server.addr.port,
      hostKeys: [],
      username: "alice",
      login: { key: keys.user.ed25519 },
      command: "x",
      input: new Uint8Array(0),
    });
  })).finally(() => running = false);
  await ours;
  const lines = (await Deno.readTextFile(file)).trimEnd().split("\n");
  const hosts = [...aliases, ...Array.from({ length: added }, (_, i) => `host${i}`)];
  assertEquals(lines.sort(), ["# no end", ...hosts.map((host) => `${host} ${key.publicKey}`)].sort());
});
