/** Passkeys as keys, with a browser's `navigator.credentials` in software: tests/interop/passkey_test.ts has Chromium's. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type AuthInfo,
  authorizedKeys,
  createPasskey,
  KeyFormatError,
  messageSigner,
  parsePublicKey,
  type Passkey,
  passkey,
  publicKey,
  signMessage,
  SshAuthError,
  SshError,
  verifySignature,
} from "../../mod.ts";
import { usableAlgorithms } from "../../lib/auth/key_questions.ts";
import { integer, sequence } from "../../lib/keys/format/der_writer.ts";
import { writeSpki } from "../../lib/keys/format/spki.ts";
import { readSignature } from "../../lib/keys/signature_blob.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { concat } from "@std/bytes";
import { digest } from "../../lib/crypto/hash.ts";
import { type SoftwareKey, softwareKey } from "../_support/authenticator.ts";
import { strings, utf8 } from "../_support/key_vectors.ts";
import { join } from "../_support/joined.ts";

const TYPE = "sk-ecdsa-sha2-nistp256@openssh.com", WEBAUTHN = `webauthn-${TYPE}`;
const origin = "https://ssh.example.com", rpId = "example.com";

interface Asked {
  readonly publicKey: {
    readonly challenge: Uint8Array;
    readonly userVerification?: string;
    readonly authenticatorSelection?: { readonly userVerification: string };
    readonly rpId?: string;
    readonly rp?: { readonly id: string };
    readonly user?: { readonly id: Uint8Array; readonly name: string };
    readonly allowCredentials?: readonly { readonly type: string; readonly id: Uint8Array }[];
    readonly pubKeyCredParams?: readonly object[];
  };
  readonly signal?: AbortSignal | undefined;
}

/** A browser whose user touches an authenticator with one key in it. */
class Browser implements Disposable {
  readonly key: SoftwareKey;
  readonly asked: Asked[] = [];
  /** What it does in the place of an answer. */
  instead: (() => unknown) | null = null;
  /** What it says of a new key in the place of the truth. */
  made: { algorithm?: number; spki?: Uint8Array | null } = {};
  /** What it says with a signature in the place of the truth. */
  given: Record<string, Uint8Array> = {};
  readonly #before = Object.getOwnPropertyDescriptor(navigator, "credentials");

  constructor(key: SoftwareKey) {
    this.key = key;
    const value = { create: (asked: Asked) => this.#create(asked), get: (asked: Asked) => this.#get(asked) };
    Object.defineProperty(navigator, "credentials", { value, configurable: true });
  }

  // deno-lint-ignore require-await
  async #create(asked: Asked): Promise<unknown> {
    this.asked.push(asked);
    if (this.instead !== null) return this.instead();
    const { algorithm = -7, spki = spkiOf(this.key) } = this.made;
    return {
      rawId: Uint8Array.of(251, 255, 1).buffer,
      response: { getPublicKeyAlgorithm: () => algorithm, getPublicKey: () => spki?.slice().buffer ?? null },
    };
  }

