/**
 * What sessions cannot be asked for: a `TypeError` or a `RangeError` in words, before anything is sent. Types say so before; these come
 * from JavaScript, or from behind `as`.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import type { SshClient } from "../../lib/api/client.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import type { ExecOptions, PtyOptions, WindowSize, X11Options } from "../../lib/session/types.ts";
import { join, text } from "../_support/joined.ts";

/** What is wrong, the error's class, and words that stand in it. */
type Row = readonly [value: unknown, type: typeof TypeError | typeof RangeError, words: string];

const t = (value: unknown, words: string): Row => [value, TypeError, words];
const r = (value: unknown, words: string): Row => [value, RangeError, words];

const NO_TEXT: readonly unknown[] = [undefined, null, 5, true, {}, () => {}, Promise.resolve("x")];
const NO_U32: readonly unknown[] = [-1, 1.5, NaN, Infinity, 2 ** 32, "80", null, true, {}, 80n];

const commands: readonly Row[] = [
  ...NO_TEXT.map((value) => t(value, "as `command`: it must be a text")),
  t(["ls", "-l"], "Cannot use an array as `command`: it must be a text: join the words, quoted for the shell there"),
  t(new Uint8Array(3), "decodeText() makes one of bytes"),
  t("a\0b", "NUL"),
];

const options: Readonly<Record<string, readonly Row[]>> = {
  "": [
    ...[null, 5, "text", true, [], Promise.resolve({})].map((value) => t(value, "as `options`")),
    t(AbortSignal.timeout(60_000), "write `{ signal }`, in braces"),
    t({ maxBuffer: 5000 }, "`maxOutput`"),
    t({ Signal: AbortSignal.timeout(60_000) }, "`signal`"),
    t({ environment: { A: "b" } }, "`env`"),
    t({ input: "text" }, "write `stdin: { text }`, bytes or a stream"),
    t({ stdio: "inherit" }, "`stdin`, `stdout` and `stderr`"),
    t({ tty: true }, "`pty`"),
    t({ agentForward: true }, "`agent: true`"),
    t({ forwardAgent: true }, "`agent: true`"),
    t({ x11_forwarding: true }, "`x11: true`"),
    t({ stdOut: "null" }, "`stdout`"),
    t({ stderrr: "null" }, "`stderr`"),
  ],
  env: [
    ...[null, "A=b", 5, true, ["A=b"]].map((value) => t(value, "as `env`")),
    t(new Map([["A", "b"]]), "`Object.fromEntries(…)`"),
    ...[undefined, null, 1, true, {}, ["b"]].map((value) => t({ A: value }, "as `env.A`: it must be a text")),
    t({ "A\u001b[2J": 1 }, "`env.A\ufffd[2J`"),
    t({ "A\0": "b" }, "NUL"),
    t({ A: "b\0" }, "NUL"),
  ],
  pty: [
    ...[null, "xterm", 5, []].map((value) => t(value, "as `pty`")),
    t({ cols: 80 }, "`columns`"),
    t({ type: "xterm" }, "`term`"),
    t({ colums: 80 }, "`columns`"),
    ...[null, 5, {}, []].map((value) => t({ term: value }, "as `pty.term`")),
    t({ term: "x\0" }, "NUL"),
    ...["columns", "rows", "width", "height"].flatMap((name) =>
      NO_U32.map((value) => r({ [name]: value }, `as \`pty.${name}\`: it must be a uint32`))
    ),
    ...[null, "ECHO", 5, []].map((value) => t({ modes: value }, "as `pty.modes`")),
    t({ modes: { NOPE: 1 } }, 'no mode "NOPE"'),
    r({ modes: { ECHO: -1 } }, '"ECHO" is not an unsigned 32-bit integer'),
    r({ modes: { ECHO: "1" } }, '"ECHO" is not an unsigned 32-bit integer'),
  ],
  agent: [
    ...[null, false, 5, "/tmp/agent", {}, Promise.resolve({})].map((value) =>
      t(value, "as `agent`: it must be true, ")
    ),
  ],
  x11: [
    ...[null, 5, ":0", []].map((value) => t(value, "as `x11`")),
    t({ singleConnection: true }, "`single`"),
    t({ auth_cookie: "00" }, "`cookie`"),
    t({ trustd: true }, "`trusted`"),
    ...[null, 5, {}].map((value) => t({ display: value }, "as `x11.display`")),
    ...["", "host", "host:", ":0.", ":123456", ":0\0"].map((value) => t({ display: value }, "a display is written as")),
    ...[null, 5, "", "0", "xy", "00 11", "00".repeat(257)].map((value) =>
      t({ cookie: value }, "`x11.cookie`: it must be hexadecimal digits")
    ),
    ...["trusted", "single"].flatMap((name) =>
      [null, 1, "yes", {}].map((value) => t({ [name]: value }, `as \`x11.${name}\`: it must be true or false`))
    ),
    ...[0, -1, NaN, "5"].map((value) => r({ timeout: value }, "as `x11.timeout`")),
    ...["connect", "onError"].flatMap((name) =>
      [null, true, ":0"].map((value) => t({ [name]: value }, `as \`x11.${name}\``))
    ),
    t({ connect: () => {} }, "nothing would confine remote programs"),
    t({ connect: () => {}, trusted: false }, "nothing would confine remote programs"),
  ],
  stdin: [
    ...["text", "inherited", "", "NULL", new Uint16Array(3), new WritableStream(), null, true, 0, {}, []].map((value) =>
      t(value, 'as `stdin`: it must be "piped", "null", "open" or "inherit", `{ text }`, bytes, or a stream of bytes')
    ),
    ...[undefined, null, 5, new Uint8Array(2)].map((value) => t({ text: value }, "as `stdin.text`: it must be a text")),
    t(locked(), "that is in use already"),
  ],
  stdout: ["stdout", "", null, true, 1, new WritableStream()].map((value) => t(value, '"piped", "null" or "inherit"')),
  stderr: ["stderr", "", null, true, 1, new WritableStream()].map((value) =>
    t(value, '"piped", "null", "inherit" or "stdout"')
  ),
  cwd: [...NO_TEXT.slice(1).map((value) => t(value, "as `cwd`: it must be the path")), t("", "it is empty")],
  check: [null, 0, 1, "true", {}].map((value) => t(value, "as `check`: it must be true or false")),
  maxOutput: [-1, 1.5, NaN, "5", null, true, 5n].map((value) =>
    r(value, "as `maxOutput`: it must be an integer, 0 or more")
  ),
  timeout: [0, -1, NaN, "5", null, true, 5n].map((value) =>
    r(value, "as `timeout`: it must be a number of milliseconds")
  ),
  signal: [
    t(5000, "write `AbortSignal.timeout(5000)`"),
    t(new AbortController(), "the controller's `.signal`"),
    ...[null, "TERM", {}, true].map((value) => t(value, "an AbortSignal")),
  ],
};

