/**
 * The plain twin of lib/crypto/cipher/chacha20_poly1305_wasm.ts: written for reading, not for speed or secrecy. The oracle of its tests.
 *
 * @module
 */

const rotate = (x: number, bits: number) => (x << bits | x >>> (32 - bits)) >>> 0;

/** ChaCha20 with a 64-bit nonce and a counter below 2^32. */
export function chacha20(key: Uint8Array, nonce: Uint8Array, counter: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data);
  const words = (bytes: Uint8Array) =>
    Array.from({ length: bytes.length / 4 }, (_, i) => new DataView(bytes.slice().buffer).getUint32(4 * i, true));
  const constants = words(new TextEncoder().encode("expand 32-byte k"));
  for (let offset = 0, block = counter; offset < out.length; offset += 64, block++) {
    const initial = [...constants, ...words(key), block, 0, ...words(nonce)];
    const x = [...initial];
    const quarter = (a: number, b: number, c: number, d: number) => {
      for (const [bits1, bits2] of [[16, 12], [8, 7]] as const) {
        x[a] = (x[a]! + x[b]!) >>> 0;
        x[d] = rotate(x[d]! ^ x[a]!, bits1);
        x[c] = (x[c]! + x[d]!) >>> 0;
        x[b] = rotate(x[b]! ^ x[c]!, bits2);
      }
    };
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i);
      for (let i = 0; i < 4; i++) quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    const stream = new Uint8Array(64), view = new DataView(stream.buffer);
    x.forEach((word, i) => view.setUint32(4 * i, (word + initial[i]!) >>> 0, true));
    for (let i = 0; i < 64 && offset + i < out.length; i++) out[offset + i]! ^= stream[i]!;
  }
  return out;
}

function number(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = value << 8n | BigInt(bytes[i]!);
  return value;
}

/** Poly1305. */
export function poly1305(key: Uint8Array, data: Uint8Array): Uint8Array {
  const r = number(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn, s = number(key.subarray(16, 32));
  let sum = 0n;
  for (let offset = 0; offset < data.length; offset += 16) {
    const block = data.subarray(offset, offset + 16);
    sum = (sum + number(block) + (1n << BigInt(8 * block.length))) * r % ((1n << 130n) - 5n);
  }
  sum += s;
  return Uint8Array.from({ length: 16 }, (_, i) => Number(sum >> BigInt(8 * i) & 0xffn));
}

/** The packet on the wire, tag included (OpenSSH PROTOCOL.chacha20poly1305). */
export function sealPacket(key: Uint8Array, sequence: number, packet: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(8), payloadKey = key.subarray(0, 32), lengthKey = key.subarray(32);
  new DataView(nonce.buffer).setUint32(4, sequence);
  const sealed = new Uint8Array(packet.length + 16);
  sealed.set(chacha20(lengthKey, nonce, 0, packet.subarray(0, 4)));
  sealed.set(chacha20(payloadKey, nonce, 1, packet.subarray(4)), 4);
  sealed.set(poly1305(chacha20(payloadKey, nonce, 0, new Uint8Array(32)), sealed.subarray(0, -16)), packet.length);
  return sealed;
}
