/**
 * Which algorithms are offered, and in what order: the one place that says what is default and what is insecure.
 * RFC 4253 section 7.1, RFC 9142. Data only.
 *
 * Between algorithms of equal strength the one that is faster on Deno comes first.
 *
 * @module
 */
import { hasMlKem } from "./kex/mlkem.ts";

/** Algorithm preferences, most wanted first. */
export interface Algorithms {
  /** Key exchange names. */
  readonly kex: readonly string[];
  /** Host key signature names. */
  readonly hostKey: readonly string[];
  /** Cipher names. */
  readonly cipher: readonly string[];
  /** MAC names, unused by AEAD ciphers. */
  readonly mac: readonly string[];
  /** Compression names. */
  readonly compression: readonly string[];
}

/** Lists that take the place of the default ones; a list that is left out or undefined leaves its default. */
export type AlgorithmOverrides = { readonly [K in keyof Algorithms]?: Algorithms[K] | undefined };

/** ML-KEM is offered only where the runtime has it. */
const postQuantum = [
  ...(hasMlKem ? ["mlkem768x25519-sha256"] : []),
  "sntrup761x25519-sha512",
  "sntrup761x25519-sha512@openssh.com",
];

const aead = ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];
const ctr = ["aes128-ctr", "aes192-ctr", "aes256-ctr"];
const encryptThenMac = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];

/** What a client offers unless the program says otherwise; what old servers need comes last. */
export const defaultAlgorithms: Algorithms = {
  kex: [
    ...postQuantum,
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
  ],
  hostKey: [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    // Where OpenSSH 10.6 has it: a server with an older key beside it goes on showing that one, which its clients know.
    "ssh-mldsa44-ed25519",
  ],
  cipher: [...aead, ...ctr],
  mac: [...encryptThenMac, "hmac-sha2-256", "hmac-sha2-512"],
  compression: ["none"],
};

/**
 * What a server offers unless the program says otherwise: what `sshd` of OpenSSH 10 does, without SHA-1 and UMAC, so that whoever
 * reaches that server reaches this one. Two groups of fixed size come last, for clients that have no curves; none whose size the
 * client chooses, and no larger one: they cost the server more than they do the client.
 */
export const serverDefaultAlgorithms: Algorithms = {
  kex: [
    ...postQuantum,
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
  ],
  hostKey: defaultAlgorithms.hostKey,
  cipher: defaultAlgorithms.cipher,
  mac: defaultAlgorithms.mac,
  compression: ["none"],
};

/** Only what ssh-audit has nothing to say against: post-quantum key exchange, AEAD and EtM. */
export const hardenedAlgorithms: Algorithms = {
  kex: postQuantum,
  hostKey: ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256", "ssh-mldsa44-ed25519"],
  cipher: [...aead, ...ctr],
  mac: encryptThenMac,
  compression: ["none"],
};

/**
 * What old peers may need and nobody should want; a program adds names from here by hand. `aes192-cbc` is not among them,
 * because Deno has no such cipher.
 */
export const insecureAlgorithms: Algorithms = {
  kex: ["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"],
  hostKey: ["ssh-rsa"],
  cipher: ["aes128-cbc", "aes256-cbc", "3des-cbc"],
  mac: ["hmac-sha1-etm@openssh.com", "hmac-sha1"],
  compression: [],
};
