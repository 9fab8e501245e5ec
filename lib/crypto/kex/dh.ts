/**
 * Diffie-Hellman over prime fields: diffie-hellman-group14-sha256 and its larger kin, and any group of a group exchange.
 * RFC 4253 section 8, RFC 8268, RFC 4419. BigInt arithmetic, no I/O.
 *
 * BigInt does not run in constant time. What could be timed is a private exponent that serves one exchange and is forgotten,
 * together with the peer's value in that same exchange: there is nothing to average over. The order of operations does not
 * depend on the exponent either, for it always has the same length and every window costs one multiplication.
 *
 * @module
 */
import type { Bytes } from "../../wire/types.ts";
import { bitLength } from "../../wire/integers.ts";
import { mpintBytes } from "../../wire/writer.ts";
import type { ModpGroup } from "./dh_groups.ts";
import { randomBytes } from "../random.ts";
import { bigIntOf, encodeString, kexFailed } from "./shared_secret.ts";
import type { KeyAgreement } from "../types.ts";

/**
 * Bits of a private exponent: twice the 256 bits that no cipher key exceeds (RFC 4419 section 6.2), and more than twice the
 * strength of an 8192-bit group. The full length of p would cost up to sixteen times as much and add nothing in a group of a
 * safe prime.
 */
const EXPONENT_BITS = 512;
/** Bits of the exponent handled at once. */
const WINDOW = 4;

/** base ^ exponent mod modulus, for an exponent of {@linkcode EXPONENT_BITS} bits given in bytes. */
export function modPow(base: bigint, exponent: Uint8Array, modulus: bigint): bigint {
  const powers = [1n];
  for (let i = 1; i < 1 << WINDOW; i++) powers.push(powers[i - 1]! * base % modulus);
  let result = 1n;
  for (const byte of exponent) {
    for (const digit of [byte >> 4, byte & 0x0f]) {
      for (let i = 0; i < WINDOW; i++) result = result * result % modulus;
      result = result * powers[digit]! % modulus;
    }
  }
  return result;
}

/** Whether a public value lies strictly between 1 and p - 1 and has at least four bits set, as OpenSSH wants. */
export function isPublicValue(value: bigint, p: bigint): boolean {
  if (value <= 1n || value >= p - 1n) return false;
  let set = 0;
  for (let rest = value; rest > 0n; rest &= rest - 1n) if (++set === 4) return true;
  return false;
}

/** The peer's value from the content of its `mpint`, checked before any arithmetic. */
function readPublicValue(content: Uint8Array, p: bigint): bigint {
  const fail = (what: string) => kexFailed(`Cannot agree on a key: the peer's Diffie-Hellman value ${what}`);
  // One byte more than p has: the zero before a set top bit.
  if (content.length > Math.ceil(bitLength(p) / 8) + 1) throw fail("is too long");
  if (content.length > 0 && content[0]! >= 0x80) throw fail("is negative");
  if (content.length > 0 && content[0] === 0 && (content.length === 1 || content[1]! < 0x80)) {
    throw fail("has needless leading bytes");
  }
  const value = bigIntOf(content);
  if (!isPublicValue(value, p)) throw fail("is out of range");
  return value;
}

/** A key of one exchange. */
interface DhKey {
  /** g ^ x mod p, as the content of an `mpint`. */
  readonly publicValue: Bytes;
  /** K as an encoded `mpint`. */
  agree(peerValue: bigint): Bytes;
}

function makeKey(p: bigint, g: bigint): DhKey {
  const exponent = randomBytes(EXPONENT_BITS / 8);
  exponent[0]! |= 0x80;
  const own = modPow(g, exponent, p);
  if (!isPublicValue(own, p)) throw kexFailed("Cannot agree on a key: the Diffie-Hellman group is not usable");
  return {
    publicValue: mpintBytes(own),
    agree(peerValue): Bytes {
      const k = modPow(peerValue, exponent, p);
      if (k <= 1n || k === p - 1n) throw kexFailed("Cannot agree on a key: the Diffie-Hellman secret is trivial");
      return encodeString(mpintBytes(k));
    },
  };
}

function agreement(group: () => { p: bigint; g: bigint }): KeyAgreement {
  return {
    start() {
      return Promise.resolve().then(() => {
        const { p, g } = group();
        const key = makeKey(p, g);
        return {
          publicValue: key.publicValue,
          finish: (peerValue: Uint8Array) => Promise.resolve().then(() => key.agree(readPublicValue(peerValue, p))),
        };
      });
    },
    respond(peerValue) {
      return Promise.resolve().then(() => {
        const { p, g } = group();
        const value = readPublicValue(peerValue, p);
        const key = makeKey(p, g);
        return { publicValue: key.publicValue, secret: key.agree(value) };
      });
    },
  };
}

/** Diffie-Hellman in the group (p, g), which the caller has checked. */
export function dhAgreement(p: bigint, g: bigint): KeyAgreement {
  return agreement(() => ({ p, g }));
}

/** Diffie-Hellman in a fixed group, which is parsed when it is first used. */
export function modpAgreement(group: ModpGroup): KeyAgreement {
  let parsed: { p: bigint; g: bigint } | undefined;
  return agreement(() => parsed ??= { p: BigInt("0x" + group.hex), g: 2n });
}
