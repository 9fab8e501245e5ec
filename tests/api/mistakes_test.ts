/**
 * Mistakes that everybody makes once, and what they say.
 *
 * Each is a sentence, the code, and the error: its class and its message, word for word; `…` stands for what differs from run to run.
 * Where an option or an argument is wrong, the error is a `TypeError` or a `RangeError` and comes before anything is dialled, listened
 * on or sent. Where the server or a file is not as it was thought to be, it is an `SshError`: `error.code` tells the kind.
 *
 * `there` is a running server, as `connect()` wants it: `alice` logs in with the password `wonderland`.
 */
import { assert, assertMatch } from "@std/assert";
import {
  connect,
  type ConnectOptions,
  generateKey,
  keyboardInteractive,
  knownHosts,
  parsePrivateKey,
  password,
  pinnedHostKey,
  publicKey,
  serve,
  sftpSubsystem,
  Transport,
} from "../../mod.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, serverOptions } from "../_support/joined.ts";

const key = await generateKey("ed25519", { comment: "alice@laptop" });
const encrypted = await key.export({ passphrase: "correct horse", rounds: 1 });
const publicLine = `ssh-ed25519 ${key.publicKey.blob.toBase64()} alice@laptop`;
const conn = memoryPair().client;
const reading = Promise.resolve(key);
await reading;

// ------------------------------------------------------------------------------------ connecting

mistake(
  "The host is called `hostname`, as in Deno",
  () => connect({ host: "build.example", username: "alice" } as never),
  "TypeError: Cannot use option `host` of connect(): write `hostname` in its place",
);

mistake(
  "User, host and port are three options",
  () => connect({ hostname: "alice@build.example:2222", username: "alice" }),
  'TypeError: Cannot use a user@host as `hostname`: write `hostname: "build.example", port: 2222, username: "alice"`',
);

mistake(
  "A port is a number, and what comes from the environment or the command line is text",
  () => connect({ hostname: "build.example", username: "alice", port: "2222" as never }),
  'RangeError: Cannot use "2222" as `port`: a port must be an integer, 1 to 65535: write 2222, without quotes',
);

mistake(
  "A time limit is a signal, as everywhere on the web",
  () => connect({ hostname: "build.example", username: "alice", signal: 5000 as never }),
  "TypeError: Cannot use a number as `signal`: it must be an AbortSignal: write `AbortSignal.timeout(5000)`",
);

mistake(
  "Nobody listens there",
  () => connect({ hostname: "127.0.0.1", port: 1, username: "alice" }),
  'SshError CONNECTION_LOST: Cannot connect to "127.0.0.1" port 1: Connection refused …',
);

mistake(
  "Somebody listens there, and says nothing",
  () => connect({ hostname: "build.example", username: "alice", transport: memoryPair().client, handshakeTimeout: 50 }),
  "SshProtocolError PROTOCOL_ERROR: Key exchange took longer than 50 ms: the peer did not identify itself",
);

mistake(
  "Something listens there, and it is no SSH server",
  () =>
    connect({
      hostname: "www.example",
      username: "alice",
      transport: answering("HTTP/1.0 400 Bad request\r\n\r\n"),
    }),
  'SshError CONNECTION_LOST: Peer closed the connection before it identified itself; it sent "HTTP/1.0 400 Bad request": ' +
    "that is no SSH server",
);

mistake(
  "The connection was closed before",
  async (there) => {
    const client = await connect(there);
    await client.close();
    await client.exec("uptime");
  },
  "SshError CLOSED: Connection is closed",
);

// ------------------------------------------------------------------------------------ which host it is

mistake(
  "A host that was never seen before: nothing is accepted without a word",
  (there) => connect({ ...there, verifyHostKey: knownHosts("") }),
  'HostKeyUnknownError HOST_KEY_REJECTED: Cannot trust host key of "[127.0.0.1]:…": the host is not known, it offered ' +
    "ssh-ed25519 SHA256:…; looked in known_hosts text; if the key is right, add this line: [127.0.0.1]:… ssh-ed25519 …",
);

mistake(
  "A host that has another key than before",
  (there) => connect({ ...there, verifyHostKey: knownHosts(`[127.0.0.1]:${there.port} ${publicLine}`) }),
  'HostKeyChangedError HOST_KEY_REJECTED: Cannot trust host key of "[127.0.0.1]:…": it has changed, or somebody is in ' +
    "between: expected ssh-ed25519 SHA256:… (known_hosts text:1), offered ssh-ed25519 SHA256:…; if the change is right, " +
    "remove the old line with 'ssh-keygen -R \"[127.0.0.1]:…\"'",
);

