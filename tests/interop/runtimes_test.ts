/**
 * The client on Node and Bun, from one file that `deno bundle` makes, against OpenSSH: dialled by `node:net` that is found at run time, with the user's
 * own files, an agent and ssh_config.
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createAgent } from "../../lib/keys/mod.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { endChild } from "../_support/child.ts";
import { peers, peerTest, runtimePrograms, scripts, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS } from "../_support/until.ts";

const root = new URL("../../", import.meta.url).pathname;

let bundling: Promise<string> | undefined;

/** The whole module as one file, made once. */
function bundle(): Promise<string> {
  return bundling ??= (async () => {
    const path = `${await Deno.makeTempDir({ prefix: "amiko_ssh_" })}/ssh.mjs`;
    const { stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", "--platform", "browser", "--output", path, `${root}mod.ts`],
      cwd: root,
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    globalThis.addEventListener(
      "unload",
      () => Deno.removeSync(path.slice(0, -"/ssh.mjs".length), { recursive: true }),
    );
    return path;
  })();
}

interface Told {
  readonly done: Record<string, string>;
  readonly said: Record<string, string>;
}

/** Runs the program on a runtime, which ends by itself. */
async function run(
  runtime: keyof typeof runtimePrograms,
  orders: object,
  env: Record<string, string> = {},
): Promise<Told & { readonly lines: readonly string[]; readonly stderr: string }> {
  const child = new Deno.Command(runtimePrograms[runtime], {
    args: [`${scripts}/runtime_client.mjs`, await bundle(), JSON.stringify(orders)],
    env,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = [child.stdout, child.stderr].map((stream) => new Response(stream).text());
  try {
    const { success } = await inTime(child.status, `the end of ${runtime}`, PROGRAM_HANGS);
    const [stdout, stderr] = await Promise.all(output) as [string, string], lines = stdout.trim().split("\n");
    if (!success) throw new Error(`${runtime}: ${stderr}`);
    return { ...JSON.parse(lines.at(-1)!) as Told, lines, stderr };
  } finally {
    await endChild(child);
    await Promise.all(output);
  }
}

function known({ port, hostKeys }: ServerPeer): string {
  return hostKeys.map((line) => `[127.0.0.1]:${port} ${line}\n`).join("");
}

/** The home folder of somebody who uses `ssh`. */
async function homeFolder(dir: string, sshd: ServerPeer): Promise<string> {
  const ssh = `${dir}/home/.ssh`, key = sshd.userKeys.ed25519.file;
  await Deno.mkdir(ssh, { recursive: true, mode: 0o700 });
  await Deno.writeTextFile(`${ssh}/known_hosts`, known(sshd));
  await Deno.copyFile(key, `${ssh}/id_ed25519`);
  const config = ["Host web", "HostName 127.0.0.1", `Port ${sshd.port}`, `User ${sshd.username}`, "IdentityAgent none"];
  await Deno.writeTextFile(`${ssh}/config`, config.join("\n"), { mode: 0o600 });
  return `${dir}/home`;
}

for (const runtime of ["node24", "node26", "bun"] as const) {
  const title = peers[runtime].installed ? peers[runtime].title : runtime;
  peerTest([runtime, "openssh", "openssh10", "netcat"], `the client does all of its work on ${title}`, async () => {
    await using big = await startOpenSshd();
    await using small = await startOpenSshd({ version: "10", defaults: true });
    await using agent = createAgent();
    await agent.add(await parsePrivateKey(await Deno.readTextFile(big.userKeys.ecdsa256.file)));
    await using listener = await agent.listen();
    const dir = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
    const serverOf = (peer: ServerPeer) => ({
      port: peer.port,
      username: peer.username,
      secret: peer.password,
      known: known(peer),
    });
    const { done, said, lines, stderr } = await run(
      runtime,
      { bigServer: serverOf(big), smallServer: serverOf(small), dir },
      { HOME: await homeFolder(dir, big), SSH_AUTH_SOCK: listener.path },
    );
    assertEquals(done, {
      inMemory: "3,true",
      exec: "3,hello\n,8",
      up: "true",
      down: "true",
      readFile: "true",
      tree: "100000,640,inner/file",
      scp: "100000",
      jump: "through",
      transport: "over a duplex\n",
      proxyCommand: "over a program\n",
      ownFiles: "by known_hosts and id_ed25519\n",
      alias: "by ssh_config\n",
      agent: "ecdsa-sha2-nistp256",
      added: "by an agent\n",
      lines: "1",
      small: "hello\n,mlkem768x25519-sha256",
    });
    assertEquals(lines[0], "this goes to standard output");
    const expected: Record<string, RegExp> = {
      password: /^SshAuthError: Cannot log in as .* password \(refused\)/,
      hostKey: /^HostKeyError: Host key was refused/,
      unknown: /^HostKeyUnknownError: .* looked in .*\/none/,
      refused: /^SshError: Cannot connect to "127.0.0.1" port 1: Connection refused \(os error 111\)$/,
      name: /^SshError: Cannot connect to "no.such.invalid" port \d+: failed to lookup address information: /,
      program: /^SshError: Cannot start proxy command "\/no\/such\/program": Failed to spawn/,
      aborted: /^Error: no longer wanted$/,
      local: /^SftpError: Cannot download .*no such file or directory, on this side$/,
      serve: /^TypeError: Cannot listen: that takes Deno, .*`serveConn\(\)` serves a pair of streams$/,
      listen: /^TypeError: Cannot listen as an agent: that takes Deno, .*`serve\(\)` answers over streams$/,
      forwardLocal:
        /^TypeError: Cannot listen: that takes Deno, .*`dial\(\)` and `dialUnix\(\)` give a connection itself$/,
      fetch: /^TypeError: Cannot .*: that takes Deno, .*`dial\(\)` and `listen\(\)`/,
      x11: /^TypeError: Cannot lend a display: that takes Deno, .*`connect` of `x11` connects to one$/,
    };
    for (const [name, pattern] of Object.entries(expected)) assertMatch(said[name] ?? "", pattern, name);
    assertEquals(Object.keys(said).sort(), Object.keys(expected).sort());
    // Node says of ML-KEM that it is an experiment of its own.
    const unexpected = stderr.split("\n").filter((line) => !/^$|ExperimentalWarning|--trace-warnings/.test(line));
    assertEquals(unexpected, []);
    await Deno.remove(dir, { recursive: true });
  });
}

peerTest("node26", "a bundle with neither Deno nor process is client and server in memory", async () => {
  const { done } = await run("node26", { page: true });
  assertEquals(done, { inMemory: "3,true" });
  const script = await Deno.readTextFile(await bundle());
  assertEquals(script.match(/^(?:import|export)\b.*["']|\b(?:import|require)\(.*["'].*/gm), null);
  assertStringIncludes(script, "getBuiltinModule");
});
