#!/usr/bin/env -S deno run --allow-net --allow-read --allow-write --allow-env=HOME,USERPROFILE,USER,SSH_AUTH_SOCK
// deno-lint-ignore-file no-console
/**
 * Forwards ports until Ctrl-C, as `ssh -N` does: -L listens here and connects there, -R the other way round, -D is a SOCKS proxy here.
 *
 *     examples/forward.ts [user@]host[:port] [-L port:host:port] [-R port:host:port] [-D port] …
 */
import { connect, type Forward, type ForwardOptions, SshError } from "@amiko/ssh";

const [target, ...args] = Deno.args;
const match = /^(?:(.+)@)?([^@:]+|\[[^\]]+\])(?::(\d+))?$/.exec(target ?? "");
const wanted = args.flatMap((arg, i) => i % 2 === 0 ? [{ kind: arg, spec: args[i + 1] ?? "" }] : []);
if (match === null || wanted.length === 0) {
  console.error("Usage: forward.ts [user@]host[:port] [-L port:host:port] [-R port:host:port] [-D port] …");
  Deno.exit(2);
}
const [, user, hostname, port] = match;

const stop = new AbortController();
Deno.addSignalListener("SIGINT", () => stop.abort());
const options: ForwardOptions = {
  signal: stop.signal,
  // One connection that fails is no reason to end.
  onError: (error) => console.error(error instanceof Error ? error.message : error),
};

try {
  await using client = await connect({
    hostname: hostname!,
    port: Number(port ?? 22),
    username: user ?? Deno.env.get("USER") ?? "root",
    keepalive: { interval: 15_000 },
    signal: stop.signal,
  });
  const forwards: Forward[] = [];
  for (const { kind, spec } of wanted) {
    const [, from, host, to] = /^(\d+)(?::([^:]+|\[[^\]]+\]):(\d+))?$/.exec(spec) ?? [];
    const listen = { port: Number(from) }, lead = { hostname: host ?? "", port: Number(to) };
    if (kind === "-L") forwards.push(await client.forwardLocal(listen, lead, options));
    else if (kind === "-R") forwards.push(await client.forwardRemote(listen, lead, options));
    else if (kind === "-D") forwards.push(await client.forwardDynamic(listen, options));
    else throw new TypeError(`Cannot forward: ${kind} is none of -L, -R and -D`);
    const { addr } = forwards.at(-1)!;
    console.log(`${kind} listens on port ${"port" in addr ? addr.port : addr.path}`);
  }
  await Promise.all(forwards.map(({ finished }) => finished));
} catch (error) {
  // Ctrl-C is how it ends.
  if (stop.signal.aborted) Deno.exit();
  if (!(error instanceof SshError || error instanceof TypeError || error instanceof RangeError)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
}
