/**
 * A machine for programs and recipes, and the home from which they reach it: whatever host they name, it is this one.
 *
 * @module
 */
import { generateKey, type PrivateKey, publicKeyLine, serve, sftpSubsystem, trustedUserCAs } from "../../mod.ts";
import { shellHandler } from "../../lib/pty/mod.ts";
import { run } from "../_support/child.ts";
import { hostKey } from "../_support/joined.ts";
import { exampleEnv } from "../_support/examples.ts";

const config = new URL("../../deno.json", import.meta.url).pathname;
const network = new URL("../_support/network.ts", import.meta.url).pathname;

/** Directories and files of a home. */
export type Files = Readonly<Record<string, string>>;

/** Writes files, and the directories that they are in; what begins with `#!` may be run. */
export function writeFiles(dir: string, files: Files): void {
  for (const [path, text] of Object.entries(files)) {
    Deno.mkdirSync(`${dir}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(`${dir}/${path}`, text, { mode: text.startsWith("#!") ? 0o700 : 0o600 });
  }
}

/** A machine and a home. */
export interface Machine extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /** What its users have: where sessions and SFTP begin. */
  readonly there: string;
  /** The home and the working directory of programs. */
  readonly home: string;
  /** The key of that home. */
  readonly key: PrivateKey;
  /** Who has logged in, in order. */
  readonly users: string[];
  /** What runs there now, by its command. */
  readonly running: Set<string | null>;
  /** Arguments of `deno` and the rest for a program of this home, in a network in which these names lead to these ports. */
  command(program: string, routes: Readonly<Record<string, number>>, args?: readonly string[]): {
    args: string[];
    env: Record<string, string>;
    cwd: string;
  };
  /** Runs a program to its end, which must be a good one, and gives what it wrote. */
  output(
    program: string,
    routes: Readonly<Record<string, number>>,
    args?: readonly string[],
  ): Promise<string>;
}

/** Starts it, with files of its own and of the home. Ports behind it are reached by `behind`. */
export async function startMachine(
  options: { there: Files; home: Files; behind: Readonly<Record<string, number>> },
): Promise<Machine> {
  const [home, there] = ["home", "there"].map((name) => Deno.makeTempDirSync({ prefix: `amiko_ssh_${name}_` }));
  const key = await generateKey(), users: string[] = [], running = new Set<string | null>();
  const certified = trustedUserCAs(publicKeyLine(key.publicKey));
  const handled = new Set<Promise<unknown>>();
  const handle = shellHandler({ env: { HOME: there!, PATH: `${there}/bin:/usr/bin:/bin` } });
  const server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await hostKey()],
    onListen: () => {},
    auth: {
      // The key itself, and whoever it has signed a certificate for.
      publicKey: async (info, offered) =>
        offered.blob.toBase64() === key.publicKey.blob.toBase64() || await certified(info, offered),
      password: (_info, password) => password === "wonderland",
    },
    handler(session) {
      users.push(session.user.name);
      running.add(session.command);
      const code = Promise.resolve(handle(session)).finally(() => running.delete(session.command));
      handled.add(code.catch(() => {}));
      return code;
    },
    subsystems: { sftp: sftpSubsystem({ root: there! }) },
    allowForward: () => true,
    async onForward(_info, { hostname, port, conn }) {
      const name = `${hostname}:${port}`;
      const socket = await Deno.connect({ hostname: "127.0.0.1", port: options.behind[name] ?? server.addr.port });
      await Promise.allSettled([conn.readable.pipeTo(socket.writable), socket.readable.pipeTo(conn.writable)]);
    },
  });
  const { type, blob } = (await hostKey()).publicKey;
  writeFiles(there!, options.there);
  writeFiles(home!, {
    ".ssh/known_hosts": `*.example,*.internal ${type} ${blob.toBase64()}\n`,
    ".ssh/id_ed25519": await key.export(),
    ...options.home,
  });
  const command: Machine["command"] = (program, routes, args = []) => ({
    args: ["run", "-A", "--quiet", "--no-check", "--config", config, "--preload", network, program, ...args],
    env: exampleEnv({
      HOME: home!,
      USER: "alice",
      SSH_AUTH_SOCK: "",
      TERM: "xterm",
      NO_COLOR: "1",

      AMIKO_NETWORK: JSON.stringify(routes),
    }),
    cwd: home!,
  });
  return {
    port: server.addr.port,
    there: there!,
    home: home!,
    key,
    users,
    running,
    command,
    async output(program, routes, args) {
      const { args: words, env, cwd } = command(program, routes, args);
      const script = 'cd "$0" && exec "$@"';
      const { code, stdout, stderr } = await run(["/bin/sh", "-c", script, cwd, Deno.execPath(), ...words], { env });
      const text = new TextDecoder().decode(stdout);
      if (code !== 0) throw new Error(`${program} ended with ${code}: ${text}${stderr}`);
      return text;
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await Promise.all(handled);
      for (const dir of [home!, there!]) await Deno.remove(dir, { recursive: true });
    },
  };
}
