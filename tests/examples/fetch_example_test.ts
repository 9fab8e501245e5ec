/**
 * Starts examples/fetch.ts as a reader would.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { scratchDir } from "../_support/keys.ts";
import { run, serverWithHome } from "./_help.ts";

Deno.test("examples/fetch.ts prints what a server reaches, by TCP or a Unix socket, whatever NO_PROXY says", async () => {
  await using server = await serverWithHome({ allowForward: () => true });
  const handler = (request: Request): Response =>
    new URL(request.url).pathname === "/page" ? new Response("it works") : new Response("none", { status: 404 });
  await using site = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  const path = `${scratchDir()}/web.sock`, { target } = server, env = { ...server.env, NO_PROXY: "127.0.0.1" };
  await using _unix = Deno.serve({ path, onListen: () => {} }, handler);
  const url = `http://127.0.0.1:${site.addr.port}`;
  assertEquals(await run("fetch.ts", [target, `${url}/page`], env), { code: 0, stdout: "it works", stderr: "" });
  assertEquals(await run("fetch.ts", [target, "http://localhost/page", path], env), {
    code: 0,
    stdout: "it works",
    stderr: "",
  });
  assertEquals(await run("fetch.ts", [target, url], env), { code: 1, stdout: "none", stderr: "404 Not Found\n" });
  const { code, stderr } = await run("fetch.ts", [target, "http://localhost/", `${path}.none`], env);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "Cannot connect to");
});
