import { assert, assertEquals, assertRejects } from "@std/assert";
import { sftpSubsystem } from "../../lib/api/sftp_subsystem.ts";
import { SftpError, SshError } from "../../lib/errors.ts";
import { memoryFiles } from "../../lib/files/memory/files.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
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

Deno.test("sftpSubsystem() serves sessions whose streams were asked for, and those that others stand in for", async () => {
  const root = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    const inner = sftpSubsystem({ root }), way = { next: 0 };
    let counted = 0;
    const ways = [
      inner,
      (session: ServerSession) => {
        void session.stdin;
        return inner(session);
      },
      (session: ServerSession) => {
        void session.stdout;
        return inner(session);
      },
      (session: ServerSession) => {
        const { stdin, stdout, info, signal } = session;
        return inner({ stdin, stdout, info, signal } as ServerSession);
      },
      (session: ServerSession) => inner(new Proxy(session, { get: (of, name) => Reflect.get(of, name) })),
      (session: ServerSession) => {
        const counting = new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            counted += chunk.length;
            controller.enqueue(chunk);
          },
        });
        void counting.readable.pipeTo(session.stdout).catch(() => {});
        return inner(Object.defineProperty(session, "stdout", { value: counting.writable }));
      },
    ];
    await using joined = await join({ subsystems: { sftp: (session) => ways[way.next++]!(session) } });
    const data = seededBytes(300_000);
    for (let i = 0; i < ways.length; i++) {
      await using sftp = await joined.client.sftp();
      await sftp.writeFile(`/${i}`, data);
      assertEquals(await sftp.readFile(`/${i}`), data);
    }
    assert(counted > 300_000, "answers went past the stream that stands in");
    assertEquals(joined.errors, []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("A client that breaks the SFTP protocol still hears how the subsystem ended, behind the answers before", async () => {
  await using joined = await join({ subsystems: { sftp: sftpSubsystem({ root: Deno.cwd() }) } });
  await using process = await joined.client.subsystem("sftp");
  const writer = process.stdin.getWriter();
  // INIT with version 3, and a packet that is none.
  await writer.write(new Uint8Array([0, 0, 0, 5, 1, 0, 0, 0, 3]));
  const reader = process.stdout.getReader();
  const { value } = await reader.read();
  assertEquals(value![4], 2);
  await writer.write(new Uint8Array(8).fill(255));
  assertEquals((await reader.read()).done, true);
  assertEquals((await process.status).code, 1);
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

Deno.test("copyFrom() copies nothing into itself, by two sessions of one connection either", async () => {
  const files = memoryFiles({ "/www/page": "all of it", "/other": null });
  await using joined = await join({ subsystems: { sftp: sftpSubsystem(files) } });
  await using from = await joined.client.sftp();
  await using to = await joined.client.sftp();
  await assertRejects(
    () => to.copyFrom(from, "/www", "/www/backup", { recursive: true }),
    SftpError,
    'Cannot copy "/www" to "/www/backup": that is it, or lies in it',
  );
  // In place it would cut the file before it is read.
  await assertRejects(() => to.copyFrom(from, "/www/page", "/www/page", { inPlace: true }), SftpError, "that is it");
  assertEquals([files.list(), files.text("/www/page")], [["/other/", "/www/", "/www/page"], "all of it"]);
  assertEquals((await to.copyFrom(from, "/www", "/other/www", { recursive: true })).files, 1);
  assertEquals(files.text("/other/www/page"), "all of it");
});
