/**
 * Starts examples/forward.ts as a reader would, against OpenSSH.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { scratchDir } from "../_support/keys.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { start } from "../_support/examples.ts";
import { run } from "./_help.ts";

peerTest("openssh", "examples/forward.ts forwards as `ssh -L`, `-R` and `-D` do, until Ctrl-C", async () => {
  await using server = await startOpenSshd();
  await using web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response("it works"));
  const home = scratchDir();
  Deno.mkdirSync(`${home}/.ssh`, { mode: 0o700 });
  Deno.copyFileSync(server.clientKey.file, `${home}/.ssh/id_ed25519`);
  Deno.chmodSync(`${home}/.ssh/id_ed25519`, 0o600);
  const lines = server.hostKeys.map((line) => `[127.0.0.1]:${server.port} ${line}\n`);
  Deno.writeTextFileSync(`${home}/.ssh/known_hosts`, lines.join(""));
  const env = { HOME: home, SSH_AUTH_SOCK: "" }, target = `${server.username}@127.0.0.1:${server.port}`;
  const to = `127.0.0.1:${web.addr.port}`;

  const child = start("forward.ts", [target, "-L", `0:${to}`, "-R", `0:${to}`, "-D", "0"], env);
  const errors = new Response(child.stderr).text();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  for (let left; said.split("\n").length < 4 && !(left = await reader.read()).done;) said += left.value;
  const ports = [...said.matchAll(/port (\d+)/g)].map(([, port]) => port);
  assertEquals(ports.length, 3, `${said}${said.length < 10 ? await errors : ""}`);
  for (const port of ports.slice(0, 2)) {
    assertEquals(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "it works");
  }
  const args = ["-sS", "--noproxy", "", "--socks5-hostname", `127.0.0.1:${ports[2]}`, `http://${to}/`];
  const { stdout } = await new Deno.Command("curl", { args }).output();
  assertEquals(new TextDecoder().decode(stdout), "it works");

  child.kill("SIGINT");
  assertEquals((await child.status).code, 0);
  await reader.cancel();
  assertEquals(await errors, "");

  const wrong = await run("forward.ts", [target, "-L", "70000:host:1"], env);
  assertEquals(wrong.code, 1);
  assertStringIncludes(wrong.stderr, "65535");
});
