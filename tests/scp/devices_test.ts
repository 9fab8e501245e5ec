/** SCP as routers and other devices speak it, and what a user is told of those that do not. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  connect,
  insecureAcceptAnyHostKey,
  none,
  parsePrivateKey,
  serve,
  type ServerSession,
  type SshClient,
} from "../../mod.ts";
import { SftpError } from "../../lib/errors.ts";
import { scpDownload, scpUpload } from "../../lib/scp/scp.ts";
import { parseScpCommand, scpCommand } from "../../lib/scp/command.ts";
import { testKeys } from "../_support/keys.ts";
import { pipes, tempDir } from "../_support/sftp_peers.ts";

const text = new TextEncoder();

// S13
Deno.test("scpCommand() asks as OpenSSH's scp does, and says -- only before a name that begins with a dash", () => {
  assertEquals(scpCommand("to", "flash:/image.bin"), "scp -t flash:/image.bin");
  assertEquals(scpCommand("from", "flash:/image.bin"), "scp -f flash:/image.bin");
  const all = { recursive: true, preserve: true, directory: true };
  assertEquals(scpCommand("to", "dir", all), "scp -r -p -d -t dir");
  assertEquals(scpCommand("from", "", { preserve: true }), "scp -p -f .");
  assertEquals(scpCommand("to", "-rf"), "scp -t -- -rf");
  assertEquals(scpCommand("from", "-"), "scp -f -- -");
  assertEquals(scpCommand("to", "-a b"), "scp -t -- '-a b'");
  assertEquals(scpCommand("to", "./-x"), "scp -t ./-x");
  for (const path of ["-rf", "-", "--", "a b", "", "x -y"]) {
    for (const direction of ["to", "from"] as const) {
      const parsed = parseScpCommand(scpCommand(direction, path))!;
      assertEquals([parsed.direction, parsed.paths.map(({ text }) => text)], [direction, [path || "."]]);
    }
  }
});

/** Runs both directions against an other side that says this and, unless `open`, ends. */
async function told(bytes: Uint8Array, open = false): Promise<Record<"upload" | "download", unknown>> {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const run = async (copy: "upload" | "download"): Promise<unknown> => {
    const { near, far } = pipes(), writer = far.writable.getWriter();
    const sending = (async () => {
      await writer.write(bytes);
      if (!open) await writer.close();
    })().catch(() => {});
    const drained = far.readable.pipeTo(new WritableStream()).catch(() => {});
    const work = copy === "upload" ? scpUpload(near, `${dir.path}/f`) : scpDownload(near, "/there", `${dir.path}/g`);
    const outcome = await work.then((summary) => summary, (error) => error);
    await Promise.all([sending, drained]);
    return outcome;
  };
  const [upload, download] = await Promise.all([run("upload"), run("download")]);
  assertEquals([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["f"]);
  return { upload, download };
}

/** What devices, shells and start-up files say in the place of SCP. */
const texts = [
  "scp: illegal option -- -\nusage: scp [-t] file\n",
  "\r\n% Invalid input detected at '^' marker.\r\n\r\nrouter#",
  "Error: unknown command",
  "bash: scp: command not found\n",
  "Welcome to host.example.org\nLast login: today\n",
  "Command fail. Return code -61\n",
  "Destination is read-only\n",
  "This account is currently not available.\n",
  "x",
];

for (const open of [false, true]) {
  Deno.test(`what a device says in the place of an answer is in the error, ${open ? "though the channel stays open" : "to its end"}`, async () => {
    // The waits go side by side.
    await Promise.all(texts.map(async (said) => {
      // What starts like a line of SCP is one until its end.
      if (open && !said.includes("\n") && /^[CDTE]/.test(said)) return;
      const outcomes = await told(text.encode(said), open);
      for (const [copy, error] of Object.entries(outcomes)) {
        assert(error instanceof SftpError, `${copy}: ${error}`);
        const quoted = JSON.stringify(said.trim()).slice(1, -1).slice(0, 20);
        assertStringIncludes(error.message, `does not answer as scp, it says "`);
        assertStringIncludes(error.message, said.trim().split(/[\r\n]/)[0]!, `${copy}: ${quoted}`);
      }
    }));
  });
}

Deno.test("what a device says is escaped, and no more of it kept than an error can hold", async () => {
  const nasty = await told(text.encode("\x1b[2J\x07evil\u202etxt\n" + "a".repeat(100_000)));
  const bytes = await told(new Uint8Array([0xff, 0xfe, 0x80, 0x0a]));
  for (const error of [...Object.values(nasty), ...Object.values(bytes)]) {
    assert(error instanceof SftpError, String(error));
    assert(!/[\p{Cc}\u202e]/u.test(error.message), JSON.stringify(error.message));
    assert(error.message.isWellFormed());
    assert(error.message.length < 8000, String(error.message.length));
  }
});

Deno.test("an error that the other side tells is escaped, too", async () => {
  for (const byte of ["\x01", "\x02"]) {
    for (const error of Object.values(await told(text.encode(`${byte}scp: no\x1b[2J\x07 space\u202etxt\n`)))) {
      assert(error instanceof SftpError, String(error));
      assertStringIncludes(error.message, "the other side says: no");
      assert(!/[\p{Cc}\u202e]/u.test(error.message), JSON.stringify(error.message));
    }
  }
});

Deno.test("an error without a line feed at its end is told, and one without a word is one all the same", async () => {
  const cases = [false, true].flatMap((open) => ["\x01", "\x02"].map((byte) => ({ open, byte })))
    // Behind an error that ends nothing, a sender may always go on.
    .filter(({ open, byte }) => !open || byte !== "\x01");
  // The waits go side by side.
  await Promise.all(cases.map(async ({ open, byte }) => {
    for (const error of Object.values(await told(text.encode(`${byte}scp: no space left`), open))) {
      assert(error instanceof SftpError, String(error));
      assertStringIncludes(error.message, "the other side says: no space left");
    }
    for (const error of Object.values(await told(text.encode(byte)))) {
      assert(error instanceof SftpError, String(error));
      assertStringIncludes(error.message, "the other side says: (nothing)");
    }
  }));
});

async function device(
  handler: (session: ServerSession) => Promise<number>,
): Promise<AsyncDisposable & { readonly client: SshClient }> {
  const { host } = await testKeys();
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(host.ed25519.text)],
    auth: { none: () => true },
    handler,
    onError: () => {},
  });
  const client = await connect({
    hostname: "127.0.0.1",
    port: server.addr.port,
    username: "admin",
    auth: [none()],
    verifyHostKey: insecureAcceptAnyHostKey(),
  });
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client.close();
      await server.shutdown();
    },
  };
}

