/** `shellHandler()` and `runInSession()`: programs of this machine for the sessions of a server. */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { decodeText, type ServerSession } from "../../mod.ts";
import { runInSession, type RunOptions, shellHandler, type ShellOptions } from "../../lib/pty/mod.ts";
import { join, type Joined, text } from "../_support/joined.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { ended, isRunning, Screen, terminals } from "./_programs.ts";

const env = { HOME: "/", PATH: "/usr/bin:/bin" };
const linux = Deno.build.os === "linux";

function linuxTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !linux, fn });
}

/** A client and a server of shells, at whose end every program's handler has returned. */
async function joinShell(options: ShellOptions = {}, grant = {}, window = 2_097_152): Promise<Joined> {
  const handle = shellHandler({ env, ...options }), handled: Promise<unknown>[] = [];
  const joined = await join({
    handler: (session) => {
      const code = Promise.resolve(handle(session));
      handled.push(code.catch(() => {}));
      return code;
    },
    auth: { password: () => ({ grant }) },
    window,
  }, { window });
  const dispose = joined[Symbol.asyncDispose].bind(joined);
  return {
    ...joined,
    async [Symbol.asyncDispose]() {
      await dispose();
      await Promise.all(handled);
    },
  };
}

linuxTest("shellHandler() runs a command with its own exit code and signal, on a terminal and on pipes", async () => {
  await using joined = await joinShell();
  for (const pty of [true, false]) {
    const run = (command: string) => joined.client.exec(command, { pty });
    const both = await run("echo out; echo err >&2; exit 5");
    assertEquals([both.code, both.signal], [5, null]);
    assertEquals([text(both.stdout), text(both.stderr)], pty ? ["out\r\nerr\r\n", ""] : ["out\n", "err\n"]);
    const killed = await run("kill -USR2 $$");
    assertEquals([killed.code, killed.signal], [null, "USR2"]);
    assertEquals((await run("exit 255")).code, 255);
    assertEquals((await run("no-such-program")).code, 127);
    // One argument, whatever is in it.
    assertEquals((await run("printf '%s' 'a  b'; echo; echo \"$0 $#\"\n")).text().split(/\r?\n/)[0], "a  b");
    const latin1 = decodeText(Uint8Array.from([...new TextEncoder().encode("printf '\\n%s' 'caf"), 0xe9, 39, 10]));
    assertEquals((await run(latin1)).stdout.at(-1), 0xe9);
    assertEquals((await run("tty")).text().startsWith("/dev/pts/"), pty);
  }
  assertEquals(joined.errors, []);
});

linuxTest(
  "a client's environment comes as far as acceptEnv says, and never in the place of the server's own",
  async () => {
    const grant = { environment: { GRANTED: "yes", LC_ALL: "C" } };
    const asked = {
      LANG: "C.UTF-8",
      LC_ALL: "mine",
      LC_MESSAGES: "C",
      LD_PRELOAD: "/tmp/x.so",
      PATH: "/tmp",
      HOME: "/tmp",
      BASH_ENV: "/tmp/x",
      LUA_INIT: "@/tmp/x",
      RSYNC_RSH: "/tmp/x",
      https_proxy: "http://other",
      SSH_CLIENT: "me",
      SSH_TTY: "/dev/null",
      EXTRA: "e",
      "BASH_FUNC_ls%%": "() { echo bad; }",
    };
    const read = async (options: ShellOptions, pty = false) => {
      await using joined = await joinShell(options, grant);
      const { stdout } = await joined.client.exec("env", { env: asked, pty: pty && { term: "vt100" } });
      const lines = text(stdout).trim().split(/\r?\n/).map((line) => line.split("=", 2) as [string, string]);
      return Object.fromEntries(lines.filter(([name]) => !["PWD", "_", "SHLVL", "OLDPWD"].includes(name)));
    };
    const own = { ...env, SHELL: "/bin/sh", SSH_CLIENT: "UNKNOWN 65535 65535", ...grant.environment };
    const base = { ...own, SSH_CONNECTION: "UNKNOWN 65535 UNKNOWN 65535" };
    assertEquals(await read({}), { ...base, LANG: "C.UTF-8", LC_MESSAGES: "C" });
    const onTerminal = await read({ acceptEnv: [] }, true);
    assertMatch(onTerminal["SSH_TTY"]!, /^\/dev\/pts\/\d+$/);
    assertEquals(onTerminal, { ...base, TERM: "vt100", SSH_TTY: onTerminal["SSH_TTY"]! });
    // Asterisks do not mean what makes programs load or run something else; whole names do.
    assertEquals(await read({ acceptEnv: ["*"] }), { ...base, LANG: "C.UTF-8", LC_MESSAGES: "C", EXTRA: "e" });
    assertEquals(await read({ acceptEnv: ["LD_*", "*A", "E*T*A", "LC_*_*"] }), { ...base, EXTRA: "e" });
    // The loader takes LD_PRELOAD out of nothing; an unreadable object is only complained of.
    assertEquals((await read({ acceptEnv: ["LD_PRELOAD", "PATH"] }))["LD_PRELOAD"], "/tmp/x.so");
  },
);

