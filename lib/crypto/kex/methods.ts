/**
 * Every key exchange method there is, by name. RFC 4253 section 8, RFC 8268, RFC 8731, RFC 5656, RFC 4419. Data only.
 *
 * @module
 */
import { modpAgreement } from "./dh.ts";
import { MODP_2048, MODP_4096, MODP_8192, OAKLEY_GROUP_2 } from "./dh_groups.ts";
import { hasMlKem, mlkem768x25519 } from "./mlkem.ts";
import { ecdhAgreement } from "./nistp.ts";
import type { HashName, KexMethod, KeyAgreement } from "../types.ts";
import { curve25519 } from "./x25519.ts";

const table: (readonly [name: string, hash: HashName, agreement: KeyAgreement | null])[] = [
  ...(hasMlKem ? [["mlkem768x25519-sha256", "SHA-256", mlkem768x25519] as const] : []),
  ["curve25519-sha256", "SHA-256", curve25519],
  ["curve25519-sha256@libssh.org", "SHA-256", curve25519],
  ["ecdh-sha2-nistp256", "SHA-256", ecdhAgreement("P-256")],
  ["ecdh-sha2-nistp384", "SHA-384", ecdhAgreement("P-384")],
  ["ecdh-sha2-nistp521", "SHA-512", ecdhAgreement("P-521")],
  ["diffie-hellman-group-exchange-sha256", "SHA-256", null],
  ["diffie-hellman-group14-sha256", "SHA-256", modpAgreement(MODP_2048)],
  ["diffie-hellman-group16-sha512", "SHA-512", modpAgreement(MODP_4096)],
  ["diffie-hellman-group18-sha512", "SHA-512", modpAgreement(MODP_8192)],
  // Insecure; nothing but `insecureAlgorithms` names them.
  ["diffie-hellman-group-exchange-sha1", "SHA-1", null],
  ["diffie-hellman-group14-sha1", "SHA-1", modpAgreement(MODP_2048)],
  ["diffie-hellman-group1-sha1", "SHA-1", modpAgreement(OAKLEY_GROUP_2)],
];

/** Key exchange methods by their names on the wire: what this runtime can do, secure and insecure. */
export const kexMethods: ReadonlyMap<string, KexMethod> = new Map(
  table.map(([name, hash, agreement]) => [name, { name, hash, agreement }]),
);
