/**
 * A server with nothing but its defaults, for clients that have been around for ten years: what reaches sshd reaches `serve()`.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { parsePrivateKey, serve, sftpSubsystem } from "../../mod.ts";
import { run, runText } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { scratchDir, type TestKey, testKeys } from "../_support/keys.ts";
import { jschClasses, password, peers, peerTest, scripts, username } from "../_support/peers.ts";

interface Job {
  readonly port: number;
  readonly login: { readonly password: string } | { readonly key: string };
  /** A file of known hosts, alone in the `.ssh` of a home. */
  readonly home: string;
  /** The file that goes up under this name, and the one that it comes back to. */
  readonly up: string;
  readonly name: string;
  readonly back: string;
}

async function must(command: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr, code } = await run(command, { env, deadline: 60_000 });
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, `${command.join(" ")}\n${text}${stderr}`);
  return text;
}

async function curl({ port, login, home, up, name, back }: Job): Promise<string> {
  const who = "password" in login
    ? ["--user", `${username}:${login.password}`]
    : ["--user", `${username}:`, "--key", login.key, "--pubkey", `${login.key}.pub`];
  const command = ["/usr/bin/curl", "-q", "-s", "-S", ...who], url = `sftp://127.0.0.1:${port}/`;
  await must([...command, "-T", up, `${url}${name}`], { HOME: home });
  await must([...command, "-o", back, `${url}${name}`], { HOME: home });
  return await must([...command, url], { HOME: home });
}

async function jsch({ port, login, home, up, name, back }: Job): Promise<string> {
  let who: string[];
  if ("password" in login) who = ["password", login.password];
  else {
    // It reads nothing but PEM.
    const pem = `${scratchDir()}/key`;
    await Deno.copyFile(login.key, pem);
    await runText(["ssh-keygen", "-q", "-p", "-m", "PEM", "-P", "", "-N", "", "-f", pem]);
    who = ["key", pem];
  }
  return await must([
    "/usr/bin/java",
    ...["-cp", jschClasses.join(":"), "bsh.Interpreter", `${scripts}/jsch_client.bsh`],
    ...[String(port), username, ...who, `${home}/.ssh/known_hosts`, up, name, back],
  ]);
}

function homeThatKnows(port: number, keys: readonly TestKey[]): string {
  const home = scratchDir();
  Deno.mkdirSync(`${home}/.ssh`);
  Deno.writeTextFileSync(
    `${home}/.ssh/known_hosts`,
    keys.map(({ line }) => `[127.0.0.1]:${port} ${line}\n`).join(""),
  );
  return home;
}

async function check(copy: (job: Job) => Promise<string>): Promise<void> {
  const { host, user } = await testKeys();
  const keys = [host.ed25519, host.ecdsa256, host.rsa], errors: unknown[] = [], methods: string[] = [];
  const root = scratchDir(), dir = scratchDir();
  const sftp = sftpSubsystem({ root });
  await using server = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: await Promise.all(keys.map(({ text }) => parsePrivateKey(text))),
    auth: {
      password: (info, given) => info.username === username && given === password,
      publicKey: (info, key) => info.username === username && user.ecdsa256.line.endsWith(` ${key.blob.toBase64()}`),
    },
    subsystems: {
      sftp: (session) => {
        methods.push(session.user.method);
        return sftp(session);
      },
    },
    onError: (error) => errors.push(error),
  });
  const home = homeThatKnows(server.addr.port, keys), content = seededBytes(300_000);
  await Deno.writeFile(`${dir}/up`, content);
  for (const login of [{ password }, { key: user.ecdsa256.file }]) {
    const name = "password" in login ? "by password" : "by key", back = `${dir}/back ${name}`;
    const job = { port: server.addr.port, login, home, up: `${dir}/up`, name: name.replace(" ", "_"), back };
    const listing = await copy(job).catch((error) => {
      throw new Error(`${name}: ${error}; the server saw: ${errors.map(String).join("; ")}`, { cause: error });
    });
    assert(listing.includes(job.name), listing);
    assertEquals(await Deno.readFile(`${root}/${job.name}`), content);
    assertEquals(await Deno.readFile(back), content);
  }
  assertEquals([...new Set(methods)], ["password", "publickey"]);
}

peerTest(
  "curl",
  `serve() by default serves ${peers.curl.title} as Debian 12 has it, by password and by key`,
  async () => {
    await check(curl);
  },
);

peerTest("jsch", `serve() by default serves ${peers.jsch.title}, by password and by key`, () => check(jsch));
