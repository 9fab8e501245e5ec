/**
 * Programs that know nothing of SSH, and the servers that they talk to: curl, git, rsync and psql, each over TCP, a Unix socket or SOCKS.
 * What they have brought is compared by hash.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { seededBytes } from "../_support/duplex.ts";
import { endChild, freePort, run, runText } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { postgresFolder } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";

/** What every program carries. */
export const blob: Uint8Array<ArrayBuffer> = seededBytes(300_000);

/** SHA-256 in hexadecimal. */
export async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

const expected = await hash(blob);

/** How a program gets to its server. */
export type Way =
  | { readonly kind: "tcp"; readonly port: number }
  /** Named like a server socket of PostgreSQL's in a folder of its own, as psql wants it. */
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "socks"; readonly proxy: number; readonly port: number };

/** The servers, and where they listen on 127.0.0.1. */
export interface Services extends AsyncDisposable {
  /** Files over HTTP, with a repository among them. */
  readonly web: number;
  /** `git daemon`. */
  readonly git: number;
  /** `rsync --daemon`. */
  readonly rsync: number;
  /** PostgreSQL. */
  readonly postgres: number;
  /** Its Unix socket. */
  readonly postgresSocket: string;
  /** A folder with the file `blob` and the repository `repo.git`, whose one commit has it too. */
  readonly folder: string;
  /** Name of that commit. */
  readonly head: string;
}

/** git as on no user's machine in particular. */
const gitEnv = {
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_SYSTEM: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  GIT_AUTHOR_NAME: "t",
  GIT_AUTHOR_EMAIL: "t@test.invalid",
  GIT_COMMITTER_NAME: "t",
  GIT_COMMITTER_EMAIL: "t@test.invalid",
};

/** Runs git; `safe` because a repository may be another user's under the tests' own names. */
export async function git(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const settings = ["-c", "safe.directory=*", "-c", "init.defaultBranch=main", "-c", "gc.auto=0"];
  return await runText(["/usr/bin/git", ...settings, ...args], { env: { ...gitEnv, ...env } });
}

