/** `proxyCommand`: a program's standard streams as the connection, and the end of the program. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { connect, type ConnectOptions, serve, SshError } from "../../mod.ts";
import { login, serverOptions } from "../_support/joined.ts";
import { peerTest } from "../_support/peers.ts";
import { inTime, until } from "../_support/until.ts";

const by = (proxyCommand: readonly string[], more: Partial<ConnectOptions> = {}) =>
  connect({ hostname: "host.invalid", port: 2222, ...login, proxyCommand, ...more });

/** A command line of a shell, as words; the shell gives way to what it runs. */
const sh = (line: string, ...args: string[]) => ["/bin/sh", "-c", line, "sh", ...args];

/** Child processes of this one, those that have ended and were not waited for among them. */
function children(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    try {
      // The name of the program, in brackets, may hold anything.
      const parent = /^\d+$/.test(name) ? /.*\) \S (\d+)/s.exec(Deno.readTextFileSync(`/proc/${name}/stat`))![1] : "";
      if (Number(parent) === Deno.pid) count++;
    } catch {
      // It has ended meanwhile.
    }
  }
  return count;
}

async function failure(promise: Promise<unknown>): Promise<SshError> {
  return await inTime(assertRejects(() => promise, SshError), "the error");
}

peerTest(
  "netcat",
  "connect() runs over a program, which gets host, port and user as words, and ends with the client",
  async () => {
    await using server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, ...await serverOptions() });
    const dir = await Deno.makeTempDir(), before = children();
    // What a shell would take apart reaches the program as it is.
    const script = 'printf "%%s\\n" "$@" >"$1"; exec nc 127.0.0.1 "$2"';
    const client = await by(sh(script, `${dir}/words`, `${server.addr.port}`, "%h:%p", "%r", "100%%", "$(x) ; *"));
    assertEquals((await client.exec("exit 4")).code, 4);
    const words = (await Deno.readTextFile(`${dir}/words`)).trim().split("\n");
    assertEquals(words.slice(2), ["host.invalid:2222", "alice", "100%", "$(x) ; *"]);
    assertEquals(children(), before + 1);
    await client.close();
    assertEquals(children(), before);
    await client.closed;
    await Deno.remove(dir, { recursive: true });
  },
);

peerTest("netcat", "what the transport has lost with the program says how that ended", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, ...await serverOptions() });
  const dir = await Deno.makeTempDir();
  const client = await by(sh('echo $$ >"$1"; exec nc 127.0.0.1 "$2"', `${dir}/pid`, `${server.addr.port}`));
  const running = client.exec("hang");
  await client.exec("exit 1");
  Deno.kill(Number(await Deno.readTextFile(`${dir}/pid`)), "SIGKILL");
  for (const one of [running, client.closed]) {
    const error = await failure(one);
    assertEquals(error.message, 'Connection was lost: proxy command "/bin/sh" was ended by SIGKILL');
    assertEquals(error.code, "CONNECTION_LOST");
  }
  await client.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test({
  name: "a program that a signal without a name has ended is a lost connection, and not this program's end",
  ignore: Deno.build.os !== "linux",
  // Deno keeps the number of a child whose end it cannot tell.
  sanitizeResources: false,
  fn: async () => {
    const error = await assertRejects(() => by(["/bin/sh", "-c", "kill -40 $$"]), SshError);
    assertEquals([error.code, error.message.includes("was ended by a signal without a name")], [
      "CONNECTION_LOST",
      true,
    ]);
  },
});

Deno.test("a program that ends too soon is told with its exit code and the end of what it said", async () => {
  const before = children();
  const cases: [line: string, text: string][] = [
    ["exit 7", 'proxy command "/bin/sh" ended with exit code 7'],
    ["echo no route to host.invalid >&2; exit 1", 'exit code 1; it wrote "no route to host.invalid"'],
    ["printf 'one\\r\\n two\\033[1m\\n' >&2; exit 0", 'exit code 0; it wrote "one; two\ufffd[1m"'],
    ["echo SSH-2.0-x; exit 3", "exit code 3"],
    ["exec 1>&-; exec sleep 30", "closed its standard output"],
    ["kill -9 $$", "was ended by SIGKILL"],
    // Others keep its standard error open.
    ["sleep 2 1>&- 0<&- & echo gone >&2; exit 2", 'exit code 2; it wrote "gone"'],
  ];
  for (const [line, text] of cases) {
    const error = await failure(by(sh(line)));
    assertEquals(error.code, "CONNECTION_LOST");
    assert(error.message.includes(text), error.message);
    assertInstanceOf(error.cause, SshError);
    assertEquals(children(), before, line);
  }
  const long = await failure(by(sh("yes 0123456789 | head -c 300000 >&2; echo end >&2; exit 1")));
  assert(long.message.endsWith('end"'), long.message.slice(-100));
  assert(long.message.includes('it wrote "…'));
  assert(long.message.length < 2200);
  const secret = await failure(by(sh("exit 1", "--password=hunter2")));
  assert(!Deno.inspect(secret).includes("hunter2"));
});

Deno.test("a program that cannot be started is an error, and leaves nothing behind", async () => {
  const error = await failure(by(["/no/such/program", "%h"]));
  assert(error.message.startsWith('Cannot start proxy command "/no/such/program": '), error.message);
  assertEquals(error.code, "CONNECTION_LOST");
  await assertRejects(() => by(["nc", "%h"], { hostname: "-oProxy" }), TypeError, 'it begins with "-"');
});

Deno.test("a program that neither reads nor listens to TERM is killed, whatever ends the login", async () => {
  const before = children(), dir = await Deno.makeTempDir();
  const stubborn = (name: string) => sh(`trap "" TERM; echo > "$1"; while :; do sleep 1; done`, `${dir}/${name}`);
  const there = (name: string) => until(() => Deno.stat(`${dir}/${name}`).then(() => true, () => false), name);
  const abort = new AbortController(), reason = new Error("enough");
  const aborted = by(stubborn("a"), { signal: abort.signal }).then(() => null, (error) => error);
  const late = failure(by(stubborn("b"), { loginTimeout: 300 }));
  // Nobody takes what is sent, and more than a pipe holds.
  const full = failure(by(sh("cat /dev/zero"), { handshakeTimeout: 300 }));
  await there("a");
  abort.abort(reason);
  assertStrictEquals(await inTime(aborted, "the end"), reason);
  assert((await late).message.includes("took longer than 300 ms"), (await late).message);
  await full;
  await until(() => children() === before, "A program is left");
  await Deno.remove(dir, { recursive: true });
});
