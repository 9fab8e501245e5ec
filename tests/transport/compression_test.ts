import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createCompressor, createDecompressor } from "../../lib/transport/compression.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import { Prng } from "../_support/fuzz.ts";
import { lz77Compressor } from "../_support/lz77.ts";
import vectors from "../vectors/zlib.json" with { type: "json" };

const LIMIT = 262_144;

async function pair() {
  return {
    compressor: (await createCompressor("zlib@openssh.com"))!,
    decompressor: (await createDecompressor("zlib@openssh.com"))!,
  };
}

/** A peer that compresses with a dictionary, which expands better. */
async function peer() {
  return { compressor: lz77Compressor(), decompressor: (await createDecompressor("zlib@openssh.com"))! };
}

function random(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536));
  return bytes;
}

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** The payload expands past the limit, or is broken: disconnect reason 6, and nothing more afterwards. */
function assertRefused(
  decompressor: { decompress(payload: Uint8Array, limit: number): Uint8Array },
  payload: Uint8Array,
) {
  const error = assertThrows(() => decompressor.decompress(payload, LIMIT), SshProtocolError);
  assertEquals(error.reason, 6);
  assertThrows(() => decompressor.decompress(new Uint8Array(0), LIMIT), SshProtocolError, "broken before");
}

Deno.test("decompress() keeps its context from packet to packet, as peers write theirs", async () => {
  const { compressor, decompressor } = await peer();
  const block = random(20_000), sizes: number[] = [];
  for (let i = 0; i < 10; i++) {
    const packed = compressor.compress(block);
    sizes.push(packed.length);
    assertEquals(decompressor.decompress(packed, LIMIT), block);
  }
  assert(sizes[0]! > 20_000 && sizes[1]! < 400, `sizes ${sizes}`);
});

Deno.test("compress() and decompress() pass payloads of all sizes and kinds", async () => {
  const { compressor, decompressor } = await pair();
  for (let i = 0; i < 120; i++) {
    const size = i < 40 ? i : Math.floor(Math.random() ** 3 * 60_000);
    const payload = i % 3 === 0
      ? random(size)
      : i % 3 === 1
      ? new Uint8Array(size).fill(i)
      : random(size).map((b) => b & 3);
    const packed = compressor.compress(payload);
    assertEquals(decompressor.decompress(packed, LIMIT), payload);
  }
  for (const payload of [random(LIMIT), new Uint8Array(LIMIT)]) {
    assertEquals(decompressor.decompress(compressor.compress(payload), LIMIT), payload);
  }
});

/** The letters of a text in another order. */
function shuffled(text: string, seed: number): string {
  const prng = new Prng(seed), letters = [...text];
  for (let i = letters.length - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    [letters[i], letters[j]] = [letters[j]!, letters[i]!];
  }
  return letters.join("");
}

for (const name of ["zlib", "zlib@openssh.com"]) {
  Deno.test(`${name}: what repeats a secret is as long as the same letters in any other order, in other packets and in the same`, async () => {
    const secret = "Cookie: session=6f1b2c9e84d07a35; user=alice; path=/admin";
    const right = secret.slice(8, 32), wrong = Array.from({ length: 20 }, (_, i) => shuffled(right, i));
    const encoder = new TextEncoder();
    /** Bytes that a guess takes behind the secret in a packet of its own, and those of a packet with both. */
    const lengths = async (guess: string): Promise<number[]> => {
      const compressor = (await createCompressor(name))!;
      compressor.compress(encoder.encode(secret));
      const alone = compressor.compress(encoder.encode(guess)).length;
      const again = compressor.compress(encoder.encode(guess)).length;
      return [alone, again, compressor.compress(encoder.encode(`${secret} ${guess}`)).length];
    };
    const seen = await lengths(right);
    for (const guess of wrong) assertEquals(await lengths(guess), seen, guess);
    // With a dictionary the lengths tell.
    const leaking = (guess: string): number => {
      const compressor = lz77Compressor();
      compressor.compress(encoder.encode(secret));
      return compressor.compress(encoder.encode(guess)).length;
    };
    assert(wrong.every((guess) => leaking(guess) > leaking(right) + 8));
  });
}

Deno.test("compress() still makes text shorter, and forgets it at once", async () => {
  const { compressor, decompressor } = await pair();
  const text = new TextEncoder().encode(
    "It was a bright cold day in April, and the clocks were striking thirteen. ".repeat(100),
  );
  const sizes = Array.from({ length: 5 }, () => {
    const packed = compressor.compress(text);
    assertEquals(decompressor.decompress(packed, LIMIT), text);
    return packed.length;
  });
  assert(Math.max(...sizes) < 0.6 * text.length, `${sizes}`);
  assert(Math.max(...sizes) - Math.min(...sizes) <= 4, `${sizes}`);
});

