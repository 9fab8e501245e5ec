/** C19 (paramiko #502, MINA #388): text that is no UTF-8, in both roles and facades. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Channel } from "../../lib/api/transport/channel.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { keyboardInteractive, password } from "../../lib/auth/methods.ts";
import { encodeInfoResponse } from "../../lib/auth/messages.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { Env, Exec, PtyReq, Subsystem } from "../../lib/session/messages.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { hostKey, join, say, text } from "../_support/joined.ts";
import { memoryPair } from "../_support/duplex.ts";

const LATIN_1 = Uint8Array.of(0x63, 0x61, 0x66, 0xe9), CAFE = "caf\udce9";

Deno.test("requests of sessions carry bytes that are no UTF-8, and refuse NUL all the same", () => {
  const string = new Writer().string(LATIN_1).bytes();
  assertEquals(Exec.encode({ command: CAFE }), string);
  assertEquals(Exec.decode(string), { command: CAFE });
  assertEquals(Subsystem.decode(string), { name: CAFE });
  assertEquals(Subsystem.encode({ name: CAFE }), string);
  const env = new Writer().string(LATIN_1).string(LATIN_1).bytes();
  assertEquals(Env.decode(env), { name: CAFE, value: CAFE });
  assertEquals(Env.encode({ name: CAFE, value: CAFE }), env);
  const pty = { term: CAFE, columns: 1, rows: 1, width: 0, height: 0, modes: new Uint8Array(0) };
  assertEquals(PtyReq.decode(PtyReq.encode(pty)), pty);
});

// C19
Deno.test("a command, variables, a terminal and a subsystem that are no UTF-8 reach serve()'s handler", async () => {
  const seen: unknown[] = [];
  await using joined = await join({
    handler: async (session) => {
      seen.push(session.command, session.env, session.pty?.term);
      await say(session.stdout.getWriter(), "fine");
    },
    subsystems: { [CAFE]: (session) => void seen.push(session.subsystem) },
  });
  const { client } = joined;
  const output = await client.exec(`cat ${CAFE}`, { env: { [CAFE]: `x${CAFE}` }, pty: { term: CAFE } });
  assertEquals(text(output.stdout), "fine");
  const [command, env, term] = seen.splice(0);
  assertEquals([command, { ...env as object }, term], [`cat ${CAFE}`, { [CAFE]: `x${CAFE}` }, CAFE]);
  await (await client.subsystem(CAFE)).output();
  assertEquals(seen, [CAFE]);
  const unknown = await assertRejects(() => client.subsystem(`no${CAFE}`), SshError);
  assertEquals(unknown.message, 'Cannot start subsystem "nocaf\ufffd": the server refused it');
  for (const bad of ["\ud800", "\udc2f"]) {
    await assertRejects(() => client.exec(bad), TypeError, "stands for no byte");
    await assertRejects(() => client.exec("x", { env: { A: bad } }), TypeError, "stands for no byte");
  }
});

Deno.test("Channel hands and takes commands and variables that are no UTF-8", async () => {
  const seen: string[] = [], pair = memoryPair();
  class Listening extends Channel {
    override checkExecRequest(command: string): boolean {
      return seen.push(command) > 0;
    }
    override checkEnvRequest(name: string, value: string): boolean {
      return seen.push(name, value) > 0;
    }
  }
  await using client = new Transport(pair.client), server = new Transport(pair.server);
  server.addServerKey(await hostKey());
  await Promise.all([
    server.startServer({ checkAuthPassword: () => true, checkChannelRequest: (_, id) => new Listening(id) }),
    client.startClient(),
  ]);
  await client.authPassword("alice", "wonderland");
  const channel = await client.openSession();
  assert(await channel.setEnvironmentVariable("LANG", CAFE));
  await channel.execCommand(`cat ${CAFE}`);
  assertEquals(seen, ["LANG", CAFE, `cat ${CAFE}`]);
});

Deno.test("passwords and answers that are no UTF-8 leave as bytes; a server of ours refuses them, and no error holds them", async () => {
  assertEquals(
    encodeInfoResponse([CAFE]).subarray(5),
    new Writer().string(LATIN_1).bytes(),
  );
  let asked = 0;
  const auth = { password: () => ++asked > 0, keyboardInteractive: () => ++asked > 0 };
  await assertRejects(() => join({ auth }, { auth: [password(CAFE)] }), SshAuthError);
  assertEquals(asked, 0);
  for (const method of [password("secret\ud800"), keyboardInteractive(() => ["secret\ud800"])]) {
    const error = await assertRejects(
      () =>
        join({
          auth: {
            password: () => false,
            keyboardInteractive: async (_, ask) => (await ask([{ text: "?", echo: false }])).length > 1,
          },
        }, { auth: [method] }),
      TypeError,
    );
    assertEquals(error.message, "Cannot log in: a secret holds half of a surrogate pair, which stands for no byte");
  }
});