linuxTest(
  "a session's terminal has the client's type, size and modes, and follows its resizes and signals",
  async () => {
    await using joined = await joinShell();
    const pty = { term: "vt220", columns: 99, rows: 31, modes: { ECHO: 0, VINTR: 5 } };
    await using process = await joined.client.spawn(
      'echo "$TERM $(stty size)"; trap "stty size" WINCH; trap "echo int" INT; trap "echo usr" USR1; echo ready; ' +
        "while :; do sleep 0.02; done",
      { pty },
    );
    const screen = new Screen(process.stdout), writer = process.stdin.getWriter();
    await screen.until(/vt220 31 99\r\nready/);
    process.resize({ columns: 100, rows: 32 });
    await screen.until(/32 100/);
    process.resize({ columns: 0, rows: 0 });
    await screen.until(/\n0 0/);
    await writer.write(Uint8Array.of(5));
    await screen.until(/int/);
    process.kill("USR1");
    await screen.until(/usr/);
    process.kill("TERM");
    assertEquals((await process.status).signal, "TERM");
    assert(!screen.said.includes("^E"), "nothing is echoed");
  },
);

Deno.test({
  name: "a signal without a name ends its program and nothing else: the server, its terminals and streams go on",
  ignore: !linux,
  // Deno keeps the number of a child whose end it cannot tell.
  sanitizeResources: false,
  fn: async () => {
    await using joined = await joinShell();
    for (const pty of [true, false]) {
      // The sleep holds the pipes open, so that the output ends some time after the program.
      const { code, signal } = await joined.client.exec("sleep 0.2 & kill -40 $$", { pty });
      assertEquals([code, signal], [128 + 40, null]);
    }
    assertEquals(joined.errors, []);
    assertEquals(terminals(), 0);
  },
});

linuxTest("a client that goes hangs its program up: nothing that it started runs on", async () => {
  for (const pty of [true, false]) {
    const joined = await joinShell();
    const process = await joined.client.spawn("sleep 1000 & echo $$ $! ready; sleep 1000", { pty });
    const screen = new Screen(process.stdout);
    const [, ...pids] = await screen.until(/(\d+) (\d+) ready/);
    assert(pids.every(isRunning));
    const children = () => Deno.readTextFileSync(`/proc/${pids[0]}/task/${pids[0]}/children`).trim().split(" ");
    await until(() => children().length === 2, "the second sleep has not begun");
    const all = [...pids, ...children()];
    const reading = screen.end().catch(() => {});
    await joined[Symbol.asyncDispose]();
    await reading;
    await process.status.catch(() => {});
    await ended(all);
    assertEquals(joined.errors, []);
  }
});

linuxTest("a process in the background holds no terminal's session up, and its shell's output is whole", async () => {
  await using joined = await joinShell();
  const { stdout, code } = await joined.client.exec(
    'stty -onlcr; (trap "" HUP; exec sleep 1000) & echo $!; head -c 200000 /dev/zero; exit 4',
    { pty: true },
  );
  assertEquals(code, 4);
  const pid = /\d+/.exec(text(stdout))![0];
  assertEquals(stdout.length, 200_000 + pid.length + 1);
  Deno.kill(Number(pid), "SIGKILL");
  await ended([pid]);
});

