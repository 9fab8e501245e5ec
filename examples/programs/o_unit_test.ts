// (o) A unit test of an application, against a server in memory: `deno test` without permissions.
import { type SshClient, testPair } from "@amiko/ssh";
import { assertEquals } from "@std/assert";

async function install(client: SshClient, name: string): Promise<string> {
  await client.$`apt-get install -y ${name}`;
  return await client.$`dpkg-query -W ${name}`.text();
}

Deno.test("install() tells the version", async () => {
  const ran: (string | null)[] = [];
  await using pair = await testPair({
    async handler(session) {
      ran.push(session.command);
      await session.write("1.2-3");
    },
  });
  assertEquals(await install(pair.client, "my package"), "1.2-3");
  assertEquals(ran, ["apt-get install -y 'my package'", "dpkg-query -W 'my package'"]);
});
