/** What a server says of the methods that are left, and what a client makes of it: of an empty list above all (C25). */
import { assert, assertEquals } from "@std/assert";
import { authenticate, type AuthenticateOptions, ClientAuth } from "../../lib/auth/client.ts";
import { encodeInfoRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { type AuthMethod, keyboardInteractive, none, password, publicKey } from "../../lib/auth/methods.ts";
import { DisconnectReason, SshAuthError, SshError, SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { acceptPayload, failurePayload, fakePair, ScriptedPeer, successPayload } from "../_support/fake_pair.ts";

const alice = await generateKey("ed25519"), other = await generateKey("ed25519");

/** What the server answers to a request; what it is shown are the method, and the secret or the key of it. */
type Server = (method: string, what: string, requests: readonly string[]) => Uint8Array;

/** Logs in to a server that answers as it is told; gives what was asked, in order, and how the login ended. */
async function login(
  methods: readonly AuthMethod[],
  answer: Server,
  options: AuthenticateOptions = {},
): Promise<{ requests: string[]; error: SshAuthError | null }> {
  const { client, server } = fakePair(), peer = new ScriptedPeer(server), requests: string[] = [];
  const auth = new ClientAuth(client, { onSuccess: () => {} });
  const serving = (async () => {
    for (let payload; (payload = await peer.next()) !== null;) {
      if (payload[0] === Msg.SERVICE_REQUEST) peer.send(acceptPayload());
      if (payload[0] === Msg.USERAUTH_INFO_RESPONSE) peer.send(answer("answers", "", requests));
      if (payload[0] !== Msg.USERAUTH_REQUEST) continue;
      const { method, fields } = userauthRequest.decode(payload);
      const name = new TextDecoder().decode(method), what = shown(name, fields);
      requests.push(`${name} ${what}`.trim());
      peer.send(answer(name, what, requests));
    }
  })();
  const error = await authenticate(auth, "alice", methods, options).then(() => null, (error) => error);
  client.close();
  await serving;
  if (error !== null && !(error instanceof SshAuthError)) throw error;
  return { requests, error };
}

function shown(method: string, fields: Uint8Array): string {
  const text = new TextDecoder("latin1").decode(fields);
  if (method === "password") return text.slice(5);
  if (method !== "publickey") return "";
  const has = (key: typeof alice) => text.includes(new TextDecoder("latin1").decode(key.publicKey.blob));
  return `${has(alice) ? "alice's" : has(other) ? "the other" : "?"}${fields[0] === 1 ? " signed" : ""}`;
}

function pkOk(key: typeof alice): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_PK_OK).text("ssh-ed25519").string(key.publicKey.blob).bytes();
}

const question = encodeInfoRequest({ name: "", instruction: "", prompts: [{ text: "?", echo: false }] });

Deno.test("authenticate() tries what it has where the server answers with an empty list, and `none` where that was not asked", async () => {
  const answers = keyboardInteractive(() => ["yes"]);
  for (
    const [methods, good, asked] of [
      [[password("secret")], "password secret", ["none", "password secret"]],
      [[password("a"), password("secret")], "password secret", ["none", "password a", "password secret"]],
      [
        [publicKey(alice, other), password("secret")],
        "publickey the other signed",
        ["publickey alice's", "publickey the other", "publickey the other signed"],
      ],
      [[publicKey(alice), answers], "answers", ["publickey alice's", "keyboard-interactive"]],
      [
        [publicKey(alice), password("secret")],
        "password secret",
        ["publickey alice's", "password secret"],
      ],
      [[publicKey(alice)], "none", ["publickey alice's signed", "none"]],
    ] as const
  ) {
    const { requests, error } = await login(methods, (method, what) => {
      if (`${method} ${what}`.trim() === good) return successPayload();
      if (method === "keyboard-interactive") return question;
      return method === "publickey" && good.startsWith(`publickey ${what}`) ? pkOk(other) : failurePayload([]);
    });
    assertEquals([requests, error], [[...asked], null]);
  }
});

Deno.test("authenticate() uses each method once where the server never says what it allows, and ends", async () => {
  const { requests, error } = await login(
    [publicKey(alice, other), password("first"), password("second"), keyboardInteractive(() => ["no"])],
    (method) => method === "keyboard-interactive" ? question : failurePayload([]),
  );
  assertEquals(requests, [
    "publickey alice's",
    "publickey the other",
    "password first",
    "password second",
    "keyboard-interactive",
    "none",
  ]);
  assertEquals(error!.remaining, []);
  const fingerprints = [await alice.publicKey.fingerprint(), await other.publicKey.fingerprint()];
  assertEquals(
    error!.message,
    'Cannot log in as "alice": no method is left; check the user name and the credentials; ' +
      `tried publickey (refused: ssh-ed25519 ${fingerprints[0]} was refused, ssh-ed25519 ${
        fingerprints[1]
      } was refused); ` +
      "password (refused); password (refused); keyboard-interactive (refused); none (refused); the server does not say what it allows",
  );
});