linuxTest("a program waits for a slow client in both directions, and nothing is lost", async () => {
  await using joined = await joinShell({}, {}, 65_536);
  await using process = await joined.client.spawn("stty raw -echo; echo ready; cat; echo never", { pty: true });
  const screen = new Screen(process.stdout), writer = process.stdin.getWriter();
  await screen.until(/ready\n/);
  // More than all windows and buffers on the way hold: it stops until somebody reads.
  const chunk = Uint8Array.from({ length: 65_536 }, (_, i) => i * 7 >> 2), count = 40;
  let sent = 0;
  const sending = (async () => {
    for (; sent < count; sent++) await writer.write(chunk);
  })();
  let before = -1;
  await until(async () => {
    const same = sent === before;
    before = sent;
    await turns(30);
    return same && sent > 0;
  }, "it did not stop");
  assert(sent < count, `${sent} chunks were taken`);
  while (screen.count < chunk.length * count + 6) assert(await screen.next());
  await sending;
  assertEquals(screen.tail.slice(-500), Array.from(chunk.subarray(-500), (byte) => String.fromCharCode(byte)).join(""));
});

linuxTest(
  "each program of a session gets the signals that are sent while it runs, also behind another one",
  async () => {
    const script = "trap 'echo heard; exit 0' USR1; echo ready; while :; do sleep 0.05; done";
    await using joined = await join({
      handler: async (session: ServerSession) => {
        await runInSession(session, ["/bin/true"], { env });
        return await runInSession(session, ["/bin/sh", "-c", script], { env });
      },
    });
    for (const pty of [false, true]) {
      const process = await joined.client.spawn("both", { pty });
      await inTime(process.expect("ready"), "the second program");
      process.kill("SIGUSR1");
      const { stdout, code } = await inTime(process.output(), "the second program's end");
      assertMatch(text(stdout), /heard\r?\n$/);
      assertEquals(code, 0);
    }
    assertEquals(joined.errors, []);
  },
);

linuxTest(
  "runInSession() runs a program by its words, which no shell sees, and reports what cannot be started",
  async () => {
    const run = (words: readonly string[], options: RunOptions = { env }) =>
      join({ handler: (session: ServerSession) => runInSession(session, words, options) });
    for (const pty of [true, false]) {
      await using joined = await run(["printf", "%s|", "$HOME", "a b", "'", "-c", ""]);
      assertEquals((await joined.client.exec("x", { pty })).text(), "$HOME|a b|'|-c||");
    }
    for (const words of [["/no/such/program"], ["-c", "id"], [], [""]]) {
      await using joined = await run(words);
      const { code, stderr } = await joined.client.exec("x");
      assertEquals([code, joined.errors.length], [1, 1]);
      if (words[0] === "/no/such/program") assertEquals(text(stderr), "The command could not be started\n");
    }
    const wrong: [unknown, typeof TypeError | typeof RangeError, string][] = [
      [{ env: { A: 1 } }, TypeError, "env"],
      [{ acceptEnv: "LANG" }, TypeError, "acceptEnv"],
      [{ acceptEnv: [/x/] }, TypeError, "acceptEnv"],
      [{ cwd: 1 }, TypeError, "cwd"],
      [{ uid: 1.5 }, RangeError, "uid"],
      [{ gid: -1 }, RangeError, "gid"],
      // The group would be root's.
      [{ uid: 65_534 }, TypeError, "`gid` as well"],
      [5, TypeError, "options"],
    ];
    for (const [options, error, said] of wrong) {
      assertThrows(() => shellHandler(options as ShellOptions), error, said);
      await assertRejects(() => runInSession(null as never, ["true"], options as RunOptions), error, said);
    }
    for (const shell of ["", "-sh", 1]) assertThrows(() => shellHandler({ shell: shell as string }), TypeError);
    assertThrows(() => shellHandler({ terminals: 1 as never }), TypeError, "terminals");
  },
);

