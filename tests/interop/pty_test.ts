/**
 * Terminals of `shellHandler()` as the clients of others use them. `ssh` and `plink` themselves run on terminals of `spawnPty()`, whose
 * modes and sizes they tell the server, as they do in anybody's window.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { serve } from "../../lib/api/server.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { shellHandler, spawnPty, type SpawnPtyOptions } from "../../lib/pty/mod.ts";
import { run, runText } from "../_support/child.ts";
import { puttyKey, testKeys } from "../_support/keys.ts";
import { newerPython, peers, peerTest, scripts } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";

/** Tells type and size, follows resizes, and ends with 9 at ^C. */
const COMMAND = 'trap "stty size" WINCH; trap "echo int; exit 9" INT; echo "$TERM $(stty size)"; echo ready; ' +
  "while :; do sleep 0.05; done";

async function start() {
  const { host, user } = await testKeys(), handled = new Set<Promise<unknown>>();
  const handle = shellHandler({ env: { HOME: "/", PATH: "/usr/bin:/bin" } });
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(await Deno.readTextFile(host.ed25519.file))],
    auth: { publicKey: () => true },
    onListen: () => {},
    handler: (session) => {
      const code = Promise.resolve(handle(session));
      handled.add(code.catch(() => {}));
      return code;
    },
  });
  return {
    port: server.addr.port,
    key: user.ed25519,
    hostKey: host.ed25519,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Promise.all(handled);
    },
  };
}

type Started = Awaited<ReturnType<typeof start>>;

function sshArgs({ port, key }: Started, more: readonly string[]): string[] {
  const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"];
  const words = [...options, `IdentityFile=${key.file}`].flatMap((option) => ["-o", option]);
  return ["-F", "/dev/null", "-p", String(port), ...words, "-e", "none", ...more];
}

/** A client on a terminal of its own. */
function onTerminal(command: string, args: readonly string[], options: SpawnPtyOptions = {}) {
  const process = spawnPty(command, { args, term: "vt220", window: { columns: 101, rows: 31 }, ...options });
  const reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader(), writer = process.stdin.getWriter();
  let said = "";
  const next = async (): Promise<boolean> => {
    const { value, done } = await reader.read();
    if (!done) said += value;
    return !done;
  };
  return {
    process,
    type: (text: string) => writer.write(new TextEncoder().encode(text)),
    until: async (wanted: RegExp): Promise<RegExpExecArray> => {
      while (!wanted.test(said)) {
        assert(await inTime(next(), `${command} said ${said}`, PROGRAM_HANGS), `${command} ended: ${said}`);
      }
      return wanted.exec(said)!;
    },
    end: async (): Promise<string> => {
      while (await next());
      return said;
    },
  };
}

peerTest(
  "openssh",
  "ssh on a terminal has one there: modes, sizes, resizes, ^C, exit codes, and hang-ups",
  async () => {
    await using server = await start();
    {
      const client = onTerminal("/usr/bin/ssh", sshArgs(server, ["-t", "amiko@127.0.0.1", COMMAND]), {
        modes: { VERASE: 8 },
      });
      await using process = client.process;
      await client.until(/vt220 31 101\s+ready/);
      process.resize({ columns: 102, rows: 32 });
      await client.until(/32 102/);
      await client.type("\x03");
      await client.end();
      assertEquals((await process.status).code, 9);
    }
    {
      // A shell with a full-screen program, as somebody types it.
      const client = onTerminal("/usr/bin/ssh", sshArgs(server, ["amiko@127.0.0.1"]), { modes: { VERASE: 8 } });
      await using process = client.process;
      await client.type("stty -a | grep -o 'erase = ^.'; echo \"$SSH_CONNECTION\" on $SSH_TTY\r");
      await client.until(/erase = \^H/);
      await client.until(new RegExp(`127.0.0.1 \\d+ 127.0.0.1 ${server.port} on /dev/pts/\\d+`));
      await client.type("sleep 1000 & echo pids $! $$\r");
      const [, ...pids] = await client.until(/pids (\d+) (\d+)/);
      // The client is gone without a word.
      process.kill("KILL");
      await client.end();
      const isThere = (pid: string) => {
        try {
          return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
        } catch {
          return false;
        }
      };
      await until(() => !isThere(pids[1]!), "the shell runs on", PROGRAM_HANGS);
      // A job of a shell that does not pass SIGHUP on stays, as on OpenSSH's server.
      if (isThere(pids[0]!)) Deno.kill(Number(pids[0]), "SIGKILL");
    }
  },
);

peerTest("openssh", "ssh -tt with pipes gets output whole, codes and signals, and its end of input is ^D", async () => {
  await using server = await start();
  const ssh = (command: string, stdin = new Uint8Array()) =>
    run(["/usr/bin/ssh", ...sshArgs(server, ["-tt", "amiko@127.0.0.1", command])], { stdin });
  const [cat, killed, big] = await Promise.all([
    ssh("stty -echo; cat; exit 3", new TextEncoder().encode("a\nb")),
    ssh("kill -KILL $$"),
    // The end of input may come behind `stty`, and would be echoed: `^D`.
    ssh("stty raw -echo; (sleep 1000 &) ; head -c 2000000 /dev/zero"),
  ]);
  assertEquals(cat.code, 3);
  assertMatch(new TextDecoder().decode(cat.stdout), /a\r\nb$/);
  assertEquals([killed.code, big.code], [255, 0]);
  assertEquals(big.stdout.length, 2_000_000);
});

peerTest("putty", "plink -t has a terminal there, with its size, ^C and exit codes", async () => {
  await using server = await start();
  const fingerprint = (await runText(["ssh-keygen", "-lf", server.hostKey.file])).split(" ")[1]!;
  const options = [
    "-batch",
    "-hostkey",
    fingerprint,
    "-P",
    String(server.port),
    "-i",
    await puttyKey(server.key),
    "-t",
  ];
  const client = onTerminal("/usr/bin/plink", [...options, "amiko@127.0.0.1", COMMAND]);
  await using process = client.process;
  await client.until(/\w+ 31 101\s+ready/);
  process.resize({ columns: 102, rows: 32 });
  await client.until(/32 102/);
  await client.type("\x03");
  await client.end();
  assertEquals((await process.status).code, 9);
});

const both = peers.asyncssh.installed ? "paramiko" : "asyncssh";

peerTest(
  both,
  `${peers.paramiko.title} and ${peers.asyncssh.title} have terminals there, resize them and press ^C`,
  async () => {
    await using server = await start();
    const settings = JSON.stringify({ port: server.port, key: server.key.file, command: COMMAND });
    await Promise.all(["paramiko", "asyncssh"].map(async (id) => {
      const command = ["/usr/bin/python3", "-W", "ignore", `${scripts}/${id}_terminal.py`, settings];
      const { said, code } = JSON.parse(await runText(command, { env: newerPython }));
      assertMatch(said, /vt220 31 101\s+ready\s+32 102\s+\^Cint/, id);
      assertEquals(code, 9, id);
    }));
  },
);
