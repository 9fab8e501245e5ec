/**
 * Key agreement by a post-quantum mechanism and a classical one together: the secret holds as long as one of the two does.
 * draft-ietf-sshm-mlkem-hybrid-kex, draft-josefsson-ntruprime-ssh section 4. No I/O.
 *
 * A changed ciphertext is not noticed here: the mechanisms reject implicitly, the two secrets differ, and the server's signature does
 * not verify.
 *
 * @module
 */
import { concat } from "@std/bytes";
import type { Bytes } from "../../wire/types.ts";
import { digest } from "../hash.ts";
import type { HashName, KeyAgreement } from "../types.ts";
import { encodeString, kexFailed } from "./shared_secret.ts";

/** A key encapsulation mechanism. */
export interface Kem {
  /** Bytes of a public key, and of a ciphertext. */
  readonly publicKeyLength: number;
  readonly ciphertextLength: number;
  /** Makes a key for one exchange. A ciphertext that was not made for it gives a secret that nobody knows. */
  generate(): Promise<{ readonly publicKey: Bytes; decapsulate(ciphertext: Bytes): Promise<Bytes> }>;
  /** Makes a secret for the owner of a public key. Throws `SshProtocolError` with reason 3 for a key that is none. */
  encapsulate(publicKey: Bytes): Promise<{ readonly ciphertext: Bytes; readonly secret: Bytes }>;
}

/** An ephemeral Diffie-Hellman key: its public value, and the secret shared with the owner of another. */
export interface EphemeralKey {
  /** Public value. */
  readonly publicValue: Bytes;
  /** The shared secret in its full width. Throws `SshProtocolError` with reason 3 for a value that is not sound. */
  agree(peerValue: Bytes): Promise<Bytes>;
}

/** Diffie-Hellman in a group with public values of one length. */
export interface DiffieHellman {
  /** Bytes of a public value. */
  readonly publicLength: number;
  /** Makes a key. */
  generate(): Promise<EphemeralKey>;
}

/** Both together; their secrets become one by `hash`, and stand as a `string` in the exchange hash. */
export function hybrid(kem: Kem, classical: DiffieHellman, hash: HashName): KeyAgreement {
  /** Values of the two, one after the other; `from` says whose they are. */
  const split = (from: string, value: Uint8Array, first: number): [Bytes, Bytes] => {
    const length = first + classical.publicLength;
    if (value.length !== length) {
      throw kexFailed(
        `Cannot agree on a key: the ${from}'s hybrid value has ${length} bytes, ${value.length} received`,
      );
    }
    return [value.slice(0, first) as Bytes, value.slice(first) as Bytes];
  };
  const combine = async (secret: Bytes, classicalSecret: Bytes): Promise<Bytes> =>
    encodeString(await digest(hash, secret, classicalSecret));
  return {
    async start() {
      const [key, ephemeral] = await Promise.all([kem.generate(), classical.generate()]);
      return {
        publicValue: concat([key.publicKey, ephemeral.publicValue]),
        finish: async (peerValue) => {
          const [ciphertext, publicValue] = split("server", peerValue, kem.ciphertextLength);
          const classicalSecret = await ephemeral.agree(publicValue);
          return await combine(await key.decapsulate(ciphertext), classicalSecret);
        },
      };
    },
    async respond(peerValue) {
      const [publicKey, publicValue] = split("client", peerValue, kem.publicKeyLength);
      const ephemeral = await classical.generate();
      const classicalSecret = await ephemeral.agree(publicValue);
      const { ciphertext, secret } = await kem.encapsulate(publicKey);
      return {
        publicValue: concat([ciphertext, ephemeral.publicValue]),
        secret: await combine(secret, classicalSecret),
      };
    },
  };
}
