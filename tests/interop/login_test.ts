/** Logging in to servers that say little of what they allow. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { Transport } from "../../lib/api/transport/transport.ts";
import { keyboardInteractive, password, publicKey } from "../../lib/auth/methods.ts";
import { SshAuthError } from "../../lib/errors.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { peerTest, startDropbear, startOpenSshd, startSsh2Server } from "../_support/peers.ts";

// C25.
peerTest("ssh2", "connect() logs in to a server of ssh2 whose reject() says nothing of the methods", async () => {
  await using server = await startSsh2Server({ silent: true });
  const { hostname, port, username } = server;
  const options = { hostname, port, username, verifyHostKey: pinnedHostKey(...server.hostKeys) };
  const right = server.password!, unknown = await generateKey();
  const logins: ConnectOptions["auth"][] = [
    [password(right)],
    [password("wrong"), password(right)],
    [publicKey(server.clientKey.text)],
    [publicKey(unknown, server.clientKey.text)],
    [publicKey(unknown), keyboardInteractive(() => [right])],
    [publicKey(unknown), keyboardInteractive(() => ["wrong"]), password(right)],
  ];
  for (const auth of logins) {
    await using client = await connect({ ...options, auth: auth! });
    assertEquals((await client.exec("exit 7")).code, 7);
  }
  const error = await assertRejects(
    () => connect({ ...options, auth: [publicKey(unknown), password("wrong")] }),
    SshAuthError,
    "no method is left; check the user name and the credentials, or add keyboardInteractive()",
  );
  assert(error.message.endsWith("the server does not say what it allows"), error.message);
});

peerTest("ssh2", "Transport logs in to a server of ssh2 whose reject() says nothing of the methods", async () => {
  await using server = await startSsh2Server({ silent: true });
  const { hostname, port, username } = server;
  const unknown = await generateKey(), key = await parsePrivateKey(server.clientKey.text), right = server.password!;
  {
    await using transport = new Transport(await Deno.connect({ hostname, port }));
    await transport.startClient();
    const refused = await assertRejects(
      () => transport.authNone(username),
      SshAuthError,
      "does not say what it allows",
    );
    assertEquals(refused.remaining, []);
    await assertRejects(() => transport.authPassword(username, "wrong"), SshAuthError);
    await assertRejects(() => transport.authPublickey(username, unknown), SshAuthError);
    assertEquals(await transport.authPublickey(username, key), []);
    assert(transport.isAuthenticated());
  }
  await using transport = new Transport(await Deno.connect({ hostname, port }));
  await transport.connect({ username, key: unknown, password: right });
  assert(transport.isAuthenticated());
});

peerTest(
  ["openssh", "dropbear"],
  "connect() asks about several keys together, and logs in where one question at a time would have",
  async () => {
    const unknown = await Promise.all([generateKey(), generateKey(), generateKey(), generateKey()]);
    await using openssh = await startOpenSshd({ config: ["MaxAuthTries=2"] });
    await using dropbear = await startDropbear();
    for (const [server, places] of [[openssh, [0, 1]], [dropbear, [1, 4]]] as const) {
      const known = await parsePrivateKey(server.clientKey.text);
      for (const place of places) {
        await using client = await connect({
          hostname: server.hostname,
          port: server.port,
          username: server.username,
          auth: [publicKey(...unknown.toSpliced(place, 0, known))],
          verifyHostKey: pinnedHostKey(...server.hostKeys),
        });
        assertEquals((await client.exec("echo hello")).text(), "hello\n");
      }
    }
  },
);
