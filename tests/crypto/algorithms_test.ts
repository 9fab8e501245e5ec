import { assert, assertEquals } from "@std/assert";
import {
  type Algorithms,
  defaultAlgorithms,
  hardenedAlgorithms,
  insecureAlgorithms,
  serverDefaultAlgorithms,
} from "../../lib/crypto/algorithms.ts";
import { ciphers, macs } from "../../lib/crypto/cipher/ciphers.ts";
import { kexMethods } from "../../lib/crypto/kex/methods.ts";

const lists: Record<string, Algorithms> = {
  defaultAlgorithms,
  serverDefaultAlgorithms,
  hardenedAlgorithms,
  insecureAlgorithms,
};
const fields = ["kex", "hostKey", "cipher", "mac", "compression"] as const;

/** RFC 4253 section 6.6, RFC 5656 section 3, RFC 8332, RFC 8709, draft-miller-sshm-mldsa44-ed25519-composite-sigs-00: what the layer of keys can verify. */
const hostKeyNames = new Set([
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
  "ssh-mldsa44-ed25519",
  "ssh-rsa",
]);

Deno.test("every name in every list of algorithms stands in its table, once", () => {
  const tables: Record<typeof fields[number], { has(name: string): boolean }> = {
    kex: kexMethods,
    hostKey: hostKeyNames,
    cipher: ciphers,
    mac: macs,
    compression: new Set(["none", "zlib@openssh.com"]),
  };
  let count = 0;
  for (const [list, algorithms] of Object.entries(lists)) {
    for (const field of fields) {
      assertEquals(new Set(algorithms[field]).size, algorithms[field].length, `${list}.${field} repeats a name`);
      for (const name of algorithms[field]) {
        assert(tables[field].has(name), `${list}.${field} names ${name}, which does not exist`);
        assert(/^[!-+\x2d-~]{1,64}$/.test(name), `${name} cannot stand in a name-list`);
        count++;
      }
    }
  }
  assert(count > 60, "the lists are not empty");
});

/** What only programs offer that name it: it has nothing against it, and few peers. */
const named = ["mlkem768nistp256-sha256", "mlkem1024nistp384-sha384"];

Deno.test("every key exchange, cipher and MAC that exists is a default, says insecure, or is for programs that name it", () => {
  for (
    const [table, field] of [[kexMethods, "kex"], [ciphers, "cipher"], [macs, "mac"]] as const
  ) {
    for (const name of table.keys()) {
      const offered = defaultAlgorithms[field].includes(name), insecure = insecureAlgorithms[field].includes(name);
      if (named.includes(name)) assert(!offered && !insecure);
      else assert(offered !== insecure, `${name} is in ${offered ? "both lists" : "no list"}`);
    }
  }
  for (const table of [ciphers, macs]) {
    for (const { name, insecure } of table.values()) {
      assertEquals(insecureAlgorithms[table === ciphers ? "cipher" : "mac"].includes(name), insecure, name);
    }
  }
});

Deno.test("no default list holds SHA-1, CBC, a group below 2048 bits, or what insecureAlgorithms names", () => {
  for (const [list, algorithms] of Object.entries(lists)) {
    if (algorithms === insecureAlgorithms) continue;
    for (const field of fields) {
      for (const name of algorithms[field]) {
        assert(!insecureAlgorithms[field].includes(name), `${list}.${field} names ${name}`);
        assert(
          !/sha1(?!\d)|md5|cbc|3des|arcfour|^ssh-rsa$|^ssh-dss$|group1-|^none$/.test(name) || field === "compression",
          name,
        );
      }
    }
    assert(!algorithms.compression.some((name) => name.startsWith("zlib")), `${list} compresses`);
  }
});

Deno.test("every list but the insecure one starts with post-quantum key exchange and ChaCha20-Poly1305", () => {
  for (const algorithms of [defaultAlgorithms, serverDefaultAlgorithms, hardenedAlgorithms]) {
    assertEquals(algorithms.kex[0], "mlkem768x25519-sha256");
    assertEquals(algorithms.cipher[0], "chacha20-poly1305@openssh.com");
    assertEquals(algorithms.hostKey[0], "ssh-ed25519");
  }
});

Deno.test("serverDefaultAlgorithms is what sshd of OpenSSH 10 offers, without SHA-1 and UMAC, and two fixed groups last", () => {
  assertEquals(serverDefaultAlgorithms, {
    kex: [
      "mlkem768x25519-sha256",
      "sntrup761x25519-sha512",
      "sntrup761x25519-sha512@openssh.com",
      "curve25519-sha256",
      "curve25519-sha256@libssh.org",
      "ecdh-sha2-nistp256",
      "ecdh-sha2-nistp384",
      "ecdh-sha2-nistp521",
      "diffie-hellman-group16-sha512",
      "diffie-hellman-group14-sha256",
    ],
    hostKey: [
      "ssh-ed25519",
      "ecdsa-sha2-nistp256",
      "ecdsa-sha2-nistp384",
      "ecdsa-sha2-nistp521",
      "rsa-sha2-512",
      "rsa-sha2-256",
      "ssh-mldsa44-ed25519",
    ],
    cipher: [
      "chacha20-poly1305@openssh.com",
      "aes128-gcm@openssh.com",
      "aes256-gcm@openssh.com",
      "aes128-ctr",
      "aes192-ctr",
      "aes256-ctr",
    ],
    mac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
    compression: ["none"],
  });
});

Deno.test("hardenedAlgorithms has post-quantum key exchange, AEAD and encrypt-then-MAC only", () => {
  assertEquals(hardenedAlgorithms.kex, [
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
  ]);
  assert(hardenedAlgorithms.mac.every((name) => name.endsWith("-etm@openssh.com")));
});