Deno.test("compress() grows by little where nothing can be saved", async () => {
  const { compressor } = await pair();
  for (const size of [1, 100, 32_768, LIMIT]) assert(compressor.compress(random(size)).length < size * 1.001 + 40);
});

Deno.test("decompress() takes expansion by a factor of 2 to 100 and refuses what passes the limit", async () => {
  for (const size of [LIMIT - 1, LIMIT]) {
    const { compressor, decompressor } = await peer();
    assertEquals(decompressor.decompress(compressor.compress(new Uint8Array(size)), LIMIT).length, size);
  }
  for (const size of [LIMIT + 1, 64 * LIMIT]) {
    const { compressor, decompressor } = await peer();
    assertRefused(decompressor, compressor.compress(new Uint8Array(size)));
  }
  const { compressor, decompressor } = await peer();
  for (const factor of [2, 10, 100]) {
    const payload = new Uint8Array(LIMIT / 2);
    payload.set(random(payload.length / factor));
    assertEquals(decompressor.decompress(compressor.compress(payload), LIMIT), payload);
  }
});

Deno.test("decompress() does not let a bomb of 64 MB allocate more than the limit", async () => {
  const { compressor, decompressor } = await peer();
  const bomb = compressor.compress(new Uint8Array(64_000_000));
  assert(bomb.length <= LIMIT);
  const before = Deno.memoryUsage();
  assertRefused(decompressor, bomb);
  const after = Deno.memoryUsage();
  assert(after.external - before.external < 4 * LIMIT && after.rss - before.rss < 32 * LIMIT);
});

Deno.test("decompress() refuses a broken stream, and one that ends", async () => {
  const { compressor } = await pair();
  const packed = compressor.compress(new TextEncoder().encode("a payload that is compressed, a payload"));
  for (
    const bad of [
      Uint8Array.of(0, 0, 0),
      Uint8Array.of(0x78, 0x9c, 0xff, 0xff),
      random(50).fill(0x78, 0, 1).fill(0, 1, 2),
    ]
  ) {
    assertRefused((await createDecompressor("zlib"))!, bad);
  }
  // A last block, with the right and with a wrong checksum.
  for (const end of [[3, 0, 0, 0, 0, 1], [3, 0, 9, 9, 9, 9]]) {
    assertRefused((await createDecompressor("zlib"))!, Uint8Array.of(...packed.subarray(0, 2), ...end));
  }
});

Deno.test("decompress() gives nothing for a packet cut off, and never more than was sent", async () => {
  const payload = new TextEncoder().encode("some text to be compressed, some text to be cut");
  const { compressor } = await pair();
  const packed = compressor.compress(payload);
  for (let length = 0; length < packed.length; length++) {
    const decompressor = (await createDecompressor("zlib"))!;
    const part = decompressor.decompress(packed.subarray(0, length), LIMIT);
    assertEquals(part, payload.subarray(0, part.length));
  }
});

Deno.test("decompress() reads what zlib wrote with partial flushes, and with full and sync flushes", async () => {
  assertEquals(vectors.vectors.length, 3);
  for (const vector of vectors.vectors) {
    const decompressor = (await createDecompressor("zlib"))!;
    assertEquals(vector.packets.length, 6);
    for (const { plain, packed } of vector.packets) {
      assertEquals(decompressor.decompress(hex(packed), LIMIT), hex(plain));
    }
  }
});

Deno.test("compress() keeps streams of several connections apart", async () => {
  const pairs = [await pair(), await pair(), await pair()];
  for (let i = 0; i < 20; i++) {
    const payloads = pairs.map(() => random(100 + i).map((byte) => byte & 15));
    const packed = pairs.map(({ compressor }, k) => compressor.compress(payloads[k]!));
    const plain = pairs.map(({ decompressor }, k) => decompressor.decompress(packed[k]!, LIMIT));
    assertEquals(plain, payloads);
  }
});

Deno.test("createCompressor() knows none, zlib and zlib@openssh.com", async () => {
  assertEquals([await createCompressor("none"), await createDecompressor("none")], [null, null]);
  assert(await createCompressor("zlib") !== null);
  await assertRejects(async () => void await createCompressor("lzma"), TypeError, '"lzma"');
  await assertRejects(async () => void await createDecompressor(""), TypeError);
});
