/**
 * Starts examples/jump.ts as a reader would, through two servers to itself.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { run, serverWithHome } from "./_help.ts";

Deno.test("examples/jump.ts runs a command through the hops, and says at which one it failed", async () => {
  await using server = await serverWithHome({ allowForward: (_info, request) => request.kind === "direct" });
  const { target, env } = server, [, address] = target.split("@");
  const done = await run("jump.ts", [`${target},${target}`, target, "echo", "hi", "there"], env);
  assertEquals(done, { code: 0, stdout: "hi there\n", stderr: "" });
  const port = address!.split(":")[1];
  const failed = await run("jump.ts", [target, "alice@127.0.0.1:1", "exit 3"], env);
  assertEquals([failed.code, failed.stdout], [255, ""]);
  assertEquals(
    failed.stderr.startsWith(`Cannot connect to "127.0.0.1" port 1 through "127.0.0.1" port ${port} (hop 1 of 1): `),
    true,
    failed.stderr,
  );
});
