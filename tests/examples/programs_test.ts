/**
 * The programs of `examples/programs/`, which are what people write: each does its work, and none is longer than it has to be.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, generateKey, parsePrivateKey, pinnedHostKey, publicKey, publicKeyLine } from "../../mod.ts";
import { spawnPty } from "../../lib/pty/mod.ts";
import { endChild, freePort, run } from "../_support/child.ts";
import { hostKey } from "../_support/joined.ts";
import { testKeys } from "../_support/keys.ts";
import { password, peerTest } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";
import { startSudoServer } from "../_support/sudo_server.ts";
import { type Machine, startMachine } from "./_machine.ts";

const folder = new URL("../../examples/programs/", import.meta.url).pathname;
const names = [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();

Deno.test("the fifteen programs have less than 200 lines together, and none needs TextDecoder or TextEncoder", () => {
  const texts = names.map((name) => Deno.readTextFileSync(`${folder}${name}`));
  assertEquals(names.map((name) => name.slice(0, 2)).join(""), [..."abcdefghijklmno"].map((c) => `${c}_`).join(""));
  const lines = texts.reduce((sum, text) => sum + text.split("\n").length - 1, 0);
  assert(lines < 200, `${lines} lines`);
  assertEquals(texts.filter((text) => /Text(?:De|En)coder/.test(text)), []);
});

/** A program that goes on until it is told to end, and what it wrote. */
function start(machine: Machine, name: string, routes: Readonly<Record<string, number>>) {
  const child = new Deno.Command(Deno.execPath(), {
    ...machine.command(`${folder}${name}`, routes),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = Promise.all([child.stdout, child.stderr].map(async (stream) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) said += text;
  }));
  return {
    child,
    said: () => said,
    says: async (wanted: string) => {
      await until(() => said.includes(wanted), `${name} does not say ${wanted}`, PROGRAM_HANGS).catch((cause) => {
        throw new Error(`${name} said ${said}`, { cause });
      });
    },
    async [Symbol.asyncDispose]() {
      await endChild(child);
      await reading;
    },
  };
}

/** Waits until something listens here. */
async function listens(port: number): Promise<void> {
  const connects = () =>
    Deno.connect({ hostname: "127.0.0.1", port }).then((conn) => (conn.close(), true), () => false);
  await until(connects, `Nothing listens at ${port}`, PROGRAM_HANGS);
}

/** A program on a terminal, which ends by itself. */
async function onTerminal(
  machine: Machine,
  name: string,
  routes: Readonly<Record<string, number>>,
  args: readonly string[],
  talk: readonly (readonly [wanted: RegExp, answer: string])[],
) {
  const { args: words, env, cwd } = machine.command(`${folder}${name}`, routes, args);
  const process = spawnPty(Deno.execPath(), { args: words, env, cwd, window: { columns: 90, rows: 30 } });
  const writer = process.stdin.getWriter(), encoder = new TextEncoder();
  let said = "", seen = 0;
  const reading = (async () => {
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) said += text;
  })();
  for (const [wanted, answer] of talk) {
    await until(() => wanted.test(said.slice(seen)), `${name} does not say ${wanted}`, PROGRAM_HANGS).catch((cause) => {
      throw new Error(`${name} said ${said}`, { cause });
    });
    seen = said.length;
    await writer.write(encoder.encode(answer));
  }
  const { code } = await inTime(process.status, name, PROGRAM_HANGS);
  await reading;
  return { code, said };
}

/** A server that answers each line with itself. */
function echoServer() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const ended = (async () => {
    for await (const conn of listener) await conn.readable.pipeTo(conn.writable).catch(() => {});
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await ended;
    },
  };
}

