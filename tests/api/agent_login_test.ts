/** Logins by an agent that accepts and says nothing. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { SshError } from "../../lib/errors.ts";
import { connectAgent } from "../../lib/agent/agent.ts";
import { defaultIdentities } from "../../lib/agent/default_identities.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { memoryPair } from "../_support/duplex.ts";
import { login, serverOptions } from "../_support/joined.ts";

/** A socket at SSH_AUTH_SOCK that accepts and is silent once it has listed `blobs`, and at once without them. */
interface SilentAgent extends AsyncDisposable {
  /** Resolves when a client has asked for what gets no answer. */
  readonly asked: Promise<void>;
  /** Resolves when the client has closed its connection. */
  readonly left: Promise<void>;
}

async function silentAgent(blobs?: Uint8Array[]): Promise<SilentAgent> {
  const directory = await Deno.makeTempDir(), path = `${directory}/agent`;
  const listener = Deno.listen({ transport: "unix", path });
  const before = Deno.env.get("SSH_AUTH_SOCK"), home = Deno.env.get("HOME");
  Deno.env.set("SSH_AUTH_SOCK", path);
  Deno.env.set("HOME", directory);
  const asked = Promise.withResolvers<void>();
  const left = (async () => {
    const conn = await listener.accept().catch(() => null);
    if (conn === null) return;
    const view = new Uint8Array(4096);
    try {
      for (let first = true; await conn.read(view) !== null; first = false) {
        if (first && blobs !== undefined) {
          const list = new Writer().u8(12).u32(blobs.length);
          for (const blob of blobs) list.string(blob).text("");
          await conn.write(new Writer().string(list.bytes()).bytes());
        } else asked.resolve();
      }
    } finally {
      conn.close();
    }
  })();
  return {
    asked: asked.promise,
    left,
    async [Symbol.asyncDispose]() {
      listener.close();
      if (before === undefined) Deno.env.delete("SSH_AUTH_SOCK");
      else Deno.env.set("SSH_AUTH_SOCK", before);
      if (home !== undefined) Deno.env.set("HOME", home);
      await left;
      await Deno.remove(directory, { recursive: true });
    },
  };
}

const key = await generateKey();

/** A login that waits for the agent, and what the server says of it. */
async function waiting(options: Partial<ConnectOptions>) {
  const pair = memoryPair();
  const served = serveConn(pair.server, await serverOptions({ auth: { publicKey: () => true } })).catch(() => {});
  const { auth: _, ...rest } = login;
  const connecting = connect({ hostname: "test.invalid", ...rest, transport: pair.client, ...options });
  connecting.catch(() => {});
  return { pair, served, connecting };
}

for (const [where, blobs] of [["lists no keys", undefined], ["signs nothing", [key.publicKey.blob]]] as const) {
  Deno.test(`connect() that is aborted closes the agent that ${where}`, async () => {
    await using agent = await silentAgent(blobs === undefined ? undefined : [...blobs]);
    const controller = new AbortController();
    const { connecting, served } = await waiting({ signal: controller.signal });
    await agent.asked;
    const reason = new Error("enough");
    controller.abort(reason);
    assertEquals(await connecting.catch((error) => error), reason);
    await agent.left;
    await served;
  });

  Deno.test(`connect() whose connection ends closes the agent that ${where}`, async () => {
    await using agent = await silentAgent(blobs === undefined ? undefined : [...blobs]);
    const { connecting, served, pair } = await waiting({});
    await agent.asked;
    pair.reset();
    await assertRejects(() => connecting, SshError);
    await agent.left;
    await served;
  });

  Deno.test(`publicKey() lets go of the program's agent that ${where}, and the program can close it`, async () => {
    await using agent = await silentAgent(blobs === undefined ? undefined : [...blobs]);
    await using connection = await connectAgent();
    const controller = new AbortController();
    const { connecting, served } = await waiting({ signal: controller.signal, auth: [publicKey(connection)] });
    await agent.asked;
    const reason = new Error("enough");
    controller.abort(reason);
    assertEquals(await connecting.catch((error) => error), reason);
    await served;
    await connection[Symbol.asyncDispose]();
    await agent.left;
  });
}

Deno.test("an agent's connection is closed although the agent does not take what is written to it", async () => {
  const directory = await Deno.makeTempDir(), path = `${directory}/agent`;
  const listener = Deno.listen({ transport: "unix", path });
  const [conn, far] = await Promise.all([Deno.connect({ transport: "unix", path }), listener.accept()]);
  const agent = await connectAgent(conn),
    signing = agent.signers().then(([signer]) => {
      // More than a socket's buffers hold.
      const requests = [1, 2, 3].map(() => signer!.sign(new Uint8Array(250_000), "ssh-ed25519"));
      return Promise.allSettled(requests);
    });
  await far.read(new Uint8Array(100));
  const list = new Writer().u8(12).u32(1).string(key.publicKey.blob).text("");
  await far.write(new Writer().string(list.bytes()).bytes());
  // The request has begun to arrive, and nobody reads on.
  await far.read(new Uint8Array(1));
  await agent[Symbol.asyncDispose]();
  for (const { status } of await signing) assertEquals(status, "rejected");
  // What is left in the buffers can be read, and then there is an end.
  const view = new Uint8Array(65_536);
  while (await far.read(view).catch(() => null) !== null);
  far.close();
  listener.close();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("connect() has closed the agent when the user is logged in by a key file", async () => {
  await using agent = await silentAgent([]);
  const directory = `${Deno.env.get("HOME")}/.ssh`;
  await Deno.mkdir(directory);
  await Deno.writeTextFile(`${directory}/id_ed25519`, await key.export());
  const { connecting, served } = await waiting({});
  const client = await connecting;
  await agent.left;
  await client.close();
  await served;
});

Deno.test("defaultIdentities() ends with the reason of its signal, and keeps no listener on it", async () => {
  {
    await using _agent = await silentAgent([key.publicKey.blob]);
    const counted = countedSignal();
    for await (const { publicKey } of defaultIdentities({ signal: counted.signal })) {
      assertEquals([publicKey.blob, counted.listeners], [key.publicKey.blob, 1]);
      break;
    }
    await counted.released();
  }
  await using agent = await silentAgent();
  const controller = new AbortController(), reason = new Error("enough");
  const first = defaultIdentities({ signal: controller.signal }).next();
  first.catch(() => {});
  await agent.asked;
  controller.abort(reason);
  assert(await first.catch((error) => error) === reason);
  await agent.left;
  assert(await defaultIdentities({ signal: controller.signal }).next().catch((error) => error) === reason);
});

Deno.test("connect() that is aborted does not wait for a verifier that looks up the host's key types", async () => {
  const controller = new AbortController(), reason = new Error("enough"), pair = memoryPair();
  const asked = Promise.withResolvers<void>();
  const verifyHostKey = Object.assign(() => Promise.resolve(true), {
    keyTypes: () => {
      asked.resolve();
      return new Promise<never>(() => {});
    },
  });
  const connecting = connect({
    hostname: "test.invalid",
    ...login,
    transport: pair.client,
    verifyHostKey,
    signal: controller.signal,
  });
  connecting.catch(() => {});
  await asked.promise;
  controller.abort(reason);
  assert(await connecting.catch((error) => error) === reason);
});
