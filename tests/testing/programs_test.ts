/** Programs as people write them with `testPair()` and `memoryFiles()`: as short as they are here. */
import { assertEquals, assertRejects } from "@std/assert";
import { memoryFiles, sftpSubsystem, type SshClient, SshCommandError, testPair } from "../../mod.ts";

// ---------------------------------------------------------------- an application, and its unit test (o)

/** Installs a package, and says its version. */
async function install(client: SshClient, name: string): Promise<string> {
  await client.run("apt-get update", { timeout: 60_000 });
  await client.$`apt-get install -y ${name}`;
  return await client.$`dpkg-query -W -f ${"${Version}"} ${name}`.text();
}

Deno.test({
  name: "a unit test of an application that runs commands, without permissions",
  permissions: "none",
  async fn() {
    const ran: string[] = [];
    await using pair = await testPair({
      async handler({ command, write }) {
        ran.push(command!);
        if (command!.startsWith("dpkg-query")) await write("1.2-3");
        return command!.includes("nothing") ? 100 : 0;
      },
    });
    assertEquals(await install(pair.client, "my package"), "1.2-3");
    assertEquals(ran[1], "apt-get install -y 'my package'");
    await assertRejects(() => install(pair.client, "nothing"), SshCommandError, "100");
  },
});

// ---------------------------------------------------------------- an SFTP server over a map in memory (j)

Deno.test({
  name: "an SFTP server over a map of keys in memory, without permissions",
  permissions: "none",
  async fn() {
    const files = memoryFiles({ "/keys/alice.pub": "ssh-ed25519 AAAA alice" }, { maxBytes: 1_000_000 });
    await using pair = await testPair({ subsystems: { sftp: sftpSubsystem(files) } });
    await using sftp = await pair.client.sftp();
    await sftp.writeTextFile("/keys/bob.pub", "ssh-ed25519 AAAA bob");
    await sftp.remove("/keys/alice.pub");
    assertEquals(files.list("/keys").map((path) => [path, files.text(path)]), [[
      "/keys/bob.pub",
      "ssh-ed25519 AAAA bob",
    ]]);
  },
});

// ---------------------------------------------------------------- what reconnects

Deno.test({
  name: "a unit test of an application that connects again, without permissions",
  permissions: "none",
  async fn() {
    await using pair = await testPair({ handler: () => 0 });
    let client = pair.client;
    const ask = async (): Promise<number | null> => {
      try {
        return (await client.exec("ping")).code;
      } catch {
        client = await pair.connect();
        return (await client.exec("ping")).code;
      }
    };
    assertEquals(await ask(), 0);
    await pair.cut();
    assertEquals(await ask(), 0);
  },
});
