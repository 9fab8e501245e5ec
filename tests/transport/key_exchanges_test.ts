/** When exchanges start, without pipes: what each side sends is handed to the other by the test. */
import { assertEquals } from "@std/assert";
import { generateKey } from "../../lib/keys/private_key.ts";
import { KeyExchanges } from "../../lib/transport/key_exchanges.ts";
import type { OutboundKeys, Outbox } from "../../lib/transport/outbox.ts";
import { exchangeOptions, type SecureTransportOptions } from "../../lib/transport/transport_options.ts";
import { WorkShare } from "../../lib/transport/work_share.ts";
import { Msg } from "../../lib/wire/numbers.ts";

/** One side. */
class Side {
  readonly exchanges: KeyExchanges;
  /** What waits to leave. */
  readonly sent: { readonly payload: Uint8Array; readonly keys: OutboundKeys | null }[] = [];
  readonly errors: Error[] = [];
  #received = 0;

  constructor(options: SecureTransportOptions) {
    const sendKex = (payload: Uint8Array, keys: OutboundKeys | null = null): void =>
      void this.sent.push({ payload, keys });
    this.exchanges = new KeyExchanges(
      exchangeOptions({ ...options, rekey: { bytes: 10_000 } }, "SSH-2.0-test", () => "SSH-2.0-test", () => ""),
      {
        outbox: { sendKex, hold: () => {}, release: () => {}, compressAfterLast: () => {} } as unknown as Outbox,
        useInbound: (opener) => opener.close?.(),
        asked: () => {},
        share: new WorkShare(),
        fail: (error) => void this.errors.push(error),
        trace: () => {},
      },
    );
  }

  /** Types of what waits to leave. */
  get waiting(): (number | undefined)[] {
    return this.sent.map(({ payload }) => payload[0]);
  }

  /** What waits leaves, up to and with a message of a type, and is taken by the other side. */
  async leave(to: Side, type: number): Promise<void> {
    for (;;) {
      const { payload, keys } = this.sent.shift()!;
      this.exchanges.sent(1, payload.length);
      keys?.sealer.close?.();
      keys?.inForce?.();
      await to.take(payload);
      if (payload[0] === type) return;
    }
  }

  async take(payload: Uint8Array): Promise<void> {
    if (payload[0]! >= 20) await this.exchanges.receive(payload, this.#received++);
  }
}

Deno.test("KeyExchanges start none for the volume of keys that are about to be replaced, where the peer's NEWKEYS comes first", async () => {
  const hostKey = await generateKey();
  const client = new Side({ role: "client", verifyHostKey: () => true });
  const server = new Side({ role: "server", hostKeys: [hostKey] });
  /** An exchange, but for the server's NEWKEYS. */
  const exchange = async (): Promise<void> => {
    await server.leave(client, Msg.KEXINIT);
    await client.leave(server, Msg.KEXINIT);
    await client.leave(server, Msg.KEX_INIT);
    await server.leave(client, Msg.KEX_REPLY);
    await client.leave(server, Msg.NEWKEYS);
  };
  client.exchanges.begin();
  server.exchanges.begin();
  await exchange();
  await server.leave(client, Msg.NEWKEYS);
  server.sent.length = client.sent.length = 0;
  for (const { exchanges } of [client, server]) exchanges.loggedIn();

  server.exchanges.sent(1, 10_000);
  assertEquals(server.waiting, [Msg.KEXINIT]);
  await exchange();
  assertEquals([server.exchanges.running, server.waiting], [false, [Msg.NEWKEYS]]);
  server.exchanges.renewIfDue();
  await server.leave(client, Msg.NEWKEYS);
  server.exchanges.renewIfDue();
  assertEquals(server.waiting, []);

  // The volume of the new keys counts again.
  server.exchanges.sent(1, 10_000);
  assertEquals(server.waiting, [Msg.KEXINIT]);
  assertEquals([...client.errors, ...server.errors], []);
  for (const { exchanges } of [client, server]) exchanges.end(new Error("over"));
});
