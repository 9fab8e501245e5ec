/**
 * Opens AES-GCM with `node:crypto` and without WebAssembly, as where a program runs without a compiler, and posts what came of it.
 *
 * @module
 */
Object.defineProperty(globalThis, "WebAssembly", { value: undefined });
const { createOpener, createSealer } = await import("../../lib/crypto/cipher/ciphers.ts");
const { openAll, packet, randomKeys, sealAll } = await import("./_packets.ts");

let unhandled = 0;
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  unhandled++;
});

const name = "aes128-gcm@openssh.com", keys = randomKeys(name, null);
const sealer = await createSealer(name, null, keys), opener = await createOpener(name, null, keys);
const packets = [packet(sealer, 32_768), packet(sealer, 16)];
const opened = await openAll(opener, await sealAll(sealer, packets, 0), 0);
const same = opened.map((bytes) => bytes.toHex()).join() === packets.map((bytes) => bytes.toHex()).join();
const codes: string[] = [];
for (let i = 0; i < 3; i++) {
  const changed = await sealAll(sealer, packets, 2);
  changed[100]! ^= 1;
  changed[changed.length - 1]! ^= 1;
  await openAll(opener, changed, 2).catch(({ code }) => codes.push(code));
}
// WebCrypto says so later.
for (let i = 0; i < 20; i++) {
  await crypto.subtle.digest("SHA-256", new Uint8Array(100_000));
  await new Promise((resolve) => setTimeout(resolve));
}
(globalThis as unknown as { postMessage(message: unknown): void }).postMessage({ same, codes, unhandled });
