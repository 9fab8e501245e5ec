/** hostbased login with AsyncSSH, both roles, and at OpenSSH's sshd. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  connect,
  hostBased,
  insecureAcceptAnyHostKey,
  knownHosts,
  pinnedHostKey,
  publicKeyLine,
  serve,
  SshAuthError,
} from "../../mod.ts";
import { Driver, freePort, startDaemon } from "../_support/child.ts";
import { commands } from "../_support/joined.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { newerPython, nssWrapper, peerTest, scripts } from "../_support/peers.ts";
import { oneOfEach } from "../_support/one_of_each.ts";

const keys = await oneOfEach();

peerTest(
  "asyncssh",
  "AsyncSSH lets users in for whom our host key vouches, and ours lets in those of its",
  async () => {
    const dir = scratchDir(),
      known = keys.map(({ publicKey }) => `desk.example ${publicKeyLine(publicKey)}\n`).join("");
    const { host } = await testKeys();
    await using driver = await Driver.start(["/usr/bin/python3", `${scripts}/asyncssh_hostbased.py`], dir, newerPython);
    const port = await driver.call({ do: "serve", host_key: host.ed25519.file, known }) as number;
    const there = { hostname: "127.0.0.1", port, username: "alice", verifyHostKey: insecureAcceptAnyHostKey() };
    for (const key of keys) {
      await using client = await connect({
        ...there,
        auth: [hostBased({ key, hostname: "desk.example", username: "al" })],
      });
      assertEquals((await client.exec("")).code, 7);
    }
    const stranger = hostBased({ key: keys[0]!, hostname: "other.example", username: "al" });
    await assertRejects(() => connect({ ...there, auth: [stranger] }), SshAuthError, "hostbased (refused)");

    const trusted = knownHosts(known);
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [keys[0]!],
      handler: (session) => commands(session),
      // A host that is not known is an error of knownHosts().
      onError: () => {},
      auth: {
        hostBased: async ({ username }, key, client) =>
          username === "alice" && client.username === "al" &&
          await trusted(key, { hostname: client.hostname, port: 22 }),
      },
    });
    for (const [i, key] of keys.entries()) {
      const file = `${dir}/host${i}`;
      await Deno.writeTextFile(file, await key.export(), { mode: 0o600 });
      assertEquals(await driver.call({ do: "connect", port: server.addr.port, key: file }), 3);
    }
    const refused = await driver.call({ do: "connect", port: server.addr.port, key: host.rsa.file });
    assertStringIncludes(String(refused), "PermissionDenied");
  },
);

peerTest("openssh", "sshd lets users in for whom our host key vouches", async () => {
  // It reads the known hosts of the home folder of this process's user id, whose first name is ours here.
  const dir = scratchDir(), home = `${dir}/home`, { host } = await testKeys();
  await Deno.mkdir(`${home}/.ssh`, { recursive: true, mode: 0o700 });
  await Deno.writeTextFile(`${home}/.shosts`, "desk.example al\n", { mode: 0o600 });
  const known = keys.map(({ publicKey }) => `desk.example ${publicKeyLine(publicKey)}\n`).join("");
  await Deno.writeTextFile(`${home}/.ssh/known_hosts`, known, { mode: 0o600 });
  const passwd = `alice:x:${Deno.uid()}:${Deno.gid()}::${home}:/bin/sh\n${Deno.readTextFileSync("/etc/passwd")}`;
  await Deno.writeTextFile(`${dir}/passwd`, passwd);
  await Deno.writeTextFile(`${dir}/group`, Deno.readTextFileSync("/etc/group"));
  await Deno.writeTextFile(`${dir}/shadow`, "alice:*:20000:0:99999:7:::\n");
  if (Deno.uid() === 0) await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const port = freePort();
  await using daemon = await startDaemon({
    command: [
      ...["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", String(port), "-h", host.ed25519.file],
      ...[
        "ListenAddress=127.0.0.1",
        "PidFile=none",
        "UsePAM=no",
        "StrictModes=no",
        "PermitRootLogin=yes",
        "LogLevel=DEBUG1",
        "UseDNS=no",
        "PubkeyAuthentication=no",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "HostbasedAuthentication=yes",
        "HostbasedUsesNameFromPacketOnly=yes",
        "IgnoreRhosts=no",
      ].flatMap((line) => ["-o", line]),
    ],
    port,
    dir,
    env: {
      LD_PRELOAD: nssWrapper(),
      NSS_WRAPPER_PASSWD: `${dir}/passwd`,
      NSS_WRAPPER_GROUP: `${dir}/group`,
      NSS_WRAPPER_SHADOW: `${dir}/shadow`,
    },
  });
  const there = { hostname: "127.0.0.1", port, username: "alice", verifyHostKey: pinnedHostKey(host.ed25519.line) };
  try {
    for (const key of keys) {
      await using client = await connect({
        ...there,
        auth: [hostBased({ key, hostname: "desk.example", username: "al" })],
      });
      assertEquals((await client.exec("exit 3")).code, 3);
    }
  } catch (error) {
    throw new Error(daemon.log(), { cause: error });
  }
  for (const wrong of [{ hostname: "other.example", username: "al" }, { hostname: "desk.example", username: "bo" }]) {
    await assertRejects(() => connect({ ...there, auth: [hostBased({ key: keys[0]!, ...wrong })] }), SshAuthError);
  }
});
