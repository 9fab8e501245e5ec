/**
 * HTTP through connections to OpenSSH: servers of Deno's and Python's are fetched from, in the clear and by TLS, and curl visits what a
 * client serves there.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { connect, parsePrivateKey, pinnedHostKey, publicKey, type SshClient, SshError } from "../../mod.ts";
import { endChild, runText } from "../_support/child.ts";
import { seededBytes } from "../_support/duplex.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, turns, until } from "../_support/until.ts";

async function login(server: ServerPeer): Promise<SshClient> {
  return await connect({
    hostname: server.hostname,
    port: server.port,
    username: server.username,
    auth: [publicKey(await parsePrivateKey(await Deno.readTextFile(server.clientKey.file)))],
    verifyHostKey: pinnedHostKey(...server.hostKeys),
  });
}

const quiet = { hostname: "127.0.0.1", port: 0, onListen: () => {} };

async function digest(body: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", body)).toHex();
}

/** A certificate for this machine that is nobody else's, and its key. */
async function certificate(): Promise<{ cert: string; key: string; certFile: string; keyFile: string }> {
  const dir = scratchDir(), certFile = `${dir}/cert.pem`, keyFile = `${dir}/key.pem`;
  await runText([
    "openssl",
    ..."req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 30 -subj /CN=test".split(" "),
    ..."-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE".split(" "),
    ...["-out", certFile, "-keyout", keyFile],
  ]);
  return { cert: await Deno.readTextFile(certFile), key: await Deno.readTextFile(keyFile), certFile, keyFile };
}