Deno.test("programs that run commands and copy files (a, c to g, k to n)", async (t) => {
  await using database = echoServer();
  await using machine = await startMachine({
    there: {
      "bin/uptime": "#!/bin/sh\necho up 3 days\n",
      "bin/make": "#!/bin/sh\necho building\nexec sleep 1000\n",
      "access.log": "GET /\n",
    },
    home: {
      ".ssh/config":
        "Host staging\n  HostName app.internal\n  User deploy\n  Port 2200\n  ProxyJump bob@bastion.example\n",
      "photos/one.jpg": "one",
      "photos/2025/two.jpg": "two",
    },
    behind: { "db.internal:5432": database.port },
  });
  const { port, there, home } = machine;
  const to = (...hosts: string[]) => Object.fromEntries(hosts.map((host) => [`${host}:22`, port]));

  await t.step("(a) one command on twenty hosts: lines with a prefix, and a host that does not answer", async () => {
    const hosts = Array.from({ length: 20 }, (_, i) => `web${i + 1}.example`);
    const output = await machine.output(`${folder}a_many_hosts.ts`, to(...hosts.slice(0, 19)));
    assertEquals(
      output.trim().split("\n").toSorted(),
      hosts.slice(0, 19).map((host) => `${host}: up 3 days`).toSorted(),
    );
  });

  await t.step("(c) follows a log until Ctrl-C, and nothing goes on there", async () => {
    await using program = start(machine, "c_follow_log.ts", to("web1.example"));
    await program.says("GET /");
    await Deno.writeTextFile(`${there}/access.log`, "POST /\n", { append: true });
    await program.says("POST /");
    program.child.kill("SIGINT");
    assertEquals((await inTime(program.child.status, "c_follow_log.ts", PROGRAM_HANGS)).code, 0);
    await until(() => machine.running.size === 0, "tail goes on");
  });

  await t.step("(d) an interactive shell: its size, its exit code", async () => {
    const { code, said } = await onTerminal(machine, "d_shell.ts", to("web1.example"), ["alice@web1.example"], [
      [/[#$] $/, "stty size; exit 7\r"],
    ]);
    assertStringIncludes(said, "30 90");
    assertEquals(code, 7);
  });

  await t.step("(e), (g), (l) a bastion, an alias, a new host", async () => {
    machine.users.length = 0;
    const known = publicKeyLine((await hostKey()).publicKey);
    await Deno.writeTextFile(`${home}/.ssh/known_hosts`, `[app.internal]:2200 ${known}\n`, { append: true });
    const fresh = { type: (await hostKey()).publicKey.type, file: `${home}/.ssh/known_hosts` };
    const outputs = await Promise.all([
      machine.output(`${folder}e_bastion.ts`, to("bastion.example")),
      machine.output(`${folder}g_alias.ts`, to("bastion.example")),
    ]);
    assertEquals(outputs, ["up 3 days\n", "up 3 days\n"]);
    assertEquals(machine.users.toSorted(), ["alice", "deploy"]);
    // Nobody knows it any more.
    await Deno.writeTextFile(fresh.file, "");
    assertEquals(await machine.output(`${folder}l_new_host.ts`, to("new.example")), "up 3 days\n");
    assertStringIncludes(await Deno.readTextFile(fresh.file), `new.example ${fresh.type}`);
    const other = publicKeyLine((await generateKey()).publicKey);
    await Deno.writeTextFile(fresh.file, `new.example ${other}\n`);
    const refused = await machine.output(`${folder}l_new_host.ts`, to("new.example")).catch((error) => error.message);
    assertStringIncludes(refused, "changed");
    await Deno.writeTextFile(fresh.file, `*.example ${known}\n`);
  });

  await t.step("(f) a database behind a bastion", async () => {
    const local = freePort();
    await using program = start(machine, "f_tunnel.ts", { ...to("bastion.example"), ":5432": local });
    await program.says("The database listens");
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: local });
    await conn.write(new TextEncoder().encode("select 1"));
    const answer = new Uint8Array(100);
    assertEquals(new TextDecoder().decode(answer.subarray(0, (await conn.read(answer))!)), "select 1");
  });

  await t.step("(k) sends what is new, and tells where the sums differ", async () => {
    const sync = () => machine.output(`${folder}k_sync.ts`, to("backup.example"));
    assertEquals(await sync(), "2 files sent (6 bytes), and all are the same\n");
    assertEquals(await Deno.readTextFile(`${there}/photos/2025/two.jpg`), "two");
    // Same size and time, other bytes.
    const { mtime } = await Deno.stat(`${there}/photos/one.jpg`);
    await Deno.writeTextFile(`${there}/photos/one.jpg`, "0ne");
    await Deno.utime(`${there}/photos/one.jpg`, mtime!, mtime!);
    assertStringIncludes(await sync().catch((error) => error.message), "one.jpg: FAILED");
  });

  await t.step("(m) makes a key and lets it in", async () => {
    const { code, said } = await onTerminal(machine, "m_install_key.ts", to("build.example"), [], [
      [/Password: $/, "wonderland\r"],
    ]);
    assertEquals(code, 0, said);
    const key = await parsePrivateKey(await Deno.readTextFile(`${home}/id_build`));
    const lines = await Deno.readTextFile(`${there}/.ssh/authorized_keys`);
    assertEquals(lines.trim(), publicKeyLine(key.publicKey));
  });

  await t.step("(n) a page that shows a command's output, which ends when the page goes", async () => {
    const web = freePort();
    await using _program = start(machine, "n_web_page.ts", { ...to("build.example"), ":8000": web });
    await listens(web);
    const gone = new AbortController();
    const page = await fetch(`http://127.0.0.1:${web}/`, { signal: gone.signal });
    const reader = page.body!.pipeThrough(new TextDecoderStream()).getReader();
    assertEquals((await reader.read()).value, "building\n");
    assert(machine.running.has("make test"));
    gone.abort();
    await reader.closed.catch(() => {});
    await until(() => machine.running.size === 0, "make goes on");
  });
});