linuxTest(
  "a client's shell is SHELL whatever this program's user has, and a folder that is not there runs nothing",
  async () => {
    const before = Deno.env.get("SHELL");
    Deno.env.set("SHELL", "/bin/of-the-server");
    try {
      await using joined = await joinShell({ env: undefined });
      assertEquals((await joined.client.exec('echo "$SHELL"')).text(), "/bin/sh\n");
    } finally {
      if (before === undefined) Deno.env.delete("SHELL");
      else Deno.env.set("SHELL", before);
    }
    await using own = await joinShell({ env: { SHELL: "/bin/mine", HOME: "/no/such/home" } });
    assertEquals((await own.client.exec('echo "$SHELL"')).text(), "/bin/mine\n");
    await using joined = await joinShell({ cwd: "/no/such/folder" });
    for (const pty of [true, false]) {
      const { code, stdout } = await joined.client.exec("echo ran", { pty });
      assertEquals([code, text(stdout)], [1, ""]);
    }
    assertEquals([joined.errors.length, terminals()], [2, 0]);
  },
);

Deno.test({
  name: "root's server runs programs as somebody else with no group, no home and no name of root's",
  ignore: !linux || Deno.uid() !== 0,
  fn: async () => {
    await using joined = await joinShell({ env: undefined, uid: 65_534, gid: 65_534 });
    for (const pty of [true, false]) {
      const { stdout } = await joined.client.exec(
        "id -u; id -G; pwd; env | grep -c -E '^(HOME|USER|LOGNAME)='; test $(tty) = not || stat -c %u $(tty)",
        { pty },
      );
      assertEquals(text(stdout).trim().split(/\s+/), ["65534", "65534", "/", "0", ...pty ? ["65534"] : []]);
    }
  },
});

linuxTest("a program finds the agent that the client lends, and none where it lends none", async () => {
  const handler = shellHandler({ env });
  await using joined = await join({ handler, allowAgent: true });
  const agent = { signers: () => Promise.resolve([]), [Symbol.asyncDispose]: () => Promise.resolve() };
  const ask = 'test -S "$SSH_AUTH_SOCK" && echo lent; echo "${SSH_AUTH_SOCK-none}"';
  assertMatch((await joined.client.exec(ask, { agent, pty: true })).text(), /^lent\r\n\//);
  assertEquals((await joined.client.exec(ask, { env: { SSH_AUTH_SOCK: "/tmp/x" } })).text(), "none\n");
});

linuxTest("shellHandler() without terminals says so to who asks for one, and runs commands for others", async () => {
  await using joined = await joinShell({ terminals: false });
  const refused = await joined.client.exec("echo ran", { pty: true });
  assertEquals([refused.code, text(refused.stdout)], [1, ""]);
  assertMatch(text(refused.stderr), /no terminals/);
  assertEquals((await joined.client.exec("echo ran")).text(), "ran\n");
});

linuxTest("a program that has closed its outputs gets its input whole, and signals", async () => {
  const file = await Deno.makeTempFile();
  try {
    await using joined = await joinShell();
    for (const pty of [false, true]) {
      await using process = await joined.client.spawn("echo ready; exec <&- >&- 2>&-; exec sleep 1000", { pty });
      const screen = new Screen(process.stdout);
      await screen.until(/ready/);
      await turns(20);
      process.kill("TERM");
      assertEquals((await inTime(process.status, "No signal comes")).signal, "TERM");
    }
    const { code } = await joined.client.exec(`exec >/dev/null 2>&1; sleep 0.1; cat > ${file}`, {
      stdin: new Uint8Array(1_000_000),
    });
    assertEquals([code, (await Deno.stat(file)).size], [0, 1_000_000]);
    assertEquals(joined.errors, []);
  } finally {
    await Deno.remove(file);
  }
});

linuxTest("a login shell reads what is typed until its end, and ends its session by its own exit code", async () => {
  await using joined = await joinShell();
  await using shell = await joined.client.shell({ pty: { modes: { ECHO: 0 } } });
  const writer = shell.stdin.getWriter(), screen = new Screen(shell.stdout);
  await writer.write(new TextEncoder().encode("echo $((40 + 2))\nsh -c 'exit 9'\n"));
  await screen.until(/42/);
  await writer.close();
  await screen.end();
  assertEquals((await inTime(shell.status, "the shell goes on")).code, 9);
});
