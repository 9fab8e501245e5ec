/**
 * Starts the SFTP examples as a reader would, with the permissions that their first lines name and no others.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, insecureAcceptAnyHostKey, password, sftpSubsystem } from "../../mod.ts";
import { text } from "../_support/joined.ts";
import { startServer } from "../_support/examples.ts";
import { run, serverWithHome } from "./_help.ts";

async function treeOf(path: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, isDirectory } of Deno.readDir(path)) {
    if (isDirectory) {
      for (const [key, value] of Object.entries(await treeOf(`${path}/${name}`))) found[`${name}/${key}`] = value;
    } else found[name] = await Deno.readTextFile(`${path}/${name}`);
  }
  return found;
}

Deno.test("examples/sftp.ts lists, gets and puts, and examples/sync.ts mirrors", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  const far = `${dir}/far`, near = `${dir}/near`;
  await Deno.mkdir(`${far}/docs/deep`, { recursive: true });
  await Deno.writeTextFile(`${far}/docs/a.txt`, "a");
  await Deno.writeTextFile(`${far}/docs/deep/b.txt`, "bb");
  try {
    await using server = await serverWithHome({ subsystems: { sftp: sftpSubsystem({ root: far }) } });
    const ls = await run("sftp.ts", [server.target, "ls", "/docs"], server.env);
    assertMatch(ls.stdout, /^ +1 {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}a\.txt\n.* deep\/\n$/, ls.stderr);
    const tree = await run("sftp.ts", [server.target, "tree", "/"], server.env);
    assertEquals(tree.stdout, "└── docs/\n    ├── a.txt\n    └── deep/\n        └── b.txt\n", tree.stderr);
    const got = await run("sftp.ts", [server.target, "get", "/docs", near], server.env);
    assertMatch(got.stdout, /^2 files, 3 bytes, /, got.stderr);
    assertEquals(await treeOf(near), { "a.txt": "a", "deep/b.txt": "bb" });

    await Deno.writeTextFile(`${near}/new.txt`, "new");
    const put = await run("sftp.ts", [server.target, "put", `${near}/new.txt`, "/docs/put.txt"], server.env);
    assertMatch(put.stdout, /^1 files, 3 bytes, /, put.stderr);
    assertEquals(await Deno.readTextFile(`${far}/docs/put.txt`), "new");

    const sync = await run("sync.ts", [near, `${server.target}:/docs`, "--delete"], server.env);
    assertEquals(sync.stdout, "1 files sent (3 bytes), 1 removed\n", sync.stderr);
    assertEquals(await treeOf(`${far}/docs`), await treeOf(near));
    const missing = await run("sftp.ts", [server.target, "get", "/missing", near], server.env);
    assertEquals(missing.code, 1);
    assertStringIncludes(missing.stderr, "/missing");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("examples/sftp_server.ts serves one directory, and nothing outside of it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  await Deno.mkdir(`${dir}/served`);
  await Deno.writeTextFile(`${dir}/served/in.txt`, "in");
  await Deno.writeTextFile(`${dir}/out.txt`, "out");
  try {
    await using server = await startServer("sftp_server.ts", [`${dir}/served`, "--port=0"], { SFTP_PASSWORD: "pw" });
    await using client = await connect({
      hostname: "127.0.0.1",
      port: server.port,
      username: "anyone",
      auth: [password("pw")],
      verifyHostKey: insecureAcceptAnyHostKey(),
    });
    await using sftp = await client.sftp();
    assertEquals(text(await sftp.readFile("in.txt")), "in");
    assertEquals(await sftp.readFile("../out.txt").then(() => "read", () => "refused"), "refused");
    await sftp.writeTextFile("new.txt", "new");
    assertEquals(await Deno.readTextFile(`${dir}/served/new.txt`), "new");
    const { code } = await client.exec("id");
    assertEquals(code, 127);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
