/**
 * chacha20-poly1305@openssh.com as key files use it: packet 0, without a length in front. OpenSSH PROTOCOL.chacha20poly1305,
 * PROTOCOL.key. No I/O.
 *
 * @module
 */
import { FREE, instantiateChacha } from "../../crypto/cipher/chacha20_poly1305_wasm.ts";
import { equalBytes } from "../../crypto/constant_time.ts";
import type { Bytes } from "../../wire/types.ts";

/** Where things lie in the memory of 64 KiB: more than any key file that is looked at. */
const KEY = FREE;
const NONCE = KEY + 32;
const FIRST_BLOCKS = NONCE + 16;
const TAG = FIRST_BLOCKS + 256;
const DATA = TAG + 16;

/** Plaintext, or null when the tag is wrong. Of the 64 bytes of `key` the second half, for lengths, is not used. */
export function chachaFileDecrypt(key: Bytes, body: Bytes, tag: Bytes): Bytes | null {
  const { memory, functions } = instantiateChacha(1);
  memory.set(key.subarray(0, 32), KEY);
  memory.set(body, DATA);
  functions.keystream(KEY, NONCE, 0, FIRST_BLOCKS);
  functions.poly1305(FIRST_BLOCKS, DATA, body.length, TAG);
  if (!equalBytes(memory.subarray(TAG, TAG + 16), tag)) return null;
  functions.chacha20(KEY, NONCE, 1, DATA, body.length);
  const plain = memory.slice(DATA, DATA + body.length);
  memory.fill(0);
  return plain;
}
