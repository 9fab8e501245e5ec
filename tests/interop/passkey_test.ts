/** Passkeys of a page in Chromium, with its virtual authenticator in the place of hardware, at sshd and at a server of ours. */
import { assertEquals, assertMatch } from "@std/assert";
import {
  type AuthInfo,
  authorizedKeys,
  generateKey,
  type Passkey,
  serveConn,
  type ServeConnOptions,
  webSocketTransport,
} from "../../mod.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { inTime } from "../_support/until.ts";
import { Chromium } from "./_chromium.ts";

const WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

const worker = `import "./page.js";
createPasskey({ username: "alice" }).then(() => postMessage("made"), (error) => postMessage(String(error)));`;

async function bundle(): Promise<string> {
  const page = new URL("_passkey_page.ts", import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform", "browser", page],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Both ways until either side has ended. */
async function relay(socket: WebSocket, port: number): Promise<void> {
  const page = await webSocketTransport(socket);
  using host = await Deno.connect({ hostname: "127.0.0.1", port });
  await Promise.race([page.readable.pipeTo(host.writable), host.readable.pipeTo(page.writable)]);
}

/** Serves the page, and behind `/ssh/PORT` what listens there, behind `/ssh/` a server of ours. */
function serveSite(script: Promise<string>, options: ServeConnOptions) {
  const running: Promise<unknown>[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const answer = (type: string, text: string) => new Response(text, { headers: { "content-type": `text/${type}` } });
    if (pathname === "/") return answer("html", `<!doctype html><script type="module" src="page.js"></script>`);
    if (pathname === "/page.js") return answer("javascript", await script);
    if (pathname === "/worker.js") return answer("javascript", worker);
    if (!pathname.startsWith("/ssh/")) return new Response(null, { status: 404 });
    const { socket, response } = Deno.upgradeWebSocket(request), port = Number(pathname.slice(5));
    const ours = async () => await serveConn(await webSocketTransport(socket), options);
    running.push((port === 0 ? ours() : relay(socket, port)).catch(() => {}));
    return response;
  });
  return {
    // Passkeys are for names, and an address is none.
    url: `http://localhost:${server.addr.port}/`,
    async [Symbol.asyncDispose]() {
      await inTime(Promise.all(running), "the connections' ends");
      await server.shutdown();
    },
  };
}

peerTest(
  "chromium",
  "a page in Chromium makes a passkey, and logs in with it to sshd and to a server of ours",
  async () => {
    const script = bundle(), hostKey = await generateKey(), infos: AuthInfo[] = [];
    script.catch(() => {});
    const file = `${scratchDir()}/authorized_keys`, keys = authorizedKeys(new URL(`file://${file}`));
    const config = [`AuthorizedKeysFile=${file}`];
    // One that takes no name for the algorithm but the key's, and one that takes only the right one.
    await using usual = await startOpenSshd({ defaults: true, config });
    await using strict = await startOpenSshd({
      defaults: true,
      config: [...config, `PubkeyAcceptedAlgorithms=${WEBAUTHN}`],
    });
    const servers = [{ username: "alice", port: 0, hostKeys: [hostKey.publicKey.toString()] }, usual, strict]
      .map(({ username, port, hostKeys }) => ({ username, port, hostKeys }));
    await using site = serveSite(script, {
      hostKeys: [hostKey],
      auth: {
        publicKey(info, key) {
          infos.push(info);
          return keys(info, key);
        },
      },
      handler: () => 3,
    });
    await using browser = await Chromium.start();
    const page = await browser.page();
    await page.call("WebAuthn.enable");
    const { authenticatorId } = await page.call("WebAuthn.addVirtualAuthenticator", {
      options: {
        ...{ protocol: "ctap2", transport: "internal", hasResidentKey: true },
        ...{ hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
      },
    });
    await page.open(site.url);
    await page.until("globalThis.createPasskey", "the page's script");
    const stored = await page.value(`createPasskey({ username: "alice" })`) as Passkey;
    assertMatch(stored.publicKey, /^sk-ecdsa-sha2-nistp256@openssh\.com AAAA\S+ alice$/);

    const logIn = async ({ port, ...host }: (typeof servers)[number], userVerification: string): Promise<unknown> => {
      const given = [`ssh/${port}`, host, stored, { userVerification }];
      return await page.value(`logIn(${given.map((one) => JSON.stringify(one)).join(", ")})`);
    };
    await Deno.writeTextFile(file, `${stored.publicKey}\n`);
    for (const server of servers) assertEquals(await logIn(server, "discouraged"), 3, server.username);
    const { userPresent, userVerified } = infos.at(-1)!.authenticator!;
    assertEquals([userPresent, userVerified], [true, false]);

    await Deno.writeTextFile(file, `verify-required ${stored.publicKey}\n`);
    for (const server of servers.slice(0, 2)) {
      assertEquals(await logIn(server, "required"), 3, server.username);
      assertMatch(String(await logIn(server, "discouraged")), /the signature by .* was refused/);
    }

    // What only a user can do who is known is as far as the authenticator goes without its owner.
    await page.call("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
    const cancelled = String(await logIn(servers[0]!, "required"));
    assertMatch(cancelled, /^SshAuthError: .*could not sign: Cannot sign with passkey: the user cancelled/);
    for (
      const [options, error] of [
        ['{ username: "alice", userVerification: "required" }', /^SshError: Cannot make passkey: the user cancelled/],
        ['{ username: "alice", rpId: "example.com" }', /^TypeError: .* this page may not use passkeys of example\.com/],
      ] as const
    ) assertMatch(String(await page.value(`createPasskey(${options}).then(() => "made", String)`)), error);
    const inWorker = `new Promise((resolve) => {
    new Worker("worker.js", { type: "module" }).onmessage = ({ data }) => resolve(data);
  })`;
    assertMatch(String(await page.value(inWorker)), /^TypeError: Cannot make passkey: there is no WebAuthn here/);
  },
);
