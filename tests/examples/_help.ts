/**
 * Runs examples to their end, and gives them a home.
 *
 * @module
 */
import { generateKey, serve, type ServeOptions } from "../../mod.ts";
import { exampleEnv, start } from "../_support/examples.ts";
import { commands, hostKey, text } from "../_support/joined.ts";

/** Runs an example to its end. */
export async function run(name: string, args: readonly string[], env?: Record<string, string>) {
  const child = start(name, args, env);
  const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A home with a key and a known_hosts for a server, and that server. */
export async function serverWithHome(options: Partial<ServeOptions> = {}) {
  const home = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  const key = await generateKey();
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await hostKey()],
    auth: { publicKey: (_info, offered) => offered.blob.toBase64() === key.publicKey.blob.toBase64() },
    handler: commands,
    ...options,
  });
  const { type, blob } = (await hostKey()).publicKey;
  await Deno.mkdir(`${home}/.ssh`, { mode: 0o700 });
  await Deno.writeTextFile(`${home}/.ssh/known_hosts`, `[127.0.0.1]:${server.addr.port} ${type} ${blob.toBase64()}\n`);
  await Deno.writeTextFile(`${home}/.ssh/id_ed25519`, await key.export(), { mode: 0o600 });
  return {
    target: `alice@127.0.0.1:${server.addr.port}`,
    env: exampleEnv({ HOME: home, SSH_AUTH_SOCK: "", TERM: "vt100" }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Deno.remove(home, { recursive: true });
    },
  };
}
