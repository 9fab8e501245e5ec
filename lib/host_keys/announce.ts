/**
 * A server's host keys, told to the client once it has logged in, and proved to it: so clients know a key before it is used, and forget one that
 * is used no more. OpenSSH PROTOCOL section 2.5. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import type { Mux } from "../connection/mux.ts";
import { SshError } from "../errors.ts";
import { certifiedTypeOf, isInsecure } from "../keys/key_types.ts";
import type { Signer } from "../keys/types.ts";
import { signAsHost } from "../transport/host_key_signature.ts";
import type { ConnectionInfo } from "../transport/types.ts";
import type { Bytes } from "../wire/types.ts";
import { ANNOUNCE, MAX_KEYS, proofAlgorithm, proofOf, PROVE, readStrings, writeStrings } from "./messages.ts";

/** Proofs that a client may ask for: one is what it needs, and each costs a signature by each key. */
const MAX_PROOFS = 32;

/** Clients that end the connection when they are told of host keys. */
const deaf = /^SSH-2\.0-(TeraTerm SSH|TTSSH\/(1\.5\.|2\.([1-6]|7[0-2])))/;

/** What is announced. */
export interface AnnounceOptions {
  /** The server's keys. */
  readonly hostKeys: readonly Signer[];
  /** The connection. */
  readonly info: ConnectionInfo;
  /** Told of a key that cannot sign. */
  readonly onError: (error: unknown) => void;
}

/** Tells the client the host keys, and answers when it wants them proved. */
export function announceHostKeys(mux: Mux, { hostKeys, info, onError }: AnnounceOptions): void {
  // A certificate is no key, but says something of one, which the server may have besides: told twice, it would be believed not once.
  const plain = hostKeys.filter(({ publicKey }) => certifiedTypeOf(publicKey.type) === null);
  const keys = plain.filter(({ publicKey: { blob } }, i) =>
    plain.findIndex(({ publicKey }) => equals(publicKey.blob, blob)) === i
  ).slice(0, MAX_KEYS);
  if (keys.length === 0 || deaf.test(info.remoteIdent)) return;
  let proofs = 0;
  mux.onRequest(PROVE, async (data, wantReply): Promise<Bytes | boolean> => {
    if (!wantReply || ++proofs > MAX_PROOFS) return false;
    try {
      return writeStrings(await prove(keys, data, info));
    } catch (error) {
      // What the client got wrong is refused; what failed here is told.
      if (!(error instanceof SshError && error.code === "KEY_FORMAT")) onError(error);
      return false;
    }
  });
  mux.notify(ANNOUNCE, writeStrings(keys.map(({ publicKey }) => publicKey.blob)));
}

/** A signature by each of the keys that `data` names. Throws `SshError` `KEY_FORMAT` for what names anything else, or one twice. */
async function prove(keys: readonly Signer[], data: Uint8Array, info: ConnectionInfo): Promise<Bytes[]> {
  const refuse = (why: string) => new SshError(`Cannot prove host keys: ${why}`, { code: "KEY_FORMAT" });
  const signers = new Map<Signer, string>();
  for (const blob of readStrings(data)) {
    const signer = keys.find(({ publicKey }) => equals(publicKey.blob, blob));
    if (signer === undefined || signers.has(signer)) {
      throw refuse("the client asks for one that is none, or for one twice");
    }
    const agreed = info.hostKeyAlgorithm;
    const algorithm = proofAlgorithm(signer.publicKey.type, signer.algorithms, agreed);
    // With SHA-1 only where the two have agreed on it already.
    if (algorithm === undefined || algorithm !== agreed && isInsecure(algorithm)) {
      throw refuse("its algorithm is insecure");
    }
    signers.set(signer, algorithm);
  }
  const signatures: Bytes[] = [];
  for (const [signer, algorithm] of signers) {
    const proof = proofOf(info.sessionId, signer.publicKey.blob);
    signatures.push(await signAsHost(signer, proof, algorithm, "the proof of it"));
  }
  return signatures;
}
