/** `spawnPty()`: programs of this machine on terminals of their own. */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { spawnPty, type SpawnPtyOptions } from "../../lib/pty/mod.ts";
import { ended, isRunning, Screen, terminals } from "./_programs.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { inTime, turns, until } from "../_support/until.ts";

const encoder = new TextEncoder();

/** A test of what only Linux has. */
function linuxTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: Deno.build.os !== "linux", fn });
}

function sh(script: string, options: SpawnPtyOptions = {}) {
  const process = spawnPty("/bin/sh", { args: ["-c", script], ...options });
  return { process, screen: new Screen(process.stdout), writer: process.stdin.getWriter() };
}

linuxTest(
  "spawnPty() runs a program on a terminal with its size, type, environment and directory, and tells how it ended",
  async () => {
    const { process, screen } = sh('tty; stty size; echo "$TERM $A"; pwd; ps -o sid=,tpgid= -p $$; exit 7', {
      window: { columns: 0xffff_ffff, rows: 0, width: 7, height: 0 },
      term: "vt220",
      env: { A: "$b 'c'" },
      cwd: "/",
    });
    const said = (await screen.end()).split("\r\n").map((line) => line.trim());
    const group = `${process.pid} ${process.pid}`;
    assertEquals(said.map((line) => line.replace(/ +/g, " ")), [
      process.path,
      "0 65535",
      "vt220 $b 'c'",
      "/",
      group,
      "",
    ]);
    assertEquals(await process.status, { success: false, code: 7, signal: null });
    const killed = sh("kill -USR1 $$");
    await killed.screen.end();
    assertEquals((await killed.process.status).signal, "SIGUSR1");
    await process.hangUp();
    await killed.process.hangUp();
    for (const term of ["../../etc/x", "a b", "", "-x", "x".repeat(65), "a\nb"]) {
      const { process, screen } = sh('printf %s "$TERM"', { term });
      assertEquals(await screen.end(), "dumb", term);
      await process[Symbol.asyncDispose]();
    }
  },
);

linuxTest(
  "what is typed goes through the line discipline: ^C reaches the foreground group and nobody behind it, ^D ends input",
  async () => {
    const { process, screen, writer } = sh(
      'sh -c "trap \\"\\" INT; echo behind; exec sleep 1000" & echo $! ready; trap "echo caught" INT; read x; echo "got $x"; cat; echo end',
    );
    const [, pid] = await screen.until(/(\d+) ready/);
    await screen.until(/behind/);
    await writer.write(Uint8Array.of(3));
    await screen.until(/\^Ccaught/);
    await writer.write(encoder.encode("a line\n"));
    await screen.until(/a line\r\n.*a line/s);
    await writer.write(encoder.encode("half"));
    await writer.close();
    await screen.until(/halfend/);
    await screen.end();
    assertEquals((await process.status).code, 0);
    await process.hangUp();
    // It ignored ^C, but not that its terminal went.
    await ended([pid!]);
  },
);

linuxTest("resize() tells the program by SIGWINCH, and says nothing where the size is the same", async () => {
  const { process, screen } = sh('trap "stty size" WINCH; echo ready; while :; do sleep 0.02; done');
  await screen.until(/ready/);
  process.resize({ columns: 80, rows: 24 });
  process.resize({ columns: 100, rows: 30 });
  await screen.until(/30 100/);
  process.resize({ columns: 0, rows: 0xffff_ffff });
  await screen.until(/65535 0/);
  assert(!screen.said.includes("24 80"));
  assertThrows(() => process.resize({ columns: -1, rows: 1 }), RangeError, "columns");
  await process[Symbol.asyncDispose]();
  process.resize({ columns: 1, rows: 1 });
  assertEquals((await process.status).signal, "SIGHUP");
});

linuxTest("kill() reaches the foreground group and the leader; hangUp() ends both, and their children", async () => {
  for (const [act, signal] of [["kill", "SIGTERM"], ["hangUp", "SIGHUP"]] as const) {
    const { process, screen } = sh("sleep 1000 & echo $! pid; sleep 1000 & echo $! pid; echo ready; wait");
    await screen.until(/ready/);
    const pids = [...screen.said.matchAll(/(\d+) pid/g)].map((match) => match[1]!);
    assertEquals(pids.filter(isRunning).length, 2);
    if (act === "kill") process.kill("TERM");
    else await process.hangUp();
    assertEquals((await process.status).signal, signal);
    await screen.end();
    await ended([...pids, process.pid]);
    await process[Symbol.asyncDispose]();
  }
  const { process } = sh("sleep 1000");
  for (const wrong of ["SIGTERM", "term", "9", "WINCH", ""]) assertThrows(() => process.kill(wrong), TypeError);
  await process[Symbol.asyncDispose]();
});

