/** Passphrases that a function gives: asked for once, when they are needed, and no longer than somebody waits. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  defaultIdentities,
  KeyFormatError,
  parsePrivateKey,
  type PassphraseQuestion,
  type PrivateKey,
  type PrivateKeyFormat,
  publicKey,
  publicKeyLine,
  SshAuthError,
} from "../../mod.ts";
import { type KeyFile, LockedKey, openKeyFile } from "../../lib/keys/key_file.ts";
import { join } from "../_support/joined.ts";
import { until } from "../_support/until.ts";
import { vectors } from "../_support/key_vectors.ts";
import { oneOfEach } from "../_support/one_of_each.ts";

const keys = await oneOfEach();
const [alice, other] = keys as [PrivateKey, PrivateKey];
const formats = ["openssh", "pkcs8", "putty"] as const;
const locked = new Map<PrivateKeyFormat, string>();
for (const format of formats) locked.set(format, await alice.export({ format, passphrase: "secret", rounds: 1 }));

Deno.test("parsePrivateKey() asks a function for the passphrase once, and only where the file is encrypted and sound", async () => {
  const questions: PassphraseQuestion[] = [];
  const passphrase = (question: PassphraseQuestion): string => {
    questions.push(question);
    return "secret";
  };
  for (const format of formats) {
    const text = locked.get(format)!;
    const key = await parsePrivateKey(text, { passphrase, name: "~/.ssh/id" });
    assertEquals(key.publicKey.blob, alice.publicKey.blob);
    const [{ name, publicKey, signal }, ...more] = questions.splice(0) as [PassphraseQuestion];
    assertEquals([name, signal.aborted, more], ["~/.ssh/id", false, []]);
    assertEquals(publicKey?.blob, format === "pkcs8" ? undefined : alice.publicKey.blob);
    await parsePrivateKey(await alice.export({ format }), { passphrase });
    await assertRejects(() => parsePrivateKey(text.slice(0, -60), { passphrase }), KeyFormatError);
  }
  await assertRejects(() => parsePrivateKey(publicKeyLine(alice.publicKey), { passphrase }), KeyFormatError);
  const greedy = locked.get("putty")!.replace(/Argon2-Memory: .*/, "Argon2-Memory: 99999999");
  await assertRejects(() => parsePrivateKey(greedy, { passphrase }), KeyFormatError, "are not supported");
  assertEquals(questions, []);
  for (const { private: text } of vectors<{ private: string }>("pem_encryption", 5)) {
    await parsePrivateKey(text, { passphrase });
    assertEquals(questions.splice(0).length, 1);
  }
});

Deno.test("parsePrivateKey() takes null for no passphrase, tells a wrong one, and throws what the function throws", async () => {
  const text = locked.get("openssh")!;
  const reason = (passphrase: () => unknown) =>
    assertRejects(() => parsePrivateKey(text, { passphrase: passphrase as () => string }), KeyFormatError)
      .then(({ reason }) => reason);
  for (const none of [null, undefined, "", Promise.resolve(null)]) {
    assertEquals(await reason(() => none), "NO_PASSPHRASE");
  }
  assertEquals(await reason(() => "Secret"), "WRONG_PASSPHRASE");
  const error = new Error("the user went home");
  assertEquals(
    await parsePrivateKey(text, { passphrase: () => Promise.reject(error) }).catch((thrown) => thrown),
    error,
  );
  assertEquals(
    await parsePrivateKey(text, {
      passphrase: () => {
        throw error;
      },
    }).catch((thrown) => thrown),
    error,
  );
  await assertRejects(
    () => parsePrivateKey(text, { passphrase: () => 7 as unknown as string }),
    TypeError,
    "a text, or null",
  );
  await assertRejects(
    () => parsePrivateKey(text, { passphrase: {} as unknown as string }),
    TypeError,
    "nor a function",
  );
  await assertRejects(() => parsePrivateKey(text, { name: 7 as unknown as string }), TypeError, "`name`");
  await assertRejects(() => parsePrivateKey(text, { signal: 7 as unknown as AbortSignal }), TypeError, "signal");
});

Deno.test("parsePrivateKey() waits for a passphrase no longer than its signal lets, and the function hears of it", async () => {
  const controller = new AbortController(), reason = new Error("enough");
  let asked: AbortSignal | undefined;
  const parsing = parsePrivateKey(locked.get("openssh")!, {
    passphrase: ({ signal }) => new Promise<string>(() => void (asked = signal)),
    signal: controller.signal,
  });
  parsing.catch(() => {});
  await until(() => asked !== undefined, "The question");
  controller.abort(reason);
  assertEquals(await parsing.catch((error) => error), reason);
  assertEquals([asked!.aborted, asked!.reason], [true, reason]);
  const late = parsePrivateKey(locked.get("openssh")!, { passphrase: () => "secret", signal: controller.signal });
  assertEquals(await late.catch((error) => error), reason);
});

