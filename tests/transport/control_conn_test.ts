import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { ControlConn, MAX_CONTROL_MESSAGE } from "../../lib/transport/control_conn.ts";
import { memoryPair } from "../_support/duplex.ts";
import { fuzzBytes, mutate } from "../_support/fuzz.ts";
import { controlMessage, Master, RawMaster } from "../_support/raw_master.ts";
import { inTime } from "../_support/until.ts";

/** What a client makes of a master that says this, whatever it hears, and then hangs up. */
async function hears(...said: readonly Uint8Array[]): Promise<Uint8Array | Error> {
  const { client, server } = memoryPair(), master = new RawMaster(server);
  void (async () => {
    while (await master.receive() !== null);
  })();
  void (async () => {
    for (const bytes of said) await master.raw(bytes);
    await master.hangUp();
  })();
  return await inTime(
    (async () => await (await ControlConn.greet(client)).proxy())().catch((error) => error as Error),
    "a control connection",
  );
}

const hello = controlMessage([Master.HELLO, 4]), proxied = controlMessage([Master.PROXIED, 0]);

Deno.test("ControlConn asks for proxy mode, and gives back what came behind the answer", async () => {
  const { client, server } = memoryPair(), master = new RawMaster(server);
  const asking = (async () => await (await ControlConn.greet(client)).proxy())();
  assertEquals(await master.receive(), new Uint8Array([0, 0, 0, 1, 0, 0, 0, 4]));
  // Extensions are the future's.
  const extensions = new Uint8Array([0, 0, 0, 1, 0x61, 0, 0, 0, 0]);
  await Promise.all([
    master.say([Master.HELLO, 4], extensions),
    (async () => {
      assertEquals(await master.receive(), new Uint8Array([0x10, 0, 0, 0x0f, 0, 0, 0, 0]));
      await master.say([Master.PROXIED, 0]);
    })(),
    asking,
  ]);
  assertEquals(await asking, new Uint8Array(0));
  assert(!client.readable.locked && !client.writable.locked);
  await client.writable.close();
  assertEquals(await master.receive(), null);
});

Deno.test("ControlConn tells why a master does not let it in", async () => {
  for (
    const [said, code, text] of [
      [[hello, controlMessage([Master.FAILURE, 0], "unsupported request")], "REQUEST_DENIED", "before OpenSSH 7.4"],
      [
        [hello, controlMessage([Master.DENIED, 0], "Permission\x1b denied")],
        "REQUEST_DENIED",
        '"Permission\ufffd denied"',
      ],
      [[controlMessage([Master.HELLO, 3])], "PROTOCOL_ERROR", "speaks version 3 of the protocol, and 4 is wanted"],
      [[hello, controlMessage([Master.PROXIED, 1])], "PROTOCOL_ERROR", "to request 1"],
      [[hello, controlMessage([0x8000_0001, 0])], "PROTOCOL_ERROR", "message 0x80000001"],
      [[controlMessage([Master.PROXIED, 4])], "PROTOCOL_ERROR", "no master of ssh"],
      [[new TextEncoder().encode("SSH-2.0-OpenSSH_9.2p1\r\n")], "PROTOCOL_ERROR", "no master of ssh"],
      [[new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n")], "PROTOCOL_ERROR", "no master of ssh"],
      // What an agent answers to anything.
      [[new Uint8Array([0, 0, 0, 1, 5])], "PROTOCOL_ERROR", "no master of ssh"],
      [[new Uint8Array([0, 0, 0, 4, 0, 0, 0, 1])], "PROTOCOL_ERROR", "no master of ssh"],
      [[new Uint8Array([0, 1, 0, 1, 0, 0, 0, 1])], "PROTOCOL_ERROR", "no master of ssh"],
      [[], "CONNECTION_LOST", "the master hung up"],
      [[hello.slice(0, 11)], "CONNECTION_LOST", "the master hung up"],
      [[hello], "CONNECTION_LOST", "the master hung up"],
      [[hello, proxied.slice(0, 7)], "CONNECTION_LOST", "the master hung up"],
    ] as const
  ) {
    const error = await hears(...said);
    assertInstanceOf(error, SshError, text);
    assertStringIncludes(error.message, text);
    assertEquals(error.code, code, text);
  }
  assertEquals(MAX_CONTROL_MESSAGE, 65_536);
});

Deno.test("ControlConn makes an SshError or the rest of any bytes, and never waits for what a length claims", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const bytes = seed % 2 === 0 ? fuzzBytes(seed) : mutate(new Uint8Array([...hello, ...proxied, 1, 2, 3]), seed);
    const result = await hears(bytes);
    assert(result instanceof SshError || result instanceof Uint8Array, `seed ${seed}: ${result}`);
  }
});

Deno.test("ControlConn hears of a master that is gone", async () => {
  const pair = memoryPair();
  pair.reset();
  const error = await assertRejects(() => ControlConn.greet(pair.client), SshError, "the master hung up");
  assertEquals(error.code, "CONNECTION_LOST");
});
