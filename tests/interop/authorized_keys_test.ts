/**
 * authorized_keys: `sshd` and `serve()` read the same file, and each line lets its key in at both or at neither, to do the same.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { connect, type SshClient } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { authorizedKeys } from "../../lib/auth/authorized_keys.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { serviceRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { ChannelOpenError, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { RejectedLine } from "../../lib/keys/trust/authorized_keys.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { freePort } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { fast } from "../_support/load.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { RawPeer } from "../_support/raw_peer.ts";

/** Options of lines of which only matters whether they let their key in: the first half does at both, the second at neither. */
const loginOptions = [
  [
    "",
    'from="127.0.0.1"',
    'from="127.0.0.0/8"',
    'from="10.0.0.0/8,127.0.*"',
    'from="127.0.0.?"',
    'from="!10.0.0.0/8,*"',
    'expiry-time="99991231"',
    'expiry-time="209912312359Z"',
    'expiry-time="20991231235959"',
    'tunnel="any"',
    "no-touch-required",
    "touch-required,no-verify-required",
    "no-agent-forwarding,no-X11-forwarding,no-user-rc",
  ],
  [
    'from="127.0.0.1/8"',
    'from="127.0.0.0/33"',
    'from="10.0.0.0/8"',
    'from="127.0.0.0/8,!127.0.0.1"',
    'from="!127.0.0.1,*"',
    'from="!10.0.0.0/8"',
    'from="localhost"',
    'from="127.0.0.1,"',
    'from="127.0.0.1",from="*"',
    'expiry-time="20200101"',
    'expiry-time="20200101Z"',
    'expiry-time="20991231",expiry-time="202001010000"',
    'expiry-time="soon"',
    'expiry-time="20991301"',
    'permitopen="127.0.0.1"',
    'permitopen="127.0.0.1:0"',
    'permitopen="127.0.0.1:65536"',
    'permitlisten="x:y"',
    'environment="A-B=1"',
    'environment="A"',
    'command="echo one",command="echo two"',
    'command="unclosed',
    "command=echo",
    "cert-authority",
    'principals="amiko"',
    'tunnel="x"',
    "frobnicate",
    'frobnicate="x"',
    'restrict="yes"',
    "restrict no-pty",
  ],
] as const;

/** Lines that `sshd` lets in and ours does not: what cannot be decided, or may mean two things, is no. */
const stricterOptions = [
  "verify-required",
  'from="!bad.example.com,*"',
  'expiry-time="20990231"',
  'permitopen=":22"',
  "restrict,",
] as const;

/** Runs what is asked for, as `sshd` does. */
async function run({ command, env, stdout, stderr }: ServerSession): Promise<number> {
  const child = new Deno.Command("/bin/sh", { args: ["-c", command ?? ""], env, stdin: "null" }).outputSync();
  for (const [stream, bytes] of [[stdout, child.stdout], [stderr, child.stderr]] as const) {
    const writer = stream.getWriter();
    await writer.write(bytes);
    writer.releaseLock();
  }
  return child.code;
}

/** Whether it works, where a refusal is an error of the other side's. */
async function works(attempt: () => Promise<unknown>): Promise<boolean> {
  try {
    await attempt();
    return true;
  } catch (error) {
    if (error instanceof ChannelOpenError || error instanceof SshError && error.code === "REQUEST_DENIED") return false;
    throw error;
  }
}

/** What a client may do, and what its command says. */
async function verdict(client: SshClient, port: number, path: string, listenAt: number): Promise<object> {
  const output = await client.exec('echo "asked $A $B"');
  return {
    says: new TextDecoder().decode(output.stdout).trim(),
    pty: await works(async () => {
      await using _process = await client.spawn("true", { pty: true, stdin: "null" });
    }),
    open: await works(async () => {
      await using _conn = await client.dial({ hostname: "127.0.0.1", port });
    }),
    openUnix: await works(async () => {
      await using _conn = await client.dialUnix(path);
    }),
    listen: await works(async () => {
      await using _listener = await client.listen({ hostname: "127.0.0.1", port: listenAt });
    }),
  };
}

const utf8 = new TextEncoder();

/** Which of some keys a server would let in. */
async function letIn(port: number, username: string, keys: readonly PrivateKey[]): Promise<boolean[]> {
  const peer = new RawPeer(await Deno.connect({ hostname: "127.0.0.1", port }), { role: "client", algorithms: fast });
  await peer.handshake();
  await peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
  const said: boolean[] = [];
  for (const { publicKey: { type: algorithm, blob } } of keys) {
    const fields = new Writer().bool(false).text(algorithm).string(blob).bytes();
    const [user, service, method] = [username, "ssh-connection", "publickey"].map((text) => utf8.encode(text));
    await peer.send(userauthRequest.encode({ user: user!, service: service!, method: method!, fields }));
    let answer: number | undefined;
    while (answer !== Msg.USERAUTH_FAILURE && answer !== Msg.USERAUTH_PK_OK) answer = (await peer.receive())![0];
    said.push(answer === Msg.USERAUTH_PK_OK);
  }
  await peer.close();
  return said;
}

/** Lines, each for a key of its own. */
interface Line {
  readonly options: string;
  readonly key: PrivateKey;
  readonly listenAt: number;
  readonly line: string;
}

