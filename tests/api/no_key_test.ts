/** Logins that find no key: the error says where was looked, and why nothing came of it. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { type AuthMethod, publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Agent } from "../../lib/keys/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { memoryPair } from "../_support/duplex.ts";
import { login, serverOptions } from "../_support/joined.ts";

const key = await generateKey(), other = await generateKey();
const PASSPHRASE = "a passphrase that nobody is told";

/** A home of the test's own, with files in its .ssh, and without an agent until SSH_AUTH_SOCK is set. */
async function home(files: Readonly<Record<string, string>>): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  await Deno.mkdir(`${path}/.ssh`);
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${path}/.ssh/${name}`, text);
  const before = ["HOME", "SSH_AUTH_SOCK"].map((name) => [name, Deno.env.get(name)] as const);
  Deno.env.set("HOME", path);
  Deno.env.delete("SSH_AUTH_SOCK");
  return {
    path,
    async [Symbol.asyncDispose]() {
      for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** What a login says to a server that takes no key. */
async function refusal(auth?: readonly AuthMethod[]): Promise<string> {
  const pair = memoryPair(), options = await serverOptions({ auth: { publicKey: () => false } });
  const served = serveConn(pair.server, options).catch(() => {});
  const { auth: _, ...rest } = login;
  const error = await assertRejects(
    () => connect({ hostname: "test.invalid", ...rest, transport: pair.client, ...auth !== undefined && { auth } }),
    SshAuthError,
  );
  await served;
  return error.message;
}

function assertHas(message: string, ...parts: readonly string[]): void {
  for (const part of parts) assert(message.includes(part), `${part}\nis not in\n${message}`);
}

Deno.test("connect() without a key says that there is no agent, and which files are not there", async () => {
  await using where = await home({});
  const message = await refusal();
  assertHas(
    message,
    "publickey (refused: there was no key to offer, agent: SSH_AUTH_SOCK is not set, ",
    `${where.path}/.ssh/id_ed25519: it is not there, `,
    `${where.path}/.ssh/id_rsa: it is not there, `,
    `${where.path}/.ssh/id_mldsa44_ed25519: it is not there)`,
  );
});

Deno.test("connect() says which default keys are encrypted, unreadable or none, and nothing that is in them", async () => {
  await using where = await home({
    id_ecdsa: "secret words\n",
    id_ed25519: await key.export({ passphrase: PASSPHRASE }),
  });
  await Deno.mkdir(`${where.path}/.ssh/id_rsa`);
  const notes: string[] = [];
  for (const auth of [undefined, [publicKey(defaultIdentities({ onSkip: (note) => notes.push(note) }))]]) {
    const message = await refusal(auth);
    assertHas(
      message,
      "there was no key to offer, ",
      `${where.path}/.ssh/id_ed25519: it is encrypted; add it to an agent, or hand it over with its passphrase`,
      `${where.path}/.ssh/id_ecdsa: `,
      `${where.path}/.ssh/id_rsa: Is a directory`,
    );
    assert(!message.includes("secret words") && !message.includes(PASSPHRASE), message);
  }
  // What `onSkip` was told stands in the error, word for word.
  assertEquals(notes.length, 3);
  const message = await refusal();
  assertHas(message, ...notes);
});

Deno.test("connect() says that the agent does not answer, and has no keys", async () => {
  await using where = await home({});
  const path = `${where.path}/agent`;
  Deno.env.set("SSH_AUTH_SOCK", path);
  assertHas(await refusal(), `agent: Cannot connect to agent at SSH_AUTH_SOCK "${path}": No such file`);
  const listener = Deno.listen({ transport: "unix", path });
  const serving = (async () => {
    const conn = await listener.accept();
    await conn.read(new Uint8Array(100));
    await conn.write(new Writer().string(new Writer().u8(12).u32(0).bytes()).bytes());
    await conn.read(new Uint8Array(100));
    conn.close();
  })();
  assertHas(await refusal(), "agent: it has no key of a type that is known here");
  await serving;
  listener.close();
});

Deno.test({
  name: "connect() says which permission the agent and the key files want",
  permissions: { env: true, read: true, write: true, net: true },
  fn: async () => {
    await using where = await home({ id_ed25519: await key.export() });
    Deno.env.set("SSH_AUTH_SOCK", `${where.path}/agent`);
    await Deno.permissions.revoke({ name: "read" });
    const message = await refusal();
    assertHas(message, `agent: Cannot connect to agent at SSH_AUTH_SOCK`, "run again with the --allow-read flag");
    assertHas(message, `${where.path}/.ssh/id_ed25519: Requires read access`);
  },
});

Deno.test("a key that was refused does not hide which others were passed over", async () => {
  await using where = await home({
    id_ed25519: await key.export(),
    id_rsa: await key.export({ passphrase: PASSPHRASE }),
  });
  const message = await refusal();
  assertHas(
    message,
    `publickey (refused: ssh-ed25519 ${await key.publicKey
      .fingerprint()} was refused, ${where.path}/.ssh/id_rsa: it is enc`,
  );
  assert(!message.includes("it is not there") && !message.includes("SSH_AUTH_SOCK"), message);
});

Deno.test("publicKey() with several sources says of each why it gave no key", async () => {
  await using _where = await home({});
  const broken: Agent = {
    signers: () => Promise.reject(new SshError("Agent refused to list identities", { code: "REQUEST_DENIED" })),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const empty: Agent = { signers: () => Promise.resolve([]), [Symbol.asyncDispose]: () => Promise.resolve() };
  const own = (async function* () {})();
  assertHas(
    await refusal([publicKey(own, broken, empty, defaultIdentities())]),
    "there was no key to offer, the agent gave no keys: Agent refused to list identities, ",
    "the agent has no key of a type that is known here, agent: SSH_AUTH_SOCK is not set, ",
  );
  assertHas(await refusal([publicKey(broken, other)]), "was refused, the agent gave no keys: Agent refused");
  await assertRejects(() => connectAgent(), SshError, "SSH_AUTH_SOCK is not set");
});
