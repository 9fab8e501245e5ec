/**
 * The recipes of docs/cookbook.md, run as they stand there.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, pinnedHostKey, publicKey, publicKeyLine, SshError, webSocketTransport } from "../../mod.ts";
import { endChild, freePort, run } from "../_support/child.ts";
import { hostKey } from "../_support/joined.ts";
import { peerTest } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";
import { startMachine } from "./_machine.ts";

const page = Deno.readTextFileSync(new URL("../../docs/cookbook.md", import.meta.url));
const recipes = new Map(
  [...page.matchAll(/^## (.+)\n[^]*?^```ts\n([^]*?)^```$/gm)].map(([, title, code]) => [title!, code!]),
);
/** Those that go on until somebody ends them, and so come last. */
const endless = [
  "A log until Ctrl-C",
  "A database behind it as a port here",
  "A git server",
  "SFTP over keys in memory",
];
const tests = ["The test of an application", "The test of a lost connection"];

Deno.test("each recipe of the cookbook is whole, has twelve lines at most, and needs no TextDecoder or TextEncoder", () => {
  assert(recipes.size >= 20);
  assertEquals(page.match(/^```ts$/gm)!.length, recipes.size);
  assertEquals(page.match(/^## /gm)!.length, recipes.size);
  for (const [title, code] of recipes) {
    assert(code.split("\n").length - 1 <= 12, `${title} has ${code.split("\n").length - 1} lines`);
    assertMatch(code, /^import \{.* from "@amiko\/ssh";\n/s, title);
    assert(!/Text(?:De|En)coder/.test(code), title);
  }
});

/** A way to the machine that breaks as soon as somebody is at work there, once. */
function unsteadyWay(port: number, isAtWork: () => boolean) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const ended = (async () => {
    for await (const conn of listener) {
      const onward = await Deno.connect({ hostname: "127.0.0.1", port });
      const pipes = [conn.readable.pipeTo(onward.writable), onward.readable.pipeTo(conn.writable)];
      if (!isAtWork()) {
        await until(isAtWork, "Nobody is at work", PROGRAM_HANGS);
        conn.close();
        onward.close();
      }
      await Promise.allSettled(pipes);
    }
  })();
  return { port: listener.addr.port, close: async () => (listener.close(), await ended) };
}

peerTest(["git", "sudo"], "the recipes of the cookbook do what they say, as they stand on the page", async () => {
  const database = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const wiki = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("All is well"));
  await using machine = await startMachine({
    there: {
      "bin/uptime": "#!/bin/sh\necho up 3 days\n",
      "bin/make": "#!/bin/sh\necho building\nexec sleep 1000\n",
      "bin/pg_dump": "#!/bin/sh\necho dump of $1\n",
      "bin/systemctl": "#!/bin/sh\necho no nginx here >&2\nexit 5\n",
      "setup": '#!/bin/sh\nprintf "Shall I continue? [y/n] "; read answer; echo "You said $answer"\n',
      "console": '#!/bin/sh\nprintf "> "; read line; echo "$line 1.2-3"\n',
      "unsteady": "#!/bin/sh\n[ -e tried ] && { echo steady; exit; }\ntouch tried\nexec sleep 1000\n",
      "access.log": "GET /\n",
      "my files/one.txt": "the first\n",
    },
    home: {
      ".ssh/config": "Host staging\n  HostName app.internal\n  User deploy\n  ProxyJump bob@bastion.example\n",
      "host_key": await (await hostKey()).export(),
      "site/index.html": "<p>new",
      "site/debug.log": "nothing",
      "photos/2025/one.jpg": "one",
    },
    behind: { "db.internal:5432": database.addr.port, "wiki.internal:80": wiki.addr.port },
  });
  const { port, there, home, key } = machine;
  const stored = new Map<string, string>();
  const store = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const path = new URL(request.url).pathname, text = await request.text();
    if (path === "/refused") return new Response(null, { status: 507 });
    stored.set(path, text);
    return new Response(null, { status: 201 });
  });
  const way = unsteadyWay(port, () => [...Deno.readDirSync(there)].some(({ name }) => name === "tried"));
  const served: Promise<unknown>[] = [];
  const relay = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    served.push((async () => {
      const web = await webSocketTransport(socket), conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await Promise.allSettled([web.readable.pipeTo(conn.writable), conn.readable.pipeTo(web.writable)]);
    })());
    return response;
  });
  await Deno.writeTextFile(`${home}/ca_key`, await key.export());
  await Deno.writeTextFile(`${home}/authorized_keys`, `${publicKeyLine(key.publicKey)}\n`);
  const known = publicKeyLine((await hostKey()).publicKey), knownHosts = `${home}/.ssh/known_hosts`;
  await Deno.writeTextFile(
    knownHosts,
    ["web?", "app", "bastion", "backup", "build", "far"].map((name) => `${name}.example ${known}\n`).join("") +
      `*.internal ${known}\n`,
  );

  const names = ["web1", "web2", "web3", "app", "bastion", "backup", "build", "new"];
  const tunnel = freePort(),
    web = freePort(),
    menu = freePort(),
    git = freePort(),
    keys = freePort(),
    objects = freePort();
  const routes = {
    ...Object.fromEntries(names.map((name) => [`${name}.example:22`, port])),
    "far.example:22": way.port,
    "relay.example:443": relay.addr.port,
    "store.example:443": store.addr.port,
    ...{ ":5432": tunnel, ":8000": web, ":2222": menu, ":2022": git, ":2223": keys, ":2224": objects },
  };
  const file = (title: string): string => `${home}/${title.replaceAll(/\W+/g, "_")}.ts`;
  for (const [title, code] of recipes) await Deno.writeTextFile(file(title), code);
  const inOrder = [...recipes.keys()].filter((title) => ![...endless, ...tests].includes(title));
  const asked = [...inOrder, ...endless].map((title) => ({ title, file: file(title), ends: !endless.includes(title) }));
  const { args, env, cwd } = machine.command(new URL("_recipes.ts", import.meta.url).pathname, routes, [
    JSON.stringify(asked),
  ]);
  const child = new Deno.Command(Deno.execPath(), {
    args,
    env: { ...env, SUDO_PASSWORD: "wonderland", BUILD_PASSWORD: "wonderland" },
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = Promise.all([child.stdout, child.stderr].map(async (stream) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) said += text;
  }));
  const says = async (wanted: string): Promise<void> => {
    await until(() => said.includes(wanted), `It does not say ${wanted}`, PROGRAM_HANGS).catch((cause) => {
      throw new Error(`The recipes said ${said}`, { cause });
    });
  };
  const testing = run([
    Deno.execPath(),
    "test",
    "--quiet",
    "--no-check",
    "--no-prompt",
    "--config",
    args[args.indexOf("--config") + 1]!,
    ...tests.map(file),
  ], { env: { NO_COLOR: "1" } });
  try {
    // For the shell, which takes what is no terminal as it is.
    await new Response("echo $((40 + 2)); exit 3\n").body!.pipeTo(child.stdin);
    await says("=== all");
    await says("The database listens");
    await says("GET /");
    const part = (title: string): string => said.split(`\n=== ${title}\n`)[1]!.split("\n===")[0]!;
    const wanted: Record<string, string> = {
      "The output of a command": "one.txt\nthe first\n",
      "Many hosts, five at a time": "web3.example: up 3 days",
      "What went wrong": "Exit code 5: no nginx here",
      "sudo": "root\nas its input",
      "Questions and answers": "You said y\n1.2-3",
      "An interactive shell": "42\n",
      "Through a bastion": "up 3 days",
      "A host of ssh_config": "up 3 days",
      "A page that only the bastion reaches": "200 All is well",
      "Over a WebSocket": "up 3 days",
      "Again after a lost connection": "steady",
      "Upload with a progress bar": "6 of 6 bytes, 0 s left",
      "Sync, and check the sums": "1 files sent (3 bytes)",
      "From one server to another": "1 files copied",
      "A host that is new": "up 3 days",
      "Make a key and let it in": "Added",
      "A certificate for an hour": "up 3 days",
    };
    for (const [title, text] of Object.entries(wanted)) {
      assertStringIncludes(said, text), assertStringIncludes(part(title), text, title);
    }
    assert(!said.includes("FAILED"), said);
    assertStringIncludes(said.split("=== An interactive shell")[1]!.split("=== code ")[1]!.slice(0, 1), "3");
    assertEquals([...Deno.readDirSync(`${there}/www`)].map(({ name }) => name).sort(), ["index.html", "pictures"]);
    assertEquals(await Deno.readTextFile(`${there}/www/pictures/2025/one.jpg`), "one");
    const dump = (await Deno.open(`${home}/app.sql.gz`)).readable.pipeThrough(new DecompressionStream("gzip"));
    assertEquals(await new Response(dump).text(), "dump of app\n");
    assertStringIncludes(await Deno.readTextFile(knownHosts), "new.example");
    assertStringIncludes(await Deno.readTextFile(`${home}/id_build`), "PRIVATE KEY");

    // Those that go on.
    const accepted = database.accept();
    (await Deno.connect({ hostname: "127.0.0.1", port: tunnel })).close();
    (await accepted).close();
    const gone = new AbortController();
    const shown = (await fetch(`http://127.0.0.1:${web}/`, { signal: gone.signal })).body!.getReader();
    assertEquals(new TextDecoder().decode((await shown.read()).value), "building\n");
    gone.abort();
    await shown.closed.catch(() => {});
    const fingerprint = await (await hostKey()).publicKey.fingerprint();
    const open = async (port: number) =>
      await connect({
        hostname: "127.0.0.1",
        port,
        username: "alice",
        auth: [publicKey(key)],
        verifyHostKey: pinnedHostKey(fingerprint),
      });
    {
      await using client = await open(menu);
      await using shell = await client.shell({ pty: { columns: 90 } });
      await shell.expect("Hello alice, your window has 90 columns");
      await shell.write("1");
      await shell.expect("All is well");
    }
    {
      await using client = await open(git);
      await Deno.mkdir(`${home}/repositories`);
      assertEquals((await run(["/usr/bin/git", "init", "-q", "--bare", `${home}/repositories/site.git`])).code, 0);
      assertStringIncludes((await client.exec("git-upload-pack '/site.git'")).text(), "0000");
      assertEquals((await client.exec("git-upload-pack '../site.git'")).code, 1);
    }
    {
      await using client = await open(keys);
      await using sftp = await client.sftp();
      assertEquals(await sftp.readTextFile("/alice.pub"), "ssh-ed25519 AAAA alice\n");
    }
    {
      await using client = await open(objects);
      await using sftp = await client.sftp();
      await sftp.writeTextFile("/one.txt", "one");
      assertEquals([...stored], [["/one.txt", "one"]]);
      assertEquals(await sftp.readTextFile("/one.txt"), "one");
      await assertRejects(() => sftp.writeTextFile("/refused", "two"), SshError);
      assertEquals(stored.size, 1);
    }
    child.kill("SIGINT");
    await until(() => machine.running.size === 0, "tail goes on there", PROGRAM_HANGS);
    const { code, stdout, stderr } = await testing;
    assertEquals(code, 0, `${new TextDecoder().decode(stdout)}${stderr}`);
    assertMatch(new TextDecoder().decode(stdout), /2 passed/);
  } finally {
    await endChild(child);
    await Promise.all([reading, testing]);
    database.close();
    await Promise.all([wiki.shutdown(), store.shutdown(), relay.shutdown(), way.close(), ...served]);
  }
});
