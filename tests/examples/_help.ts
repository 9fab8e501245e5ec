/**
 * Starts examples with the permissions that their first lines name.
 *
 * @module
 */
import { assert } from "@std/assert";
import { generateKey, serve, type ServeOptions } from "../../mod.ts";
import { endChild } from "../_support/child.ts";
import { commands, hostKey, text } from "../_support/joined.ts";

/** Where the examples are. */
export const examples = new URL("../../examples/", import.meta.url).pathname;

/** Program and arguments that start an example. */
export function commandOf(name: string, args: readonly string[]): [string, ...string[]] {
  const [first] = Deno.readTextFileSync(`${examples}${name}`).split("\n");
  const match = /^#!\/usr\/bin\/env -S deno run (--allow-.*)$/.exec(first!);
  assert(match !== null, `${name} says how it is started: ${first}`);
  return [Deno.execPath(), "run", "--quiet", "--no-prompt", ...match[1]!.split(" "), `${examples}${name}`, ...args];
}

/** Starts an example. */
export function start(name: string, args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  const [program, ...rest] = commandOf(name, args);
  return new Deno.Command(program, { args: rest, env, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
}

/** Runs an example to its end. */
export async function run(name: string, args: readonly string[], env?: Record<string, string>) {
  const child = start(name, args, env);
  const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A server among the examples: what it wrote until it listened, and its port. */
export async function startServer(name: string, args: readonly string[], env?: Record<string, string>) {
  const child = start(name, args, env);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const errors = new Response(child.stderr).text();
  let said = "", match: RegExpExecArray | null = null;
  while ((match = /port (\d+)/.exec(said)) === null) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`${name} ended: ${said}${await errors}`);
    said += value;
  }
  return {
    port: Number(match[1]),
    said,
    child,
    async [Symbol.asyncDispose]() {
      await endChild(child);
      await reader.cancel();
      await errors;
    },
  };
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
    env: { HOME: home, SSH_AUTH_SOCK: "", TERM: "vt100", DENO_DIR: denoDir() },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Deno.remove(home, { recursive: true });
    },
  };
}

/** Where Deno keeps its packages, which another HOME would move. */
export function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
}
