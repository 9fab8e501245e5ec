/**
 * Starts examples/config.ts as a reader would, with a configuration of its own.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { run, serverWithHome } from "./_help.ts";

Deno.test("examples/config.ts runs a command on an alias, shows what ssh -G would, and tells what it does not follow", async () => {
  await using server = await serverWithHome({ allowForward: (_info, request) => request.kind === "direct" });
  const { target, env } = server, [user, address] = target.split("@"), [host, port] = address!.split(":");
  const lines = [
    ...['Match originalhost inner exec "true"', "ProxyJump gate", "Tunnel yes", "Host inner gate"],
    ...[`HostName ${host}`, `Port ${port}`, `User ${user}`],
  ];
  const path = `${env.HOME}/.ssh/config`;
  await Deno.writeTextFile(path, lines.join("\n"), { mode: 0o600 });
  const done = await run("config.ts", ["inner", "echo", "hi"], env);
  assertEquals(done, {
    code: 0,
    stdout: "hi\n",
    stderr: "ssh_config: Tunnel: is not there: packets are not tunnelled\n",
  });
  const shown = await run("config.ts", ["-F", path, "inner", "-G"], env);
  assertStringIncludes(shown.stdout, `\nhostname ${host}\nport ${port}\n`);
  assertStringIncludes(shown.stdout, "\nproxyjump gate\n");
  const refused = await run("config.ts", ["$(id)", "true"], env);
  assertEquals([refused.code, refused.stdout], [255, ""]);
  assertStringIncludes(refused.stderr, 'Cannot use "$(id)" as host name');
});
