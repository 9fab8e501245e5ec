/**
 * Test support. Starts examples with the permissions that their first lines name.
 *
 * @module
 */
import { assert } from "@std/assert";
import { endChild } from "./child.ts";

/** Where the examples are. */
export const examples = new URL("../../examples/", import.meta.url).pathname;

/** Program and arguments that start an example. */
export function commandOf(name: string, args: readonly string[]): [string, ...string[]] {
  const [first] = Deno.readTextFileSync(`${examples}${name}`).split("\n");
  const match = /^#!\/usr\/bin\/env -S deno run (--allow-.*)$/.exec(first!);
  assert(match !== null, `${name} says how it is started: ${first}`);
  return [Deno.execPath(), "run", "--quiet", "--no-prompt", ...match[1]!.split(" "), `${examples}${name}`, ...args];
}

/** Where Deno keeps its packages, which another HOME would move. */
function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
}

/** The environment of an example: another HOME has the same packages. */
export function exampleEnv(env: Record<string, string>): Record<string, string> {
  return { DENO_DIR: denoDir(), ...env };
}

/** Starts an example. */
export function start(name: string, args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  const [program, ...rest] = commandOf(name, args);
  return new Deno.Command(program, {
    args: rest,
    env: exampleEnv(env),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
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
