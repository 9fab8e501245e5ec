/**
 * curl, git, rsync and psql through each kind of path: of a client through sshd, and of `ssh` through `serve()`; and git and rsync over
 * SSH itself. Everything is compared by hash. How one peer is run: _matrix.ts.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  connect,
  type ConnectOptions,
  generateKey,
  parsePrivateKey,
  pinnedHostKey,
  publicKey,
  serve,
  type ServerSession,
  type SshServer,
} from "../../mod.ts";
import { endChild, freePort, runText } from "../_support/child.ts";
import { scratchDir, testKeys } from "../_support/keys.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";
import {
  blob,
  curl,
  git,
  gitClone,
  gitCloneHttp,
  hash,
  postgres,
  rsync,
  type Services,
  startServices,
  type Way,
} from "./_programs.ts";

const programs = ["web", "git", "rsync", "postgres"] as const;
type Program = typeof programs[number];

/** A place where psql finds a Unix socket: its name tells the port. */
function socketIn(dir: string, name: string): string {
  Deno.mkdirSync(`${dir}/${name}`);
  return `${dir}/${name}/.s.PGSQL.5432`;
}

/** Where each program gets to its server by one kind of path. */
type Ways = Readonly<Record<Program, Way>>;

async function all(ways: Ways, services: Services): Promise<void> {
  await Promise.all([some(ways), gitClone(ways.git, services.head), rsync(ways.rsync, services)]);
}

/** Those that speak to a Unix socket by themselves. */
async function some(ways: Ways): Promise<void> {
  await Promise.all([curl(ways.web), postgres(ways.postgres)]);
}

function ways(each: (program: Program) => Way): Ways {
  return Object.fromEntries(programs.map((program) => [program, each(program)])) as Ways;
}

/** The kinds of path; those of a client's and those of ssh's have the same programs to serve. */
interface Paths {
  readonly local: Ways;
  readonly remote: Ways;
  readonly localUnix: Ways;
  readonly remoteUnix: Ways;
  readonly socks: number;
}

async function through(
  t: Deno.TestContext,
  paths: Paths,
  services: Services,
  unix: (ways: Ways) => Promise<void> = (ways) => all(ways, services),
): Promise<void> {
  await t.step("a local forward", () => all(paths.local, services));
  await t.step("a remote forward", () => all(paths.remote, services));
  await t.step("a local forward from a Unix socket", () => unix(paths.localUnix));
  await t.step("a remote forward from a Unix socket", () => unix(paths.remoteUnix));
  await t.step("SOCKS, names looked up at the far end", async () => {
    const { socks: proxy } = paths;
    await all(ways((program) => ({ kind: "socks", proxy, port: services[program] })), services);
    await gitCloneHttp(proxy, services.web, services.head);
  });
  await t.step("Ncat asks by SOCKS4 and by SOCKS5", async () => {
    for (const type of ["socks4", "socks5"]) {
      const proxy = ["--proxy", `127.0.0.1:${paths.socks}`, "--proxy-type", type];
      const request = new TextEncoder().encode("GET /blob HTTP/1.0\r\n\r\n");
      const said = await runText(["/usr/bin/ncat", "--no-shutdown", ...proxy, "127.0.0.1", String(services.web)], {
        stdin: request,
      });
      assert(said.startsWith("HTTP/1."), said.slice(0, 100));
    }
  });
}

