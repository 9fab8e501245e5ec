/** Connections whose host and user prove themselves with keys of ML-DSA-44 and Ed25519 together, as OpenSSH 10.6 makes them. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { serveConn } from "../../lib/api/server.ts";
import { authorizedKeys } from "../../lib/auth/authorized_keys.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { trustedUserCAs } from "../../lib/auth/user_certificates.ts";
import { HostKeyUnknownError, SshAuthError } from "../../lib/errors.ts";
import { generateKey, parsePrivateKey } from "../../lib/keys/private_key.ts";
import { readSignature, writeSignature } from "../../lib/keys/signature_blob.ts";
import { knownHosts } from "../../lib/keys/trust/known_hosts.ts";
import type { Signer } from "../../lib/keys/types.ts";
import { withCertificate } from "../../lib/keys/with_certificate.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, join, login, serverOptions } from "../_support/joined.ts";
import vectors from "../vectors/mldsa44_ed25519.json" with { type: "json" };

const NAME = "ssh-mldsa44-ed25519";
const host = await generateKey("mldsa44-ed25519"), user = await parsePrivateKey(vectors.privateKey);

/** Its signatures, with one byte flipped. */
function broken(key: Signer, at: number): Signer {
  return {
    publicKey: key.publicKey,
    algorithms: key.algorithms,
    async sign(data, algorithm) {
      const value = readSignature(await key.sign(data, algorithm)).value.slice();
      value[at]! ^= 1;
      return writeSignature(algorithm, value);
    },
  };
}

Deno.test("a host key and a user key of ML-DSA-44 and Ed25519 log in by known_hosts and authorized_keys, and rekey", async () => {
  const other = (await generateKey()).publicKey;
  await using joined = await join({
    hostKeys: [host],
    auth: { publicKey: authorizedKeys(`${other}\ncommand="echo post-quantum" ${vectors.publicKey}\n`) },
  }, {
    verifyHostKey: knownHosts(`test.invalid ${host.publicKey}\n`),
    auth: [publicKey(user)],
  });
  assertEquals(joined.client.info.hostKey.type, NAME);
  assertEquals(joined.client.info.hostKey.blob, host.publicKey.blob);
  await joined.client.rekey();
  const { stdout } = await joined.client.exec("env");
  assertEquals(new TextDecoder().decode(stdout), "post-quantum\n");
});

Deno.test("a server with an older key beside it shows the older one, and the other where the client knows or asks for that", async () => {
  const hostKeys = [host, await hostKey()];
  const shown = async (client: Parameters<typeof join>[1]) => {
    await using joined = await join({ hostKeys }, client);
    return joined.client.info.hostKey.type;
  };
  assertEquals(await shown({}), "ssh-ed25519");
  assertEquals(await shown({ verifyHostKey: knownHosts(`test.invalid ${host.publicKey}`) }), NAME);
  assertEquals(await shown({ algorithms: { hostKey: [NAME, "ssh-ed25519"] } }), NAME);
});

Deno.test("a host key of another host is unknown, and a key that is in no line logs nobody in", async () => {
  const pair = memoryPair();
  const serving = serveConn(pair.server, await serverOptions({ hostKeys: [host] })).catch(() => {});
  const verifyHostKey = knownHosts(`other.invalid ${host.publicKey}`);
  await assertRejects(
    () => connect({ hostname: "test.invalid", ...login, verifyHostKey, transport: pair.client }),
    HostKeyUnknownError,
  );
  await serving;
  const stranger = await generateKey("mldsa44-ed25519");
  await assertRejects(
    () => join({ auth: { publicKey: authorizedKeys(vectors.publicKey) } }, { auth: [publicKey(stranger)] }),
    SshAuthError,
  );
});

Deno.test("a user whose signature is wrong in either half is refused, and a host ends its connection", async () => {
  for (const at of [100, 2450]) {
    const error = await assertRejects(
      () => join({ auth: { publicKey: authorizedKeys(vectors.publicKey) } }, { auth: [publicKey(broken(user, at))] }),
      SshAuthError,
    );
    assert(!error.message.includes("ML-DSA"), error.message);
    const pair = memoryPair();
    const serving = serveConn(pair.server, await serverOptions({ hostKeys: [broken(host, at)] })).catch((error) =>
      error
    );
    await assertRejects(() => connect({ hostname: "test.invalid", ...login, transport: pair.client }));
    assert(`${(await serving as Error).message}`.includes(`is no ${NAME} signature of it`));
  }
});

Deno.test("certificates by OpenSSH 10.6 log in and are shown by the host: of such keys, by such a CA", async () => {
  await using joined = await join({
    hostKeys: [withCertificate(user, vectors.hostCertificate)],
    auth: { publicKey: trustedUserCAs(vectors.ca) },
  }, {
    hostname: "host.example",
    verifyHostKey: knownHosts(`@cert-authority host.example ${vectors.ca}`),
    auth: [publicKey(withCertificate(user, vectors.userCertificate))],
  });
  assertEquals(joined.client.info.hostKey.type, `${NAME}-cert`);
  const { stdout } = await joined.client.exec("echo certified");
  assertEquals(new TextDecoder().decode(stdout), "certified\n");
});

Deno.test("a certificate of another user, and of a key without its certificate's signature, logs nobody in", async () => {
  const auth = { publicKey: trustedUserCAs(vectors.ca) };
  const certified = withCertificate(user, vectors.userCertificate);
  for (
    const options of [{ username: "carol", auth: [publicKey(certified)] }, {
      auth: [publicKey(broken(certified, 2450))],
    }]
  ) {
    await assertRejects(() => join({ auth }, options), SshAuthError);
  }
});