mistake(
  "A fingerprint is not a function",
  (there) => connect({ ...there, verifyHostKey: "SHA256:uNiVztksCsDhcc0u9e8BrN2tIH6zMjGG4+GZTcrGzjc" as never }),
  "TypeError: Cannot use a text as `verifyHostKey`: it must be a function; `pinnedHostKey(text)` makes one of a fingerprint " +
    "or a key, `knownHosts(text)` of known_hosts",
);

// ------------------------------------------------------------------------------------ logging in

mistake(
  "A password is one of the ways to log in, and they are a list",
  (there) => connect({ ...there, auth: undefined, password: "wonderland" } as never),
  "TypeError: Cannot use option `password` of connect(): write `auth: [password(text)]` in its place",
);

mistake(
  "The list of one way is still a list",
  (there) => connect({ ...there, auth: password("wonderland") as never }),
  "TypeError: Cannot use one method as `auth`: write a list of it, `auth: [password(text)]`",
);

mistake(
  "The variable with the password is not set",
  (there) => connect({ ...there, auth: [password(Deno.env.get("NO_SUCH_VARIABLE")!)] }),
  "TypeError: Cannot use undefined as `password`: it must be a text, or a function that gives one when it is needed",
);

mistake(
  "Whoever was asked for the password gave none",
  (there) => connect({ ...there, auth: [password(() => null as never)] }),
  "TypeError: Cannot log in: the password is not a string, password()'s function gave null",
);

mistake(
  "The password is wrong",
  (there) => connect({ ...there, auth: [password("Wonderland")] }),
  'SshAuthError AUTH_FAILED: Cannot log in as "alice": no method is left; add keyboardInteractive(); tried none (refused); ' +
    "password (refused); the server allows password, keyboard-interactive",
);

mistake(
  "The server takes another way than those that were given",
  (there) => connect({ ...there, auth: [publicKey(key)] }),
  'SshAuthError AUTH_FAILED: Cannot log in as "alice": the server does not allow publickey; add password() or ' +
    "keyboardInteractive(); tried publickey (refused: ssh-ed25519 SHA256:… was refused); none (refused); the server allows " +
    "password, keyboard-interactive",
);

mistake(
  "A public key proves nothing",
  (there) => connect({ ...there, auth: [publicKey(key.publicKey as never)] }),
  "TypeError: Cannot use key: it is a public key, and the private one is needed",
);

mistake(
  "Where a key lies is not what is in it",
  (there) => connect({ ...there, auth: [publicKey("~/.ssh/id_ed25519")] }),
  "TypeError: Cannot use key: no private key is in its text; it looks like a path: pass `await Deno.readTextFile(path)`",
);

mistake(
  "The file with .pub at its end is the wrong one",
  () => parsePrivateKey(publicLine),
  "KeyFormatError KEY_FORMAT: Cannot read private key: it is a public key",
);

mistake(
  "The key is encrypted, and nobody gave the passphrase",
  () => parsePrivateKey(encrypted),
  "KeyFormatError KEY_FORMAT: Cannot read OpenSSH private key: it is encrypted and no passphrase was given",
);

mistake(
  "The passphrase is wrong",
  () => parsePrivateKey(encrypted, { passphrase: "battery staple" }),
  "KeyFormatError KEY_FORMAT: Cannot decrypt OpenSSH private key: the passphrase is wrong",
);

mistake(
  "Reading a key takes a moment, which has to be awaited",
  (there) => connect({ ...there, auth: [publicKey(reading as never)] }),
  "TypeError: Cannot use key: a private key or another signer, the text of a key file, an agent, or an iteration of " +
    "signers is needed, not a promise; write `await` before it",
);

mistake(
  "Two questions, one answer",
  (there) => connect({ ...there, username: "carol", auth: [keyboardInteractive(() => ["42"])] }),
  "TypeError: Cannot answer keyboard-interactive: 2 strings are needed, one for each prompt; 1 were given",
);

// ------------------------------------------------------------------------------------ algorithms and other options

mistake(
  "Names of algorithms are whole names",
  (there) => connect({ ...there, algorithms: { cipher: ["aes256-gcm"] } }),
  'TypeError: Cannot use "aes256-gcm" in `algorithms.cipher`: no such algorithm is known; "aes256-gcm@openssh.com" is meant',
);