Deno.test("an error after an empty list names the methods that could be added", async () => {
  for (
    const [methods, advice] of [
      [[], "no method is left; add password() or publicKey() or keyboardInteractive()"],
      [[none()], "no method is left; check the user name and the credentials, or add password() or publicKey() or"],
      [[password("x")], "check the user name and the credentials, or add publicKey() or keyboardInteractive()"],
    ] as const
  ) {
    const { error } = await login(methods, () => failurePayload([]));
    assert(error!.message.includes(advice), error!.message);
  }
});

Deno.test("authenticate() follows a list, an empty one, and a list again", async () => {
  // The password is refused with an empty list: what was allowed before is no limit any more.
  const { requests, error } = await login(
    [password("wrong"), publicKey(alice), keyboardInteractive(() => ["yes"])],
    (method) =>
      method === "none"
        ? failurePayload(["password"])
        : method === "password"
        ? failurePayload([])
        : method === "publickey"
        ? failurePayload(["keyboard-interactive"])
        : method === "answers"
        ? successPayload()
        : question,
  );
  assertEquals([requests, error], [["none", "password wrong", "publickey alice's", "keyboard-interactive"], null]);
});

Deno.test("authenticate() leaves a method whose name is not in the list of its refusal", async () => {
  const { requests, error } = await login(
    [publicKey(alice, other), password("x"), password("y")],
    (method) =>
      failurePayload(
        method === "none" ? ["publickey", "password"] : method === "publickey" ? ["password"] : ["publickey"],
      ),
  );
  assertEquals(requests, ["publickey alice's", "password x", "none"]);
  assert(error!.message.includes("the server does not allow password; check the user name"), error!.message);
  assertEquals(error!.remaining, ["publickey"]);
});

Deno.test("authenticate() sends no credentials where the list has only names that are not known", async () => {
  const { requests, error } = await login(
    [password("secret")],
    () => failurePayload(["gssapi-with-mic", "gssapi-keyex"]),
  );
  assertEquals(requests, ["none"]);
  assertEquals(
    error!.message,
    'Cannot log in as "alice": the server does not allow password; this module has none of the methods that it allows; ' +
      "tried none (refused); the server allows gssapi-with-mic, gssapi-keyex",
  );
  // What a machine's key could do is one that is known.
  const { error: other } = await login([password("secret")], () => failurePayload(["gssapi-with-mic", "hostbased"]));
  assert(other!.message.includes("the server does not allow password; add hostBased(); tried"), other!.message);
});

Deno.test("authenticate() goes on after a partial success with an empty list, first with what has not passed", async () => {
  for (const methods of [[password("secret"), publicKey(alice)], [publicKey(alice), password("secret")]]) {
    const passed = new Set<string>();
    const { requests, error } = await login(methods, (method, what) => {
      if (what === "alice's") return pkOk(alice);
      if (method === "none") return failurePayload([]);
      passed.add(method);
      return passed.size === 2 ? successPayload() : failurePayload([], true);
    });
    assertEquals(error, null);
    // Each was used once: nothing that had passed was sent again.
    const key = ["publickey alice's", "publickey alice's signed"], isLast = methods[1]!.name === "publickey";
    assertEquals(requests, isLast ? ["none", "password secret", ...key] : [...key, "password secret"]);
  }
});

Deno.test("authenticate() ends where every answer is a partial success with an empty list", async () => {
  const { requests, error } = await login(
    [password("secret"), keyboardInteractive(() => ["yes"])],
    (method) => method === "keyboard-interactive" ? question : failurePayload([], method !== "none"),
  );
  assertEquals(requests.length, 11);
  assert(error!.message.includes("no end after 10 partial successes"), error!.message);
  assert(!error!.message.includes("secret"));
});

/** USERAUTH_FAILURE with the text of its list as it stands. */
function failureWith(list: string): Uint8Array {
  return new Writer().u8(Msg.USERAUTH_FAILURE).text(list).bool(false).bytes();
}

