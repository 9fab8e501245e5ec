/**
 * Starts every example as a reader would, with the permissions that its first line names and no others.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import {
  connect,
  connectAgent,
  generateKey,
  insecureAcceptAnyHostKey,
  parsePrivateKey,
  password,
  pinnedHostKey,
  type PrivateKey,
  publicKey,
  SshAuthError,
} from "../../mod.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { Exec } from "../../lib/session/messages.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { say, text } from "../_support/joined.ts";
import { commandOf, examples, startServer } from "../_support/examples.ts";
import { run, serverWithHome } from "./_help.ts";

const tested = [
  "agent.ts",
  "ca.ts",
  "config.ts",
  "copy_id.ts",
  "demo.ts",
  "echo_server.ts",
  "exec.ts",
  "fetch.ts",
  "forward.ts",
  "jump.ts",
  "keygen.ts",
  "multicore_server.ts",
  "server.ts",
  "sftp.ts",
  "sftp_server.ts",
  "shell.ts",
  "sign.ts",
  "sync.ts",
  "transport_client.ts",
  "transport_server.ts",
  "tunnel_server.ts",
  "unit_test.ts",
];

Deno.test("examples/ holds what is tested here, and no more", () => {
  const found = [...Deno.readDirSync(examples)].map(({ name }) => name).filter((name) => name.endsWith(".ts"));
  assertEquals(found.toSorted(), tested);
});

Deno.test("examples/demo.ts holds every step", async () => {
  const { code, stdout, stderr } = await run("demo.ts", []);
  assertEquals([code, stderr], [0, ""], stdout);
  assertStringIncludes(stdout, "Every step held.");
  assertEquals(stdout.match(/^ok {4}/gm)?.length, 8);
});

Deno.test("examples/exec.ts runs a command with its output and exit code", async () => {
  await using server = await serverWithHome();
  assertEquals(await run("exec.ts", [server.target, "echo", "hello"], server.env), {
    code: 0,
    stdout: "hello\n",
    stderr: "",
  });
  assertEquals(await run("exec.ts", [server.target, "stderr"], server.env), { code: 3, stdout: "out", stderr: "err" });
  const lost = await run("exec.ts", ["alice@127.0.0.1:1", "true"], server.env);
  assertEquals(lost.code, 255);
  assertStringIncludes(lost.stderr, "Connection refused");
});

Deno.test({
  name: "examples/agent.ts asks before each use of a key, and forgets them with its socket when it ends",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const key = await generateKey("ed25519", { comment: "mine" }), file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, await key.export());
    const [program, ...args] = commandOf("agent.ts", ["--forget-after=600", file]);
    const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader(), writer = child.stdin.getWriter();
    const errors = new Response(child.stderr).text();
    let said = "";
    const says = async (pattern: RegExp): Promise<RegExpExecArray> => {
      for (;;) {
        const match = pattern.exec(said);
        if (match !== null) return said = said.slice(match.index + match[0].length), match;
        const { value, done } = await reader.read();
        if (done) throw new Error(`it ended: ${said}${await errors}`);
        said += value;
      }
    };
    const [, path] = await says(/SSH_AUTH_SOCK=(\S+); export SSH_AUTH_SOCK;\n/);
    {
      await using agent = await connectAgent(await Deno.connect({ transport: "unix", path: path! }));
      const [signer] = await agent.signers(), data = new Uint8Array(1);
      for (const answer of ["y", "n"]) {
        const signing = signer!.sign(data, "ssh-ed25519").then(() => "y", () => "n");
        await says(/This machine wants to sign something unknown with the key "mine"\. Allow it\? \[y\/N\]\n/);
        await writer.write(new TextEncoder().encode(`${answer}\n`));
        assertEquals(await signing, answer);
      }
    }
    child.kill("SIGTERM");
    await child.status;
    await writer.abort();
    await reader.cancel();
    assertEquals(await errors, "");
    await assertRejects(() => Deno.stat(path!), Deno.errors.NotFound);
    await Deno.remove(file);
  },
});

Deno.test({
  name: "examples/exec.ts and shell.ts are allowed to use the agent, and exec.ts says why no key was found",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using server = await serverWithHome();
    const { HOME } = server.env, path = `${HOME}/agent`, file = `${HOME}/.ssh/id_ed25519`;
    const held = await parsePrivateKey(await Deno.readTextFile(file));
    await Deno.remove(file);
    const refused = await run("exec.ts", [server.target, "echo", "hello"], { ...server.env, SSH_AUTH_SOCK: path });
    assertEquals(refused.code, 255);
    assertStringIncludes(refused.stderr, `there was no key to offer, agent: Cannot connect to agent`);
    await using _agent = agentWith(path, held);
    for (
      const [name, args] of [["exec.ts", [server.target, "echo", "hello"]], ["shell.ts", [server.target]]] as const
    ) {
      const { code, stdout, stderr } = await run(name, args, { ...server.env, SSH_AUTH_SOCK: path });
      assertEquals([code, stdout, stderr], [0, name === "exec.ts" ? "hello\n" : "shell of alice\n", ""]);
    }
  },
});

/** An agent with one key at a path. */
function agentWith(path: string, key: PrivateKey): AsyncDisposable {
  const listener = Deno.listen({ transport: "unix", path });
  const serving = (async () => {
    for await (const conn of listener) {
      const bytes = new Uint8Array(4096);
      for (let read; (read = await conn.read(bytes)) !== null;) {
        const request = new Reader(bytes.subarray(4, read)), answer = new Writer();
        if (request.u8() === 11) answer.u8(12).u32(1).string(key.publicKey.blob).text("a key of the agent's");
        else {
          request.view();
          answer.u8(14).string(await key.sign(request.string(), "ssh-ed25519"));
        }
        await conn.write(new Writer().string(answer.bytes()).bytes());
      }
      conn.close();
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving.catch(() => {});
    },
  };
}

Deno.test({
  name: "examples/shell.ts gives a raw terminal of the same size, and passes resizes on",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using server = await serverWithHome({
      handler: async (session) => {
        const writer = session.stdout.getWriter();
        await say(writer, `${session.pty?.term} ${session.pty?.columns}x${session.pty?.rows}\r\n`);
        for await (const { columns, rows } of session.resizes) {
          // `stty` sets one number after the other, and each is a resize.
          if (rows !== 31) continue;
          await say(writer, `resized ${columns}x${rows}\r\n`);
          break;
        }
        const reader = session.stdin.getReader();
        const { value } = await reader.read();
        await say(writer, `key ${value?.[0]}\r\n`);
        return 9;
      },
    });
    const told = await Deno.makeTempFile();
    await Deno.remove(told);
    const words = commandOf("shell.ts", [server.target]).map((word) => `'${word}'`).join(" ");
    const script = `stty columns 100 rows 30; ${words}; code=$?; stty -a | grep -o -- '-\\?icanon'; exit $code`;
    const child = new Deno.Command("script", {
      // The terminal is script's: its child is what a user's shell would be, and ^C is the key pressed.
      args: [
        "-qefc",
        `t=$(tty); (for i in $(seq 900); do [ -e '${told}' ] && break; sleep 0.1; done; ` +
        `stty -F "$t" columns 101 rows 31) & ${script}`,
        "/dev/null",
      ],
      env: server.env,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const writer = child.stdin.getWriter();
    let said = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const had = said.includes("resized");
      said += value;
      // Resized when the session has told the first size, however long it took to get there.
      if (said.includes("100x30")) await Deno.writeTextFile(told, "");
      if (!had && said.includes("resized")) await writer.write(new Uint8Array([3]));
    }
    await writer.close().catch(() => {});
    const { code } = await child.status;
    clearTimeout(timer);
    await Deno.remove(told).catch(() => {});
    assertEquals(code, 9, said);
    assertMatch(said, /vt100 100x30\s+resized 101x31\s+key 3\s+icanon/);
    assert(!said.includes("-icanon"), "the terminal is as it was");
  },
});

Deno.test("examples/server.ts serves commands, with a password and an authorized_keys file, and a real shell", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  try {
    const key = await generateKey();
    await Deno.writeTextFile(`${dir}/keys`, `ssh-ed25519 ${key.publicKey.blob.toBase64()} alice\n`);
    await using server = await startServer("server.ts", [
      "--port=0",
      `--host-key=${dir}/host_key`,
      `--authorized-keys=${dir}/keys`,
    ], { SSH_PASSWORD: "a password" });
    const fingerprint = /SHA256:\S+/.exec(server.said)![0];
    const options = {
      hostname: "127.0.0.1",
      port: server.port,
      username: "alice",
      verifyHostKey: pinnedHostKey(fingerprint),
    };
    {
      await using client = await connect({ ...options, auth: [password("a password")] });
      const { code, stdout, stderr } = await client.exec("echo out; echo err >&2; env; exit 5");
      assertEquals([code, text(stderr)], [5, "err\n"]);
      assertMatch(text(stdout), /^out\n/);
      assert(!text(stdout).includes("a password"), "the password is nobody's business");
      assertEquals((await client.exec("kill -TERM $$")).signal, "TERM");
      await using cat = await client.spawn("cat");
      await new Blob(["through cat"]).stream().pipeTo(cat.stdin);
      assertEquals(text((await cat.output()).stdout), "through cat");
    }
    {
      await using client = await connect({ ...options, auth: [publicKey(key)] });
      await using shell = await client.shell({ pty: { columns: 90, rows: 20, term: "dumb" } });
      const writer = shell.stdin.getWriter();
      await say(writer, "stty -echo; stty size\n");
      const reader = shell.stdout.pipeThrough(new TextDecoderStream()).getReader();
      let said = "";
      const until = async (wanted: string) => {
        while (!said.includes(wanted)) said += (await reader.read()).value ?? "(end)";
      };
      await until("20 90");
      shell.resize({ columns: 91, rows: 21 });
      for (let i = 0; i < 50 && !said.includes("21 91"); i++) {
        await say(writer, "sleep 0.1; stty size\n");
        said += (await reader.read()).value;
      }
      await until("21 91");
      await say(writer, "exit 6\n");
      while (!(await reader.read()).done);
      assertEquals((await shell.status).code, 6);
    }
    await assertRejects(() => connect({ ...options, auth: [password("another")] }), SshAuthError);
    await assertRejects(async () => connect({ ...options, auth: [publicKey(await generateKey())] }), SshAuthError);
    server.child.kill("SIGINT");
    assertEquals((await server.child.status).code, 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("examples/echo_server.ts gives back what it gets", async () => {
  await using server = await startServer("echo_server.ts", ["0"]);
  await using client = await connect({
    hostname: "127.0.0.1",
    port: server.port,
    username: "anyone",
    auth: [password("echo")],
    verifyHostKey: insecureAcceptAnyHostKey(),
  });
  await using process = await client.spawn("echo");
  await new Blob(["hello"]).stream().pipeTo(process.stdin);
  const { stdout, code } = await process.output();
  assertEquals([text(stdout), code], ["hello", 0]);
});

Deno.test("examples/transport_client.ts and transport_server.ts talk to each other, also behind one that hung up", async () => {
  await using server = await startServer("transport_server.ts", ["0"]);
  await using hasty = new Transport(await Deno.connect({ hostname: "127.0.0.1", port: server.port }));
  await hasty.connect({ username: "robey", password: "foo" });
  const channel = await hasty.openSession();
  channel.notify("exec", Exec.encode({ command: "world" }));
  await channel.close();
  await channel.closed;
  const fingerprint = /SHA256:\S+/.exec(server.said)![0];
  const { code, stdout, stderr } = await run("transport_client.ts", [
    ...["127.0.0.1", `${server.port}`, "robey", "foo"],
    fingerprint,
    "world",
  ]);
  assertEquals([code, stdout], [0, "Hello world\n"], stderr);
  assertMatch(stderr, /^Negotiated \S+, \S+\n$/);
  const impostor = await run("transport_client.ts", [
    ...["127.0.0.1", `${server.port}`, "robey", "foo"],
    "SHA256:another",
    "world",
  ]);
  assertEquals(impostor.stdout, "");
  assertStringIncludes(impostor.stderr, `The server shows the key ${fingerprint}`);
});
