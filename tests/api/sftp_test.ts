import { assertEquals, assertRejects } from "@std/assert";
import { sftpSubsystem } from "../../lib/api/sftp_subsystem.ts";
import { SshError } from "../../lib/errors.ts";
import { seededBytes } from "../_support/duplex.ts";
import { join } from "../_support/joined.ts";

Deno.test("sftp() and sftpSubsystem() move files through a connection, and nothing outside the root", async () => {
  const root = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    await using joined = await join({ subsystems: { sftp: sftpSubsystem({ root }) } });
    {
      await using sftp = await joined.client.sftp();
      const data = seededBytes(1_000_000);
      await sftp.writeFile("/big", data);
      assertEquals((await sftp.readFile("/big")).length, data.length);
      assertEquals(await Deno.readFile(`${root}/big`), data);
      await assertRejects(() => sftp.readFile("/../../../../etc/passwd"), SshError);
    }
    assertEquals((await joined.client.exec("exit 4")).code, 4);
    assertEquals(joined.errors, []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("sftp() rejects with REQUEST_DENIED where there is no such subsystem", async () => {
  await using joined = await join();
  const error = await assertRejects(() => joined.client.sftp(), SshError, '"sftp"');
  assertEquals(error.code, "REQUEST_DENIED");
});

Deno.test("sftp() begins in the midst of new keys", async () => {
  await using joined = await join({ subsystems: { sftp: sftpSubsystem({ root: Deno.cwd() }) } });
  const [sftp] = await Promise.all([joined.client.sftp(), joined.client.rekey()]);
  assertEquals(await sftp.realPath("/"), "/");
  const [, other] = await Promise.all([joined.client.rekey(), joined.client.sftp()]);
  assertEquals(await other.realPath("/"), "/");
});