Deno.test("authenticate() reads a list with stray commas, and takes one of nothing else for an empty one", async () => {
  for (const list of ["publickey,,password,", ",password", "password,", ",", ",,", ""]) {
    const agents = { signers: () => Promise.resolve([alice]), [Symbol.asyncDispose]: () => Promise.resolve() };
    const { requests, error } = await login(
      [keyboardInteractive(() => []), publicKey(agents), password("secret")],
      (method) => method === "password" ? successPayload() : failureWith(list),
    );
    const tried = list.includes("publickey") || /^,*$/.test(list) ? ["publickey alice's"] : [];
    const kind = /^,*$/.test(list) ? ["keyboard-interactive"] : [];
    assertEquals([requests, error], [["none", ...kind, ...tried, "password secret"], null], list);
    // And from the refusal of a key that was asked about first.
    const again = await login(
      [publicKey(alice), keyboardInteractive(() => []), password("secret")],
      (method) => method === "password" ? successPayload() : failureWith(list),
    );
    const asked = /^,*$/.test(list) ? ["keyboard-interactive"] : [];
    assertEquals(
      [again.requests, again.error],
      [["publickey alice's", ...asked, "password secret"], null],
      list,
    );
  }
});

Deno.test("authenticate() does not ask with `none` behind all else where a proof is required, and takes no proof that was refused for one", async () => {
  const refuse: Server = (method) =>
    method === "none" ? successPayload() : failurePayload(["publickey", "keyboard-interactive"]);
  const { requests, error } = await login([publicKey(alice)], refuse, { requireAuth: true });
  assertEquals(requests, ["publickey alice's signed"]);
  assert(error!.message.includes("add keyboardInteractive()"), error!.message);
  // A round without questions proves nothing, whatever was refused before.
  const empty = encodeInfoRequest({ name: "", instruction: "", prompts: [] });
  for (const [partial, ends] of [[false, "no proof"], [true, null]] as const) {
    const asked = await login(
      [publicKey(alice), keyboardInteractive(() => [])],
      (method, what) =>
        what === "alice's"
          ? pkOk(alice)
          : method === "publickey"
          ? failurePayload(["keyboard-interactive"], partial)
          : method === "answers"
          ? successPayload()
          : empty,
      { requireAuth: true },
    );
    assertEquals(asked.requests, ["publickey alice's", "publickey alice's signed", "keyboard-interactive"]);
    assertEquals(asked.error?.message.includes(ends ?? "") ?? null, ends === null ? null : true, asked.error?.message);
  }
});

Deno.test("authenticate() asks what the server allows before a secret where its first method had nothing to send, and where none() is first", async () => {
  const empty = { signers: () => Promise.resolve([]), [Symbol.asyncDispose]: () => Promise.resolve() };
  for (const first of [publicKey(empty), none()]) {
    let asked = 0;
    const { requests, error } = await login(
      [first, password(() => (asked++, "secret")), publicKey(alice)],
      (method, what) =>
        method === "none" ? failurePayload(["publickey"]) : what.endsWith("signed") ? successPayload() : pkOk(alice),
    );
    assertEquals([requests, error, asked], [["none", "publickey alice's", "publickey alice's signed"], null, 0]);
  }
  const { error } = await login([publicKey(empty)], () => failurePayload(["publickey"]));
  assertEquals(
    error!.message.match(/tried .*;/)![0],
    "tried none (refused); publickey (refused: there was no key to offer, the agent has no key of a type that is known here);",
  );
});

Deno.test("an error says why a key was refused where the server ends the connection instead of an answer to `none`", async () => {
  for (const how of ["word", "none"] as const) {
    const { client, server } = fakePair(), peer = new ScriptedPeer(server);
    const outcome = authenticate(new ClientAuth(client, { onSuccess: () => {} }), "alice", [publicKey(alice)])
      .then(() => null, (error) => error);
    await peer.expect(Msg.SERVICE_REQUEST);
    peer.send(acceptPayload());
    await peer.expect(Msg.USERAUTH_REQUEST);
    peer.send(failurePayload(["publickey"]));
    await peer.expect(Msg.USERAUTH_REQUEST);
    server.fail(
      how === "word"
        ? new SshProtocolError("Too many authentication failures", DisconnectReason.PROTOCOL_ERROR)
        : new SshError("Gone", { code: "CONNECTION_LOST" }),
    );
    const error = await outcome;
    assert(error instanceof SshAuthError, `${how}: ${error}`);
    assert(error.message.includes("no method is left; check the user name and the credentials"), error.message);
    assertEquals(error.remaining, ["publickey"]);
  }
});
