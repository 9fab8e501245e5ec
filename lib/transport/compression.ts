/** temporary */
import type { Compressor, Decompressor } from "../crypto/types.ts";
export function createCompressor(_name: string): Promise<Compressor | null> {
  return Promise.resolve(null);
}
export function createDecompressor(_name: string): Promise<Decompressor | null> {
  return Promise.resolve(null);
}
