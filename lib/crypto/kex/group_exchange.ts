/**
 * The groups of a group exchange: what a client asks for and accepts, and what a server chooses.
 * RFC 4419 section 3, RFC 8270. No I/O; the messages are the transport's.
 *
 * @module
 */
import { bitLength } from "../../wire/integers.ts";
import { MODP_2048, MODP_3072, MODP_4096, MODP_6144, MODP_8192, type ModpGroup } from "./dh_groups.ts";
import { kexFailed } from "./shared_secret.ts";

/** Sizes in bits, as GEX_REQUEST carries them. */
export interface GroupSizes {
  /** Smallest group that is acceptable. */
  readonly min: number;
  /** Size that is wanted. */
  readonly n: number;
  /** Largest group that is acceptable. */
  readonly max: number;
}

/** Smallest group that either side accepts (RFC 8270). */
export const MIN_GROUP_BITS = 2048;
/** Largest group that either side accepts. */
export const MAX_GROUP_BITS = 8192;

/** What our client asks for: 3072 bits are as strong as curve25519. */
export const requestedGroupSizes: GroupSizes = { min: MIN_GROUP_BITS, n: 3072, max: MAX_GROUP_BITS };

/** A group of a group exchange. */
export interface DhGroup {
  /** Prime modulus. */
  readonly p: bigint;
  /** Generator. */
  readonly g: bigint;
}

/**
 * Client: checks the group of a GEX_GROUP against the sizes it asked for, before any exponentiation. Throws
 * `SshProtocolError` with reason 3. Whether p is a safe prime is not tested, as it takes too long: the server's signature
 * answers for it.
 */
export function checkGroup(group: DhGroup, sizes: GroupSizes = requestedGroupSizes): void {
  const { p, g } = group;
  const bits = p > 0n ? bitLength(p) : 0;
  if (bits < Math.max(sizes.min, MIN_GROUP_BITS) || bits > Math.min(sizes.max, MAX_GROUP_BITS)) {
    throw kexFailed(`Cannot use the server's group: it has ${bits} bits, ${sizes.min} to ${sizes.max} were asked for`);
  }
  if ((p & 1n) === 0n) throw kexFailed("Cannot use the server's group: its modulus is even");
  if (g < 2n || g > p - 2n) throw kexFailed("Cannot use the server's group: its generator is out of range");
}

const built: readonly ModpGroup[] = [MODP_2048, MODP_3072, MODP_4096, MODP_6144, MODP_8192];

/**
 * Server: the smallest of our groups that has the wanted size, else the largest that the client takes. Throws
 * `SshProtocolError` with reason 3 when the sizes contradict each other or none of ours fits.
 */
export function chooseGroup(sizes: GroupSizes): DhGroup {
  const { min, n, max } = sizes;
  if (min > max || n < min || n > max) {
    throw kexFailed(`Cannot choose a group: the sizes ${min}, ${n}, ${max} contradict each other`);
  }
  const fitting = built.filter((group) => group.bits >= min && group.bits <= max);
  const group = fitting.find((group) => group.bits >= n) ?? fitting.at(-1);
  if (group === undefined) {
    throw kexFailed(
      `Cannot choose a group: ${MIN_GROUP_BITS} to ${MAX_GROUP_BITS} bits are served, ${min} to ${max} wanted`,
    );
  }
  return { p: BigInt("0x" + group.hex), g: 2n };
}
