/**
 * Test support. The peers of peers.ts as clients: each runs one command on a server, feeds it input, and gives back what came of it.
 *
 * @module
 */
import { Driver, type Output, run } from "./child.ts";
import { dropbearKey, puttyKey, scratchDir, type TestKey } from "./keys.ts";
import { everyAlgorithm, newerPython, npmFolder, openSsh10, type PeerId, scripts } from "./peers.ts";

/** One command on one connection. */
export interface ClientRun {
  /** Port on 127.0.0.1. */
  port: number;
  /** Host key lines that the client may trust. */
  hostKeys: readonly TestKey[];
  /** User name. */
  username: string;
  /** How to log in; `interactive` answers every question with the password. */
  login: { key: TestKey } | { password: string; interactive?: boolean };
  /** Command line. */
  command: string;
  /** Its standard input. */
  input: Uint8Array<ArrayBuffer>;
  /** Ask for compression. */
  compress?: boolean;
  /** Have the client renew keys behind so many bytes; paramiko and ssh2 do it once, half way. */
  rekeyBytes?: number;
}

/** A client program. */
export interface ClientPeer extends AsyncDisposable {
  /** Which peer it is. */
  readonly id: PeerId;
  /** Whether it can be told to renew keys: never, while nobody else does, or whenever. */
  readonly rekeys: "never" | "alone" | "whenever";
  /** Whether it answers keyboard-interactive without a terminal. */
  readonly interactive: boolean;
  /** Runs a command; fails where login or the connection does. */
  run(request: ClientRun): Promise<Output>;
}

const nothingToDispose = () => Promise.resolve();

/** `ssh`, with every algorithm that it knows, unless `defaults` says to leave it alone; `config` adds lines such as `RekeyLimit=1M`. */
export function opensshClient(
  version: "9.2" | "10",
  options: { config?: readonly string[]; defaults?: boolean } = {},
): Promise<ClientPeer> {
  const id = version === "10" ? "openssh10" : "openssh";
  const ssh = id === "openssh10" ? `${openSsh10()}/bin/ssh` : "/usr/bin/ssh";
  const dir = scratchDir();
  const algorithms = options.defaults ? [] : everyAlgorithm(id);
  return Promise.resolve({
    id,
    rekeys: "whenever",
    interactive: true,
    run: async (request: ClientRun) => {
      const knownHosts = await Deno.makeTempFile({ dir });
      const lines = request.hostKeys.map((key) => `[127.0.0.1]:${request.port} ${key.line}\n`).join("");
      await Deno.writeTextFile(knownHosts, lines);
      const env: Record<string, string> = {};
      const config = [
        ...options.config ?? [],
        ...algorithms,
        `UserKnownHostsFile=${knownHosts}`,
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "IdentityAgent=none",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
        `Compression=${request.compress ? "yes" : "no"}`,
        ...request.rekeyBytes === undefined ? [] : [`RekeyLimit=${request.rekeyBytes}`],
      ];
      if ("key" in request.login) {
        config.push("BatchMode=yes", "PreferredAuthentications=publickey", `IdentityFile=${request.login.key.file}`);
      } else {
        const method = request.login.interactive ? "keyboard-interactive" : "password";
        config.push(`PreferredAuthentications=${method}`, "NumberOfPasswordPrompts=1");
        env.SSH_ASKPASS = await askPass(dir, request.login.password);
        env.SSH_ASKPASS_REQUIRE = "force";
      }
      const options2 = config.flatMap((line) => ["-o", line]);
      return connected(
        255,
        await run([
          ssh,
          "-F",
          "/dev/null",
          "-T",
          "-p",
          String(request.port),
          ...options2,
          `${request.username}@127.0.0.1`,
          request.command,
        ], { stdin: request.input, env }),
      );
    },
    [Symbol.asyncDispose]: nothingToDispose,
  });
}

/** Dropbear's `dbclient`. */
export function dropbearClient(): Promise<ClientPeer> {
  const home = scratchDir();
  Deno.mkdirSync(`${home}/.ssh`);
  return Promise.resolve({
    id: "dropbear",
    rekeys: "never",
    interactive: true,
    run: async (request: ClientRun) => {
      const env: Record<string, string> = { HOME: home };
      // It knows hosts by name only, without a port.
      const lines = request.hostKeys.map((key) => `127.0.0.1 ${key.line}\n`).join("");
      await Deno.writeTextFile(`${home}/.ssh/known_hosts`, lines);
      const login = [];
      if ("key" in request.login) login.push("-i", await dropbearKey(request.login.key));
      else env.DROPBEAR_PASSWORD = request.login.password;
      const output = connected(
        1,
        await run([
          "/usr/bin/dbclient",
          ...["-T", "-p", String(request.port), "-l", request.username],
          ...login,
          "127.0.0.1",
          request.command,
        ], { stdin: request.input, env }),
      );
      // Its own remark on the login stands before what the command says.
      return { ...output, stderr: output.stderr.replace(/^Login for [^\n]*\n/, "") };
    },
    [Symbol.asyncDispose]: nothingToDispose,
  });
}

