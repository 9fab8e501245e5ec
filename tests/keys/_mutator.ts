/** Input for parsers of keys that is nearly right. */
import { seededRandom } from "../_support/duplex.ts";

/** Changes, cuts, doubles and mixes samples, always the same way for the same seed. */
export function mutator(samples: readonly Uint8Array[], seed: number): () => Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const below = (n: number) => Math.floor(random() * n);
  const interesting = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x20, 0x22, 0x2c, 0x3d, 0x5c];
  return () => {
    let bytes = samples[below(samples.length)]!.slice();
    for (let i = below(4); i >= 0 && bytes.length > 0; i--) {
      const at = below(bytes.length);
      switch (below(6)) {
        case 0:
          bytes[at]! ^= 1 << below(8);
          break;
        case 1:
          bytes[at] = interesting[below(interesting.length)]!;
          break;
        case 2:
          bytes = bytes.slice(0, at);
          break;
        case 3:
          bytes = new Uint8Array([...bytes.subarray(0, at), ...bytes.subarray(below(bytes.length))]);
          break;
        case 4:
          bytes.set([0xff, 0xff, 0xff, 0xff].slice(0, bytes.length - at), at);
          break;
        default: {
          const other = samples[below(samples.length)]!;
          bytes = new Uint8Array([...bytes.subarray(0, at), ...other.subarray(below(other.length))]);
        }
      }
    }
    return bytes;
  };
}
