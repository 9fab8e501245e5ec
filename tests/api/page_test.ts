/** The client where there is no `Deno`, as in a page: a worker without it talks to a server here, over a WebSocket. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { serveConn, type ServeConnOptions } from "../../lib/api/server.ts";
import { sftpSubsystem } from "../../lib/api/sftp_subsystem.ts";
import { webSocketTransport } from "../../lib/api/web_socket.ts";
import { commands, hostKey, serverOptions } from "../_support/joined.ts";
import { inTime, PROGRAM_HANGS } from "../_support/until.ts";

const lib = new URL("../../lib/", import.meta.url).href;

function* filesUnder(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder))) {
    if (isDirectory) yield* filesUnder(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield `${folder}${name}`;
  }
}

interface Page {
  readonly done: Record<string, string>;
  readonly said: Record<string, string>;
}

/** What a page does at a server; one without WebAssembly does little. */
async function page(wasm: boolean): Promise<Page> {
  const root = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
  const options: ServeConnOptions = await serverOptions({
    auth: { password: (_info, given) => given === "wonderland", publicKey: () => false },
    handler: commands,
    subsystems: { sftp: sftpSubsystem({ root }) },
    allowForward: () => true,
    onForward: async (_info, { conn, port }) => {
      if (port === 22) await serveConn(conn, options).catch(() => {});
      else await conn.readable.pipeTo(conn.writable);
    },
  });
  const served: Promise<unknown>[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    served.push(webSocketTransport(socket).then((conn) => serveConn(conn, options)).catch((error) => error));
    return response;
  });
  const worker = new Worker(new URL("./_page_worker.ts", import.meta.url), { type: "module" });
  const broken = Promise.withResolvers<never>();
  worker.onerror = (event) => {
    event.preventDefault();
    broken.reject(new Error(event.message));
  };
  const heard = () => new Promise<unknown>((resolve) => worker.onmessage = ({ data }) => resolve(data));
  try {
    assertEquals(await inTime(Promise.race([heard(), broken.promise]), "the worker", PROGRAM_HANGS), "ready");
    const posted = heard(), fingerprint = await (await hostKey()).publicKey.fingerprint();
    worker.postMessage({
      url: `ws://127.0.0.1:${server.addr.port}/`,
      fingerprint,
      wasm,
      files: [...filesUnder(lib)],
    });
    return await inTime(Promise.race([posted, broken.promise]), "the worker", PROGRAM_HANGS) as Page;
  } finally {
    worker.terminate();
    await inTime(Promise.all(served), "the server's ends");
    await server.shutdown();
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("a page logs in, runs commands, moves files and opens paths, and what it has not is said at once", async () => {
  const { done, said } = await page(true);
  assertEquals(done, {
    cipher: "chacha20-poly1305@openssh.com null",
    exec: "hello\n",
    sftp: "one two",
    dial: "through",
    listen: "number",
    jump: "hello\n",
    after: "still there\n",
    "aes128-gcm@openssh.com": "hello\n",
    "aes256-ctr": "hello\n",
    keys: "ssh-ed25519,ecdsa-sha2-nistp256,ssh-rsa",
    key: "true",
  });
  const instead = {
    proxy: "hand over `transport`",
    proxyCommand: "hand over `transport`",
    controlPath: "hand over `transport`",
    serve: "`serveConn()`",
    root: "a backend of your own",
    connect: "hand over `transport`, such as `await webSocketTransport(url)` gives",
    knownHosts: "pinnedHostKey(fingerprint), or knownHosts(text)",
    files: "pinnedHostKey(fingerprint), or knownHosts(text)",
    verifyHostKey: "pinnedHostKey(fingerprint), or knownHosts(text)",
    upload: "`writeFile()` takes bytes and streams",
    download: "a `WritableStream` can take the contents",
    scpUpload: "`sftp()`",
    scpDownload: "`sftp()`",
    forwardLocal: "`dial()`",
    forwardLocalUnix: "`dial()`",
    forwardDynamic: "`dial()`",
    forwardRemote: "`listen()`",
    fetch: "`dial()` and `listen()`",
    createHttpClient: "`dial()` and `listen()`",
    serveHttp: "`dial()` and `listen()`",
    agent: "keys over themselves",
    x11: "`connect` of `x11`",
    inherit: "`process.stdout` is a stream to read",
    lentAgent: "hand an agent over",
    insecure: "secure context",
    insecureMade: "secure context",
    insecureRead: "secure context",
  };
  assertEquals(
    Object.keys(said).filter((name) => name.startsWith(lib)),
    [],
    "Files that use Deno when they are loaded",
  );
  for (const [name, text] of Object.entries(instead)) {
    assert(said[name]?.startsWith("TypeError: Cannot "), `${name}: ${said[name]}`);
    assertStringIncludes(said[name]!, text);
  }
  assertStringIncludes(said.auth!, "SshAuthError");
  assertStringIncludes(said.auth!, "hand keys or a password over as `auth`");
  for (const [name, text] of Object.entries(said)) assert(!text.includes("is not defined"), `${name}: ${text}`);
});

Deno.test("a page that allows no WebAssembly offers no cipher that takes it", async () => {
  const { done } = await page(false);
  assertEquals(done, { cipher: "aes128-gcm@openssh.com null", exec: "hello\n" });
});