peerTest(
  ["openssh", "curl", "git", "rsync", "ncat", "postgres"],
  "curl, git, rsync and psql go through a client's forwards, and through those that ssh has of serve()",
  async (t) => {
    await using services = await startServices();
    await t.step("a client's, through sshd", async (t) => {
      await using sshd = await startOpenSshd();
      await using client = await connect({
        hostname: sshd.hostname,
        port: sshd.port,
        username: sshd.username,
        auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(sshd.clientKey.file)))],
        verifyHostKey: pinnedHostKey(...sshd.hostKeys),
      });
      const dir = scratchDir(), errors: unknown[] = [], options = { onError: (error: unknown) => errors.push(error) };
      const made: Record<string, Record<string, Way>> = { local: {}, remote: {}, localUnix: {}, remoteUnix: {} };
      for (const program of programs) {
        const near = { hostname: "127.0.0.1", port: services[program] };
        // PostgreSQL has a Unix socket for the other end, too.
        const far = program === "postgres" ? { path: services.postgresSocket } : near;
        const local = await client.forwardLocal({ port: 0 }, near, options);
        const remote = await client.forwardRemote({ port: 0 }, near, options);
        const here = socketIn(dir, `here_${program}`), there = socketIn(dir, `there_${program}`);
        await client.forwardLocal({ path: here }, far, options);
        await client.forwardRemote({ path: there }, far, options);
        made.local![program] = { kind: "tcp", port: (local.addr as Deno.NetAddr).port };
        made.remote![program] = { kind: "tcp", port: (remote.addr as Deno.NetAddr).port };
        made.localUnix![program] = { kind: "unix", path: here };
        made.remoteUnix![program] = { kind: "unix", path: there };
      }
      const dynamic = await client.forwardDynamic({ port: 0 }, options);
      await through(t, { ...made, socks: (dynamic.addr as Deno.NetAddr).port } as unknown as Paths, services);
      await until(() => dynamic.connections.size === 0, "A connection is still open");
      assertEquals(errors, []);
    });

    await t.step("ssh's, through serve()", async (t) => {
      await using server = await allowing();
      const dir = scratchDir(), ports: Record<string, number> = {}, args: string[] = [];
      const port = (name: string): number => ports[name] ??= freePort();
      for (const program of programs) {
        const near = `127.0.0.1:${services[program]}`, far = program === "postgres" ? services.postgresSocket : near;
        args.push("-L", `127.0.0.1:${port(`local_${program}`)}:${near}`);
        args.push("-R", `127.0.0.1:${port(`remote_${program}`)}:${near}`);
        args.push("-L", `${socketIn(dir, `here_${program}`)}:${far}`);
        args.push("-R", `${socketIn(dir, `there_${program}`)}:${far}`);
      }
      args.push("-D", `127.0.0.1:${port("socks")}`);
      await using _ssh = await staying([...await ssh(server), "-N", ...args, "alice@127.0.0.1"], async () => {
        // ssh asks for its remote forwards last, and in their order.
        return await Deno.stat(`${dir}/there_${programs.at(-1)}/.s.PGSQL.5432`).then(() => true, () => false);
      });
      const unix = (name: string) =>
        ways((program) => ({ kind: "unix", path: `${dir}/${name}_${program}/.s.PGSQL.5432` }));
      await through(
        t,
        {
          local: ways((program) => ({ kind: "tcp", port: port(`local_${program}`) })),
          remote: ways((program) => ({ kind: "tcp", port: port(`remote_${program}`) })),
          localUnix: unix("here"),
          remoteUnix: unix("there"),
          socks: port("socks"),
        },
        services,
        some,
      );
    });

    await t.step("git and rsync run over ssh to serve(), whose handler runs their other half", async () => {
      await using server = await allowing();
      const dir = scratchDir(), command = (await ssh(server)).join(" "), { folder, head } = services;
      const env = { GIT_SSH_COMMAND: command, GIT_SSH_VARIANT: "ssh" };
      const url = `ssh://alice@127.0.0.1:${server.addr.port}${folder}/repo.git`;
      await git(["clone", "-q", url, `${dir}/clone`], env);
      assertEquals((await git(["-C", `${dir}/clone`, "rev-parse", "HEAD"])).trim(), head);
      await git(["-C", `${dir}/clone`, "commit", "-q", "--allow-empty", "-m", "Another"]);
      await git(["-C", `${dir}/clone`, "push", "-q", "origin", "HEAD:refs/heads/pushed"], env);
      assertEquals(
        await git(["-C", `${folder}/repo.git`, "rev-parse", "pushed"]),
        await git(["-C", `${dir}/clone`, "rev-parse", "HEAD"]),
      );
      await runText(["/usr/bin/rsync", "-e", command, `alice@127.0.0.1:${folder}/blob`, `${dir}/blob`]);
      await runText(["/usr/bin/rsync", "-e", command, `${dir}/blob`, `alice@127.0.0.1:${dir}/back`]);
      assertEquals(await hash(await Deno.readFile(`${dir}/back`)), await hash(blob));
    });

    await t.step(
      "git and rsync run over a client of this module to sshd, through a SOCKS proxy that is another one",
      async () => {
        await using sshd = await startOpenSshd();
        const { folder, head } = services, dir = scratchDir(), file = `${dir}/run.ts`;
        const options: ConnectOptions = {
          hostname: sshd.hostname,
          port: sshd.port,
          username: sshd.username,
          auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(sshd.clientKey.file)))],
          verifyHostKey: pinnedHostKey(...sshd.hostKeys),
        };
        await using client = await connect(options);
        await using proxy = await client.forwardDynamic({ port: 0 });
        await Deno.writeTextFile(
          file,
          program({
            ...options,
            key: await Deno.readTextFile(sshd.clientKey.file),
            hostKeys: sshd.hostKeys,
            proxy: `socks5://127.0.0.1:${(proxy.addr as Deno.NetAddr).port}`,
          }),
        );
        const command =
          `${Deno.execPath()} run --quiet --no-check --allow-all --config ${import.meta.dirname}/../../deno.json ${file}`;
        const env = { GIT_SSH_COMMAND: command, GIT_SSH_VARIANT: "simple" };
        await git(["clone", "-q", `${sshd.hostname}:${folder}/repo.git`, `${dir}/clone`], env);
        assertEquals((await git(["-C", `${dir}/clone`, "rev-parse", "HEAD"])).trim(), head);
        await git(["-C", `${dir}/clone`, "push", "-q", "origin", "HEAD:refs/heads/by_this_module"], env);
        assertEquals((await git(["-C", `${folder}/repo.git`, "rev-parse", "by_this_module"])).trim(), head);
        await runText(["/usr/bin/rsync", "-e", command, `${sshd.hostname}:${folder}/blob`, `${dir}/blob`]);
        await runText(["/usr/bin/rsync", "-e", command, `${dir}/blob`, `${sshd.hostname}:${dir}/back`]);
        assertEquals(await hash(await Deno.readFile(`${dir}/back`)), await hash(blob));
        await until(() => proxy.connections.size === 0, "A connection is still open");
      },
    );
  },
);

