/** The keys of ssh_config: which are offered, in which order, with which certificates, and when somebody is asked for a passphrase. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { type Identities, identityMethod } from "../../lib/api/config/identities.ts";
import { serveConn } from "../../lib/api/server.ts";
import { answersOf, serveAgent } from "../../lib/agent/serve_agent.ts";
import { SshAuthError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import type { PassphraseQuestion } from "../../lib/keys/passphrase.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import { memoryPair } from "../_support/duplex.ts";
import { oneOfEach } from "../_support/one_of_each.ts";
import { serverOptions } from "../_support/joined.ts";

const [named, other, file, encrypted, ca] = await Promise.all(Array.from({ length: 5 }, () => generateKey()));
const names = new Map(
  Object.entries({ named, other, file, encrypted }).map(([name, key]) => [String(key!.publicKey), name]),
);

/** A folder with the keys of `file` and `encrypted`, the public half of `named`, and an agent that holds `named` and `other`. */
async function withFolder(act: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir(), end = new AbortController();
  const listener = Deno.listen({ transport: "unix", path: `${dir}/agent` }), serving: Promise<void>[] = [];
  const agent = { signers: () => Promise.resolve([other!, named!]), [Symbol.asyncDispose]: () => Promise.resolve() };
  const accepting = (async () => {
    for await (const conn of listener) serving.push(serveAgent(conn, answersOf(agent), end.signal).catch(() => {}));
  })();
  try {
    await Deno.writeTextFile(`${dir}/named.pub`, `${named!.publicKey}\n`);
    await Deno.writeTextFile(`${dir}/file`, await file!.export());
    await Deno.writeTextFile(`${dir}/encrypted`, await encrypted!.export({ passphrase: "open", rounds: 1 }));
    const line = await signCertificate(ca!, file!.publicKey, { kind: "user", principals: ["alice"] });
    await Deno.writeTextFile(`${dir}/cert`, line);
    await act(dir);
  } finally {
    end.abort();
    listener.close();
    await accepting;
    await Promise.all(serving);
    await Deno.remove(dir, { recursive: true });
  }
}

/** Logs in where `takes` says so, and tells what was offered. */
async function offered(
  identities: Partial<Identities>,
  takes: PrivateKey | null = null,
): Promise<{ keys: string[]; error: unknown }> {
  const { client, server } = memoryPair(), keys: string[] = [];
  const options = await serverOptions();
  const serving = serveConn(server, {
    ...options,
    maxAuthTries: 20,
    auth: {
      publicKey: (_info, key) => {
        keys.push(key.type.includes("cert") ? "a certificate" : names.get(String(key))!);
        return takes !== null && String(key) === String(takes.publicKey);
      },
    },
  });
  const method = identityMethod({
    files: [],
    certificates: [],
    agent: null,
    only: false,
    algorithms: null,
    passphrase: undefined,
    ...identities,
  });
  let error: unknown = null;
  try {
    const verifyHostKey = insecureAcceptAnyHostKey();
    await (await connect({ hostname: "h", username: "alice", transport: client, auth: [method], verifyHostKey }))
      .close();
  } catch (caught) {
    error = caught;
  }
  await serving.catch(() => {});
  // A key that is taken is asked for twice.
  return { keys: [...new Set(keys)], error };
}

Deno.test("keys that are named come first where the agent has them, then its others, then those of files", async () => {
  await withFolder(async (dir) => {
    const files = [`${dir}/file`, `${dir}/named`], agent = `${dir}/agent`;
    assertEquals((await offered({ files, agent })).keys, ["named", "other", "file"]);
    assertEquals((await offered({ files, agent, only: true })).keys, ["named", "file"]);
    assertEquals((await offered({ files: [`${dir}/named.pub`], agent, only: true })).keys, ["named"]);
    const { keys, error } = await offered({ files: [...files, `${dir}/none`], agent: null });
    assertEquals(keys, ["file"]);
    assertStringIncludes(String(error), "it holds a public key, and no agent has the private one");
    for (const format of ["putty", "pkcs8", "jwk"] as const) {
      await Deno.writeTextFile(`${dir}/other-format`, await file!.export({ format }));
      assertEquals((await offered({ files: [`${dir}/other-format`] })).keys, ["file"]);
    }
    const gone = await offered({ files, agent: `${dir}/gone` });
    assertEquals(gone.keys, ["file"]);
    assertStringIncludes(String(gone.error), "agent: ");
  });
});

Deno.test("a certificate that is named, or lies beside its key, goes before the key", async () => {
  await withFolder(async (dir) => {
    const files = [`${dir}/file`];
    assertEquals((await offered({ files, certificates: [`${dir}/cert`] })).keys, ["a certificate", "file"]);
    await Deno.rename(`${dir}/cert`, `${dir}/file-cert.pub`);
    assertEquals((await offered({ files })).keys, ["a certificate", "file"]);
    assertEquals((await offered({ files, algorithms: ["ssh-ed25519"] })).keys, ["file"]);
    assertEquals((await offered({ files, algorithms: ["rsa-sha2-512"] })).keys, []);
  });
});

Deno.test("a passphrase is asked for once, and only where the server would take the key", async () => {
  await withFolder(async (dir) => {
    const files = [`${dir}/encrypted`], asked: string[] = [];
    const passphrase = ({ name }: PassphraseQuestion): string => (asked.push(name!), "open");
    assertEquals((await offered({ files, passphrase })).keys, ["encrypted"]);
    assertEquals(asked, []);
    const { error } = await offered({ files, passphrase }, encrypted!);
    assertEquals([error, asked], [null, [`${dir}/encrypted`]]);
    const wrong = await offered({ files, passphrase: () => "wrong" }, encrypted!);
    assertStringIncludes(String(wrong.error), "was passed over");
    const none = await offered({ files, passphrase: () => null }, encrypted!);
    assertStringIncludes(String(none.error), "was passed over");
    const without = await offered({ files }, encrypted!);
    await assertRejects(() => Promise.reject(without.error), SshAuthError, "give the option `passphrase`");
  });
});

Deno.test("a key that is left with fewer of its algorithms is unlocked as any other", async () => {
  const rsa = (await oneOfEach()).at(-1)!;
  await withFolder(async (dir) => {
    const files = [`${dir}/rsa`], algorithms = ["rsa-sha2-256"];
    await Deno.writeTextFile(`${dir}/rsa`, await rsa.export({ passphrase: "open", rounds: 1 }));
    const fail = (): string => {
      throw new Error("nobody is there");
    };
    // What the function throws ends the login: only whoever knows that something has to be unlocked asks so.
    assertEquals(String((await offered({ files, algorithms, passphrase: fail }, rsa)).error), "Error: nobody is there");
    assertEquals((await offered({ files, algorithms, passphrase: () => "open" }, rsa)).error, null);
  });
});
