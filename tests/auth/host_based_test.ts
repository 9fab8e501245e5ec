/** Logging in as a user of another machine, for whom its host key vouches. RFC 4252 section 9. */
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type AuthInfo,
  hostBased,
  knownHosts,
  password,
  publicKeyLine,
  revokedKeys,
  type ServerAuth,
  type Signer,
  SshAuthError,
} from "../../mod.ts";
import { hostBasedFields, hostBasedSignedData } from "../../lib/auth/messages.ts";
import { serveAuth } from "../../lib/auth/server.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { fakeInfo, fakePair, requestPayload, scriptedClient } from "../_support/fake_pair.ts";
import { join } from "../_support/joined.ts";
import { oneOfEach } from "../_support/one_of_each.ts";

const keys = await oneOfEach();
const key: Signer = keys[0]!, other: Signer = keys[1]!;

Deno.test("hostBased() logs in with each type of key, and the handler hears of the machine's key, name and user", async () => {
  for (const key of keys) {
    const heard: unknown[] = [];
    const known = knownHosts(`desk.example ${publicKeyLine(key.publicKey)}\n`);
    const auth: ServerAuth = {
      hostBased: async (info, offered, client) => {
        heard.push([info.username, client.hostname, client.username]);
        return client.username === "al" && await known(offered, { hostname: client.hostname, port: 22 });
      },
    };
    await using joined = await join(
      { auth, handler: (session) => session.user.publicKey === null && session.user.method === "hostbased" ? 7 : 1 },
      { auth: [hostBased({ key, hostname: "desk.example.", username: "al" })] },
    );
    assertEquals((await joined.client.exec("")).code, 7);
    assertEquals(heard, [["alice", "desk.example", "al"]]);
  }
});

Deno.test("a machine whose key is revoked vouches for nobody", async () => {
  const revoked = revokedKeys(`${publicKeyLine(other.publicKey)}\n`);
  const heard: unknown[] = [];
  const auth: ServerAuth = { hostBased: revoked.logins((_, __, client) => heard.push(client.hostname) > 0) };
  const login = (key: Signer) =>
    join({ auth }, { auth: [hostBased({ key, hostname: "desk.example", username: "al" })] });
  await assertRejects(() => login(other), SshAuthError, "hostbased (refused)");
  await using _ = await login(key);
  assertEquals(heard, ["desk.example"]);
});

Deno.test("hostBased() names the user whom the login is for, is one step of several, and says why it failed", async () => {
  const heard: unknown[] = [];
  const method = hostBased({ key, hostname: "desk.example" });
  const auth = (hostBased: ServerAuth["hostBased"]): ServerAuth => ({ hostBased, password: () => false });
  const refused = await assertRejects(
    () => join({ auth: auth((_, __, client) => (heard.push(client.username), false)) }, { auth: [method] }),
    SshAuthError,
  );
  assertEquals([heard, refused.remaining], [["alice"], ["password", "hostbased"]]);
  assertStringIncludes(refused.message, "hostbased (refused)");
  const notOffered = await assertRejects(() => join({}, { auth: [method] }), SshAuthError);
  assertStringIncludes(notOffered.message, "the server does not allow hostbased");
  await using joined = await join({
    auth: {
      hostBased: () => ({ partial: ["password"] }),
      password: (info: AuthInfo) => info.passed[0] === "hostbased",
    },
  }, { auth: [method, password("x")] });
  assertEquals((await joined.client.exec("exit 3")).code, 3);
  const broken = {
    publicKey: key.publicKey,
    algorithms: key.algorithms,
    sign: () => Promise.reject(new Error("no chip")),
  };
  const failed = await assertRejects(
    () => join({ auth: auth(() => true) }, { auth: [hostBased({ key: broken, hostname: "desk.example" })] }),
    SshAuthError,
  );
  assertStringIncludes(failed.message, "could not sign: no chip");
  const wrong = { ...broken, sign: (data: Uint8Array, name: string) => key.sign(data.slice(1), name) };
  const untrue = await assertRejects(
    () => join({ auth: auth(() => true) }, { auth: [hostBased({ key: wrong, hostname: "desk.example" })] }),
    SshAuthError,
  );
  assertStringIncludes(untrue.message, "is no ssh-ed25519 signature");
});

