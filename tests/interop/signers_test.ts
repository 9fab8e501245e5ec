/** Keys that never leave WebCrypto, at OpenSSH's sshd. */
import { assertEquals } from "@std/assert";
import { connect, parsePrivateKey, pinnedHostKey, publicKey, signerFromCryptoKey } from "../../mod.ts";
import { keyTypes } from "../_support/keys.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";

const algorithms: Readonly<Record<string, Parameters<typeof crypto.subtle.importKey>[2]>> = {
  "ssh-ed25519": "Ed25519",
  "ecdsa-sha2-nistp256": { name: "ECDSA", namedCurve: "P-256" },
  "ecdsa-sha2-nistp384": { name: "ECDSA", namedCurve: "P-384" },
  "ecdsa-sha2-nistp521": { name: "ECDSA", namedCurve: "P-521" },
  "ssh-rsa": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
};

peerTest("openssh", "sshd lets in keys of each type that cannot be taken out of WebCrypto", async () => {
  await using server = await startOpenSshd();
  const { hostname, port, username } = server, verifyHostKey = pinnedHostKey(...server.hostKeys);
  for (const type of keyTypes) {
    const key = await parsePrivateKey(server.userKeys[type].text);
    const algorithm = algorithms[key.publicKey.type];
    if (algorithm === undefined) continue;
    const jwk = JSON.parse(await key.export({ format: "jwk" }));
    const privateKey = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]);
    const signer = await signerFromCryptoKey({ privateKey, publicKey: key.publicKey });
    await using client = await connect({ hostname, port, username, verifyHostKey, auth: [publicKey(signer)] });
    assertEquals((await client.exec("exit 3")).code, 3, type);
  }
});