function locked(): ReadableStream {
  const stream = new ReadableStream();
  stream.getReader();
  return stream;
}

/** A client that tells how many packets it has sent. */
async function counted() {
  let packets = 0;
  const joined = await join({}, {
    trace: ({ event, detail }) => {
      if (event === "sealed") packets += Number(detail.packets);
    },
  });
  return { joined, client: joined.client, sent: () => packets };
}

async function refuses(act: () => unknown, [value, type, words]: Row, what: string): Promise<void> {
  let error: unknown = null;
  try {
    await act();
  } catch (thrown) {
    error = thrown;
  }
  assertInstanceOf(error, type, `${what} of ${typeof value}: ${error}`);
  assert(error.message.includes(words), `${what}: "${error.message}" without "${words}"`);
  assert(/^[A-Z][^\n]*[^.\n]$/.test(error.message), error.message);
}

Deno.test("exec() and spawn() refuse what is no command, before anything is sent", async () => {
  const { joined, client, sent } = await counted();
  await using _ = joined;
  await client.exec("exit 0");
  const before = sent();
  for (const row of commands) {
    await refuses(() => client.exec(row[0] as string), row, "exec");
    await refuses(() => client.spawn(row[0] as string), row, "spawn");
  }
  for (const row of NO_TEXT.map((value) => t(value, "as `name`"))) {
    await refuses(() => client.subsystem(row[0] as string), row, "subsystem");
  }
  assertEquals(sent(), before);
});

const starts: Readonly<Record<string, (client: SshClient, options: ExecOptions) => Promise<unknown>>> = {
  exec: (client, options) => client.exec("exit 0", options),
  spawn: (client, options) => client.spawn("exit 0", options),
  shell: (client, options) => client.shell(options),
  subsystem: (client, options) => client.subsystem("x", options),
};

