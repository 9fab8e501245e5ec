// deno-lint-ignore-file no-console -- a program that prints
/**
 * Bench. What packet protection costs: for each cipher whose name `--only` has a part of, and each packet size, a batch of at most
 * 256 KiB is sealed and opened again and again, each way timed on its own.
 *
 * @module
 */
import { ciphers, createOpener, createSealer } from "../../lib/crypto/cipher/ciphers.ts";
import type { PacketFrame } from "../../lib/crypto/types.ts";
import type { Figure } from "../harness.ts";
import type { Bench } from "../support/bench.ts";

const MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"];

async function measure(cipher: string, mac: string | null, size: number, count: number, milliseconds: number) {
  const info = ciphers.get(cipher)!;
  const keys = { key: new Uint8Array(info.keyLength), iv: new Uint8Array(info.ivLength), macKey: new Uint8Array(32) };
  if (mac === null) keys.macKey = new Uint8Array(0);
  const sealer = await createSealer(cipher, mac, keys), opener = await createOpener(cipher, mac, keys);
  const length = size + (sealer.lengthPadded ? 12 : 16), each = 4 + length + sealer.tagLength;
  const ends = Array.from({ length: count }, (_, i) => (i + 1) * each);
  let sequence = 0, packets = 0, sealing = 0, opening = 0;
  const until = performance.now() + milliseconds;
  let warm = false;
  while (performance.now() < until) {
    if (!warm && performance.now() > until - milliseconds * 0.7) {
      warm = true;
      packets = sealing = opening = 0;
    }
    const t0 = performance.now();
    const workspace = sealer.workspace(count * each);
    for (let i = 0; i < count; i++) {
      new DataView(workspace.buffer, workspace.byteOffset + i * each).setUint32(0, length);
    }
    const sealed = sealer.seal(workspace, ends, sequence);
    const chunk = sealed instanceof Promise ? await sealed : sealed;
    const t1 = performance.now();
    const frames: PacketFrame[] = [];
    for (let i = 0; i < count; i++) {
      frames.push({ offset: i * each, length: opener.packetLength(chunk, i * each, (sequence + i) >>> 0) });
    }
    const opened = opener.open(chunk, frames, sequence);
    if (opened instanceof Promise) await opened;
    const t2 = performance.now();
    sequence += count;
    packets += count;
    sealing += t1 - t0;
    opening += t2 - t1;
  }
  const rate = (time: number) => `${(packets * size / time / 1000).toFixed(0).padStart(5)} MB/s`;
  const cost = (time: number) => `${(1000 * time / packets).toFixed(2).padStart(7)} us`;
  console.log(
    `${size.toString().padStart(6)} B x${count.toString().padEnd(4)} seal ${cost(sealing)} ${rate(sealing)}   ` +
      `open ${cost(opening)} ${rate(opening)}`,
  );
}

/** Prints its own lines: no other contender runs here. */
export async function packetProtection({ settings }: Bench): Promise<Figure[]> {
  const { only } = settings;
  for (const info of ciphers.values()) {
    if (info.insecure || only.length > 0 && !only.some((part) => info.name.includes(part))) continue;
    for (const mac of info.aead ? [null] : MACS) {
      console.log(`${info.name} ${mac ?? ""}`);
      for (
        const [size, count] of [[64, 1], [64, 100], [1024, 1], [4096, 1], [32_768, 1], [32_768, 2], [
          32_768,
          8,
        ]] as const
      ) {
        await measure(info.name, mac, size, count, settings.quick ? 100 : 300);
      }
    }
  }
  return [];
}
