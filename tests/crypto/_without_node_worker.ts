/**
 * Runs the vectors of packets.json with no `process` in sight, as in a browser, and posts which pairs went well: large batches, too, and
 * one in which a byte was changed.
 *
 * @module
 */
import vectors from "../vectors/packets.json" with { type: "json" };

Object.defineProperty(globalThis, "process", { value: undefined });
const { available, createOpener, createSealer } = await import("../../lib/crypto/cipher/ciphers.ts");
const { hasNodeCrypto } = await import("../../lib/crypto/node_crypto.ts");
const { hex, openAll, packet, sealAll } = await import("./_packets.ts");

const done: string[] = [], wrong: string[] = [];
for (const vector of vectors.vectors) {
  const offer = available({ cipher: [vector.cipher], mac: vector.mac === null ? [] : [vector.mac] });
  if (offer.cipher.length === 0 || offer.mac.length === 0 && vector.mac !== null) continue;
  const keys = { key: hex(vector.key), iv: hex(vector.iv), macKey: hex(vector.macKey) };
  const sealer = await createSealer(vector.cipher, vector.mac, keys),
    opener = await createOpener(vector.cipher, vector.mac, keys);
  const plain = vector.packets.map((each) => hex(each.plain)), first = vector.packets[0]!.sequence;
  const chunk = await sealAll(sealer, plain, first);
  const more = [packet(sealer, 100_000), packet(sealer, 1)], second = (first + plain.length) >>> 0;
  const opened = [
    ...await openAll(opener, chunk, first),
    ...await openAll(opener, await sealAll(sealer, more, second), second),
  ];
  const changed = await sealAll(sealer, more, second + 2);
  changed[50_000]! ^= 1;
  const refused = await openAll(opener, changed, second + 2).then(() => false, ({ code }) => code === "MAC_INVALID");
  const good = refused && chunk.toHex() === vector.packets.map((each) => each.sealed).join("") &&
    opened.map((bytes) => bytes.toHex()).join() === [...plain, ...more].map((bytes) => bytes.toHex()).join();
  (good ? done : wrong).push(`${vector.cipher} ${vector.mac ?? ""}`.trim());
}
(globalThis as unknown as { postMessage(message: unknown): void }).postMessage({ node: hasNodeCrypto(), done, wrong });
