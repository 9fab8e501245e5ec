/**
 * Test support. `createSealer()` and `createOpener()` for tests that make many: Deno counts what `node:crypto` holds for a cipher as a
 * resource until it is closed, so a file that makes some says once
 *
 * ```ts ignore
 * Deno.test.afterEach(closeCiphers);
 * ```
 *
 * @module
 */
import * as ciphers from "../../lib/crypto/cipher/ciphers.ts";
import type { DirectionKeys, PacketOpener, PacketSealer } from "../../lib/crypto/types.ts";

const made: (PacketSealer | PacketOpener)[] = [];

/** Makes a sealer that {@linkcode closeCiphers} closes. */
export async function createSealer(cipher: string, mac: string | null, keys: DirectionKeys): Promise<PacketSealer> {
  const sealer = await ciphers.createSealer(cipher, mac, keys);
  made.push(sealer);
  return sealer;
}

/** Makes an opener that {@linkcode closeCiphers} closes. */
export async function createOpener(cipher: string, mac: string | null, keys: DirectionKeys): Promise<PacketOpener> {
  const opener = await ciphers.createOpener(cipher, mac, keys);
  made.push(opener);
  return opener;
}

/** Closes all that were made since it was last called. */
export function closeCiphers(): void {
  for (const cipher of made.splice(0)) cipher.close?.();
}