/** A program that stays, until it is ended here; `ready` says whether it answers. */
async function stays(
  command: readonly string[],
  ready: () => Promise<boolean>,
  env: Record<string, string> = {},
): Promise<() => Promise<void>> {
  const [program, ...args] = command;
  const child = new Deno.Command(program!, { args, env, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  const ended = { yet: false };
  const status = child.status.then(() => void (ended.yet = true));
  const stop = async (): Promise<void> => {
    await endChild(child);
    await status;
  };
  try {
    await until(
      async () => {
        if (ended.yet) throw new Error(`${program} has ended`);
        return await ready();
      },
      `${program} does not answer`,
      PROGRAM_HANGS,
    );
    return stop;
  } catch (error) {
    await stop();
    throw error;
  }
}

async function answers(options: Deno.ConnectOptions | Deno.UnixConnectOptions): Promise<boolean> {
  try {
    (await Deno.connect(options as Deno.ConnectOptions)).close();
    return true;
  } catch {
    return false;
  }
}

/** PostgreSQL does not run as root; its package has made a user for it. */
function asPostgres(command: readonly string[]): readonly string[] {
  if (Deno.uid() !== 0) return command;
  return ["/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", ...command];
}

async function startPostgres(dir: string): Promise<{ port: number; socket: string; stop: () => Promise<void> }> {
  const port = freePort(), bin = postgresFolder(), data = `${dir}/data`, socket = `${dir}/.s.PGSQL.${port}`;
  await Deno.mkdir(dir, { mode: 0o755 });
  if (Deno.uid() === 0) await runText(["/usr/bin/chown", "postgres:", dir]);
  const options = ["--auth=trust", "--username=tester", "--no-sync", "--no-locale", "--encoding=UTF8"];
  await runText(asPostgres([`${bin}/initdb`, "-D", data, ...options]), { env: { LC_ALL: "C" } });
  const settings = ["fsync=off", `port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${dir}`];
  const stop = await stays(
    // Its smallest memory will do.
    asPostgres([`${bin}/postgres`, "-D", data, ...[...settings, "shared_buffers=2MB"].flatMap((one) => ["-c", one])]),
    async () => (await run(psql(["-c", "select 1"], socketFolder(socket), port))).code === 0,
    { LC_ALL: "C" },
  );
  return { port, socket, stop };
}

function socketFolder(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function psql(args: readonly string[], host: string, port: number): string[] {
  return ["/usr/bin/psql", "-X", "-q", "-h", host, "-p", String(port), "-U", "tester", "-d", "postgres", ...args];
}

/** Starts all of them. */
export async function startServices(): Promise<Services> {
  const dir = scratchDir(), folder = `${dir}/files`, ending: (() => Promise<void>)[] = [];
  // PostgreSQL's user has to get through.
  await Deno.chmod(dir, 0o755);
  await Deno.mkdir(`${folder}/up`, { recursive: true });
  await Deno.writeFile(`${folder}/blob`, blob);
  const end = async (): Promise<void> => void await Promise.all(ending.map((stop) => stop()));
  try {
    const repository = async (): Promise<string> => {
      await git(["init", "-q", `${dir}/tree`]);
      await Deno.writeFile(`${dir}/tree/blob`, blob);
      await git(["-C", `${dir}/tree`, "add", "blob"]);
      await git(["-C", `${dir}/tree`, "commit", "-q", "-m", "The blob"]);
      await git(["clone", "-q", "--bare", `${dir}/tree`, `${folder}/repo.git`]);
      await git(["-C", `${folder}/repo.git`, "update-server-info"]);
      return (await git(["-C", `${dir}/tree`, "rev-parse", "HEAD"])).trim();
    };
    const gitPort = freePort(), rsyncPort = freePort();
    await Deno.writeTextFile(
      `${dir}/rsyncd.conf`,
      `use chroot = no\naddress = 127.0.0.1\n[files]\npath = ${folder}\nread only = no\n` +
        (Deno.uid() === 0 ? "uid = root\ngid = root\n" : ""),
    );
    const [head, postgres, ...others] = await Promise.all([
      repository(),
      startPostgres(`${dir}/postgres`).then((one) => (ending.push(one.stop), one)),
      stays(
        // Without the wrapper, which would leave it behind.
        ["/usr/lib/git-core/git-daemon", "--export-all", `--base-path=${folder}`, "--reuseaddr"].concat(
          ["--listen=127.0.0.1", `--port=${gitPort}`, folder],
        ),
        () => answers({ hostname: "127.0.0.1", port: gitPort }),
        gitEnv,
      ),
      stays(
        ["/usr/bin/rsync", "--daemon", "--no-detach", `--config=${dir}/rsyncd.conf`, `--port=${rsyncPort}`],
        () => answers({ hostname: "127.0.0.1", port: rsyncPort }),
      ),
    ]);
    ending.push(...others);
    const web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const { pathname } = new URL(request.url);
      try {
        return new Response(await Deno.readFile(`${folder}${pathname}`));
      } catch {
        return new Response(null, { status: 404 });
      }
    });
    ending.push(() => web.shutdown());
    return {
      web: web.addr.port,
      git: gitPort,
      rsync: rsyncPort,
      postgres: postgres.port,
      postgresSocket: postgres.socket,
      folder,
      head,
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** A command that has its standard streams go that way, for programs that take one. */
function connector(way: Way): string {
  // Without -t, socat gives what still comes half a second once git has said all that it has to say.
  if (way.kind === "tcp") return `socat -t 60 - TCP:127.0.0.1:${way.port}`;
  if (way.kind === "unix") return `socat -t 60 - UNIX-CONNECT:${way.path}`;
  return `ncat --proxy 127.0.0.1:${way.proxy} --proxy-type socks5 --proxy-dns remote localhost ${way.port}`;
}

/** Fetches the blob over HTTP. */
export async function curl(way: Way): Promise<void> {
  const args = way.kind === "unix"
    ? ["--unix-socket", way.path, "http://test.invalid/blob"]
    : way.kind === "tcp"
    ? [`http://127.0.0.1:${way.port}/blob`]
    : ["--socks5-hostname", `127.0.0.1:${way.proxy}`, `http://localhost:${way.port}/blob`];
  const { stdout, stderr, code } = await run(["/usr/bin/curl", "-sS", "--noproxy", "", ...args]);
  assertEquals([code, stderr], [0, ""]);
  assertEquals(await hash(new Uint8Array(stdout)), expected, "curl");
}

async function cloned(dir: string, head: string): Promise<void> {
  assertEquals((await git(["-C", dir, "rev-parse", "HEAD"])).trim(), head);
  assertEquals(await hash(await Deno.readFile(`${dir}/blob`)), expected, "git clone");
}

/** Clones from `git daemon`. */
export async function gitClone(way: Way, head: string): Promise<void> {
  const dir = scratchDir();
  if (way.kind === "tcp") await git(["clone", "-q", `git://127.0.0.1:${way.port}/repo.git`, `${dir}/clone`]);
  else {
    const proxy = `${dir}/proxy`;
    await Deno.writeTextFile(proxy, `#!/bin/sh\nexec ${connector(way)}\n`, { mode: 0o755 });
    await git(["-c", `core.gitProxy=${proxy}`, "clone", "-q", "git://localhost/repo.git", `${dir}/clone`]);
  }
  await cloned(`${dir}/clone`, head);
}

/** Clones over HTTP through a SOCKS proxy that looks the name up. */
export async function gitCloneHttp(proxy: number, port: number, head: string): Promise<void> {
  const dir = scratchDir(), settings = `http.proxy=socks5h://127.0.0.1:${proxy}`;
  await git(["-c", settings, "clone", "-q", `http://localhost:${port}/repo.git`, `${dir}/clone`], { no_proxy: "" });
  await cloned(`${dir}/clone`, head);
}

/** Fetches the blob from `rsync --daemon`, and sends it there. */
export async function rsync(way: Way, { folder }: Services): Promise<void> {
  const dir = scratchDir(), back = `back_${crypto.randomUUID()}`;
  const [env, host]: [Record<string, string>, string] = way.kind === "tcp"
    ? [{}, `127.0.0.1:${way.port}`]
    : [{ RSYNC_CONNECT_PROG: connector(way) }, "localhost"];
  await runText(["/usr/bin/rsync", `rsync://${host}/files/blob`, `${dir}/${back}`], { env });
  assertEquals(await hash(await Deno.readFile(`${dir}/${back}`)), expected, "rsync down");
  await runText(["/usr/bin/rsync", `${dir}/${back}`, `rsync://${host}/files/up/`], { env });
  assertEquals(await hash(await Deno.readFile(`${folder}/up/${back}`)), expected, "rsync up");
}

/** Copies the blob into a table, and out of it. */
export async function postgres(way: Way): Promise<void> {
  const dir = scratchDir(), lines = blob.toHex().replace(/.{64}/g, "$&\n");
  await Deno.writeTextFile(`${dir}/lines`, lines);
  const query = [
    "create temp table t (n serial, line text)",
    `\\copy t (line) from '${dir}/lines'`,
    `\\copy (select line from t order by n) to '${dir}/back'`,
  ].flatMap((one) => ["-c", one]);
  if (way.kind === "socks") {
    // psql speaks no SOCKS: a socket of socat's takes it there.
    const path = `${dir}/.s.PGSQL.5432`, proxied = `SOCKS4A:127.0.0.1:localhost:${way.port},socksport=${way.proxy}`;
    const stop = await stays(
      ["/usr/bin/socat", "-t", "60", `UNIX-LISTEN:${path},fork`, proxied],
      () => isListening(path),
    );
    try {
      await runText(psql(query, dir, 5432));
    } finally {
      await stop();
    }
  } else if (way.kind === "tcp") await runText(psql(query, "127.0.0.1", way.port));
  else await runText(psql(query, socketFolder(way.path), 5432));
  const back = (await Deno.readTextFile(`${dir}/back`)).replaceAll("\n", "");
  assertEquals(await hash(Uint8Array.fromHex(back)), expected, "psql");
}

/** Whether somebody listens at a path, without a visit; the path is there a moment before. */
async function isListening(path: string): Promise<boolean> {
  const sockets = (await Deno.readTextFile("/proc/net/unix")).split("\n").map((line) => line.split(" "));
  return sockets.some((fields) => fields.at(-1) === path && fields[3] === "00010000");
}