  async #get(asked: Asked): Promise<unknown> {
    this.asked.push(asked);
    if (this.instead !== null) return this.instead();
    const { value, more } = readSignature(await this.key.sign(asked.publicKey.challenge, TYPE));
    const half = new Reader(value), said = new Reader(more), flags = said.raw(5);
    assertEquals(said.text(), origin);
    const client = said.string(), extensions = said.string();
    const response = {
      clientDataJSON: client,
      authenticatorData: concat([await digest("SHA-256", utf8(rpId)), flags, extensions]),
      signature: sequence(integer(half.mpint()), integer(half.mpint())),
      ...this.given,
    };
    return {
      rawId: Uint8Array.of(251, 255, 1).buffer,
      response: Object.fromEntries(Object.entries(response).map(([name, bytes]) => [name, bytes.slice().buffer])),
    };
  }

  [Symbol.dispose](): void {
    if (this.#before === undefined) delete (navigator as { credentials?: unknown }).credentials;
    else Object.defineProperty(navigator, "credentials", this.#before);
  }
}

function spkiOf({ publicKey }: SoftwareKey): Uint8Array {
  const reader = new Reader(publicKey.blob);
  reader.view();
  return writeSpki(strings("ecdsa-sha2-nistp256", reader.string(), reader.string()));
}

/** One key for all tests, which say what they want said. */
const key = await softwareKey("ecdsa", { origin }, rpId);

function browser(): Browser {
  key.says = { origin };
  return new Browser(key);
}

const stored: Passkey = { credentialId: "-_8B", publicKey: `${key.publicKey} alice` };

Deno.test("createPasskey() has a key made for the page's domain, and gives what can be stored", async () => {
  using page = browser();
  const made = await createPasskey({ username: "alice", rpId });
  assertEquals(made, stored);
  assertEquals(JSON.parse(JSON.stringify(made)), made);
  const { publicKey: asked, signal } = page.asked[0]!;
  assertEquals([asked.rp!.id, asked.user!.name, asked.authenticatorSelection!.userVerification, signal], [
    rpId,
    "alice",
    "preferred",
    undefined,
  ]);
  assertEquals(asked.pubKeyCredParams, [{ type: "public-key", alg: -7 }]);
  // Nobody else's user, and never the same: a passkey takes the place of another of its user.
  await createPasskey({ username: "alice", rpId, userVerification: "required" });
  const again = page.asked[1]!.publicKey;
  assert(asked.user!.id.length >= 16 && asked.user!.id.toString() !== again.user!.id.toString());
  assert(asked.challenge.length >= 16 && asked.challenge.toString() !== again.challenge.toString());
  assertEquals(again.authenticatorSelection!.userVerification, "required");
});

Deno.test("a passkey logs in with a signature of the browser's over the request itself, once it is wanted", async () => {
  using page = browser();
  const infos: AuthInfo[] = [], keys = authorizedKeys(utf8(`verify-required ${stored.publicKey}\n`));
  for (const [flags, lets] of [[5, true], [1, false]] as const) {
    page.key.says = { origin, flags, counter: 9 };
    const auth = {
      publicKey: (info: AuthInfo, key: Parameters<typeof keys>[1]) => {
        infos.push(info);
        return keys(info, key);
      },
    };
    const joining = join({ auth }, { auth: [publicKey(passkey(stored, { userVerification: "required" }))] });
    if (lets) {
      await using _joined = await joining;
      assertEquals(infos.at(-1)!.authenticator, { userPresent: true, userVerified: true, flags: 5, counter: 9 });
    } else assertStringIncludes((await assertRejects(() => joining, SshAuthError)).message, "was refused");
  }
  assertEquals(page.asked.length, 2, "Asked once a login, and not before the server would take the key");
  for (const { publicKey: asked } of page.asked) {
    assertEquals([asked.rpId, asked.userVerification], [rpId, "required"]);
    assertEquals(asked.allowCredentials, [{ type: "public-key", id: Uint8Array.of(251, 255, 1) }]);
    assertStringIncludes(new TextDecoder().decode(asked.challenge), WEBAUTHN);
  }
  const unwanted = join({ auth: { publicKey: () => false } }, { auth: [publicKey(passkey(stored))] });
  await assertRejects(() => unwanted, SshAuthError, "was refused");
  assertEquals(page.asked.length, 2);
});

Deno.test("a passkey signs by both names of its algorithm, and by no other, messages too", async () => {
  using _page = browser();
  const signer = passkey(stored), data = utf8("data");
  assertEquals(signer.algorithms, [WEBAUTHN, TYPE]);
  for (const algorithm of signer.algorithms) {
    const proof = await verifySignature(signer.publicKey, data, await signer.sign(data, algorithm));
    assertEquals(proof?.algorithm, WEBAUTHN);
  }
  await assertRejects(() => signer.sign(data, "ecdsa-sha2-nistp256"), TypeError, `signs with ${WEBAUTHN}, ${TYPE}`);
  const signature = await signMessage(signer, data, { namespace: "file" });
  assertEquals((await messageSigner(signature, data, { namespace: "file" })).toString(), signer.publicKey.toString());
});

Deno.test("of the names of its algorithm a key is offered by those that server-sig-algs has, and by all where it has none", () => {
  using _page = browser();
  const signer = passkey(stored);
  for (
    const [list, offered] of [
      [null, [WEBAUTHN, TYPE]],
      [[TYPE, WEBAUTHN, "ssh-ed25519"], [WEBAUTHN, TYPE]],
      [["ssh-ed25519", TYPE], [TYPE]],
      [[WEBAUTHN], [WEBAUTHN]],
      [["rsa-sha2-256", "rsa-sha2-512"], [WEBAUTHN, TYPE]],
      [[], [WEBAUTHN, TYPE]],
    ] as const
  ) assertEquals(usableAlgorithms(signer, list), offered, String(list));
});

Deno.test("without WebAuthn, as in a worker or outside of a page, there are no passkeys", async () => {
  await assertRejects(
    () => createPasskey({ username: "alice", rpId }),
    TypeError,
    "Cannot make passkey: there is no W",
  );
  assertThrows(() => passkey(stored), TypeError, "Cannot sign with passkey: there is no WebAuthn here");
});

Deno.test("a user who cancels and a browser that fails are errors in words", async () => {
  using page = browser();
  const data = utf8("data"),
    failed = (message: string, name: string) => () => {
      throw new DOMException(message, name);
    };
  for (
    const [instead, type, text] of [
      [failed("The operation either timed out or was not allowed.", "NotAllowedError"), SshError, "the user cancelled"],
      [failed("This is an invalid domain.", "SecurityError"), TypeError, "may not use passkeys of example.com"],
      [failed("out of\u001b order", "UnknownError"), SshError, "the browser failed: out of\ufffd order"],
      [() => null, SshError, "the browser gave none"],
    ] as const
  ) {
    page.instead = instead;
    for (const what of ["make", "sign with"] as const) {
      const act = async (): Promise<unknown> =>
        what === "make" ? await createPasskey({ username: "a", rpId }) : await passkey(stored).sign(data, WEBAUTHN);
      const error = await assertRejects(act, type, text);
      assertStringIncludes(error.message, `Cannot ${what} passkey: `);
      if (error instanceof SshError) assertEquals(error.code, "REQUEST_DENIED");
    }
  }
  page.instead = failed("no", "NotAllowedError");
  const login = join({ auth: { publicKey: () => true } }, { auth: [publicKey(passkey(stored))] });
  assertStringIncludes((await assertRejects(() => login, SshAuthError)).message, "Cannot sign with passkey: the user");
});

Deno.test("an abort takes back what the browser asks, and rejects with its reason", async () => {
  using page = browser();
  for (const when of ["before", "meanwhile"]) {
    for (const what of ["make", "sign"]) {
      const abort = new AbortController(), reason = new Error("enough"), { signal } = abort;
      page.asked.length = 0;
      page.instead = () => {
        abort.abort(reason);
        throw new DOMException("signal is aborted", "AbortError");
      };
      if (when === "before") abort.abort(reason);
      const acting = what === "make"
        ? createPasskey({ username: "a", rpId, signal })
        : passkey(stored, { signal }).sign(utf8("data"), WEBAUTHN);
      assertEquals(await assertRejects(() => acting), reason);
      assertEquals(page.asked.map((asked) => asked.signal), when === "before" ? [] : [signal]);
    }
  }
});

Deno.test("a user who does not answer in time is a TimeoutError, and the browser stops asking", async () => {
  using page = browser();
  for (const what of ["make", "sign"]) {
    page.asked.length = 0;
    page.instead = () =>
      new Promise((_, reject) => {
        page.asked[0]!.signal!.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      });
    const error = await assertRejects(
      () =>
        what === "make"
          ? createPasskey({ username: "a", rpId, timeout: 5 })
          : passkey(stored, { timeout: 5 }).sign(utf8("data"), WEBAUTHN),
      DOMException,
    );
    const message = "Timed out after 5 ms waiting for the user and the passkey";
    assertEquals([error.name, error.message], ["TimeoutError", message]);
    assertEquals(page.asked.length, 1);
  }
  assertThrows(() => passkey(stored, { timeout: 0 }), RangeError, "`timeout`");
});

Deno.test("createPasskey() takes no key but one on P-256", async () => {
  using page = browser();
  const { publicKey: other } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign"]);
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", other));
  for (
    const [made, text] of [
      [{ algorithm: -8 }, "its algorithm is -8 of COSE"],
      [{ spki: null }, "must be ECDSA on P-256"],
      [{ spki }, "and is ecdsa-sha2-nistp384"],
      [{ spki: spki.subarray(1) }, "Cannot read"],
    ] as const
  ) {
    page.made = made;
    await assertRejects(() => createPasskey({ username: "alice", rpId }), KeyFormatError, text);
  }
});

Deno.test("what a browser gives for a signature is checked before a server gets it", async () => {
  using page = browser();
  const signer = passkey(stored), data = utf8("data"), honest = `{"type":"webauthn.get","challenge":"%","origin":"`;
  const isDenied = async (what: string): Promise<void> => {
    const error = await assertRejects(() => signer.sign(data, WEBAUTHN), SshError, "what the browser gave is no", what);
    assertEquals(error.code, "REQUEST_DENIED");
  };
  const no = new Uint8Array(0);
  for (
    const given of [
      { signature: no },
      { signature: sequence(integer(1n), integer(1n)) },
      { signature: sequence(integer(1n), integer(1n), integer(1n)) },
      { signature: sequence(integer(1n << 256n), integer(1n)) },
      { authenticatorData: no },
      { authenticatorData: new Uint8Array(37) },
      { authenticatorData: concat([await digest("SHA-256", utf8(rpId)), Uint8Array.of(1, 0, 0)]) },
      { clientDataJSON: no },
      { clientDataJSON: utf8("null") },
      { clientDataJSON: utf8(`{"origin":5}`) },
    ]
  ) {
    page.given = given;
    await isDenied(Deno.inspect(given));
  }
  page.given = {};
  for (
    const says of [
      { origin, client: `${honest}https://other.example"}`.replace("webauthn.get", "webauthn.create") },
      { origin, client: `{"origin":"${origin}","type":"webauthn.get","challenge":"%"}` },
      { origin, flags: 0x41 },
      { origin, flags: 0x81 },
    ]
  ) {
    page.key.says = says;
    await isDenied(JSON.stringify(says));
  }
  page.key.says = { origin, flags: 0x85, extensions: Uint8Array.of(0xa0) };
  assert(await signer.publicKey.verify(data, await signer.sign(data, WEBAUTHN)));
  // The id of another passkey.
  const other = (await softwareKey("ecdsa", {}, rpId)).publicKey.toString();
  await assertRejects(() => passkey({ ...stored, publicKey: other }).sign(data, WEBAUTHN), SshError, "by this public");
});

Deno.test("options of passkeys that make no sense are refused in words before the browser is asked", async () => {
  using page = browser();
  const ed25519 = (await softwareKey("ed25519", {}, rpId)).publicKey.toString();
  const application = async (text: string) => (await softwareKey("ecdsa", {}, text)).publicKey.toString();
  const create: readonly (readonly [unknown, string])[] = [
    [undefined, "options"],
    ["alice", "options"],
    [{ rpId }, "username"],
    [{ rpId, username: "" }, "username"],
    [{ rpId, username: "a\nb" }, "username"],
    [{ rpId, userName: "alice" }, "`username`"],
    [{ username: "alice" }, "location.hostname"],
    ...["", "https://example.com", "example.com:443", "EXAMPLE.com", "example.com.", "ssh:", "bücher.example"].map((
      rpId,
    ) => [{ username: "alice", rpId }, "rpId"] as const),
    [{ username: "alice", rpId: `${"a.".repeat(126)}ab` }, "rpId"],
    [{ username: "alice", rpId, userVerification: "always" }, "userVerification"],
    [{ username: "alice", rpId, signal: 5 }, "signal"],
  ];
  for (const [options, text] of create) {
    await assertRejects(() => createPasskey(options as { username: string }), TypeError, text);
  }
  const use: readonly (readonly [unknown, unknown, string])[] = [
    [undefined, {}, "as createPasskey() gives one"],
    [key, {}, "credentialId"],
    ...[undefined, 5, "", "a+b/", "A", "?", "AAAA".repeat(342)].map((credentialId) =>
      [{ ...stored, credentialId }, {}, "credentialId"] as const
    ),
    [{ credentialId: "AAAA" }, {}, "publicKey"],
    [{ ...stored, publicKey: ed25519 }, {}, `must be of type ${TYPE}`],
    [{ ...stored, publicKey: await application("ssh:") }, {}, 'its public key is for "ssh:"'],
    [{ ...stored, publicKey: await application("") }, {}, 'its public key is for ""'],
    [stored, null, "options"],
    [stored, { userVerification: true }, "userVerification"],
    [stored, { userverification: "required" }, "`userVerification`"],
    [stored, { signal: new AbortController() }, ".signal"],
  ];
  for (const [given, options, text] of use) {
    const error = assertThrows(() => passkey(given as Passkey, options as object), TypeError, text);
    assertInstanceOf(error, TypeError);
  }
  assertThrows(() => passkey({ ...stored, publicKey: "nonsense" }), KeyFormatError);
  assertEquals(page.asked, []);
  // At the bounds.
  const long = `${"a.".repeat(126)}a`;
  assertStringIncludes((await createPasskey({ username: "alice", rpId: long })).publicKey, TYPE);
  assertEquals(parsePublicKey(stored.publicKey).type, passkey({ ...stored, credentialId: "AA" }).publicKey.type);
});
