/**
 * Whether a server has proved the very key that is trusted. No I/O.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { HostKeyError } from "../../errors.ts";
import type { PublicKey } from "../../keys/types.ts";

/** Compares public data: no secret is in it. */
export async function checkHostKey(key: PublicKey, wanted: PublicKey): Promise<boolean> {
  if (equals(key.blob, wanted.blob)) return true;
  const [proved, expected] = [await key.fingerprint(), await wanted.fingerprint()];
  throw new HostKeyError(
    `Cannot trust host key: the server proved ${key.type} ${proved}, and ${wanted.type} ${expected} is wanted`,
  );
}