/** Lines with these options, in which `%l` is the port to listen at. */
function linesOf(options: readonly string[]): Promise<Line[]> {
  return Promise.all(options.map(async (options) => {
    const key = await generateKey(), listenAt = freePort();
    return { options, key, listenAt, line: `${options.replaceAll("%l", String(listenAt))} ${key.publicKey}`.trim() };
  }));
}

/** Our server and an `sshd` of a version, which read the file. */
async function start(file: string, version: "9.2" | "10", onRejected: (line: RejectedLine) => void) {
  const hostKey = await generateKey();
  const ours = serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [hostKey],
    auth: { publicKey: authorizedKeys(file, { environment: true, onRejected }) },
    handler: run,
    allowForward: () => true,
    maxAuthTries: 100,
    onListen: () => {},
  });
  const sshd = await startOpenSshd({
    version,
    defaults: true,
    config: [`AuthorizedKeysFile=${file}`, "PermitUserEnvironment=yes", "MaxAuthTries=100", "LogLevel=ERROR"],
  });
  return { ours, sshd, hostKey: hostKey.publicKey.toString() };
}

for (const [id, version] of [["openssh", "9.2"], ["openssh10", "10"]] as const) {
  peerTest(id, `sshd ${version} and serve() let in the same keys of one authorized_keys`, async () => {
    const file = `${scratchDir()}/authorized_keys`;
    const [right, wrong, stricter] = await Promise.all([...loginOptions, stricterOptions].map(linesOf)) as Line[][];
    const all = [right!, wrong!, stricter!].flat(), rejected: RejectedLine[] = [];
    Deno.writeTextFileSync(file, all.map(({ line }) => line).join("\r\n"));
    const servers = await start(file, version, (line) => rejected.push(line));
    await using ours = servers.ours;
    await using sshd = servers.sshd;
    const [theirs, own] = await Promise.all([
      letIn(sshd.port, sshd.username, all.map(({ key }) => key)),
      letIn(ours.addr.port, "amiko", all.map(({ key }) => key)),
    ]);
    const wanted = (lines: readonly Line[], said: string) => lines.map(({ options }) => `${options}: ${said}`);
    assertEquals(all.map(({ options }, i) => `${options}: ${theirs[i]} ${own[i]}`), [
      ...wanted(right!, "true true"),
      ...wanted(wrong!, "false false"),
      ...wanted(stricter!, "true false"),
    ]);
    // A program can see each of them.
    assertEquals(rejected.map(({ line }) => line), [...wrong!, ...stricter!].map((_, i) => right!.length + i + 1));
  });
}

peerTest("openssh", "sshd and serve() hold a session to the same options of authorized_keys", async () => {
  const dir = scratchDir(), file = `${dir}/authorized_keys`, path = `${dir}/socket`;
  using tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using unix = Deno.listen({ transport: "unix", path });
  const accepting = [tcp, unix].map(async (listener) => {
    for await (const conn of listener) conn.close();
  });
  const { port } = tcp.addr as Deno.NetAddr, other = port === 1024 ? 1025 : port - 1;

  /** What a line forbids shows in the session; ours leaves no Unix sockets beside the ports of a list. `%l` is the port to listen at. */
  const sessionOptions: Record<string, { readonly openUnix?: false }> = {
    "restrict,pty": {},
    "PTY,Restrict,Port-Forwarding": {},
    'no-pty,command="echo forced: $SSH_ORIGINAL_COMMAND"': {},
    [String.raw`no-port-forwarding,command="echo \"a b\" \\c"`]: {},
    'environment="A=1",environment="B=two words",environment="A=3"': {},
    [`no-port-forwarding,permitopen="127.0.0.1:${port}"`]: {},
    [`permitopen="127.0.0.1:${port}",restrict,port-forwarding`]: { openUnix: false },
    'permitopen="127.0.0.1:*",permitopen="a:1"': { openUnix: false },
    [`permitopen="*:${port}",permitlisten="%l"`]: { openUnix: false },
    [`permitopen="127.0.0.1:${other}",permitlisten="127.?.*:%l"`]: { openUnix: false },
    'permitlisten="localhost:%l",permitlisten="127.0.0.1:1"': {},
    'permitlisten="*:*"': {},
  };
  const sessions = await linesOf(Object.keys(sessionOptions));
  Deno.writeTextFileSync(file, sessions.map(({ line }) => line).join("\n"));
  const started = await start(file, "9.2", () => {});
  await using ours = started.ours;
  await using sshd = started.sshd;
  const servers = [
    { username: sshd.username, port: sshd.port, verifyHostKey: pinnedHostKey(...sshd.hostKeys) },
    { username: "amiko", port: ours.addr.port, verifyHostKey: pinnedHostKey(started.hostKey) },
  ];
  for (const { options, key, listenAt } of sessions) {
    const verdicts = [];
    for (const server of servers) {
      await using client = await connect({ hostname: "127.0.0.1", auth: [publicKey(key)], ...server });
      verdicts.push(await verdict(client, port, path, listenAt));
    }
    assertEquals(verdicts[1], { ...verdicts[0]!, ...sessionOptions[options] }, options);
  }
  tcp.close();
  unix.close();
  await Promise.all(accepting);
});
