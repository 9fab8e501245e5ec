/**
 * Every key exchange method there is, by name. RFC 4253 section 8, RFC 8268, RFC 8731, RFC 5656, RFC 4419. No I/O.
 *
 * @module
 */
import { modpAgreement } from "./dh.ts";
import { MODP_2048, MODP_4096, MODP_8192, OAKLEY_GROUP_2 } from "./dh_groups.ts";
import { hasMlKem, mlkem1024nistp384, mlkem768nistp256, mlkem768x25519 } from "./mlkem.ts";
import { ecdhAgreement } from "./nistp.ts";
import { sntrup761x25519 } from "./sntrup761x25519.ts";
import { hasWebAssembly } from "../cipher/wasm_assembler.ts";
import type { HashName, KexMethod, KeyAgreement } from "../types.ts";
import { curve25519 } from "./x25519.ts";

const table: (readonly [name: string, hash: HashName, agreement: KeyAgreement | null])[] = [
  ...(hasMlKem ? [["mlkem768x25519-sha256", "SHA-256", mlkem768x25519] as const] : []),
  ["sntrup761x25519-sha512", "SHA-512", sntrup761x25519],
  ["sntrup761x25519-sha512@openssh.com", "SHA-512", sntrup761x25519],
  ["curve25519-sha256", "SHA-256", curve25519],
  ["curve25519-sha256@libssh.org", "SHA-256", curve25519],
  ["ecdh-sha2-nistp256", "SHA-256", ecdhAgreement("P-256")],
  ["ecdh-sha2-nistp384", "SHA-384", ecdhAgreement("P-384")],
  ["ecdh-sha2-nistp521", "SHA-512", ecdhAgreement("P-521")],
  ["diffie-hellman-group-exchange-sha256", "SHA-256", null],
  ["diffie-hellman-group14-sha256", "SHA-256", modpAgreement(MODP_2048)],
  ["diffie-hellman-group16-sha512", "SHA-512", modpAgreement(MODP_4096)],
  ["diffie-hellman-group18-sha512", "SHA-512", modpAgreement(MODP_8192)],
  // Only for programs that name them: few peers have them, and what NIST's curves add to ML-KEM is a matter of taste.
  ...(hasMlKem
    ? [
      ["mlkem768nistp256-sha256", "SHA-256", mlkem768nistp256] as const,
      ["mlkem1024nistp384-sha384", "SHA-384", mlkem1024nistp384] as const,
    ]
    : []),
  // Insecure; nothing but `insecureAlgorithms` names them.
  ["diffie-hellman-group-exchange-sha1", "SHA-1", null],
  ["diffie-hellman-group14-sha1", "SHA-1", modpAgreement(MODP_2048)],
  ["diffie-hellman-group1-sha1", "SHA-1", modpAgreement(OAKLEY_GROUP_2)],
];

/** Key exchange methods by their names on the wire: what this runtime can do, secure and insecure. */
export const kexMethods: ReadonlyMap<string, KexMethod> = new Map(
  table.map(([name, hash, agreement]) => [name, { name, hash, agreement }]),
);

/** Whether modules may be compiled, once that was asked: trying costs each connection one. */
let compiles: boolean | null = null;

/** Those of the names that this runtime can do: sntrup761 needs WebAssembly, which a page may not have. */
export function availableKex(names: readonly string[]): readonly string[] {
  return names.some(isSntrup) && !(compiles ??= hasWebAssembly()) ? names.filter((name) => !isSntrup(name)) : names;
}

function isSntrup(name: string): boolean {
  return kexMethods.get(name)?.agreement === sntrup761x25519;
}
