/**
 * Starts examples/ca.ts as a reader would, and logs in with what it signed.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  connect,
  generateKey,
  knownHosts,
  parseCertificate,
  publicKey,
  serve,
  trustedUserCAs,
  withCertificate,
} from "../../mod.ts";
import { commands } from "../_support/joined.ts";
import { run } from "./_help.ts";

Deno.test("examples/ca.ts signs keys of a user and of a host, which then need nothing else", async () => {
  const dir = await Deno.makeTempDir(),
    [ca, host, user] = [await generateKey(), await generateKey(), await generateKey()];
  await Deno.writeTextFile(`${dir}/ca`, await ca.export());
  const sign = async (kind: string, names: string, key: typeof user): Promise<string> => {
    await Deno.writeTextFile(`${dir}/${kind}.pub`, `${key.publicKey} comment\n`);
    const done = await run("ca.ts", [`${dir}/ca`, kind, names, `${dir}/${kind}.pub`]);
    assertEquals(done, { code: 0, stdout: "", stderr: "" });
    return await Deno.readTextFile(`${dir}/${kind}-cert.pub`);
  };
  const lines = { user: await sign("user", "alice,bob", user), host: await sign("host", "127.0.0.1", host) };
  const { principals, validBefore, keyId } = await parseCertificate(lines.user);
  assertEquals([principals, keyId, validBefore! > new Date()], [["alice", "bob"], `${dir}/user.pub`, true]);
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [withCertificate(host, lines.host)],
    auth: { publicKey: trustedUserCAs(ca.publicKey) },
    handler: commands,
  });
  await using client = await connect({
    hostname: "127.0.0.1",
    port: server.addr.port,
    username: "bob",
    auth: [publicKey(withCertificate(user, lines.user))],
    verifyHostKey: knownHosts(`@cert-authority 127.0.0.1 ${ca.publicKey}`),
  });
  assertEquals((await client.exec("echo in")).text(), "in\n");
  const { code, stderr } = await run("ca.ts", [`${dir}/ca`, "robot", "x", "y"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "Usage: ca.ts");
  await Deno.remove(dir, { recursive: true });
});