Deno.test("hostBased() refuses what makes no sense before anything is sent", () => {
  const wrong: readonly [options: unknown, says: string][] = [
    [undefined, "{ key, hostname }"],
    [{ hostname: "x" }, "`key`"],
    [{ key: "text", hostname: "x" }, "`key`"],
    [{ key }, "`hostname`"],
    [{ key, hostname: "" }, "`hostname`"],
    [{ key, hostname: "a b" }, "`hostname`"],
    [{ key, hostname: "a".repeat(257) }, "`hostname`"],
    [{ key, hostname: "x", username: "" }, "`username`"],
    [{ key, hostname: "x", username: 7 }, "`username`"],
  ];
  for (const [options, says] of wrong) assertThrows(() => hostBased(options as never), TypeError, says);
});

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A request of a script, right but for what is changed. */
async function request(change: {
  signer?: Signer;
  algorithm?: string;
  label?: string;
  blob?: Uint8Array;
  hostname?: Uint8Array;
  username?: Uint8Array;
  sessionId?: Uint8Array;
  user?: string;
  signedFields?: Uint8Array;
  behind?: Uint8Array;
}) {
  const { signer = key, algorithm = signer.algorithms[0]!, hostname = utf8("desk.example"), username = utf8("al") } =
    change;
  const fields = hostBasedFields({ algorithm, blob: change.blob ?? signer.publicKey.blob, hostname, username });
  const { sessionId = fakeInfo.sessionId, user = "alice", signedFields = fields } = change;
  const data = hostBasedSignedData(sessionId, utf8(user), signedFields);
  const signature = await signer.sign(data, change.label ?? signer.algorithms[0]!);
  const behind = change.behind ?? new Uint8Array(0);
  return requestPayload("alice", "hostbased", new Writer(512).raw(fields).string(signature).raw(behind).bytes());
}

async function answerTo(payload: Uint8Array<ArrayBuffer>, algorithms?: readonly string[]) {
  const heard: string[] = [];
  const { client, server } = fakePair();
  const done = serveAuth(server, {
    auth: { hostBased: (_, key, { hostname, username }) => (heard.push(`${key.type} ${hostname} ${username}`), true) },
    failureDelay: 0,
    algorithms,
    onSuccess: () => {},
  });
  done.catch(() => {});
  const peer = await scriptedClient(client);
  peer.send(payload);
  return { peer, heard, done };
}

Deno.test("a server lets nobody in by hostbased whose request is not signed as it stands, in this session, by that key", async () => {
  const right = await answerTo(await request({}));
  await right.peer.expect(Msg.USERAUTH_SUCCESS);
  assertEquals(right.heard, ["ssh-ed25519 desk.example al"]);
  const fieldsOf = (hostname: string, username: string) =>
    hostBasedFields({
      algorithm: "ssh-ed25519",
      blob: key.publicKey.blob,
      hostname: utf8(hostname),
      username: utf8(username),
    });
  const rsa: Signer = keys[4]!;
  const wrong: Record<string, Parameters<typeof request>[0]> = {
    "another session": { sessionId: new Uint8Array(32) },
    "another user here": { user: "root" },
    "another host": { signedFields: fieldsOf("other.example", "al") },
    "another user there": { signedFields: fieldsOf("desk.example", "bo") },
    "another key": { blob: other.publicKey.blob, algorithm: other.algorithms[0]! },
    "another type than the algorithm's": { algorithm: "ecdsa-sha2-nistp256" },
    "an algorithm that nobody knows": { algorithm: "x" },
    "SHA-1": { signer: rsa, algorithm: "ssh-rsa", label: "rsa-sha2-512" },
    "another algorithm in the signature": { signer: rsa, algorithm: "rsa-sha2-256", label: "rsa-sha2-512" },
    "a key that is none": { blob: new Uint8Array([0, 0, 0, 11]) },
    "no host": { hostname: new Uint8Array(0) },
    "a host with a blank": { hostname: utf8("desk example") },
    "a host that is no text": { hostname: new Uint8Array([0xff]) },
    "a host beyond the bound": { hostname: utf8("a".repeat(257)) },
    "no user": { username: new Uint8Array(0) },
    "a user with a NUL": { username: new Uint8Array([97, 0]) },
    "a user that is no text": { username: new Uint8Array([0xff]) },
    "a user beyond the bound": { username: utf8("a".repeat(1025)) },
  };
  for (const [what, change] of Object.entries(wrong)) {
    const { peer, heard } = await answerTo(await request(change));
    await peer.expect(Msg.USERAUTH_FAILURE);
    assertEquals(heard, [], what);
  }
  const bounds = await answerTo(await request({ hostname: utf8("a".repeat(256)), username: utf8("b".repeat(1024)) }));
  await bounds.peer.expect(Msg.USERAUTH_SUCCESS);
  const listed = await answerTo(await request({}), ["rsa-sha2-512"]);
  await listed.peer.expect(Msg.USERAUTH_FAILURE);
  // Cut anywhere, or with bytes behind: no request at all.
  const whole = await request({});
  for (const cut of [whole.slice(0, -1), whole.slice(0, 60), await request({ behind: new Uint8Array(1) })]) {
    assertEquals(await (await answerTo(cut)).peer.disconnect(), 2);
  }
});