Deno.test("parsePrivateKey() waits for a passphrase no longer than its time, says whose, and the function hears of it", async () => {
  const questions: PassphraseQuestion[] = [], text = locked.get("openssh")!;
  const passphrase = (question: PassphraseQuestion): Promise<string> => {
    questions.push(question);
    return new Promise(() => {});
  };
  for (const [name, whose] of [[undefined, "a passphrase"], ["~/.ssh/id", 'the passphrase of "~/.ssh/id"']] as const) {
    const error = await assertRejects(() => parsePrivateKey(text, { passphrase, name, timeout: 5 }), DOMException);
    assertEquals([error.name, error.message], ["TimeoutError", `Timed out after 5 ms waiting for ${whose}`]);
    assertEquals(questions.pop()!.signal.reason, error);
  }
  await parsePrivateKey(text, { passphrase: () => "secret", timeout: 2 ** 40 });
  await assertRejects(() => parsePrivateKey(text, { timeout: 0 }), RangeError, "`timeout`");
});

/** Whether the server takes a key. */
const takes = (key: PrivateKey) => ({
  publicKey: (_info: unknown, offered: { blob: Uint8Array<ArrayBuffer> }) =>
    offered.blob.toBase64() === key.publicKey.blob.toBase64(),
});

/** A key file whose questions are counted. */
function counted(file: Partial<KeyFile> & { text: string }, answer: () => unknown = () => "secret") {
  const made = {
    asked: 0,
    file: {
      ...file,
      passphrase: () => {
        made.asked++;
        return answer() as string;
      },
    },
  };
  return made;
}

Deno.test("publicKey() asks for a file's passphrase once, and only when the server would take the key", async () => {
  const sources = [
    counted({ text: locked.get("openssh")! }),
    counted({ text: locked.get("putty")! }),
    counted({ text: locked.get("pkcs8")!, publicKey: `${publicKeyLine(alice.publicKey)} a comment\n` }),
    counted({ text: locked.get("pkcs8")!, publicKey: alice.publicKey }),
  ];
  for (const source of sources) {
    const method = publicKey(source.file, other);
    {
      await using joined = await join({ auth: takes(other) }, { auth: [method] });
      assertEquals([joined.client.info.hostKey.type, source.asked], ["ssh-ed25519", 0]);
    }
    for (let i = 0; i < 2; i++) {
      await using joined = await join({ auth: takes(alice) }, { auth: [method] });
      assertEquals((await joined.client.exec("exit 3")).code, 3);
      assertEquals(source.asked, 1);
    }
  }
  // Nothing tells the public half: it is asked for when its turn comes, and not again.
  const blind = counted({ text: locked.get("pkcs8")! }), method = publicKey(blind.file);
  for (let i = 0; i < 2; i++) {
    await using _ = await join({ auth: takes(alice) }, { auth: [method] });
    assertEquals(blind.asked, 1);
  }
  // And a file that is not encrypted needs none.
  const clear = counted({ text: await alice.export() });
  await using _ = await join({ auth: takes(alice) }, { auth: [publicKey(clear.file)] });
  assertEquals(clear.asked, 0);
});

Deno.test("a wrong passphrase, or none, passes the key over, and what the function throws ends the login", async () => {
  for (const format of formats) {
    for (const [answer, says] of [["wrong", "the passphrase is wrong"], [null, "no passphrase was given"]] as const) {
      const source = counted({ text: locked.get(format)!, name: "id_alice" }, () => answer);
      const auth = { publicKey: () => true };
      {
        await using joined = await join({ auth }, { auth: [publicKey(source.file, other)] });
        assertEquals([(await joined.client.exec("exit 3")).code, source.asked], [3, 1]);
      }
      const error = await assertRejects(() => join({ auth }, { auth: [publicKey(source.file)] }), SshAuthError);
      assertStringIncludes(error.message, says);
      assertStringIncludes(error.message, format === "pkcs8" ? "id_alice was passed over" : "ssh-ed25519 SHA256:");
      assertEquals(source.asked, 2);
      assert(!Deno.inspect(error).includes('"wrong"'));
    }
    const gone = new Error("the user went home");
    const source = counted({ text: locked.get(format)! }, () => Promise.reject(gone));
    const thrown = await join({ auth: takes(alice) }, { auth: [publicKey(source.file, other)] }).catch((error) =>
      error
    );
    assertEquals(thrown, gone);
  }
});

