#!/usr/bin/env -S deno run --allow-net=127.0.0.1
// deno-lint-ignore-file no-console
/**
 * A server and a client in one program, over loopback: what they negotiate, a command, a stream, a terminal, a refused password.
 * Each step is printed with its time; the program ends with 0 only if all of them held.
 */
import {
  connect,
  generateKey,
  HostKeyError,
  password,
  pinnedHostKey,
  serve,
  type ServerSession,
  SshAuthError,
  SshError,
} from "@amiko/ssh";

const MEGABYTES = 16;
const encoder = new TextEncoder(), decoder = new TextDecoder();
let failed = 0;

/** Runs one step, prints what it found and how long it took, and counts it when it did not hold. */
async function step(title: string, run: () => Promise<string>): Promise<void> {
  const start = performance.now();
  let mark = "ok  ", text: string;
  try {
    text = await run();
  } catch (error) {
    failed++;
    mark = "FAIL";
    text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  const time = `${(performance.now() - start).toFixed(1)} ms`;
  console.log(`${mark}  ${title.padEnd(20)} ${time.padStart(10)}   ${text}`);
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** The server's side: `greet`, `cat` and a terminal that tells its size. */
async function handler(session: ServerSession): Promise<number | void> {
  if (session.command === "cat") return await session.stdin.pipeTo(session.stdout);
  const writer = session.stdout.getWriter();
  const say = (text: string) => writer.write(encoder.encode(text));
  if (session.command === "greet") {
    const errors = session.stderr.getWriter();
    await say(`Hello ${session.user.name}, your LANG is ${session.env["LANG"]}\n`);
    await errors.write(encoder.encode("and this goes to standard error\n"));
    return 7;
  }
  if (session.pty === null) return 1;
  const { term, columns, rows, modes } = session.pty;
  await say(`${term} ${columns}x${rows} ECHO=${modes["ECHO"]}\n`);
  for await (const size of session.resizes) {
    await say(`resized to ${size.columns}x${size.rows}\n`);
    return 0;
  }
}

const hostKey = await generateKey();
const fingerprint = await hostKey.publicKey.fingerprint();
const server = serve({
  hostname: "127.0.0.1",
  port: 0,
  hostKeys: [hostKey],
  auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
  handler,
  onError: (error) => {
    // Two clients are turned away below; anything else has no place here.
    if (error instanceof SshError) return;
    failed++;
    console.log("FAIL  server:", error);
  },
});
const login = {
  hostname: "127.0.0.1",
  port: server.addr.port,
  username: "alice",
  verifyHostKey: pinnedHostKey(fingerprint),
};
console.log(`Server on 127.0.0.1 port ${server.addr.port}, host key ${fingerprint}\n`);

await using stack = new AsyncDisposableStack();
stack.use(server);
let client!: Awaited<ReturnType<typeof connect>>;

await step("connect and log in", async () => {
  client = stack.use(await connect({ ...login, auth: [password("wonderland")] }));
  return `as alice, to ${client.info.remoteIdent}`;
});
if (failed > 0) Deno.exit(1);

await step("negotiated", () => {
  const { kex, hostKeyAlgorithm, clientToServer: to, serverToClient: from, strictKex } = client.info;
  check(strictKex, "strict key exchange is off");
  const way = (side: typeof to) => side.mac === null ? side.cipher : `${side.cipher} with ${side.mac}`;
  const ciphers = way(to) === way(from) ? way(to) : `${way(to)} there, ${way(from)} back`;
  return Promise.resolve(`${kex}, ${hostKeyAlgorithm}, ${ciphers}, compression ${to.compression}, strict`);
});

await step("command", async () => {
  const { code, stdout, stderr } = await client.exec("greet", { env: { LANG: "C.UTF-8" } });
  const [out, err] = [decoder.decode(stdout).trim(), decoder.decode(stderr).trim()];
  check(code === 7, `exit code ${code}, not 7`);
  check(out === "Hello alice, your LANG is C.UTF-8", `unexpected output "${out}"`);
  check(err === "and this goes to standard error", `unexpected standard error "${err}"`);
  return `exit code ${code}, "${out}"`;
});

await step(`${MEGABYTES} MB through cat`, async () => {
  const data = new Uint8Array(MEGABYTES * 1_000_000);
  for (let at = 0; at < data.length; at += 65_536) crypto.getRandomValues(data.subarray(at, at + 65_536));
  const start = performance.now();
  await using cat = await client.spawn("cat");
  const [back] = await Promise.all([new Response(cat.stdout).bytes(), new Blob([data]).stream().pipeTo(cat.stdin)]);
  const seconds = (performance.now() - start) / 1000;
  const [sent, received] = await Promise.all([sha256(data), sha256(back)]);
  check(sent === received, `${back.length} bytes came back, with SHA-256 ${received} and not ${sent}`);
  return `SHA-256 ${sent.slice(0, 16)}… on both ends, ${(MEGABYTES / seconds).toFixed(0)} MB/s each way`;
});

await step("terminal", async () => {
  await using shell = await client.shell({ pty: { term: "vt100", columns: 120, rows: 40, modes: { ECHO: 0 } } });
  const lines = shell.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const first = (await lines.read()).value?.trim();
  check(first === "vt100 120x40 ECHO=0", `the server sees "${first}"`);
  shell.resize({ columns: 100, rows: 30 });
  const second = (await lines.read()).value?.trim();
  check(second === "resized to 100x30", `the server sees "${second}"`);
  const { code } = await shell.status;
  check(code === 0, `exit code ${code}, not 0`);
  return `${first}, then ${second}`;
});

await step("refused password", async () => {
  try {
    await using _client = await connect({ ...login, auth: [password("queen of hearts")] });
  } catch (error) {
    check(error instanceof SshAuthError, String(error));
    return (error as Error).message;
  }
  throw new Error("the server let a wrong password in");
});

await step("another host key", async () => {
  const other = await (await generateKey()).publicKey.fingerprint();
  try {
    await using _client = await connect({ ...login, verifyHostKey: pinnedHostKey(other) });
  } catch (error) {
    check(error instanceof HostKeyError, String(error));
    return (error as Error).message;
  }
  throw new Error("the client trusted a key that it was not told of");
});

await step("disconnect", async () => {
  await client.close();
  await client.closed;
  await server.shutdown();
  return "both sides have ended";
});

console.log(failed === 0 ? "\nEvery step held." : `\n${failed} steps did not hold.`);
Deno.exitCode = failed === 0 ? 0 : 1;

async function sha256(data: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
}