async function say(stream: WritableStream<Uint8Array>, said: string): Promise<void> {
  const writer = stream.getWriter();
  await writer.write(text.encode(said));
  writer.releaseLock();
}

Deno.test("client.scp tells what the server says on its standard error, and its exit code", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  const commands: string[] = [];
  await using peer = await device(async (session) => {
    commands.push(session.command!);
    await say(session.stderr, "sh: scp: not found\x1b[0m\n" + "y".repeat(10_000));
    return 127;
  });
  const { scp } = peer.client;
  for (
    const copy of [
      () => scp.upload(`${dir.path}/f`, "flash:/f"),
      () => scp.download("flash:/f", `${dir.path}/g`),
      () => scp.download("-f", `${dir.path}/g`, { recursive: true }),
    ]
  ) {
    const error = await assertRejects(copy, SftpError);
    assertStringIncludes(error.message, "exit code 127");
    assertStringIncludes(error.message, 'on its standard error: "sh: scp: not found');
    assert(!error.message.includes("\x1b") && error.message.length < 3000, error.message);
  }
  assertEquals(commands, ["scp -t flash:/f", "scp -f flash:/f", "scp -r -f -- -f"]);
});

Deno.test("client.scp copies to a server that takes everything and ends with another exit code, and warns of it", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/f`, "x");
  await using peer = await device(async (session) => {
    const reader = session.stdin.getReader();
    await say(session.stdout, "\0");
    await reader.read();
    await say(session.stdout, "\0");
    await reader.read();
    await say(session.stdout, "\0");
    await say(session.stderr, "flash is worn out\n");
    return 1;
  });
  const { files, warnings } = await peer.client.scp.upload(`${dir.path}/f`, "f");
  assertEquals(files, 1);
  assertEquals(warnings, ['The server\'s scp took everything, and ended with exit code 1: "flash is worn out"']);
});
