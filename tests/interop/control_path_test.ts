/**
 * `connect({ controlPath })` through the control sockets of OpenSSH's masters, to its own servers and to `serve()`.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { letGoOfHeld } from "../../lib/api/control_path.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { freePort } from "../_support/child.ts";
import { type ControlMaster, startMaster } from "../_support/control_master.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { peers, peerTest, startOpenSshd } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";

const SIZE = 1_000_000;
const bytes = new Uint8Array(SIZE).map((_, i) => i * 7 ^ i >> 9);

async function hash(data: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
}

/** That the master goes on, for others too. */
async function goesOn(master: ControlMaster): Promise<void> {
  const { success, said } = await master.control("check");
  assert(success && master.runs, `${said}\n${master.log()}`);
}

for (const id of ["openssh", "openssh10"] as const) {
  const version = id === "openssh" ? "9.2" : "10";
  peerTest(id, `A client over ${peers[id].title}'s master runs commands, moves files and dials`, async (t) => {
    await using server = await startOpenSshd({ version, config: ["MaxSessions=50"] });
    await using master = await startMaster(version, { ...server, identity: server.clientKey.file });
    const dir = scratchDir();

    await t.step("exec() gives output, errors and exit code; what cannot be known is said", async () => {
      await using client = await connect({ controlPath: master.path });
      const { code, stdout, stderr } = await client.exec("echo out; echo err >&2; exit 3");
      assertEquals([code, new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)], [3, "out\n", "err\n"]);
      assertThrows(() => client.info, SshError, "Cannot tell what the handshake agreed on through a control socket");
      await assertRejects(() => client.rekey(), SshError, "Cannot renew the keys through a control socket");
      await assertRejects(() => client.request("keepalive@openssh.com"), SshError, "Cannot make global request");
      await assertRejects(() => client.exec("exit", { signal: AbortSignal.abort("no") }));
    });
    await t.step("much goes both ways, and a side that is slow stops the other", async () => {
      await using client = await connect({ controlPath: master.path, window: 65_536 });
      const process = await client.spawn("cat");
      const writing = new Response(bytes).body!.pipeTo(process.stdin);
      assertEquals(await hash((await process.output()).stdout), await hash(bytes));
      await writing;
      const slow = await client.spawn("cat /dev/zero");
      const reader = slow.stdout.getReader();
      await reader.read();
      // Nothing comes of another one's wait.
      assertEquals((await client.exec("echo x")).stdout.length, 2);
      await reader.cancel();
    });
    await t.step("twenty commands at once over one client, and two clients at once", async () => {
      await using one = await connect({ controlPath: master.path });
      await using two = await connect({ controlPath: master.path });
      const outputs = await Promise.all(
        Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one : two).exec(`head -c 200000 /dev/zero; echo ${i}`)),
      );
      outputs.forEach(({ stdout }, i) => assertEquals(stdout.length, 200_000 + `${i}\n`.length));
    });
    await t.step("a client over a master is a jump host", async () => {
      await using jump = await connect({ controlPath: master.path });
      const { hostname, port, username } = server;
      const auth = [publicKey(Deno.readTextFileSync(server.clientKey.file))];
      await using client = await connect({
        hostname,
        port,
        username,
        auth,
        verifyHostKey: pinnedHostKey(...server.hostKeys),
        jump,
      });
      assertEquals((await client.exec("echo through")).text(), "through\n");
    });

    await t.step("SFTP and SCP move files", async () => {
      await using client = await connect({ controlPath: master.path });
      {
        await using sftp = await client.sftp();
        Deno.writeFileSync(`${dir}/local`, bytes);
        await sftp.upload(`${dir}/local`, `${dir}/there`);
        assertEquals(await hash(Deno.readFileSync(`${dir}/there`)), await hash(bytes));
        await sftp.download(`${dir}/there`, `${dir}/back`);
        assertEquals(await hash(Deno.readFileSync(`${dir}/back`)), await hash(bytes));
      }
      await client.scp.download(`${dir}/there`, `${dir}/scp`);
      assertEquals(await hash(Deno.readFileSync(`${dir}/scp`)), await hash(bytes));
    });

    await t.step("dial() and forwardLocal() lead to where the server reaches", async () => {
      await using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = listener.addr as Deno.NetAddr;
      const serving = (async () => {
        for await (const conn of listener) void conn.readable.pipeTo(conn.writable).catch(() => {});
      })();
      await using client = await connect({ controlPath: master.path });
      const conn = await client.dial({ hostname: "127.0.0.1", port });
      const writing = (async () => {
        await conn.write(bytes);
        await conn.closeWrite();
      })();
      assertEquals(await hash(await new Response(conn.readable).bytes()), await hash(bytes));
      await writing;
      await conn.close();
      await using forward = await client.forwardLocal({ port: 0 }, { hostname: "127.0.0.1", port });
      const through = await Deno.connect({ port: (forward.addr as Deno.NetAddr).port });
      await through.write(new Uint8Array(1000));
      await through.closeWrite();
      assertEquals((await new Response(through.readable).bytes()).length, 1000);
      listener.close();
      await serving;
    });
    await t.step("listen() and forwardRemote() have the server listen, and take it back", async () => {
      await using client = await connect({ controlPath: master.path });
      const echo = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = echo.addr as Deno.NetAddr;
      const serving = (async () => {
        for await (const conn of echo) void conn.readable.pipeTo(conn.writable).catch(() => {});
      })();
      const there = freePort();
      for (const from of [{ port: 0 }, { hostname: "127.0.0.1", port: there }, { path: `${dir}/remote` }]) {
        await using forward = await client.forwardRemote(from, { port });
        // An address of Deno's is what its connect() takes; the port is a real one.
        const through = await Deno.connect(forward.addr as Deno.NetAddr & { transport: "tcp" });
        const writing = (async () => {
          await through.write(bytes.subarray(0, 100_000));
          await through.closeWrite();
        })();
        assertEquals((await new Response(through.readable).bytes()).length, 100_000);
        await writing;
      }
      {
        await using web = await client.serve({ port: 0 }, () => new Response("served"));
        const { port } = web.addr as Deno.NetAddr;
        assertEquals(await (await client.fetch(`http://127.0.0.1:${port}/`)).text(), "served");
      }
      const listener = await client.listen({ hostname: "127.0.0.1", port: there });
      assertEquals(listener.addr, { transport: "tcp", hostname: "127.0.0.1", port: there });
      const visitor = await Deno.connect({ port: there }), conn = await listener.accept();
      await visitor.write(new TextEncoder().encode("in"));
      await visitor.closeWrite();
      assertEquals(await new Response(conn.readable).text(), "in");
      await conn.write(new TextEncoder().encode("out"));
      await conn.close();
      assertEquals(await new Response(visitor.readable).text(), "out");
      const again = await connect({ controlPath: master.path });
      const taken = again.listen({ hostname: "127.0.0.1", port: there });
      const refused = await assertRejects(() => taken, SshError, "remote port forwarding failed");
      assertEquals(refused.code, "REQUEST_DENIED");
      assertStringIncludes(refused.message, `Cannot listen on "127.0.0.1" port ${there} through control socket`);
      await listener.close();
      await assertRejects(() => listener.accept(), SshError, "Listener is closed");
      // It is there for others again; and what nobody closes ends with its client.
      const second = await again.listen({ hostname: "127.0.0.1", port: there });
      const waiting = second.accept();
      await again.close();
      await assertRejects(() => waiting, SshError);
      await second.close();
      // A master has no answer of the server's to that.
      await until(() => Deno.connect({ port: there }).then((conn) => (conn.close(), false), () => true), "it is free");
      const unix = await client.listenUnix(`${dir}/listening`);
      const local = await Deno.connect({ transport: "unix", path: `${dir}/listening` });
      await (await unix.accept()).close();
      assertEquals(await local.read(new Uint8Array(1)), null);
      local.close();
      await unix.close();
      echo.close();
      await serving;
    });
    await t.step("a client that is closed or aborted leaves its master running, and ends what it ran", async () => {
      const client = await connect({ controlPath: master.path });
      const process = await client.spawn("echo begun; exec sleep 100");
      const begun = process.stdout.getReader();
      await begun.read();
      begun.releaseLock();
      await client.close();
      await client.closed;
      const error = await assertRejects(() => process.status, SshError);
      assertEquals(error.code, "CLOSED");
      await goesOn(master);
      const controller = new AbortController();
      const aborted = await connect({ controlPath: master.path, signal: controller.signal });
      const running = await aborted.spawn("exec sleep 100");
      controller.abort(new Error("enough"));
      const lost = await assertRejects(() => running.status, SshError);
      assertEquals((lost.cause as Error).message, "enough");
      await aborted.closed;
    });
    await goesOn(master);

    await t.step("a master that is killed while files move ends the client with an error", async () => {
      const client = await connect({ controlPath: master.path });
      const process = await client.spawn("cat /dev/zero");
      const reader = process.stdout.getReader();
      await reader.read();
      await master.kill();
      await assertRejects(async () => {
        while (!(await reader.read()).done);
      }, SshError);
      const error = await assertRejects(() => inTime(client.closed, "the end"), SshError);
      assertEquals(error.code, "CONNECTION_LOST");
      assertStringIncludes(error.message, "master");
      await assertRejects(() => client.exec("echo"), SshError);
      await client.close();
      const none = await assertRejects(() => connect({ controlPath: master.path }), SshError, "its master is gone");
      assertEquals(none.code, "CONNECTION_LOST");
    });
  });
}

