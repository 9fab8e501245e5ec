/**
 * `serve()` that lets users in by certificates, for the clients of others; and its verdict beside that of `sshd`, by the same file of
 * authorized_keys.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serve } from "../../lib/api/server.ts";
import { authorizedKeys } from "../../lib/auth/authorized_keys.ts";
import { serviceRequest, userauthRequest } from "../../lib/auth/messages.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { trustedUserCAs } from "../../lib/auth/user_certificates.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { signCertificate } from "../../lib/keys/sign_certificate.ts";
import { pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { type RawCertificate, rawCertificate } from "../_support/certificates.ts";
import { run } from "../_support/child.ts";
import { keyTypes, puttyKey, scratchDir, type TestKey, testKeys } from "../_support/keys.ts";
import { fast } from "../_support/load.ts";
import { asyncSshClient, type ClientPeer, opensshClient, paramikoClient } from "../_support/peer_clients.ts";
import { type PeerId, peerTest, startAsyncSshServer, startOpenSshd, username } from "../_support/peers.ts";
import { RawPeer } from "../_support/raw_peer.ts";

const ca = await generateKey();

/** The user's keys in a folder of their own, each with a certificate beside it. */
async function certifiedKeys(): Promise<TestKey[]> {
  const dir = scratchDir(), { user } = await testKeys();
  return await Promise.all(keyTypes.map(async (type): Promise<TestKey> => {
    const key = { ...user[type], file: `${dir}/${type}` }, { publicKey } = await parsePrivateKey(key.text);
    await Deno.writeTextFile(key.file, key.text, { mode: 0o600 });
    await Deno.writeTextFile(`${key.file}.pub`, `${key.line}\n`);
    const line = await signCertificate(ca, publicKey, { kind: "user", keyId: type, principals: ["amiko", "x"] });
    await Deno.writeTextFile(`${key.file}-cert.pub`, `${line}\n`);
    return key;
  }));
}

/** A server that knows one CA, and says by whose certificate somebody came. */
async function certifyingServer() {
  const { host } = await testKeys();
  return serve({
    hostname: "127.0.0.1",
    port: 0,
    hostKeys: [await parsePrivateKey(host.ed25519.text)],
    auth: { publicKey: trustedUserCAs(ca.publicKey) },
    handler: async ({ user, stdout }: ServerSession) => {
      const writer = stdout.getWriter();
      await writer.write(new TextEncoder().encode(user.publicKey?.certificate?.keyId));
    },
    onListen: () => {},
  });
}

const clients: readonly (readonly [id: PeerId, name: string, start: () => Promise<ClientPeer>])[] = [
  ["openssh", "ssh 9.2", () => opensshClient("9.2", { defaults: true })],
  ["openssh10", "ssh 10", () => opensshClient("10", { defaults: true })],
  ["asyncssh", "AsyncSSH", asyncSshClient],
  ["paramiko", "paramiko", paramikoClient],
];

for (const [id, name, start] of clients) {
  peerTest(
    id,
    `${name} logs in at serve() with a certificate of each type of key, which plain keys do not`,
    async () => {
      await using server = await certifyingServer();
      await using client = await start();
      const { host, user } = await testKeys();
      const request = { port: server.addr.port, hostKeys: [host.ed25519], username: "amiko", command: "x" };
      for (const key of await certifiedKeys()) {
        const output = await client.run({ ...request, login: { key }, input: new Uint8Array() });
        assertEquals(new TextDecoder().decode(output.stdout), key.file.split("/").at(-1));
      }
      const plain = { ...request, login: { key: user.ed25519 }, input: new Uint8Array() };
      await assertRejects(() => client.run(plain), Error);
    },
  );
}

peerTest("putty", "plink logs in at serve() with a certificate", async () => {
  await using server = await certifyingServer();
  const { host } = await testKeys();
  for (const key of await certifiedKeys()) {
    const output = await run([
      "/usr/bin/plink",
      ...["-ssh", "-batch", "-T", "-noagent", "-P", String(server.addr.port), "-l", "amiko"],
      ...["-hostkey", host.ed25519.fingerprint, "-i", await puttyKey(key), "-cert", `${key.file}-cert.pub`],
      ...["127.0.0.1", "x"],
    ], { env: { HOME: scratchDir() } });
    assertEquals(new TextDecoder().decode(output.stdout), key.file.split("/").at(-1), output.stderr);
  }
});

peerTest("asyncssh", "AsyncSSH's server lets in by certificates that signCertificate() made", async () => {
  await using server = await startAsyncSshServer({ authorized: [], cas: [String(ca.publicKey)] });
  const { hostname, port } = server, verifyHostKey = pinnedHostKey(...server.hostKeys);
  for (const { file, text } of await certifiedKeys()) {
    const key = await parsePrivateKey(text), certificate = await Deno.readTextFile(`${file}-cert.pub`);
    const auth = [publicKey(withCertificate(key, certificate))];
    await using _client = await connect({ hostname, port, username, verifyHostKey, auth });
  }
});

const encoder = new TextEncoder();

