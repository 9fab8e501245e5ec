/**
 * Through the proxies of others, `ssh -D` among them, and over programs of others, to OpenSSH's server: bytes by hash, refused logins, targets
 * that are not there, and a proxy that is killed. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type ConnectOptions, parsePrivateKey, pinnedHostKey, publicKey, SshError } from "../../mod.ts";
import { freePort } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { scratchDir } from "../_support/keys.ts";
import { peers, peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";

const sent = seededBytes(300_000);
const digest = async (bytes: Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();

async function optionsFor(server: ServerPeer): Promise<ConnectOptions> {
  return {
    hostname: "localhost",
    port: server.port,
    username: server.username,
    auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(server.clientKey.file)))],
    verifyHostKey: pinnedHostKey(...server.hostKeys),
  };
}

/** One login whose command gives back what it gets. */
async function roundTrip(options: ConnectOptions): Promise<void> {
  await using client = await connect(options);
  const process = await client.spawn("cat"), output = process.output();
  const writer = process.stdin.getWriter();
  await writer.write(sent);
  await writer.close();
  assertEquals(await digest((await inTime(output, "the output")).stdout), await digest(sent));
}

async function failure(options: ConnectOptions): Promise<SshError> {
  return await inTime(assertRejects(() => connect(options), SshError), "the error");
}

/** A proxy of others, which runs until the test is done with it. */
async function start(command: readonly string[], port: number) {
  const [program, ...args] = command;
  const child = new Deno.Command(program!, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  await until(
    () => Deno.connect({ hostname: "127.0.0.1", port }).then((conn) => (conn.close(), true), () => false),
    program!,
    PROGRAM_HANGS,
  );
  return {
    child,
    async [Symbol.asyncDispose]() {
      try {
        // Told to end, some wait for their threads.
        child.kill("SIGKILL");
      } catch {
        // The test was first.
      }
      await child.status;
    },
  };
}

peerTest(
  "tinyproxy",
  `connect() goes through ${peers.tinyproxy.title} with CONNECT, with and without a login`,
  async () => {
    await using server = await startOpenSshd();
    const options = await optionsFor(server), dir = scratchDir();
    for (const login of ["", "alice:p%2ess-word@"]) {
      const port = freePort(), config = `${dir}/${port}.conf`;
      Deno.writeTextFileSync(
        config,
        `Port ${port}\nListen 127.0.0.1\nAllow 127.0.0.1\nMaxClients 20\nConnectPort ${server.port}\n` +
          (login === "" ? "" : "BasicAuth alice p.ss-word\n"),
      );
      await using _proxy = await start(["/usr/bin/tinyproxy", "-d", "-c", config], port);
      await roundTrip({ ...options, proxy: `http://${login}127.0.0.1:${port}` });
      const refused = await failure({ ...options, port: 1, proxy: `http://${login}127.0.0.1:${port}` });
      assert(/the proxy refused: it answered "403/.test(refused.message), refused.message);
      if (login === "") continue;
      const without = await failure({ ...options, proxy: `http://127.0.0.1:${port}` });
      assert(/the proxy wants a login \("407|refused: it answered "401/.test(without.message), without.message);
      const wrong = await failure({ ...options, proxy: `http://alice:hunter2@127.0.0.1:${port}` });
      assert(/the proxy refused/.test(wrong.message) && !Deno.inspect(wrong).includes("hunter2"), wrong.message);
    }
  },
);

peerTest(
  "microsocks",
  "connect() goes through microsocks with SOCKS5, with and without a login, and notices its end",
  async () => {
    await using server = await startOpenSshd();
    // By its address: microsocks tries the first one of a name, which may be another family's.
    const options = { ...await optionsFor(server), hostname: "127.0.0.1" };
    for (const login of ["", "alice:secret@"]) {
      const port = freePort(), words = login === "" ? [] : ["-u", "alice", "-P", "secret"];
      await using proxy = await start(["/usr/bin/microsocks", "-i", "127.0.0.1", "-p", `${port}`, ...words], port);
      const url = `socks5://${login}127.0.0.1:${port}`;
      await roundTrip({ ...options, proxy: url });
      const nobody = freePort();
      const refused = await failure({ ...options, port: nobody, proxy: url });
      assert(
        refused.message.startsWith(`Cannot connect to "127.0.0.1" port ${nobody} through the proxy`),
        refused.message,
      );
      assert(refused.message.includes("connection refused"), refused.message);
      if (login !== "") {
        const wrong = await failure({ ...options, proxy: `socks5://alice:hunter2@127.0.0.1:${port}` });
        assert(!Deno.inspect(wrong).includes("hunter2"), wrong.message);
        assert((await failure({ ...options, proxy: `socks5://127.0.0.1:${port}` })).message.includes("wants a login"));
        continue;
      }
      const client = await connect({ ...options, proxy: url });
      const running = client.exec("sleep 60");
      running.catch(() => {});
      await client.exec("true");
      proxy.child.kill("SIGKILL");
      const error = await inTime(assertRejects(() => running, SshError), "the error");
      assertEquals(error.code, "CONNECTION_LOST");
      await client.close();
    }
  },
);

peerTest(
  "openssh",
  "connect() goes through `ssh -D` with SOCKS4a and SOCKS5, and over `ssh -W` as a program",
  async () => {
    await using server = await startOpenSshd();
    const options = await optionsFor(server), dir = scratchDir(), port = freePort();
    Deno.writeTextFileSync(
      `${dir}/known`,
      server.hostKeys.map((line) => `[127.0.0.1]:${server.port} ${line}\n`).join(""),
    );
    const config = [
      "BatchMode=yes",
      `UserKnownHostsFile=${dir}/known`,
      "GlobalKnownHostsFile=/dev/null",
      "IdentityAgent=none",
      "IdentitiesOnly=yes",
      `IdentityFile=${server.clientKey.file}`,
      "LogLevel=ERROR",
    ].flatMap((line) => ["-o", line]);
    const ssh = ["/usr/bin/ssh", "-F", "/dev/null", ...config, "-p", `${server.port}`];
    const there = `${server.username}@127.0.0.1`;
    {
      await using _proxy = await start([...ssh, "-N", "-D", `127.0.0.1:${port}`, there], port);
      for (const scheme of ["socks4a", "socks5"]) {
        await roundTrip({
          ...options,
          proxy: `${scheme}://127.0.0.1:${port}`,
        });
      }
      const refused = await failure({ ...options, port: freePort(), proxy: `socks5://127.0.0.1:${port}` });
      assert(refused.message.includes("through the proxy"), refused.message);
    }
    await roundTrip({ ...options, proxyCommand: [...ssh, "-W", "%h:%p", there] });
    const wrong = await failure({ ...options, proxyCommand: [...ssh, "-W", "%h:%p", `${there}.invalid`] });
    assert(/proxy command "\/usr\/bin\/ssh" ended with exit code 255; it wrote "/.test(wrong.message), wrong.message);
  },
);

peerTest("netcat", "connect() runs over `nc`, and tells what that says where nobody listens", async () => {
  await using server = await startOpenSshd();
  const options = await optionsFor(server);
  await roundTrip({ ...options, proxyCommand: ["nc", "%h", "%p"] });
  const nobody = await failure({ ...options, port: freePort(), proxyCommand: ["nc", "-v", "127.0.0.1", "%p"] });
  assert(/proxy command "nc" ended with exit code 1; it wrote ".*refused/.test(nobody.message), nobody.message);
});