for (const [name, start] of Object.entries(starts)) {
  Deno.test(`${name}() refuses options that make no sense, before anything is sent`, async () => {
    const { joined, client, sent } = await counted();
    await using _ = joined;
    await client.exec("exit 0");
    const before = sent();
    for (const [option, rows] of Object.entries(options)) {
      for (const row of rows) {
        const given = option === "" ? row[0] : { [option]: row[0] };
        await refuses(() => start(client, given as ExecOptions), row, `${name} ${option}`);
      }
    }
    assertEquals(sent(), before);
  });
}

Deno.test("exec() takes options that are undefined, options of others, and every word of its own", async () => {
  await using joined = await join();
  const { client } = joined;
  const nothing: { [K in keyof ExecOptions]-?: undefined } = {
    env: undefined,
    pty: undefined,
    agent: undefined,
    x11: undefined,
    stdin: undefined,
    respond: undefined,
    stdout: undefined,
    stderr: undefined,
    signal: undefined,
    cwd: undefined,
    check: undefined,
    maxOutput: undefined,
    timeout: undefined,
  };
  const empty: { [K in keyof PtyOptions]-?: undefined } = {
    term: undefined,
    columns: undefined,
    rows: undefined,
    width: undefined,
    height: undefined,
    modes: undefined,
  };
  const noX11: { [K in keyof X11Options]-?: undefined } = {
    display: undefined,
    cookie: undefined,
    trusted: undefined,
    timeout: undefined,
    single: undefined,
    connect: undefined,
    onError: undefined,
  };
  const other = { note: "of somebody else", tmeout: undefined };
  const taken = [undefined, {}, nothing, { pty: empty }, other, { ...other, signal: AbortSignal.any([]) }];
  for (const options of taken as (ExecOptions | undefined)[]) {
    assertEquals(text((await client.exec("echo x", options)).stdout), "x\n");
    assertEquals(text((await (await client.spawn("echo x", options)).output()).stdout), "x\n");
  }
  assertEquals((await client.exec("exit 3", { x11: false })).code, 3);
  const refused = await client.exec("x", { x11: { ...noX11, display: ":0", cookie: "00" } }).catch((error) => error);
  assertEquals(refused.code, "REQUEST_DENIED");
  for (const stdin of ["null", "open"] as const) assertEquals((await client.exec("exit 3", { stdin })).code, 3);
  for (const output of ["piped", "null"] as const) {
    const { stdout, code } = await client.exec("stderr", { stdout: output, stderr: output });
    assertEquals([stdout.length, code], [output === "null" ? 0 : 3, 3]);
  }
});

Deno.test("kill(), resize() and sendBreak() refuse what makes no sense", async () => {
  const { joined, client, sent } = await counted();
  await using _ = joined;
  await using process = await client.spawn("hang", { pty: true });
  await process.stdout.getReader().read();
  await process.sendBreak();
  const before = sent();
  const signals: Row[] = [
    ...[9, null, {}, true, ["TERM"]].map((value) => t(value, 'it must be the name of a signal, such as "TERM"')),
    t("9", 'Cannot send signal 9: it goes by its name, such as "KILL" for 9'),
    ...["", "SIG", "../", "a b", "x".repeat(65)].map((value) => t(value, "is not a name")),
  ];
  for (const row of signals) await refuses(() => process.kill(row[0] as string), row, "kill");
  const sizes: Row[] = [
    ...[undefined, null, 80, "80x24", []].map((value) => t(value, "as `size`")),
    t({ columns: 80 }, "Cannot use undefined as `rows`"),
    t({ rows: 24 }, "Cannot use undefined as `columns`"),
    ...NO_U32.map((value) => r({ columns: 80, rows: value }, "as `rows`: it must be a uint32")),
  ];
  for (const row of sizes) await refuses(() => process.resize(row[0] as WindowSize), row, "resize");
  for (const value of NO_U32) {
    await refuses(
      () => process.sendBreak(value as number),
      r(value, "as `milliseconds`: it must be a uint32"),
      "break",
    );
  }
  assertEquals(sent(), before);
});