linuxTest(
  "a program that ignores SIGHUP outlives its terminal, and disposing does not wait for it for ever",
  async () => {
    const { process, screen } = sh('trap "" HUP; echo ready; sleep 1000');
    await screen.until(/ready/);
    await process.hangUp();
    await turns();
    assert(isRunning(process.pid));
    const own = `/proc/${process.pid}/task/${process.pid}/children`;
    await until(() => Deno.readTextFileSync(own).trim() !== "", "sleep has not begun");
    const children = Deno.readTextFileSync(own).trim().split(" ");
    {
      using time = new FakeTime();
      const disposed = process[Symbol.asyncDispose]();
      while (time.pending === 0) await Promise.resolve();
      time.next();
      await disposed;
    }
    assertEquals((await process.status).signal, "SIGKILL");
    for (const pid of children) Deno.kill(Number(pid), "SIGKILL");
    await ended(children);
  },
);

linuxTest("output is whole and ends with the program, whoever has the terminal open still", async () => {
  const { process, screen } = sh(
    'stty raw; (trap "" HUP; echo $PPID >/dev/null; exec sleep 1000) & echo $!; head -c 300000 /dev/zero; echo last; exit 3',
  );
  // Nobody has read anything by then.
  await turns();
  const said = await screen.end();
  assertEquals((await process.status).code, 3);
  assert(said.endsWith("last\n"));
  assertEquals(said.length, 300_000 + said.indexOf("\n") + 1 + 5);
  await process.hangUp();
  const pid = /\d+/.exec(said)![0];
  assert(isRunning(pid), "a process that ignores SIGHUP runs on");
  Deno.kill(Number(pid), "SIGKILL");
  await ended([pid]);
});

linuxTest("both directions may be full at once, and bytes pass as they are where the terminal is raw", async () => {
  const { process, screen, writer } = sh(
    "stty raw -echo; echo ready; head -c 600000 /dev/zero; echo; head -c 300000 | cksum; head -c 256",
  );
  await screen.until(/ready/);
  const data = Uint8Array.from({ length: 300_000 }, (_, i) => i * i >> 3);
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  let written = false;
  const writing = writer.write(data).then(() => writer.write(all)).then(() => written = true);
  await turns();
  assert(!written, "what nobody takes waits");
  await screen.end();
  await writing;
  const sum = new Deno.Command("cksum", { stdin: "piped", stdout: "piped" }).spawn();
  const feeding = new Blob([data]).stream().pipeTo(sum.stdin);
  const wanted = new TextDecoder().decode((await sum.output()).stdout).trim();
  await feeding;
  await process.hangUp();
  assert(screen.count > 600_000);
  assertEquals((await process.status).code, 0);
  assertEquals(screen.tail.slice(-256 - wanted.length - 2), `\n${wanted}\n${String.fromCharCode(...all)}`);
});

linuxTest("a program waits while its output is not read, and nothing is kept for it", async () => {
  const { process, screen } = sh("stty raw; yes 0123456789");
  for (let i = 0; i < 3; i++) await screen.next();
  const { rss } = Deno.memoryUsage();
  await turns(50);
  assert(Deno.memoryUsage().rss - rss < 50_000_000);
  await process[Symbol.asyncDispose]();
});

linuxTest("end of input is nothing where the terminal is raw, and behind a line is one ^D", async () => {
  const raw = sh("stty raw -echo; echo ready; head -c 4 | od -An -c");
  await raw.screen.until(/ready/);
  await raw.writer.write(encoder.encode("abc"));
  await raw.writer.close();
  await turns();
  assert(!raw.screen.said.includes("004"));
  await raw.process[Symbol.asyncDispose]();
  const lines = sh("stty -echo; echo ready; cat; cat; echo twice", { modes: { VEOF: 5 } });
  await lines.screen.until(/ready/);
  await lines.writer.write(encoder.encode("abc\n"));
  await lines.writer.close();
  await lines.screen.until(/abc/);
  // The second cat has no end yet.
  await turns(20);
  assert(!lines.screen.said.includes("twice"));
  await lines.process[Symbol.asyncDispose]();
});

linuxTest(
  "what is typed to a terminal that nobody has open any more is gone, and nobody waits for its room",
  async () => {
    const { process, screen, writer } = sh("stty raw -echo; exec <&- >&- 2>&-; exec sleep 1000");
    await screen.end();
    await inTime(writer.write(new Uint8Array(1_000_000)), "It waits for room");
    assert(isRunning(process.pid));
    await process[Symbol.asyncDispose]();
  },
);

linuxTest("a terminal that is hung up at once leaves nothing behind, however far its program was", async () => {
  const signal = AbortSignal.abort(new Error("no"));
  assertThrows(() => spawnPty("true", { signal }), Error, "no");
  const all = Array.from({ length: 8 }, (_, i) => {
    const stop = new AbortController();
    const process = spawnPty("sleep", { args: ["1000"], signal: stop.signal });
    setTimeout(() => stop.abort(), i);
    return process;
  });
  for (const process of all) {
    assertMatch((await process.status).signal!, /SIGHUP|SIGKILL/);
    await process[Symbol.asyncDispose]();
  }
  await ended(all.map(({ pid }) => pid));
});

