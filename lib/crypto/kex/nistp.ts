/**
 * Key agreement on the NIST curves: ecdh-sha2-nistp256, -nistp384 and -nistp521, and the classical half of hybrids.
 * RFC 5656 section 4. WebCrypto where it has the curve, `@noble/curves` where not; no I/O.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import type { DiffieHellman, EphemeralKey } from "./hybrid.ts";
import { coordinateLength, isOnCurve, type NistCurve } from "./nist_curves.ts";
import { encodeMpint, kexFailed } from "./shared_secret.ts";
import type { KeyAgreement } from "../types.ts";

/** Makes a key with WebCrypto: an uncompressed point, and the x coordinate shared with the owner of one that has been checked. Rejects with `NotSupportedError` where the runtime lacks the curve. */
export async function nativeEcdhKey(curve: NistCurve): Promise<EphemeralKey> {
  const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: curve }, false, ["deriveBits"]);
  return {
    publicValue: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)),
    agree: (peerPoint) => nativeEcdh(curve, pair.privateKey, peerPoint),
  };
}

/** The shared x coordinate of a WebCrypto key and a point that has been checked. */
export async function nativeEcdh(curve: NistCurve, privateKey: CryptoKey, peerPoint: Bytes): Promise<Bytes> {
  const peerKey = await crypto.subtle.importKey("raw", peerPoint, { name: "ECDH", namedCurve: curve }, false, []);
  const bits = 8 * coordinateLength(curve);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: peerKey }, privateKey, bits));
}

/** Makes a key with `@noble/curves`, loaded at the first call. */
export async function nobleEcdhKey(curve: NistCurve): Promise<EphemeralKey> {
  const { p256, p384, p521 } = await import("@noble/curves/nist.js");
  const noble = { "P-256": p256, "P-384": p384, "P-521": p521 }[curve];
  const secretKey = noble.utils.randomSecretKey();
  return {
    publicValue: new Uint8Array(noble.getPublicKey(secretKey, false)),
    agree: (peerPoint) =>
      Promise.resolve(new Uint8Array(noble.getSharedSecret(secretKey, peerPoint, true).subarray(1))),
  };
}

async function ecdhKey(curve: NistCurve): Promise<EphemeralKey> {
  try {
    return await nativeEcdhKey(curve);
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotSupportedError") return await nobleEcdhKey(curve);
    throw error;
  }
}

/** The x coordinate shared with the owner of a peer's point, in full width. */
async function agree(curve: NistCurve, key: EphemeralKey, peerPoint: Bytes): Promise<Bytes> {
  try {
    return await key.agree(peerPoint);
  } catch (cause) {
    throw kexFailed(`Cannot agree on a key: the peer's ${curve} point is not valid`, { cause });
  }
}

function checkedPoint(curve: NistCurve, peerValue: Uint8Array): Bytes {
  if (!isOnCurve(curve, peerValue)) {
    throw kexFailed(`Cannot agree on a key: the peer's value is not an uncompressed point of ${curve}`);
  }
  return new Uint8Array(peerValue);
}

/** Elliptic curve Diffie-Hellman on a NIST curve. */
export function ecdhAgreement(curve: NistCurve): KeyAgreement {
  return {
    async start() {
      const key = await ecdhKey(curve);
      return {
        publicValue: key.publicValue,
        finish: async (peerValue) => encodeMpint(await agree(curve, key, checkedPoint(curve, peerValue))),
      };
    },
    async respond(peerValue) {
      const point = checkedPoint(curve, peerValue);
      const key = await ecdhKey(curve);
      return { publicValue: key.publicValue, secret: encodeMpint(await agree(curve, key, point)) };
    },
  };
}

/** The classical half of a hybrid. */
export function ecdh(curve: NistCurve): DiffieHellman {
  return {
    publicLength: 1 + 2 * coordinateLength(curve),
    async generate() {
      const key = await ecdhKey(curve);
      return {
        publicValue: key.publicValue,
        agree: async (peerValue) => await agree(curve, key, checkedPoint(curve, peerValue)),
      };
    },
  };
}