/** PuTTY's `plink`. */
export function puttyClient(): Promise<ClientPeer> {
  const home = scratchDir();
  Deno.mkdirSync(`${home}/sessions`, { recursive: true });
  return Promise.resolve({
    id: "putty",
    rekeys: "whenever",
    interactive: true,
    run: async (request: ClientRun) => {
      const login = [];
      // No method stands behind WARN: in a batch it would refuse those.
      const kex = "ntru-curve25519,ecdh,dh-gex-sha1,dh-group18-sha512,dh-group17-sha512,dh-group16-sha512," +
        "dh-group15-sha512,dh-group14-sha1,dh-group1-sha1,rsa,WARN";
      const settings = ["Protocol=ssh", "PromptOnExit=0", `KEX=${kex}`];
      if (request.rekeyBytes !== undefined) settings.push(`RekeyBytes=${request.rekeyBytes}`);
      if ("key" in request.login) {
        login.push("-i", await puttyKey(request.login.key));
      } else {
        if (request.login.interactive) settings.push("AuthKI=1");
        else settings.push("AuthKI=0");
        const file = await Deno.makeTempFile({ dir: home });
        await Deno.writeTextFile(file, `${request.login.password}\n`);
        login.push("-pwfile", file);
      }
      const session = await Deno.makeTempFile({ dir: `${home}/sessions`, prefix: "s" });
      await Deno.writeTextFile(session, settings.map((line) => `${line}\n`).join(""));
      const output = connected(
        1,
        await run([
          "/usr/bin/plink",
          ...[
            "-load",
            session.slice(session.lastIndexOf("/") + 1),
            "-ssh",
            "-batch",
            "-T",
            "-noagent",
            "-no-trivial-auth",
          ],
          ...["-P", String(request.port), "-l", request.username],
          ...request.compress ? ["-C"] : [],
          ...request.hostKeys.flatMap((key) => ["-hostkey", key.fingerprint]),
          ...login,
          "127.0.0.1",
          request.command,
        ], { stdin: request.input, env: { HOME: home, PUTTYDIR: home } }),
      );
      // Its own remarks on the login stand before what the command says.
      return { ...output, stderr: output.stderr.replace(/^(?:[^\n]*keyboard-interactive[^\n]*\n)+/i, "") };
    },
    [Symbol.asyncDispose]: nothingToDispose,
  });
}

/** paramiko. */
export function paramikoClient(): Promise<ClientPeer> {
  return scripted("paramiko", ["/usr/bin/python3", `${scripts}/paramiko_client.py`], newerPython);
}

/** The paramiko of Debian 12, which knows no strict key exchange. */
export function paramiko2Client(): Promise<ClientPeer> {
  return scripted("paramiko2", ["/usr/bin/python3", `${scripts}/paramiko_client.py`]);
}

/** AsyncSSH. */
export function asyncSshClient(): Promise<ClientPeer> {
  return scripted("asyncssh", ["/usr/bin/python3", `${scripts}/asyncssh_client.py`], newerPython);
}

/** The AsyncSSH of Debian 12, which goes on sending behind its KEXINIT. */
export function asyncSsh2Client(): Promise<ClientPeer> {
  return scripted("asyncssh2", ["/usr/bin/python3", `${scripts}/asyncssh_client.py`]);
}

/** ssh2 on Node. */
export function ssh2Client(): Promise<ClientPeer> {
  return scripted("ssh2", ["node", `${scripts}/ssh2_client.mjs`, npmFolder]);
}

async function scripted(
  id: PeerId,
  command: readonly string[],
  env?: Record<string, string>,
): Promise<ClientPeer> {
  const driver = await Driver.start(command, scratchDir(), env);
  return {
    id,
    // Where both begin at once, paramiko's two threads send a KEXINIT each.
    rekeys: id.startsWith("paramiko") ? "alone" : "whenever",
    interactive: true,
    run: async (request) => {
      const { login } = request;
      const answer = await driver.call({
        port: request.port,
        username: request.username,
        host_keys: request.hostKeys.map((key) => key.line),
        command: request.command,
        input: request.input.toBase64(),
        ...("key" in login ? { key_file: login.key.file } : login),
        ...(request.compress
          ? { compress: true, compression_algs: ["zlib@openssh.com"], algorithms: { compress: ["zlib@openssh.com"] } }
          : {}),
        ...(request.rekeyBytes === undefined ? {} : { rekey_bytes: request.rekeyBytes, rekey: true }),
      }) as { error: string } | { stdout: string; stderr: string; code: number };
      if ("error" in answer) throw new Error(answer.error);
      return { stdout: Uint8Array.fromBase64(answer.stdout), stderr: answer.stderr, code: answer.code };
    },
    [Symbol.asyncDispose]: () => driver[Symbol.asyncDispose](),
  };
}

/** Tells a command's exit code from the client's own failure. */
function connected(failure: number, output: Output): Output {
  if (output.code !== failure) return output;
  throw new Error(`The client failed: ${output.stderr}`);
}

async function askPass(dir: string, password: string): Promise<string> {
  const file = await Deno.makeTempFile({ dir });
  await Deno.writeTextFile(file, `#!/bin/sh\nprintf '%s\\n' '${password}'\n`);
  await Deno.chmod(file, 0o700);
  return file;
}