linuxTest(
  "a program that had not begun when its terminal was hung up never gets the next one of that name",
  async () => {
    for (let i = 0; i < 3; i++) {
      const gone = sh("echo INTRUDER");
      await gone.process.hangUp();
      const next = sh("sleep 1000");
      // Whatever it does now it has done when it has ended.
      await gone.process.status;
      next.process.kill("TERM");
      await next.process.status;
      assertEquals(await next.screen.end(), "");
      await next.process.hangUp();
    }
  },
);

linuxTest("a terminal is given back that is hung up in the moment in which its program ends", async () => {
  const { kill } = Deno.ChildProcess.prototype;
  let refused = 0;
  // So Deno refuses it from the moment of the end, of which `status` tells only later.
  Deno.ChildProcess.prototype.kill = () => {
    refused++;
    throw new TypeError("Child process has already terminated");
  };
  try {
    // On a busy machine it may have opened its terminal by now, and is told by that.
    for (let tries = 0; refused === 0; tries++) {
      assert(tries < 100);
      const process = spawnPty("true");
      await process.hangUp();
      assertEquals(terminals(), 0);
      await process[Symbol.asyncDispose]();
    }
  } finally {
    Deno.ChildProcess.prototype.kill = kill;
  }
});

linuxTest("programs heed ^C and SIGHUP also where this one was started by `nohup` or in the background", async () => {
  const program = `
    const { spawnPty } = await import(${JSON.stringify(import.meta.resolve("../../lib/pty/mod.ts"))});
    const ignored = () => Deno.readTextFileSync("/proc/self/status").match(/SigIgn:.*/)[0];
    const before = ignored();
    await using process = spawnPty("grep", { args: ["SigIgn", "/proc/self/status"] });
    console.log(await new Response(process.stdout).text(), before === ignored(), before);
  `;
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", 'trap "" HUP INT QUIT; exec "$@"', "sh", Deno.execPath(), "eval", "--no-check", program],
  }).output();
  // The lowest bits are HUP, INT and QUIT.
  assertMatch(new TextDecoder().decode(stdout), /^SigIgn:\t[0-9a-f]{15}0\r\n true SigIgn:\t[0-9a-f]{15}7\n$/);
});

linuxTest("spawnPty() refuses options that make no sense before anything starts, and says why", async () => {
  const wrong: [SpawnPtyOptions | unknown, typeof TypeError | typeof RangeError, string][] = [
    [{ args: "size" }, TypeError, "args"],
    [{ args: [1] }, TypeError, "args"],
    [{ term: 1 }, TypeError, "term"],
    [{ window: 80 }, TypeError, "window"],
    [{ window: { columns: 1.5, rows: 1 } }, RangeError, "columns"],
    [{ window: { columns: 1, rows: -1 } }, RangeError, "rows"],
    [{ window: { columns: 1, rows: 1, width: 2 ** 32 } }, RangeError, "width"],
    [{ env: { A: 1 } }, TypeError, "env"],
    [{ env: "A=1" }, TypeError, "env"],
    [{ clearEnv: 1 }, TypeError, "clearEnv"],
    [{ cwd: 1 }, TypeError, "cwd"],
    [{ modes: ["ECHO"] }, TypeError, "modes"],
    [{ modes: { ECHO: true } }, RangeError, "ECHO"],
    [{ uid: -1 }, RangeError, "uid"],
    [{ uid: Infinity }, RangeError, "uid"],
    [{ uid: 65_534 }, TypeError, "`gid` as well"],
    [{ gid: 0xffff_ffff }, RangeError, "gid"],
    [{ signal: 5 }, TypeError, "signal"],
    [{ clearEnvs: true }, TypeError, "clearEnv"],
    [{ env: null }, TypeError, "env"],
    [{ modes: null }, TypeError, "modes"],
    [{ modes: { ECHO: "0" } }, RangeError, "ECHO"],
    [{ modes: { ECHO: -1 } }, RangeError, "ECHO"],
    [null, TypeError, "options"],
  ];
  for (const [options, error, text] of wrong) {
    assertThrows(() => spawnPty("true", options as SpawnPtyOptions), error, text, JSON.stringify(options));
  }
  for (const command of ["", "-c", 5]) assertThrows(() => spawnPty(command as string), TypeError);
  assertThrows(() => spawnPty("true", { cwd: "/nowhere" }), Deno.errors.NotFound);
  const process = spawnPty("no-such-program");
  assertMatch(await new Response(process.stdout).text(), /not found/);
  assertEquals((await process.status).code, 127);
  await process.hangUp();
  assertEquals(terminals(), 0);
});