/** What git and rsync take for `ssh`: runs the command that stands behind the host name, its streams for its own. */
function program(settings: Record<string, unknown>): string {
  return `
    import { connect, pinnedHostKey, publicKey } from "${import.meta.resolve("../../mod.ts")}";
    const { key, hostKeys, auth: _, verifyHostKey: __, ...rest } = ${JSON.stringify(settings)};
    await using client = await connect({ ...rest, auth: [publicKey(key)], verifyHostKey: pinnedHostKey(...hostKeys) });
    const streams = { stdin: Deno.stdin.readable, stdout: "inherit", stderr: "inherit" };
    Deno.exitCode = (await client.exec(Deno.args.slice(1).join(" "), streams)).code ?? 1;
  `;
}

/** A server that allows everything, and runs what it is asked to. */
async function allowing(): Promise<SshServer> {
  return serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await generateKey()],
    auth: { publicKey: () => true },
    allowForward: () => true,
    handler: spawned,
    onListen: () => {},
  });
}

async function spawned({ command, stdin, stdout, stderr }: ServerSession): Promise<number> {
  if (command === null) return 1;
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", command],
    env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = stdin.pipeTo(child.stdin).catch(() => {});
  await Promise.all([child.stdout.pipeTo(stdout), child.stderr.pipeTo(stderr)]);
  const { code } = await child.status;
  // A command that has not read all of its input leaves the rest.
  void input;
  return code;
}

async function ssh(server: SshServer): Promise<string[]> {
  const { user } = await testKeys();
  const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    .concat(
      ["GlobalKnownHostsFile=/dev/null", "IdentityAgent=none", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes"],
      [`IdentityFile=${user.ed25519.file}`],
    );
  return ["/usr/bin/ssh", "-F", "/dev/null", "-p", String(server.addr.port), ...options.flatMap((one) => ["-o", one])];
}

/** A program that stays until the test is done with it. */
async function staying(command: readonly string[], ready: () => Promise<boolean>): Promise<AsyncDisposable> {
  const [program, ...args] = command;
  const child = new Deno.Command(program!, { args, stdin: "null", stdout: "null", stderr: "inherit" }).spawn();
  try {
    await until(ready, `${program} is not ready`, PROGRAM_HANGS);
  } catch (error) {
    await endChild(child);
    throw error;
  }
  return { [Symbol.asyncDispose]: () => endChild(child) };
}