Deno.test("Channel's requests refuse what makes no sense, before anything is sent", async () => {
  const { joined, client, sent } = await counted();
  await using _ = joined;
  await using channel = await client.openChannel("session");
  await channel.request("nobody@example.org");
  const before = sent();
  for (const row of commands) await refuses(() => channel.execCommand(row[0] as string), row, "execCommand");
  for (const value of NO_TEXT) {
    await refuses(() => channel.invokeSubsystem(value as string), t(value, "as `name`"), "invokeSubsystem");
    await refuses(() => channel.setEnvironmentVariable("A", value as string), t(value, "as `value`"), "variable");
    await refuses(() => channel.setEnvironmentVariable(value as string, "b"), t(value, "as `name`"), "variable");
    await refuses(() => channel.sendSignal(value as string), t(value, "as `signal`"), "sendSignal");
    await refuses(() => channel.sendExitSignal(value as string), t(value, "as `signal`"), "sendExitSignal");
  }
  for (const row of options["pty"]!.filter(([value]) => value !== true)) {
    await refuses(() => channel.getPty(row[0] as PtyOptions), row, "getPty");
  }
  assertEquals(sent(), before);
});

Deno.test("session.exit() refuses what is no end", async () => {
  const thrown: string[] = [];
  await using joined = await join({
    handler: async (session: ServerSession) => {
      const rows: Row[] = [
        ...[undefined, null, "0", true, []].map((value) => t(value, "as `status`")),
        ...[-1, 1.5, NaN, 2 ** 32].map((value) => r(value, "exit code")),
        ...[{}, { signal: 9 }, { signal: null }].map((value) => t(value, "as `signal`")),
        t({ signal: "9" }, "by its name"),
        t({ signal: "../" }, "is not a name"),
        t({ signal: "TERM", message: 5 }, "as `message`"),
      ];
      for (const row of rows) {
        await refuses(() => session.exit(row[0] as number), row, "exit").catch((error) => thrown.push(error.message));
      }
      await session.exit({ signal: "TERM", message: undefined });
    },
  });
  assertEquals([(await joined.client.exec("x")).signal, thrown], ["TERM", []]);
});

Deno.test("SshClient.openChannel() takes bytes or addresses, and refuses the rest before anything is sent", async () => {
  const { joined, client, sent } = await counted();
  await using _ = joined;
  await client.exec("exit 0");
  const before = sent();
  const dest: Deno.NetAddr = { transport: "tcp", hostname: "192.0.2.1", port: 80 };
  const rows: (readonly [...Row, type?: unknown, options?: unknown])[] = [
    t(undefined, 'Cannot open "direct-tcpip" channel: `dest` and `origin` are needed'),
    t({ dest }, "`dest` and `origin` are needed"),
    t({ origin: dest }, "`dest` and `origin` are needed"),
    ...[null, "192.0.2.1:80", 80, [dest, dest]].map((value) => t(value, "as `data`: it must be bytes, or addresses")),
    t({ dest: "192.0.2.1:80", origin: dest }, "as `dest`"),
    t({ dest: { port: 80 }, origin: dest }, "as `dest.hostname`"),
    ...[-1, 65_536, 1.5, NaN, "80", undefined].map((port) => r({ dest, origin: { ...dest, port } }, "`origin.port`")),
    t({ destination: dest, origin: dest }, "`dest`"),
    t({ dest, origin: dest, signal: AbortSignal.timeout(60_000) }, "openChannel(type, { dest, origin }, { signal })"),
    t({ data: new Uint8Array(3) }, "openChannel(type, data)"),
    ...["", undefined, null, 5, ["session"]].map((type) => [...t(new Uint8Array(3), "type"), type ?? null] as const),
    ...[AbortSignal.timeout(60_000), null, "x", { signal: 5 }].map((options) =>
      [...t(new Uint8Array(3), ""), "session", options] as const
    ),
  ];
  for (const [value, type, words, kind, options] of rows) {
    const open = () =>
      client.openChannel((kind === undefined ? "direct-tcpip" : kind) as string, value as Uint8Array, options as never);
    await refuses(open, [value, type, words], "openChannel");
  }
  for (const [name, data] of [["", undefined], [5, undefined], ["x", "text"], ["x", 5]] as const) {
    await refuses(() => client.request(name as string, data as never), t(name, ""), "request");
  }
  for (const options of [null, 5, { signal: "x" }]) {
    await refuses(() => client.sftp(options as never), t(options, ""), "sftp");
  }
  assertEquals(sent(), before);
});
