#!/usr/bin/env -S deno test
/**
 * Unit tests of a small application, against a server and files in memory: no sockets, no files on a disk, no permissions.
 *
 *     deno test examples/unit_test.ts
 */
import { memoryFiles, sftpSubsystem, type SshClient, SshCommandError, SshError, testPair } from "@amiko/ssh";
import { assertEquals, assertRejects } from "@std/assert";

/** The application: puts a page where the web server has it, and tells the web server. */
async function deploy(client: SshClient, page: string): Promise<void> {
  await using sftp = await client.sftp();
  await sftp.writeTextFile("/www/index.html.new", page);
  await sftp.rename("/www/index.html.new", "/www/index.html");
  await client.run("systemctl reload nginx");
}

/** The machine that it is tried on. */
async function machine(options: { maxBytes?: number; reload?: () => number | Promise<number> } = {}) {
  const files = memoryFiles({ "/www/index.html": "old" }, { maxBytes: options.maxBytes });
  const ran: (string | null)[] = [];
  const pair = await testPair({
    subsystems: { sftp: sftpSubsystem(files) },
    async handler({ command }) {
      ran.push(command);
      return await options.reload?.() ?? 0;
    },
  });
  return { pair, files, ran, client: pair.client, [Symbol.asyncDispose]: () => pair.close() };
}

Deno.test("deploy() replaces the page, and then reloads the server", async () => {
  await using there = await machine();
  await deploy(there.client, "<p>new");
  assertEquals(there.files.text("/www/index.html"), "<p>new");
  assertEquals(there.files.list("/www"), ["/www/index.html"]);
  assertEquals(there.ran, ["systemctl reload nginx"]);
});

Deno.test("deploy() keeps the old page where the disk is full", async () => {
  await using there = await machine({ maxBytes: 100 });
  await assertRejects(() => deploy(there.client, "x".repeat(1000)), SshError, "No space left");
  assertEquals(there.files.text("/www/index.html"), "old");
  assertEquals(there.ran, []);
});

Deno.test("deploy() says so where the server does not reload", async () => {
  await using there = await machine({ reload: () => 1 });
  await assertRejects(() => deploy(there.client, "<p>new"), SshCommandError);
});

Deno.test("deploy() says so where the connection is lost meanwhile", async () => {
  await using there = await machine({
    async reload() {
      await there.pair.cut();
      return 0;
    },
  });
  const error = await assertRejects(() => deploy(there.client, "<p>new"), SshError);
  assertEquals(error.code, "CONNECTION_LOST");
});