Deno.test("publicKey() refuses key files in which something is of the wrong kind, before anything is opened", () => {
  const text = locked.get("pkcs8")!;
  const wrong: readonly [file: unknown, says: string][] = [
    [{ text: 7 }, "`text`"],
    [{ text: "~/.ssh/id_ed25519" }, "looks like a path"],
    [{ text, passphrase: 7 }, "its passphrase is not a string"],
    [{ text, publicKey: 7 }, "`publicKey`"],
    [{ text, name: 7 }, "`name`"],
  ];
  for (const [file, says] of wrong) assertThrows(() => publicKey(file as KeyFile), TypeError, says);
});

Deno.test("defaultIdentities({ passphrase }) gives the user's encrypted keys, and asks for those that sign", async () => {
  const home = await Deno.makeTempDir({ prefix: "amiko_keys_" });
  const before = ["HOME", "SSH_AUTH_SOCK"].map((name) => [name, Deno.env.get(name)] as const);
  try {
    const ssh = `${home}/.ssh`;
    await Deno.mkdir(ssh);
    await Deno.writeTextFile(`${ssh}/id_ed25519`, locked.get("openssh")!);
    await Deno.writeTextFile(
      `${ssh}/id_ecdsa`,
      await other.export({ format: "pkcs8", passphrase: "secret", rounds: 1 }),
    );
    await Deno.writeTextFile(`${ssh}/id_ecdsa.pub`, `${publicKeyLine(other.publicKey)}\n`);
    Deno.env.set("HOME", home);
    Deno.env.delete("SSH_AUTH_SOCK");
    const names: (string | null)[] = [];
    const passphrase = ({ name }: PassphraseQuestion) => (names.push(name), "secret");
    await using joined = await join({ auth: takes(other) }, { auth: [publicKey(defaultIdentities({ passphrase }))] });
    assertEquals((await joined.client.exec("exit 3")).code, 3);
    assertEquals(names, [`${ssh}/id_ecdsa`]);
    assertEquals((await Array.fromAsync(defaultIdentities({}))).length, 0);
    // What is beside a key file and cannot be read does not cost the key.
    for (const beside of ["", "no key\n"]) {
      await Deno.writeTextFile(`${ssh}/id_ecdsa.pub`, beside);
      const notes: string[] = [], onSkip = (note: string) => notes.push(note);
      const found = await Array.fromAsync(defaultIdentities({ passphrase, onSkip }));
      assertEquals([found.map(({ publicKey }) => String(publicKey)), notes], [
        [alice, other].map(({ publicKey }) => String(publicKey)),
        [],
      ]);
    }
    assertThrows(() => defaultIdentities({ passphrase: 7 as unknown as string }), TypeError, "its passphrase");
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("whoever waits for one locked key waits for the same answer, and the question ends with the last of them", async () => {
  const answer = Promise.withResolvers<string>(), questions: PassphraseQuestion[] = [];
  const file: KeyFile = {
    text: locked.get("openssh")!,
    passphrase: (question) => (questions.push(question), questions.length === 1 ? answer.promise : "secret"),
  };
  const key = await openKeyFile(file, undefined);
  assert(key instanceof LockedKey);
  const first = new AbortController(), second = new AbortController();
  const waits = [key.unlock(first.signal), key.unlock(second.signal)].map((wait) => wait.catch((error) => error));
  await until(() => questions.length > 0, "The question");
  first.abort("first");
  assertEquals(await waits[0], "first");
  assertEquals(questions[0]!.signal.aborted, false);
  second.abort("second");
  assertEquals(await waits[1], "second");
  assertEquals(questions[0]!.signal.reason, "second");
  // A late answer is nobody's, and the next who signs asks anew.
  answer.resolve("secret");
  const signature = await key.sign(new Uint8Array([1]), "ssh-ed25519");
  assert(await alice.publicKey.verify(new Uint8Array([1]), signature));
  await key.sign(new Uint8Array([2]), "ssh-ed25519");
  assertEquals([questions.length, questions[1]!.signal.aborted], [2, false]);
  await assertRejects(
    async () => {
      const wrong = await openKeyFile(
        { text: locked.get("pkcs8")!, passphrase: "secret", publicKey: other.publicKey },
        undefined,
      );
      await wrong.sign(new Uint8Array([1]), other.algorithms[0]!);
    },
    KeyFormatError,
    "its public key file is of another key",
  );
});
