/** examples/sign.ts: signs a file that ssh-keygen verifies, and the other way round. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { generateKey } from "../../mod.ts";
import { runText } from "../_support/child.ts";
import { peerTest } from "../_support/peers.ts";
import { run } from "./_help.ts";

peerTest("openssh", "examples/sign.ts signs a file for ssh-keygen, and verifies one by ssh-keygen", async () => {
  const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" }), key = await generateKey();
  const env = { HOME: dir, SSH_AUTH_SOCK: "" }, file = `${dir}/file`, allowed = `${dir}/allowed`;
  try {
    await Deno.writeTextFile(`${dir}/key`, await key.export(), { mode: 0o600 });
    await Deno.writeTextFile(allowed, `alice@example.com ${key.publicKey}\n`);
    await Deno.writeTextFile(file, "hello\n".repeat(50_000));
    const signed = await run("sign.ts", ["sign", `${dir}/key`, "file", file], env);
    assertEquals([signed.code, signed.stderr], [0, ""]);
    const stdin = await Deno.readFile(file);
    const verify = ["-Y", "verify", "-f", allowed, "-I", "alice@example.com", "-n", "file", "-s", `${file}.sig`];
    assertStringIncludes(await runText(["/usr/bin/ssh-keygen", ...verify], { stdin }), "Good");
    await Deno.remove(`${file}.sig`);
    await runText(["/usr/bin/ssh-keygen", "-q", "-Y", "sign", "-f", `${dir}/key`, "-n", "file", file]);
    const good = await run("sign.ts", ["verify", allowed, "alice@example.com", "file", file], env);
    assertEquals([good.code, good.stderr], [0, ""]);
    assertStringIncludes(good.stdout, 'Good "file" signature for alice@example.com with ssh-ed25519 SHA256:');
    const bad = await run("sign.ts", ["verify", allowed, "bob@example.com", "file", file], env);
    assertEquals([bad.code, bad.stdout], [255, ""]);
    assertStringIncludes(bad.stderr, 'no line names "bob@example.com"');
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
