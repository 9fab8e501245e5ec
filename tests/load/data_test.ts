/**
 * Data both ways at once through many rekeys, held to the byte by its hash.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import type { ServerSession } from "../../mod.ts";
import { text } from "../_support/joined.ts";
import { seededBytes } from "../_support/duplex.ts";
import { assertGivenBack, holdings, sized } from "../_support/resources.ts";
import { client, fast, startServer } from "../_support/load.ts";

const BLOCK = 2 ** 20;

/** Bytes that never repeat: a block that is numbered each time. */
function numberedBlocks(seed: number): (length: number) => Uint8Array {
  const block = seededBytes(BLOCK, seed), view = new DataView(block.buffer);
  let number = 0;
  return (length) => {
    for (let at = 0; at + 4 <= BLOCK; at += 4096) view.setUint32(at, number);
    number++;
    return block.subarray(0, length);
  };
}

/** Writes `length` numbered bytes; returns their hash. */
async function send(writable: WritableStream<Uint8Array>, length: number, seed: number): Promise<string> {
  const blocks = numberedBlocks(seed), hash = createHash("sha256"), writer = writable.getWriter();
  for (let left = length; left > 0; left -= BLOCK) {
    const block = blocks(Math.min(left, BLOCK));
    hash.update(block);
    await writer.write(block);
  }
  await writer.close();
  return hash.digest("hex");
}

/** Reads to the end; returns the hash. */
async function receive(readable: ReadableStream<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of readable) hash.update(chunk);
  return hash.digest("hex");
}

/** Sends as much as it is told while it receives, and then tells both hashes. */
async function exchange(session: ServerSession): Promise<void> {
  const [sent, received] = await Promise.all([
    send(session.stdout, Number(session.command), 2),
    receive(session.stdin),
  ]);
  const writer = session.stderr.getWriter();
  await writer.write(new TextEncoder().encode(`${sent} ${received}`));
}

interface Run {
  readonly bytes: number;
  readonly rekey: number;
}

const runs: readonly Run[] = sized(
  [{ bytes: 256 * BLOCK, rekey: BLOCK }],
  [{ bytes: 20 * 1024 * BLOCK, rekey: BLOCK }, { bytes: 2 * 1024 * BLOCK, rekey: 16_384 }],
);

for (const { bytes, rekey } of runs) {
  Deno.test(`${bytes / BLOCK} MiB each way at once, with new keys each ${rekey / 1024} KiB, arrive as they were sent`, async () => {
    let renewed = 0;
    await using server = await startServer({
      handler: exchange,
      rekey: { bytes: rekey },
      trace: ({ event }) => {
        if (event === "keys") renewed++;
      },
    });
    const before = await holdings();
    {
      await using connection = await client(server, { rekey: { bytes: rekey }, algorithms: fast });
      const process = await connection.spawn(String(bytes));
      const [sent, received, told] = await Promise.all([
        send(process.stdin, bytes, 1),
        receive(process.stdout),
        new Response(process.stderr).text(),
      ]);
      assertEquals(told, `${received} ${sent}`);
      assertEquals((await process.status).code, 0);
      // What was sealed in one piece leaves under the keys that it was sealed with, and so does what is on its way meanwhile.
      assert(renewed >= bytes / Math.max(rekey, 2 ** 19) / 2, `only ${renewed} exchanges`);
      assertEquals(text((await connection.exec("0", { stdin: "null" })).stderr).length, 129);
    }
    await assertGivenBack(before);
  });
}
