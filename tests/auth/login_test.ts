/** Client and server against each other. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { authenticate, ClientAuth } from "../../lib/auth/client.ts";
import { type AuthMethod, keyboardInteractive, none, password, publicKey } from "../../lib/auth/methods.ts";
import { serveAuth, type ServeAuthOptions } from "../../lib/auth/server.ts";
import type { AuthenticatedUser, ServerAuth } from "../../lib/auth/types.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Agent, Signer } from "../../lib/keys/types.ts";
import { userauthRequest } from "../../lib/auth/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import {
  acceptPayload,
  failurePayload,
  fakePair,
  type FakeTransport,
  ScriptedPeer,
  successPayload,
} from "../_support/fake_pair.ts";

const alice = await generateKey("ed25519");
const mallory = await generateKey("ed25519");

interface Login {
  client: FakeTransport;
  server: FakeTransport;
  banners: string[];
  order: string[];
  auth: ClientAuth;
  user: Promise<AuthenticatedUser>;
}

function start(auth: ServerAuth, options: Partial<ServeAuthOptions> = {}, sigAlgs?: string): Login {
  const { client, server } = fakePair(), banners: string[] = [], order: string[] = [];
  if (sigAlgs !== undefined) client.extensions.set("server-sig-algs", new TextEncoder().encode(sigAlgs));
  const user = serveAuth(server, {
    auth,
    failureDelay: 0,
    onSuccess: () => order.push("server", String(server.authenticated)),
    ...options,
  });
  user.catch(() => {});
  const clientAuth = new ClientAuth(client, {
    onBanner: (text) => void banners.push(text),
    onSuccess: () => order.push("client", String(client.authenticated)),
  });
  return { client, server, banners, order, auth: clientAuth, user };
}

async function login(auth: ServerAuth, methods: AuthMethod[], sigAlgs?: string): Promise<AuthenticatedUser> {
  const made = start(auth, {}, sigAlgs);
  await authenticate(made.auth, "alice", methods);
  const user = await made.user;
  assertEquals(made.order, ["server", "true", "client", "true"]);
  return user;
}

const onlyAlice: ServerAuth = {
  publicKey: async (info, key) =>
    info.username === "alice" && await key.fingerprint() === await alice.publicKey.fingerprint(),
};

Deno.test("password() logs in where the server takes the password", async () => {
  const seen: string[] = [];
  const user = await login({ password: (info, secret) => (seen.push(info.username), secret === "s3cret") }, [
    password("s3cret"),
  ]);
  assertEquals([user.name, user.method, user.publicKey], ["alice", "password", null]);
  assertEquals(seen, ["alice"]);
});

Deno.test("password() calls its function when the password is needed, and not before", async () => {
  let calls = 0;
  const method = password(() => (calls++, Promise.resolve("s3cret")));
  await login({ none: () => true }, [method]);
  assertEquals(calls, 0);
  await login({ password: (_, secret) => secret === "s3cret" }, [method]);
  assertEquals(calls, 1);
});

for (const type of ["ed25519", "ecdsa", "rsa"] as const) {
  Deno.test(`publicKey() logs in with a key of type ${type}`, async () => {
    const key = type === "ed25519" ? alice : await generateKey(type, type === "rsa" ? { bits: 2048 } : {});
    const asked: string[] = [];
    const user = await login({
      publicKey: async (_, offered) => {
        asked.push(offered.type);
        return await offered.fingerprint() === await key.publicKey.fingerprint();
      },
    }, [publicKey(key)]);
    assertEquals(user.method, "publickey");
    assertEquals(user.publicKey?.blob, key.publicKey.blob);
    // It signs at once: nothing was asked before.
    assertEquals(asked, [key.publicKey.type]);
  });
}

Deno.test("publicKey() offers keys, an agent's keys and text in turn, each once", async () => {
  const offered: string[] = [];
  const agent: Agent = {
    signers: () => Promise.resolve([mallory, mallory, alice]),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const user = await login({
    publicKey: async (info, key) => (offered.push(await key.fingerprint()), onlyAlice.publicKey!(info, key)),
  }, [publicKey(agent, alice, "not a key")]);
  assertEquals(user.publicKey?.blob, alice.publicKey.blob);
  const [a, m] = [await alice.publicKey.fingerprint(), await mallory.publicKey.fingerprint()];
  assertEquals(offered, [m, a, a]);
  await login(onlyAlice, [publicKey(await alice.export())]);
});

Deno.test("publicKey() goes on to the next key when one cannot sign or an agent fails", async () => {
  const broken: Signer = {
    publicKey: mallory.publicKey,
    algorithms: mallory.algorithms,
    sign: () => Promise.reject(new Error("token removed")),
  };
  const agent: Agent = {
    signers: () => Promise.reject(new Error("no socket")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const user = await login({ publicKey: () => true }, [publicKey(agent, broken, alice)]);
  assertEquals(user.publicKey?.blob, alice.publicKey.blob);
  const failed = start({ publicKey: () => true });
  const error = await assertRejects(() => authenticate(failed.auth, "alice", [publicKey(agent, broken)]), SshAuthError);
  assert(error.message.includes("the agent gave no keys: no socket"));
  assert(error.message.includes("could not sign: token removed"));
  failed.client.close();
});

Deno.test("publicKey() chooses an RSA algorithm by server-sig-algs (RFC 8332)", async () => {
  const rsa = await generateKey("rsa", { bits: 2048 }), signed: string[] = [];
  const key: Signer = {
    publicKey: rsa.publicKey,
    algorithms: rsa.algorithms,
    sign: (data, algorithm) => (signed.push(algorithm), rsa.sign(data, algorithm)),
  };
  await login({ publicKey: () => true }, [publicKey(key)], "ssh-ed25519,rsa-sha2-256");
  await login({ publicKey: () => true }, [publicKey(key)], "rsa-sha2-256,rsa-sha2-512");
  assertEquals(signed, ["rsa-sha2-256", "rsa-sha2-512"]);
  // No list: the second algorithm is offered when the first is refused.
  signed.length = 0;
  const other = start({ publicKey: () => true }, { algorithms: ["rsa-sha2-256"] });
  await authenticate(other.auth, "alice", [publicKey(key)]);
  assertEquals(signed, ["rsa-sha2-256"]);
});

// OpenSSH PROTOCOL section 1.10.
Deno.test("publicKey() goes by the server-sig-algs that a server tells once it knows the user", async () => {
  const rsa = await generateKey("rsa", { bits: 2048 }), signed: string[] = [];
  const key: Signer = {
    publicKey: rsa.publicKey,
    algorithms: rsa.algorithms,
    sign: (data, algorithm) => (signed.push(algorithm), rsa.sign(data, algorithm)),
  };
  // Also where it rules the first key out before.
  for (
    const [methods, before] of [
      [[password("wrong"), publicKey(key)], "rsa-sha2-512,rsa-sha2-256"],
      [[publicKey(key)], "ssh-ed25519"],
    ] as const
  ) {
    signed.length = 0;
    const made = start(
      {
        none: () => {
          made.client.extensions.set("server-sig-algs", new TextEncoder().encode("rsa-sha2-256"));
          return false;
        },
        password: () => false,
        publicKey: () => true,
      },
      {},
      before,
    );
    await authenticate(made.auth, "alice", methods);
    assertEquals([signed, (await made.user).method], [["rsa-sha2-256"], "publickey"]);
  }
});

Deno.test("publicKey() goes on with what server-sig-algs says after a first key was refused for its algorithm", async () => {
  const rsa = await generateKey("rsa", { bits: 2048 }),
    { client, server } = fakePair(),
    peer = new ScriptedPeer(server);
  client.extensions.set("server-sig-algs", new TextEncoder().encode("rsa-sha2-512,rsa-sha2-256"));
  const login = authenticate(new ClientAuth(client, { onSuccess: () => {} }), "alice", [publicKey(rsa)]);
  await peer.expect(Msg.SERVICE_REQUEST);
  peer.send(acceptPayload());
  const asked: string[] = [];
  for (const answer of [failurePayload(["publickey"]), null, successPayload()]) {
    const { fields } = userauthRequest.decode(await peer.expect(Msg.USERAUTH_REQUEST));
    const text = new TextDecoder("latin1").decode(fields), algorithm = /rsa-sha2-\d+/.exec(text)![0];
    asked.push(`${algorithm}${fields[0] === 1 ? " signed" : ""}`);
    client.extensions.set("server-sig-algs", new TextEncoder().encode("rsa-sha2-256"));
    peer.send(answer ?? new Writer().u8(Msg.USERAUTH_PK_OK).text(algorithm).string(rsa.publicKey.blob).bytes());
  }
  await login;
  assertEquals(asked, ["rsa-sha2-512 signed", "rsa-sha2-256", "rsa-sha2-256 signed"]);
  client.close();
});

Deno.test("publicKey() passes over an RSA key that server-sig-algs rules out, and says so", async () => {
  const made = start({ publicKey: () => true }, {}, "ssh-ed25519,ssh-rsa");
  const rsa = await generateKey("rsa", { bits: 2048 });
  const error = await assertRejects(() => authenticate(made.auth, "alice", [publicKey(rsa)]), SshAuthError);
  assert(error.message.includes("server-sig-algs has none of rsa-sha2-512"), error.message);
  made.client.close();
  // OpenSSH 7.2 to 7.4 list RSA alone and take the others; ssh2 lists a name that there is not, for want of a comma.
  await login(onlyAlice, [publicKey(alice)], "rsa-sha2-256,rsa-sha2-512");
});

Deno.test("keyboardInteractive() answers round after round", async () => {
  const rounds: unknown[] = [];
  const user = await login({
    keyboardInteractive: async (_, ask) => {
      const [secret] = await ask([{ text: "Password: ", echo: false }], { name: "Login", instruction: "Two steps" });
      const [code, colour] = await ask([{ text: "Code: ", echo: true }, { text: "Colour: ", echo: true }]);
      await ask([], { instruction: "Welcome" });
      return secret === "s3cret" && code === "123" && colour === "blau";
    },
  }, [keyboardInteractive((round) => {
    rounds.push(round);
    return round.prompts.map(({ text }) => text === "Password: " ? "s3cret" : text === "Code: " ? "123" : "blau");
  })]);
  assertEquals(user.method, "keyboard-interactive");
  assertEquals(rounds, [
    { name: "Login", instruction: "Two steps", prompts: [{ text: "Password: ", echo: false }] },
    { name: "", instruction: "", prompts: [{ text: "Code: ", echo: true }, { text: "Colour: ", echo: true }] },
    { name: "", instruction: "Welcome", prompts: [] },
  ]);
});

Deno.test("none() logs in where the server asks for nothing", async () => {
  const user = await login({ none: () => true, password: () => false }, [none()]);
  assertEquals([user.name, user.method], ["alice", "none"]);
});

Deno.test("authenticate() goes through several methods in turn after partial successes", async () => {
  const passed: (readonly string[])[] = [];
  const user = await login({
    publicKey: async (info, key) => {
      passed.push(info.passed);
      return await onlyAlice.publicKey!(info, key) && { partial: ["password", "keyboard-interactive"] };
    },
    password: (info, secret) => {
      passed.push(info.passed);
      return secret === "s3cret" && { partial: ["keyboard-interactive"] };
    },
    keyboardInteractive: async (info, ask) => {
      passed.push(info.passed);
      return (await ask([{ text: "Code: ", echo: true }]))[0] === "123";
    },
  }, [keyboardInteractive(() => ["123"]), password("s3cret"), publicKey(mallory, alice)].reverse());
  assertEquals(user.method, "keyboard-interactive");
  // The key that passed stays with the user.
  assertEquals(user.publicKey?.blob, alice.publicKey.blob);
  assertEquals(passed, [[], [], [], ["publickey"], ["publickey", "password"]]);
});

Deno.test("serveAuth() takes no method twice after a partial success", async () => {
  let calls = 0;
  const made = start({ password: () => (calls++, { partial: ["password", "publickey"] }), publicKey: () => false });
  const first = await made.auth.attempt("alice", password("x"));
  assertEquals([first.success, first.partial, first.remaining], [false, true, ["publickey"]]);
  const second = await made.auth.attempt("alice", password("x"));
  assertEquals([second.success, second.partial, second.remaining], [false, false, ["publickey"]]);
  assertEquals(calls, 1);
  made.client.close();
});

Deno.test("password() changes a password that the server wants changed", async () => {
  const changed: string[] = [], prompts: string[] = [];
  const user = await login({
    password: () => ({ change: "Expired\u001b[2J" }),
    passwordChange: (_, old, fresh) => {
      changed.push(`${old}>${fresh}`);
      return fresh.length > 4 || { change: "Too short" };
    },
  }, [password("old", { change: (prompt) => (prompts.push(prompt), prompt === "Too short" ? "longer" : "new") })]);
  assertEquals(user.method, "password");
  assertEquals(changed, ["old>new", "old>longer"]);
  assertEquals(prompts, ["Expired\ufffd[2J", "Too short"]);
});

Deno.test("password() says that a new password is wanted when it has none to give", async () => {
  const made = start({ password: () => ({ change: "Expired" }), passwordChange: () => true });
  const error = await assertRejects(() => authenticate(made.auth, "alice", [password("hunter2")]), SshAuthError);
  assert(error.message.includes('the server wants a new password ("Expired")'), error.message);
  assert(!error.message.includes("hunter2"));
  made.client.close();
});

Deno.test("serveAuth() sends the banner before its first answer, fit for a terminal at the client", async () => {
  const made = start({ password: () => true }, { banner: "Hello\r\n\tworld\u001b]0;x\u0007\u202e\n" });
  await authenticate(made.auth, "alice", [password("x")]);
  assertEquals(made.banners, ["Hello\n\tworld\ufffd]0;x\ufffd\ufffd\n"]);
});

Deno.test("authenticate() says what was tried, what is left and what to try", async () => {
  const made = start({ password: () => false, publicKey: () => false, keyboardInteractive: () => false });
  const error = await assertRejects(
    () => authenticate(made.auth, "alice", [publicKey(alice), password("hunter2")]),
    SshAuthError,
  );
  assertEquals(error.remaining, ["publickey", "password", "keyboard-interactive"]);
  assertEquals(
    error.message,
    'Cannot log in as "alice": no method is left; add keyboardInteractive(); ' +
      `tried publickey (refused: ssh-ed25519 ${await alice.publicKey
        .fingerprint()} was refused); password (refused); ` +
      "none (refused); the server allows publickey, password, keyboard-interactive",
  );
  made.client.close();
  const keysOnly = start({ publicKey: () => false });
  const other = await assertRejects(() => authenticate(keysOnly.auth, "alice", [password("hunter2")]), SshAuthError);
  assertEquals(
    other.message,
    'Cannot log in as "alice": the server does not allow password; add publicKey(); tried none (refused); the server allows publickey',
  );
  keysOnly.client.close();
});

Deno.test("authenticate() says that the server ended the connection after too many failures", async () => {
  const made = start({ password: () => false }, { maxAuthTries: 1 });
  const error = await assertRejects(
    () => authenticate(made.auth, "alice", [password("hunter2"), password("hunter3")]),
    SshAuthError,
  );
  assert(error.message.includes("the server ended the connection"), error.message);
  assert(error.message.includes("Too many authentication failures"), error.message);
  assert(error.cause instanceof SshError);
  await assertRejects(() => made.user, SshError, "Too many authentication failures");
});

Deno.test("authenticate() uses up no try for a key that is refused where another key or method follows", async () => {
  const right: ServerAuth = { ...onlyAlice, password: (_, secret) => secret === "s3cret" };
  for (
    const methods of [[publicKey(mallory, alice)], [publicKey(mallory), publicKey(alice)], [
      publicKey(mallory),
      password("s3cret"),
    ]]
  ) {
    const made = start(right, { maxAuthTries: 1 });
    await authenticate(made.auth, "alice", methods);
    assertEquals((await made.user).name, "alice");
  }
});

// OpenSSH PROTOCOL section 3.1.
Deno.test("publicKey() signs for the server's host key where the server takes that, in the version that is known", async () => {
  for (const [told, bound] of [["0", true], ["1", false], ["", false], [null, false]] as const) {
    const made = start({ publicKey: () => true });
    if (told !== null) made.client.extensions.set("publickey-hostbound@openssh.com", new TextEncoder().encode(told));
    await authenticate(made.auth, "alice", [publicKey(alice)]);
    assertEquals((await made.user).method, "publickey");
    const texts = made.client.sent.map((payload) => new TextDecoder("latin1").decode(payload));
    assertEquals(texts.some((text) => text.includes("publickey-hostbound-v00@openssh.com")), bound, String(told));
  }
});