/** Python's server of files; by TLS, and to those alone who log in with the certificate, where one is given. */
async function python(dir: string, tls?: { certFile: string; keyFile: string }) {
  const script = `
import functools, http.server, socketserver, ssl, sys
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self): # without asking a resolver for its own name
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    context.load_verify_locations(sys.argv[2])
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
`;
  const args = ["-c", script, dir, ...tls === undefined ? [] : [tls.certFile, tls.keyFile]];
  const child = new Deno.Command("/usr/bin/python3", { args, stdin: "null", stdout: "piped", stderr: "null" }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await inTime(reader.read(), "python's port", PROGRAM_HANGS);
  return {
    port: Number(value),
    async [Symbol.asyncDispose]() {
      await endChild(child);
      await reader.cancel();
    },
  };
}

for (const version of ["9.2", "10"] as const) {
  const id = version === "10" ? "openssh10" : "openssh";

  peerTest(
    id,
    `fetch() through ${id}: servers of others, TLS with certificates of both sides, Unix sockets`,
    async (t) => {
      await using server = await startOpenSshd({ version });
      await using client = await login(server);
      const dir = scratchDir(), file = seededBytes(3_000_000), tls = await certificate();
      await Deno.writeFile(`${dir}/file`, file);

      // Once is enough of those: Python takes its time to begin.
      if (version === "9.2") {
        await t.step("Python's server, whose connection is kept", async () => {
          await using site = await python(dir);
          const url = `http://localhost:${site.port}/file`;
          for (let i = 0; i < 3; i++) {
            const body = new Uint8Array(await (await client.fetch(url)).arrayBuffer());
            assertEquals(await digest(body), await digest(file));
          }
          const missing = await client.fetch(`${url}.none`, { method: "HEAD" });
          assertEquals([missing.status, missing.body], [404, null]);
        });
      }

      await t.step(
        "TLS ends here: the host's certificate is checked, with HTTP/2 and without",
        async () => {
          await using site = Deno.serve(
            { ...quiet, cert: tls.cert, key: tls.key },
            async (request) => new Response(`${new URL(request.url).protocol} ${await digest(await request.bytes())}`),
          );
          using http = await client.createHttpClient({ caCerts: [tls.cert] });
          using old = await client.createHttpClient({ caCerts: [tls.cert], http2: false });
          for (const own of [http, old]) {
            const init = { method: "POST", body: file, client: own };
            const response = await client.fetch(`https://127.0.0.1:${site.addr.port}/`, init);
            assertEquals(await response.text(), `https: ${await digest(file)}`);
          }
          const error = await client.fetch(`https://127.0.0.1:${site.addr.port}/`).then(() => null, (error) => error);
          assertInstanceOf(error, TypeError);
          assertStringIncludes(error.message, "certificate");
        },
      );

      if (version === "9.2") {
        await t.step("TLS with a certificate of the client's", async () => {
          await using site = await python(dir, tls);
          const { cert, key } = tls, url = `https://localhost:${site.port}/file`;
          using http = await client.createHttpClient({ caCerts: [cert], cert, key });
          const body = new Uint8Array(await (await client.fetch(url, { client: http })).arrayBuffer());
          assertEquals(await digest(body), await digest(file));
          using without = await client.createHttpClient({ caCerts: [cert] });
          const error = await client.fetch(url, { client: without }).then(({ status }) => status, (error) => error);
          assertInstanceOf(error, TypeError);
        });
      }

      await t.step("a Unix socket, whatever the host of the URL", async () => {
        const path = `${scratchDir()}/web.sock`;
        await using _site = Deno.serve({ path, onListen: () => {} }, (request) => new Response(request.url));
        using http = await client.createHttpClient({ path });
        const response = await client.fetch("http://localhost/info?all", { client: http });
        assertEquals(new URL(await response.text()).pathname, "/info");
        using none = await client.createHttpClient({ path: `${path}.none` });
        const error = await client.fetch("http://localhost/", { client: none }).then(() => null, (error) => error);
        assert(error instanceof SshError, String(error));
        assertStringIncludes(error.message, `Cannot connect to "${path}.none" through the server: `);
      });
    },
  );
}

peerTest("openssh", "fetch() lets a slow side slow the other, in both directions, and loses nothing", async () => {
  await using server = await startOpenSshd();
  await using client = await login(server);
  const chunk = new Uint8Array(65_536), chunks = 500;
  let pulled = 0;
  const source = (): ReadableStream<Uint8Array> => {
    let left = chunks;
    pulled = 0;
    return new ReadableStream({
      pull(controller) {
        if (left-- === 0) return controller.close();
        pulled++;
        controller.enqueue(chunk.slice());
      },
    }, { highWaterMark: 0 });
  };
  const size = async (body: ReadableStream<Uint8Array>): Promise<number> => {
    let total = 0;
    for await (const { length } of body) total += length;
    return total;
  };
  const read = Promise.withResolvers<void>();
  await using site = Deno.serve(quiet, async (request) => {
    if (request.method === "GET") return new Response(source());
    await read.promise;
    return new Response(`${await size(request.body!)}`);
  });
  const url = `http://127.0.0.1:${site.addr.port}/`;
  /** Waits until no more is taken. */
  const stalled = async (): Promise<void> => {
    await until(async () => {
      const before = pulled;
      await turns(50);
      return pulled > 0 && pulled === before;
    }, "It never stalls");

    assert(pulled < chunks, "all was taken, and nobody reads");
  };
  const response = await client.fetch(url);
  await stalled();
  assertEquals(await size(response.body!), chunks * chunk.length);
  const upload = client.fetch(url, { method: "POST", body: source() });
  await stalled();
  read.resolve();
  assertEquals(await (await upload).text(), `${chunks * chunk.length}`);
});

peerTest(
  "openssh",
  "curl visits what serve() serves through sshd: many requests on one connection, and many at once",
  async () => {
    await using server = await startOpenSshd();
    await using client = await login(server);
    const ports = new Set<number>(), body = seededBytes(500_000);
    await using forward = await client.serve({ port: 0 }, async (request, { remoteAddr }) => {
      ports.add((remoteAddr as Deno.NetAddr).port);
      if (request.method === "GET") return new Response(body);
      return new Response(await digest(await request.bytes()));
    });
    const url = `http://127.0.0.1:${(forward.addr as Deno.NetAddr).port}/`, dir = scratchDir();
    await Deno.writeFile(`${dir}/up`, body);
    const curl = async (...args: string[]): Promise<string> =>
      await runText(["curl", "-sS", "--noproxy", "*", "--max-time", "30", ...args]);
    await curl("-o", `${dir}/a`, "-o", `${dir}/b`, url, url);
    for (const name of ["a", "b"]) {
      assertEquals(
        await digest(await Deno.readFile(`${dir}/${name}`)),
        await digest(body),
      );
    }
    assertEquals(ports.size, 1);
    assertEquals(
      await curl("--data-binary", `@${dir}/up`, "-H", "Transfer-Encoding: chunked", url),
      await digest(body),
    );
    const all = await curl(
      "--parallel",
      "--parallel-max",
      "30",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      `${url}[1-60]`,
    );
    assertEquals(all, "200".repeat(60));
  },
);

peerTest(
  "openssh",
  "a program that fetches and lets go of its client ends, whatever connections are kept",
  async () => {
    await using server = await startOpenSshd();
    await using site = Deno.serve(quiet, () => new Response("it works"));
    const code = `
    import { connect, parsePrivateKey, pinnedHostKey, publicKey } from ${
      JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
    };
    const [port, username, key, ...hostKeys] = JSON.parse(Deno.env.get("LOGIN"));
    const auth = [publicKey(await parsePrivateKey(Deno.readTextFileSync(key)))];
    const client = await connect({ hostname: "127.0.0.1", port, username, auth, verifyHostKey: pinnedHostKey(...hostKeys) });
    client.unref();
    console.log(await (await client.fetch("http://127.0.0.1:${site.addr.port}/")).text());
    await client.serve({ port: 0 }, () => new Response());
  `;
    const LOGIN = JSON.stringify([server.port, server.username, server.clientKey.file, ...server.hostKeys]);
    const file = `${scratchDir()}/program.ts`;
    await Deno.writeTextFile(file, code);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const command = [Deno.execPath(), "run", "-A", "--quiet", "--no-check", "--config", config, file];
    assertEquals(
      await inTime(runText(command, { env: { LOGIN } }), "the end of the program", PROGRAM_HANGS),
      "it works\n",
    );
  },
);