peerTest("git", "programs that are servers (h, i, j)", async (t) => {
  const git = ["/usr/bin/git", "-c", "user.name=Alice", "-c", "user.email=alice@example.org"];
  await using machine = await startMachine({
    there: {},
    home: { "host_key": await (await hostKey()).export(), "repositories/.keep": "", "work/page": "page\n" },
    behind: {},
  });
  const { home, key } = machine, line = `${publicKeyLine(key.publicKey)}\n`;
  for (const file of ["alice.pub", "git_users", "key_users"]) await Deno.writeTextFile(`${home}/${file}`, line);
  const port = freePort();
  const open = async (username: string) =>
    await connect({
      hostname: "127.0.0.1",
      port,
      username,
      auth: [publicKey(key)],
      verifyHostKey: pinnedHostKey(await (await hostKey()).publicKey.fingerprint()),
    });

  await t.step("(h) a menu for each user, in the middle of the window", async () => {
    await using _program = start(machine, "h_menu_server.ts", { ":2222": port });
    await listens(port);
    await using client = await open("alice");
    await using shell = await client.shell({ pty: { columns: 80, rows: 24 } });
    await shell.expect("\x1b[12;35H1 Deploy");
    await shell.expect("\x1b[13;35H2 Roll back");
    shell.resize({ columns: 100, rows: 40 });
    await shell.expect("\x1b[20;45H1 Deploy");
    await shell.write("2");
    await shell.expect("\x1b[40;1H\x1b[KRoll back: done");
    await shell.write("q");
    assertEquals((await shell.status).code, 0);
    const refused = await open("toString").catch((error) => error.code);
    assertEquals(refused, "AUTH_FAILED");
  });

  await t.step("(i) clone and push by git, and nothing else", async () => {
    await using _program = start(machine, "i_git_server.ts", { ":2222": port });
    await listens(port);
    const ssh = `ssh -F none -p ${port} -i ${home}/.ssh/id_ed25519 -o IdentitiesOnly=yes -o StrictHostKeyChecking=no ` +
      "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
    const env = { GIT_SSH_COMMAND: ssh, HOME: home, GIT_CONFIG_NOSYSTEM: "1" };
    const act = (...args: string[]) => run([...git, ...args], { env });
    const repository = `alice@127.0.0.1:site.git`,
      ok = async (...args: string[]) => {
        const { code, stderr } = await act(...args);
        assertEquals(code, 0, `git ${args.join(" ")}: ${stderr}`);
      };
    await ok("init", "-q", "--bare", `${home}/repositories/site.git`);
    await ok("-C", `${home}/work`, "init", "-q", "-b", "main");
    await ok("-C", `${home}/work`, "add", "page");
    await ok("-C", `${home}/work`, "commit", "-qm", "First");
    await ok("-C", `${home}/work`, "push", "-q", repository, "HEAD:refs/heads/main");
    await ok("clone", "-q", "-b", "main", repository, `${home}/clone`);
    assertEquals(await Deno.readTextFile(`${home}/clone/page`), "page\n");
    for (const path of ["../host_key", "site.git/../../work"]) {
      const { code, stderr } = await act("clone", "-q", `alice@127.0.0.1:${path}`, `${home}/other`);
      assertEquals(code, 128);
      assertMatch(stderr, /There is only git here/);
    }
  });

  await t.step("(j) files in memory by SFTP", async () => {
    await using _program = start(machine, "j_sftp_server.ts", { ":2222": port });
    await listens(port);
    await using client = await open("keys");
    await using sftp = await client.sftp();
    assertStringIncludes(await sftp.readTextFile("/alice.pub"), "ssh-ed25519");
    await sftp.writeTextFile("/bob.pub", "ssh-ed25519 BBBB bob\n");
    assertEquals((await Array.fromAsync(sftp.readDir("/"))).map(({ name }) => name).toSorted(), [
      "alice.pub",
      "bob.pub",
    ]);
    const refused = await client.exec("true").catch((error) => error.code);
    assertEquals(refused, "REQUEST_DENIED");
  });
});

peerTest("sudo", "(b) uploads a directory with a bar, and runs a script by the real sudo", async () => {
  await using server = await startSudoServer();
  const { host, user } = await testKeys();
  await using machine = await startMachine({
    there: {},
    home: {
      ".ssh/config": `Host app.example\n  User asked\n  IdentityFile ${user.ed25519.file}\n`,
      ".ssh/known_hosts": `app.example ${host.ed25519.line}\n`,
      "site/install.sh": 'echo "$(id -un) installs $(cat page/index.html)"\n',
      "site/page/index.html": "<p>new",
    },
    behind: {},
  });
  const { code, said } = await onTerminal(machine, "b_deploy.ts", { "app.example:22": server.port }, [], [
    [/Password for sudo: $/, `${password}\r`],
  ]);
  assertEquals(code, 0, said);
  assertStringIncludes(said, `[${"#".repeat(40)}]`);
  assertStringIncludes(said, "root installs <p>new");
  assert(!said.includes(password));
});

Deno.test("(o) a unit test of an application, without permissions", async () => {
  const { code, stdout, stderr } = await run([
    Deno.execPath(),
    ...["test", "--quiet", "--no-check", "--no-prompt", `${folder}o_unit_test.ts`],
  ], { env: { NO_COLOR: "1" } });
  assertEquals(code, 0, `${new TextDecoder().decode(stdout)}${stderr}`);
  assertStringIncludes(new TextDecoder().decode(stdout), "1 passed");
});
