#!/usr/bin/env -S deno run --allow-read --allow-write --allow-net
// deno-lint-ignore-file no-console
/**
 * A small agent that asks before each use of a key: `ssh`, `git` and `ssh-add` use it as they do `ssh-agent`.
 *
 *     examples/agent.ts [--forget-after=SECONDS] [key file...]
 *     SSH_AUTH_SOCK=… ssh alice@build.example                          (in another terminal, with the path that it shows)
 *
 * Without files it begins empty, and `ssh-add` adds keys; it asks for their passphrases, too. It answers until Ctrl+C, and forgets all
 * keys then.
 */
import { type AgentUse, createAgent, parsePrivateKey } from "@amiko/ssh/keys";

const files = Deno.args.filter((argument) => !argument.startsWith("--"));
const forgetAfter = Deno.args.find((argument) => argument.startsWith("--forget-after="))?.split("=")[1];

/** Questions wait for each other: there is one terminal. */
let turn: Promise<unknown> = Promise.resolve();

async function ask(use: AgentUse): Promise<boolean> {
  // Whoever asked may have gone while others were answered.
  if (use.signal.aborted) return false;
  const host = await use.hostKey?.fingerprint() ?? "a host that has not proven itself";
  const what = use.purpose === "login"
    ? `log in as "${use.username}" at ${host}`
    : use.purpose === "file"
    ? `sign for "${use.namespace}"`
    : "sign something unknown";
  const where = use.forwarded ? "Another host wants" : "This machine wants";
  console.log(`${where} to ${what} with the key "${use.comment}". Allow it? [y/N]`);
  const line = new Uint8Array(1024), length = await Deno.stdin.read(line);
  return /^y(es)?$/i.test(new TextDecoder().decode(line.subarray(0, length ?? 0)).trim());
}

await using agent = createAgent({
  confirm: true,
  onConfirm: (use) => {
    const answer = turn.then(() => ask(use));
    turn = answer.catch(() => {});
    return answer;
  },
  onError: (error) => console.error(error),
  lifetime: forgetAfter === undefined ? undefined : 1000 * Number(forgetAfter),
});
for (const file of files) await agent.add(await parsePrivateKey(await Deno.readTextFile(file)));
await using listener = await agent.listen();
console.log(`SSH_AUTH_SOCK=${listener.path}; export SSH_AUTH_SOCK;`);

const interrupted = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => interrupted.resolve());
await interrupted.promise;
