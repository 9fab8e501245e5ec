/**
 * The client with neither `Deno` nor `process` in sight, as in a page: what works over a WebSocket, and what each call says that
 * cannot. Posts what came of it.
 *
 * @module
 */
const scope = globalThis as unknown as { onmessage: unknown; postMessage(message: unknown): void };
for (const name of ["Deno", "process", "Buffer", "setImmediate", "clearImmediate", "global"]) {
  // Not even undefined: what asks for it without care is a ReferenceError.
  if (!Reflect.deleteProperty(globalThis, name)) throw new Error(`${name} stays`);
}

/** What a call throws, by its class. */
async function errorOf(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  return "no error";
}

interface Orders {
  readonly url: string;
  readonly fingerprint: string;
  /** Not what a content security policy without `wasm-unsafe-eval` leaves. */
  readonly wasm: boolean;
  readonly files: readonly string[];
}

scope.onmessage = async ({ data }: { data: Orders }) => {
  if (!data.wasm) Object.defineProperty(globalThis, "WebAssembly", { value: undefined });
  const { connect, knownHosts, password, pinnedHostKey, webSocketTransport } = await import("../../client.ts");
  const { serve, sftpSubsystem } = await import("../../server.ts");
  const { connectAgent, generateKey, parsePrivateKey } = await import("../../lib/keys/mod.ts");
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const { url, fingerprint, wasm } = data;
  const login = {
    hostname: "far.example",
    username: "alice",
    auth: [password("wonderland")],
    verifyHostKey: pinnedHostKey(fingerprint),
  };
  const overSocket = async (more: object = {}) =>
    await connect({ ...login, transport: await webSocketTransport(url), ...more });
  const done: Record<string, string> = {}, said: Record<string, string> = {};
  {
    await using client = await overSocket();
    done.cipher = `${client.info.clientToServer.cipher} ${client.info.clientToServer.mac}`;
    done.exec = text((await client.exec("echo hello")).stdout);
    if (wasm) {
      await using sftp = await client.sftp();
      await sftp.writeFile("/file", new Blob(["one ", "two"]).stream());
      done.sftp = text(await sftp.readFile("/file"));
      {
        using conn = await client.dial({ hostname: "up.example", port: 80 });
        await conn.write(new TextEncoder().encode("through"));
        await conn.closeWrite();
        done.dial = text(await new Response(conn.readable).bytes());
      }
      {
        using listener = await client.listen({ port: 0 });
        done.listen = typeof listener.addr.port;
      }
      said.upload = await errorOf(() => sftp.upload("here", "/there"));
      said.download = await errorOf(() => sftp.download("/there", "here"));
      said.scpUpload = await errorOf(() => client.scp.upload("here", "/there"));
      said.scpDownload = await errorOf(() => client.scp.download("/there", "here"));
      const to = { hostname: "up.example", port: 80 };
      said.forwardLocal = await errorOf(() => client.forwardLocal({ port: 0 }, to));
      said.forwardLocalUnix = await errorOf(() => client.forwardLocal({ path: "/sock" }, to));
      said.forwardDynamic = await errorOf(() => client.forwardDynamic({ port: 0 }));
      said.forwardRemote = await errorOf(() => client.forwardRemote({ port: 0 }, { port: 80 }));
      said.fetch = await errorOf(() => client.fetch("http://up.example/"));
      said.createHttpClient = await errorOf(() => client.createHttpClient());
      said.serveHttp = await errorOf(() => client.serve({ port: 0 }, () => new Response()));
      said.x11 = await errorOf(() => client.exec("x", { x11: true }));
      said.inherit = await errorOf(() => client.exec("echo hello", { stdout: "inherit" }));
      said.lentAgent = await errorOf(() => client.exec("x", { agent: true }));
      {
        const { hostname, username, auth, verifyHostKey } = login;
        await using inner = await connect({ hostname, username, auth, verifyHostKey, jump: client });
        done.jump = text((await inner.exec("echo hello")).stdout);
      }
      client.unref();
      client.ref();
      done.after = text((await client.exec("echo still there")).stdout);
    }
  }
  if (wasm) {
    for (const file of data.files) {
      const error = await errorOf(() => import(file));
      if (error !== "no error") said[file] = error;
    }
    for (const cipher of ["aes128-gcm@openssh.com", "aes256-ctr"]) {
      await using client = await overSocket({ algorithms: { cipher: [cipher] } });
      done[cipher] = text((await client.exec("echo hello")).stdout);
    }
    const made = [await generateKey(), await generateKey("ecdsa"), await generateKey("rsa", { bits: 2048 })];
    done.keys = made.map(({ publicKey }) => publicKey.type).join();
    const locked = await made[0]!.export({ passphrase: "geheim", rounds: 1 });
    done.key = String(
      await (await parsePrivateKey(locked, { passphrase: "geheim" })).publicKey.fingerprint() ===
        await made[0]!.publicKey.fingerprint(),
    );
    const options = { hostname: "far.example", username: "alice", verifyHostKey: pinnedHostKey(fingerprint) };
    said.connect = await errorOf(() => connect(options));
    said.proxy = await errorOf(() => connect({ ...login, proxy: "socks5://proxy.example" }));
    said.proxyCommand = await errorOf(() => connect({ ...login, proxyCommand: ["nc", "%h", "%p"] }));
    said.controlPath = await errorOf(() => connect({ controlPath: "/run/master" }));
    said.serve = await errorOf(async () =>
      serve({ hostKeys: [await generateKey()], auth: { none: () => true }, handler() {} })
    );
    said.root = await errorOf(() => sftpSubsystem({ root: "/" }));
    said.knownHosts = await errorOf(() => knownHosts());
    said.files = await errorOf(() => knownHosts({ files: ["known_hosts"] }));
    said.agent = await errorOf(() => connectAgent());
    said.verifyHostKey = await errorOf(() => overSocket({ verifyHostKey: undefined }));
    said.auth = await errorOf(() => overSocket({ auth: undefined }));
    const { subtle } = crypto;
    Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
    said.insecureMade = await errorOf(() => generateKey());
    said.insecureRead = await errorOf(() => parsePrivateKey(locked, { passphrase: "geheim" }));
    said.insecure = await errorOf(() => overSocket());
    Object.defineProperty(crypto, "subtle", { value: subtle });
  }
  scope.postMessage({ done, said });
};
scope.postMessage("ready");