/** Which of some certificates a server would let in. */
async function letIn(port: number, username: string, blobs: readonly Uint8Array[]): Promise<boolean[]> {
  const peer = new RawPeer(await Deno.connect({ hostname: "127.0.0.1", port }), { role: "client", algorithms: fast });
  await peer.handshake();
  await peer.send(serviceRequest.encode({ service: "ssh-userauth" }));
  const said: boolean[] = [];
  for (const blob of blobs) {
    const fields = new Writer().bool(false).text(new Reader(blob).ascii()).string(blob).bytes();
    const [user, service, method] = [username, "ssh-connection", "publickey"].map((text) => encoder.encode(text));
    await peer.send(userauthRequest.encode({ user: user!, service: service!, method: method!, fields }));
    let answer: number | undefined;
    while (answer !== Msg.USERAUTH_FAILURE && answer !== Msg.USERAUTH_PK_OK) answer = (await peer.receive())![0];
    said.push(answer === Msg.USERAUTH_PK_OK);
  }
  await peer.close();
  return said;
}

/** Options of lines, each for a CA of its own, and what a certificate by it says; which are let in, and which are not. */
const lines: Readonly<
  Record<"yes" | "no" | "stricter", readonly (readonly [options: string, raw?: RawCertificate])[]>
> = {
  yes: [
    ["cert-authority"],
    ["restrict,cert-authority", { serial: 2n ** 64n - 1n, keyId: "" }],
    ['cert-authority,principals="x,staff"', { principals: ["staff"] }],
    ['cert-authority,from="127.0.0.1"', { critical: [["source-address", "10.0.0.0/8,127.0.0.0/8"]] }],
    ['cert-authority,command="ls"', { critical: [["force-command", "ls"]] }],
    ["cert-authority", { critical: [["source-address", "127.0.0.1"], ["force-command", "ls"]] }],
    ["cert-authority", { extensions: [["z", "1"], ["permit-pty", ""], ["a@example.com", new Uint8Array(3)]] }],
    ["cert-authority", { validAfter: 1n, validBefore: 2n ** 63n }],
    ["cert-authority", { reserved: new Uint8Array(5) }],
  ],
  no: [
    [""],
    ["no-pty"],
    ['cert-authority,principals="x"'],
    ['cert-authority,principals="staf?"', { principals: ["staff"] }],
    ['cert-authority,from="10.0.0.0/8"'],
    ['cert-authority,expiry-time="20200101"'],
    ['cert-authority,command="id"', { critical: [["force-command", "ls"]] }],
    ["cert-authority", { principals: ["someone"] }],
    ["cert-authority", { principals: ["*"] }],
    ["cert-authority", { kind: 2 }],
    ["cert-authority", { validBefore: 1n }],
    ["cert-authority", { validAfter: 2n ** 63n }],
    ["cert-authority", { critical: [["source-address", "10.0.0.0/8"]] }],
    ["cert-authority", { critical: [["source-address", "127.0.0.1/8"]] }],
    ["cert-authority", { critical: [["source-address", "!10.0.0.0/8,127.0.0.0/8"]] }],
    ["cert-authority", { critical: [["source-address", "127.*"]] }],
    ["cert-authority", { critical: [["unknown@example.com", ""]] }],
    ["cert-authority", { critical: [["permit-pty", ""]] }],
    ["cert-authority", { critical: [["force-command", new Uint8Array([0x6c, 0x73])]] }],
    ["cert-authority", { critical: [["force-command", "a"], ["force-command", "a"]] }],
    ["cert-authority", { extensions: [["permit-pty", "x"]] }],
    ["cert-authority", { kind: 3 }],
    ["cert-authority", { trailing: new Uint8Array(1) }],
    ["cert-authority", { ca: ca.publicKey.blob }],
    ["cert-authority", { spoil: (signature) => signature.with(-1, signature.at(-1)! ^ 1) }],
  ],
  // OpenSSH lets in the first until 10.2, and the second though the key proves nothing of the kind.
  stricter: [
    ["cert-authority", { principals: [] }],
    ["cert-authority", { critical: [["verify-required", ""]] }],
  ],
};

peerTest(
  ["openssh", "openssh10"],
  "serve() lets in by lines with cert-authority as both of sshd do, or is stricter",
  async () => {
    const dir = scratchDir(), file = `${dir}/authorized_keys`;
    const name = username;
    const { publicKey } = await generateKey(), texts: string[] = [], blobs: Uint8Array[] = [];
    for (const [options, raw = {}] of Object.values(lines).flat()) {
      const authority = await generateKey();
      texts.push(`${options} ${authority.publicKey}`.trim());
      blobs.push(await rawCertificate(authority, publicKey, { principals: [name], ...raw }));
    }
    await Deno.writeTextFile(file, `${texts.join("\n")}\n`);
    const want = (strict: boolean) =>
      Object.entries(lines).flatMap(([verdict, rows]) =>
        rows.map(() => verdict === "yes" || verdict === "stricter" && !strict)
      );
    const rows = Object.values(lines).flat().map(([options, raw]) => `${options} ${Deno.inspect(raw)}`);
    const shown = (said: readonly boolean[]) => said.map((yes, i) => `${yes ? "yes" : "no"}: ${rows[i]}`);
    await using ours = serve(
      {
        hostname: "127.0.0.1",
        port: 0,
        hostKeys: [await generateKey()],
        auth: { publicKey: authorizedKeys(file) },
        maxAuthTries: 100,
        onListen: () => {},
      } as Parameters<typeof serve>[0],
    );
    assertEquals(shown(await letIn(ours.addr.port, name, blobs)), shown(want(true)));
    for (const version of ["9.2", "10"] as const) {
      await using server = await startOpenSshd({ version, config: [`AuthorizedKeysFile=${file}`, "MaxAuthTries=100"] });
      assert(server.username === name, "libnss_wrapper is missing");
      assertEquals(shown(await letIn(server.port, name, blobs)), shown(want(false)), version);
    }
  },
);
