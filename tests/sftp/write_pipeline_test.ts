/** How far a write to a remote file is ahead of its answers, whatever the sizes of what it is given. */
import { assert, assertEquals } from "@std/assert";
import { FIRST_WINDOW, LAST_WINDOW } from "../../lib/sftp/remote/flight_window.ts";
import type { Pending, SftpSession } from "../../lib/sftp/remote/session.ts";
import { WritePipeline } from "../../lib/sftp/remote/write_pipeline.ts";
import { Status } from "../../lib/files/limits.ts";
import { StatusReply } from "../../lib/sftp/wire/messages.ts";
import { settle, stateOf } from "../_support/fake_transport.ts";
import { pattern } from "../_support/sftp_peers.ts";

const PIECE = 32_768;

/** A session that answers when it is told to, and remembers what it was sent. */
function scripted(onWrite: (offset: number, bytes: Uint8Array) => void) {
  const pending: Pending[] = [];
  const session = {
    maxWrite: PIECE,
    ended: null,
    sending: null,
    written: 0,
    send(one: Pending, put: (out: unknown, id: number) => void) {
      pending.push(one);
      put({ write: (_id: number, _handle: unknown, offset: number, bytes: Uint8Array) => onWrite(offset, bytes) }, 0);
    },
    closeHandle: () => Promise.resolve(),
  };
  const reply = StatusReply.encode({ id: 0, status: Status.OK, text: "", language: "" });
  return {
    session: session as unknown as SftpSession,
    pending,
    /** Answers all that came. */
    answer: () => pending.splice(0).forEach((one) => one.reply(reply)),
  };
}

Deno.test("WritePipeline.write() waits where the window is full, of whatever sizes the writes are", async () => {
  for (const size of [1000, 1024, 8192, PIECE / 2, PIECE, 40_000]) {
    const bytes = pattern(3 * FIRST_WINDOW), there = new Uint8Array(bytes.length);
    const peer = scripted((offset, part) => there.set(part, offset));
    const pipeline = new WritePipeline(peer.session, new Uint8Array(1), "f", { offset: 0 });
    let given = 0, isDone = false;
    const writing = (async () => {
      for (; given < bytes.length; given += size) {
        // Once it is written, the memory is the caller's again.
        const part = bytes.slice(given, given + size);
        await pipeline.write(part);
        part.fill(0);
      }
      await pipeline.finish();
      isDone = true;
    })();
    // Each write takes a turn of its own.
    for (let n = 0; n < 3 * bytes.length / size / 50; n++) await settle();
    assertEquals(await stateOf(writing), "pending");
    assert(given <= FIRST_WINDOW + PIECE, `${given} bytes of writes of ${size} were taken, and none was answered`);
    for (let n = 0; n < 100_000 && !isDone; n++) {
      peer.answer();
      await settle();
    }
    await writing;
    assertEquals(there, bytes);
  }
});

Deno.test("WritePipeline is not farther ahead of what is whole with the last bytes of a file either", async () => {
  let most = 0;
  const sent = (offset: number, bytes: Uint8Array): void => {
    most = Math.max(most, offset + bytes.length - pipeline.whole);
  };
  const first = scripted(sent), second = scripted(sent);
  const pipeline: WritePipeline = new WritePipeline(first.session, new Uint8Array(1), "f", {
    offset: 0,
    again: (_offset, length) => Promise.resolve(new Uint8Array(length)),
  });
  const piece = new Uint8Array(PIECE);
  pipeline.write(piece);
  assert(pipeline.join(second.session, new Uint8Array(1)));
  let isDone = false;
  const writing = (async () => {
    do await pipeline.write(piece); while (second.pending.length === 0);
    const behind = pipeline.offset - PIECE;
    while (pipeline.offset < behind + LAST_WINDOW) await pipeline.write(piece);
    // Less than a request: it is gathered, and leaves at the end.
    await pipeline.write(piece.subarray(0, 1000));
    await pipeline.finish();
    isDone = true;
  })();
  for (let n = 0; n < 2000; n++) {
    first.answer();
    await settle();
  }
  assert(!isDone && most > LAST_WINDOW / 2);
  for (let n = 0; n < 100_000 && !isDone; n++) {
    second.answer();
    first.answer();
    await settle();
  }
  await writing;
  assert(most <= LAST_WINDOW, `${most} bytes ahead`);
});
