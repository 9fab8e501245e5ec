/**
 * Sessions with OpenSSH as they were recorded (`deno task record` makes tests/recordings anew, tests never do): with the same
 * randomness and the same bytes from the peer, this side sends the same bytes, and the application sees the same.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { playSession, recordingsDir } from "../_support/recorded_sessions.ts";
import { type Recording, Replay } from "../_support/recording.ts";

const recordings = [...Deno.readDirSync(recordingsDir)].map(({ name }) => name)
  .filter((name) => /^(client|server)_.*\.json$/.test(name)).sort()
  .map((name): [string, Recording] => [name, JSON.parse(Deno.readTextFileSync(new URL(name, recordingsDir)))]);

/** Base64 digits that any recorded direction has at least. */
const LEAST = 5_000;
/** Base64 digits of both directions of the recording with the large transfer. */
const LARGE = 140_000;

Deno.test("recordings hold each role, version and cipher family, and none is empty", () => {
  const expected = ["openssh9_2", "openssh10"].flatMap((version) =>
    ["chacha20", "aes128_gcm", "aes256_ctr_etm", "aes256_ctr_mac", ...version === "openssh10" ? ["zlib"] : []]
      .flatMap((family) => [`client_${version}_${family}.json`, `server_${version}_${family}.json`])
  );
  assertEquals(recordings.length, 18);
  assertEquals(recordings.map(([name]) => name), expected.sort());
  for (const [name, { side, size, seen, events, ours, theirs, peer }] of recordings) {
    const quiet = events.filter(([, what]) => what === "quiet").length;
    const chunks = events.filter(([, what]) => typeof what === "number").length;
    assertEquals(quiet, side === "client" ? 5 : 4, name);
    assert(chunks > 8, `${name}: ${chunks} chunks`);
    assert(theirs.length > LEAST && ours.length > LEAST, name);
    if (name.includes("chacha20")) assert(ours.length + theirs.length > LARGE, name);
    assertEquals(seen.keyExchanges, 2, name);
    assertEquals(seen.strictKex, true, name);
    assertEquals(seen.ended, "cleanly", name);
    assertEquals(seen.catCode, side === "client" ? 0 : undefined, name);
    assert((seen.catStdoutLength ?? seen.stdinLength) === (side === "client" ? size : size / 6), name);
    assert(peer.includes("OpenSSH") && String(seen.remoteIdent).startsWith("SSH-2.0-OpenSSH_"), name);
  }
});

for (const [name, recording] of recordings) {
  const symbol = recording.side === "client" ? "connect()" : "serveConn()";
  const what = `session ${name.replace(".json", "")} with ${recording.peer}`;
  Deno.test(`${symbol} sends and sees what it did in the ${what}`, async () => {
    using replay = new Replay(recording, "recorded");
    assertEquals(await replay.check(playSession(recording, replay)), recording.seen);
  });
  Deno.test(`${symbol} sends and sees what it did in the ${what}, byte by byte`, async () => {
    using replay = new Replay(recording, "bytes");
    assertEquals(await replay.check(playSession(recording, replay)), recording.seen);
  });
}

/** The smallest, and what it becomes when a byte in the middle of a direction is another one. */
function changed(side: "client" | "server", direction: "ours" | "theirs"): Recording {
  const [, recording] = recordings.find(([name]) => name === `${side}_openssh10_aes128_gcm.json`)!;
  const bytes = Uint8Array.fromBase64(recording[direction]);
  bytes[bytes.length >> 1]! ^= 1;
  return { ...recording, [direction]: bytes.toBase64() };
}

for (const side of ["client", "server"] as const) {
  for (const direction of ["ours", "theirs"] as const) {
    Deno.test(`Replay fails when one byte of ${direction} in a ${side}'s recording is another one`, async () => {
      const recording = changed(side, direction);
      using replay = new Replay(recording, "recorded");
      await assertRejects(() => replay.check(playSession(recording, replay)), Error, "Cannot replay recording");
    });
  }
}
