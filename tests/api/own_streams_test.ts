/** This program's own output, where the pipe behind it is full and does not wait: what rsync makes of its child's. */
import { assertEquals, assertRejects } from "@std/assert";
import { ownStream } from "../../lib/api/own_streams.ts";
import { pattern } from "../_support/sftp_peers.ts";
import { turns } from "../_support/until.ts";

/** Standard output that says how much it takes of each write: nothing is an error, as of a pipe that is full. */
async function withOutput(takes: () => number, test: (got: number[]) => Promise<void>): Promise<void> {
  const { write } = Deno.stdout, got: number[] = [];
  Deno.stdout.write = (p) => {
    const length = Math.min(takes(), p.length);
    if (length === 0) {
      return Promise.reject(new Deno.errors.WouldBlock("Resource temporarily unavailable (os error 11)"));
    }
    got.push(...p.subarray(0, length));
    return Promise.resolve(length);
  };
  try {
    await test(got);
  } finally {
    Deno.stdout.write = write;
  }
}

Deno.test("ownStream() writes on when a pipe that does not wait has room again, and loses nothing", async () => {
  let count = 0;
  await withOutput(() => count++ % 4 === 3 ? 700 : 0, async (got) => {
    const bytes = pattern(5_000), writer = ownStream("stdout").getWriter();
    await writer.write(bytes.subarray(0, 3_000));
    await writer.write(bytes.subarray(3_000));
    await writer.close();
    assertEquals(got, [...bytes]);
  });
});

Deno.test("ownStream() tries no longer once it is aborted, and hands on what fails otherwise", async () => {
  let tries = 0;
  await withOutput(() => (tries++, 0), async () => {
    const writer = ownStream("stdout").getWriter(), written = writer.write(pattern(10));
    await turns();
    await Promise.all([writer.abort(new Error("enough")), assertRejects(() => written, Error, "enough")]);
    const before = tries;
    await turns(20);
    assertEquals(tries, before);
  });
  const broken = (): number => {
    throw new Deno.errors.BrokenPipe("gone");
  };
  await withOutput(broken, async () => {
    await assertRejects(() => ownStream("stdout").getWriter().write(pattern(10)), Deno.errors.BrokenPipe);
  });
});
