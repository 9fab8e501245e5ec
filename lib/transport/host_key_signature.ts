/**
 * The signature of a server's host key, over a key exchange above all, by a signer that may be of the program's own making: an agent, a token, a service.
 * RFC 4253 section 8. No I/O.
 *
 * @module
 */
import { DisconnectReason, SshProtocolError } from "../errors.ts";
import { isWrongSignature } from "../keys/check_signature.ts";
import type { Signer } from "../keys/types.ts";
import type { Bytes } from "../wire/types.ts";

/** Bytes of a signature: that of the largest RSA key, with all that stands around it, is far below. */
const MAX_SIGNATURE = 16_384;

/** A host key could not sign. Its fault is the program's, or that of what it signs with, and no peer's. */
export class HostKeySignerError extends SshProtocolError {}

/** Signs the exchange hash, as {@linkcode signAsHost} does. */
export async function signExchange(signer: Signer, exchangeHash: Bytes, algorithm: string): Promise<Bytes> {
  return await signAsHost(signer, exchangeHash, algorithm, "the key exchange");
}

/**
 * Signs with a host key. Rejects with `HostKeySignerError`, which names the key and `what` was to be signed, where the signer throws, or gives
 * something else than the key's signature with this algorithm: a wrong RSA signature could tell who listens the key itself.
 */
export async function signAsHost(signer: Signer, data: Bytes, algorithm: string, what: string): Promise<Bytes> {
  const key = signer.publicKey;
  const fail = async (why: string, cause?: unknown): Promise<never> => {
    const name = `${key.type} ${await key.fingerprint().catch(() => "")}`.trim();
    throw new HostKeySignerError(
      `Cannot sign ${what} with the host key ${name}: ${why}`,
      DisconnectReason.KEY_EXCHANGE_FAILED,
      cause === undefined ? {} : { cause },
    );
  };
  let signature: Bytes;
  try {
    signature = await signer.sign(data.slice(), algorithm);
  } catch (cause) {
    return await fail("its signer failed", cause);
  }
  if (!(signature instanceof Uint8Array)) return await fail("its signer gave no bytes");
  if (signature.length > MAX_SIGNATURE) {
    return await fail(`its signer gave ${signature.length} bytes, and at most ${MAX_SIGNATURE} can be a signature`);
  }
  if (await isWrongSignature(signer, algorithm, data, signature)) {
    return await fail(`what its signer gave is no ${algorithm} signature of it`);
  }
  return signature;
}