peerTest(
  "openssh",
  "A master whose server refuses a channel is not ended by the client's end, but by the program's",
  async () => {
    await using server = await startOpenSshd({ config: ["MaxSessions=1"] });
    await using master = await startMaster("9.2", { ...server, identity: server.clientKey.file });
    const client = await connect({ controlPath: master.path });
    const running = await client.spawn("cat");
    await assertRejects(() => client.exec("echo"), ChannelOpenError, "open failed");
    await client.close();
    await client.closed;
    await assertRejects(() => running.status, SshError);
    await goesOn(master);
    await letGoOfHeld();
    // What this is about: whoever sees it go on has an OpenSSH that needs none of this. Asking wakes it, should it wait for something.
    const answers = async (): Promise<boolean> => master.runs && (await master.control("check")).success;
    await until(async () => !await answers(), "the master ends", PROGRAM_HANGS).catch((error) => {
      throw new Error(master.log(), { cause: error });
    });
  },
);

peerTest(
  "openssh",
  "A client over a master to serve() runs commands, and what the server does not allow is refused",
  async () => {
    const hostKey = await generateKey(), identity = (await testKeys()).user.ed25519.file;
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: [hostKey],
      auth: { publicKey: () => true },
      handler: async (session) => {
        await session.stdin.pipeTo(session.stdout);
        session.exit(7);
      },
      onListen: () => {},
      onError: () => {},
    });
    const { port } = server.addr;
    await using master = await startMaster("9.2", { hostname: "127.0.0.1", port, username: "alice", identity });
    const client = await connect({ controlPath: master.path });
    const process = await client.spawn("any");
    const writing = new Response(bytes).body!.pipeTo(process.stdin);
    const { code, stdout } = await process.output();
    await writing;
    assertEquals([code, await hash(stdout)], [7, await hash(bytes)]);
    await assertRejects(() => client.listen({ port: 0 }), SshError, "remote port forwarding failed");
    await assertRejects(
      () => client.dial({ hostname: "127.0.0.1", port }),
      ChannelOpenError,
      "administratively prohibited",
    );
    await client.close();
    await goesOn(master);
    await master.kill();
  },
);
