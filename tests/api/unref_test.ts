/** `SshClient.ref()` and `unref()`. */
import { assertEquals } from "@std/assert";
import { serve } from "../../lib/api/server.ts";
import { join, serverOptions, text } from "../_support/joined.ts";
import { peerTest } from "../_support/peers.ts";

/** Runs a program against a server; what it wrote, and whether it had to be ended. */
async function run(program: string): Promise<[stdout: string, success: boolean]> {
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    ...await serverOptions({ allowForward: (_info, { kind }) => kind === "direct" }),
  });
  const root = new URL("../../", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", "--config", new URL("deno.json", root).pathname, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`
    import { connect, insecureAcceptAnyHostKey, password } from ${JSON.stringify(new URL("mod.ts", root).href)};
    const client = await connect({
      hostname: "127.0.0.1", port: ${server.addr.port}, username: "alice", auth: [password("wonderland")],
      verifyHostKey: insecureAcceptAnyHostKey(), keepalive: { interval: 1e6 },
    });
    ${program.replaceAll("PORT", String(server.addr.port))}
  `));
  await writer.close();
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const { stdout, success } = await child.output();
  clearTimeout(timer);
  return [text(stdout), success];
}

Deno.test("SshClient.unref() lets the program end while the connection is open", async () => {
  assertEquals(await run(`client.unref(); console.log("end");`), ["end\n", true]);
  // Behind a command, with a stream that nobody reads any more.
  assertEquals(
    await run(`
      await client.exec("exit 0");
      const process = await client.spawn("hang");
      process.status.catch(() => {});
      client.unref();
      console.log("end");`),
    ["end\n", true],
  );
});

peerTest("netcat", "SshClient.unref() lets go of the hops and of the program that it runs through, too", async () => {
  assertEquals(
    await run(`
      const options = { username: "alice", auth: [password("wonderland")], verifyHostKey: insecureAcceptAnyHostKey() };
      const hop = { hostname: "127.0.0.1", port: PORT, keepalive: { interval: 1e6 }, ...options };
      const far = await connect({ ...hop, jump: [hop, hop] });
      const program = await connect({ ...hop, proxyCommand: ["nc", "%h", "%p"] });
      for (const one of [far, program, client]) one.unref();
      console.log("end");`),
    ["end\n", true],
  );
});

Deno.test("SshClient.unref() lets go of what its forwards listen at here, and of what they carry, before it and behind it", async () => {
  assertEquals(
    await run(`
      const to = { hostname: "127.0.0.1", port: PORT }, from = { port: 0 };
      const carried = async (forward) => {
        const socket = await Deno.connect({ hostname: "127.0.0.1", port: forward.addr.port });
        const reader = socket.readable.getReader();
        // The server's identification has come through.
        await reader.read();
        socket.unref();
      };
      const before = await client.forwardLocal(from, to);
      await carried(before);
      client.unref();
      const behind = await client.forwardLocal(from, to);
      await client.forwardDynamic(from);
      client.ref();
      await carried(behind);
      client.unref();
      console.log("end");`),
    ["end\n", true],
  );
});

Deno.test("SshClient.ref() keeps the program alive again until it is closed", async () => {
  assertEquals(
    await run(`
      client.unref();
      client.ref();
      const { stdout } = await client.exec("echo heard");
      console.log(new TextDecoder().decode(stdout).trim());
      await client.close();`),
    ["heard\n", true],
  );
});

Deno.test("SshClient.unref() leaves streams that were given to whoever gave them", async () => {
  await using joined = await join();
  joined.client.unref();
  assertEquals(text((await joined.client.exec("echo heard")).stdout), "heard\n");
  joined.client.ref();
});