mistake(
  "The lists of algorithms have short names, in the singular",
  (there) => connect({ ...there, algorithms: { ciphers: ["aes256-gcm@openssh.com"] } as never }),
  "TypeError: Cannot use `algorithms.ciphers`: there is no such list; `cipher` is meant",
);

mistake(
  "Keepalive is more than one number",
  (there) => connect({ ...there, keepalive: 15_000 as never }),
  "TypeError: Cannot use a number as `keepalive`: it must be written as `{ interval: 15000 }`",
);

// ------------------------------------------------------------------------------------ commands and files

mistake(
  "`exec()` waits for the end of the command: nobody could write to it meanwhile",
  async (there) => {
    await using client = await connect(there);
    await client.exec("cat", { stdin: "piped" });
  },
  'TypeError: Cannot execute command with "piped" stdin: nobody could write to it, use spawn()',
);

mistake(
  "The server has no such subsystem",
  async (there) => {
    await using client = await connect(there);
    await client.subsystem("netconf");
  },
  'SshError REQUEST_DENIED: Cannot start subsystem "netconf": the server refused it',
);

mistake(
  "The file is not there",
  async (there) => {
    await using client = await connect(there);
    await using sftp = await client.sftp();
    await sftp.readTextFile("no/such/file");
  },
  'SftpError SFTP_STATUS: Cannot open "no/such/file": no such file or directory',
);

mistake(
  "A directory with something in it goes only with all that is in it",
  async (there) => {
    await using client = await connect(there);
    await using sftp = await client.sftp();
    await sftp.mkdir("full/of/things", { recursive: true });
    await sftp.remove("full");
  },
  'SftpError SFTP_STATUS: Cannot remove directory "full": the server reports a failure; it may not be empty: remove it ' +
    "with `recursive: true`",
);

// ------------------------------------------------------------------------------------ serving

mistake(
  "A server without a key of its own cannot be told from any other",
  () => serve({ port: 0, hostKeys: [], auth: {} }),
  "TypeError: Cannot serve without host keys: make one with `await generateKey()` and keep it, or clients will warn of a " +
    "changed host",
);

mistake(
  "A directory that is to be served has to be there",
  () => sftpSubsystem({ root: "/no/such/directory" }),
  'TypeError: Cannot serve "/no/such/directory": there is no such directory',
);

mistake(
  "Who may log in has to be said, if only that nobody may",
  async () => serve({ port: 0, hostKeys: [await hostKey()] } as never),
  "TypeError: Cannot serve without `auth`: it says who may log in, and `{}` lets nobody in",
);

mistake(
  "A method with a name of its own would never be called, and nobody would get in",
  async () => {
    await using transport = new Transport(conn);
    transport.addServerKey(await hostKey());
    await transport.startServer({ checkAuthPublicKey: () => true } as never);
  },
  "TypeError: Cannot use method `checkAuthPublicKey` of a server: nothing calls it, `checkAuthPublickey` is meant",
);

// ------------------------------------------------------------------------------------ how it is tried

/** Streams to something that says one text and closes. */
function answering(text: string): ByteDuplex {
  const { client, server } = memoryPair(), writer = server.writable.getWriter();
  // Nobody reads yet, so that a write may wait.
  writer.write(new TextEncoder().encode(text)).then(() => writer.close()).catch(() => {});
  return client;
}

/** Registers one mistake. */
function mistake(what: string, code: (there: ConnectOptions) => unknown, says: string): void {
  Deno.test(what, async () => {
    const root = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
    try {
      await using server = serve({
        hostname: "127.0.0.1",
        port: 0,
        ...await serverOptions(),
        auth: {
          password: ({ username }, password) => username === "alice" && password === "wonderland",
          keyboardInteractive: async ({ username }, ask) =>
            username === "carol" &&
            (await ask([{ text: "Name?", echo: true }, { text: "Age?", echo: true }])).length === 2,
        },
        subsystems: { sftp: sftpSubsystem({ root }) },
      });
      const there: ConnectOptions = {
        hostname: "127.0.0.1",
        port: server.addr.port,
        username: "alice",
        auth: [password("wonderland")],
        verifyHostKey: pinnedHostKey(await (await hostKey()).publicKey.fingerprint()),
      };
      let error: unknown = null;
      try {
        await code(there);
      } catch (thrown) {
        error = thrown;
      }
      assert(error instanceof Error, "nothing was thrown");
      const kind = "code" in error ? `${error.name} ${error.code}` : error.name;
      const pattern = says.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+");
      assertMatch(`${kind}: ${error.message}`, new RegExp(`^${pattern}$`, "s"));
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  });
}
