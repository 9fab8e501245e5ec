/**
 * Hashes messages with no `process` in sight, as in a browser, and posts the hashes.
 *
 * @module
 */
Object.defineProperty(globalThis, "process", { value: undefined });
const { hasNodeCrypto } = await import("../../lib/crypto/node_crypto.ts");
const { hashMessage } = await import("../../lib/keys/sshsig/message_hash.ts");

const chunks = [1, 300_000, 0, 77].map((length, i) => new Uint8Array(length).fill(i + 1));
const hashes: string[] = [];
for (const hash of ["sha256", "sha512"] as const) {
  hashes.push((await hashMessage(hash, ReadableStream.from(chunks))).toHex());
  hashes.push((await hashMessage(hash, new Uint8Array(await new Blob(chunks).arrayBuffer()))).toHex());
}
(globalThis as unknown as { postMessage(message: unknown): void }).postMessage({ node: hasNodeCrypto(), hashes });
