import { assert, assertEquals, assertThrows } from "@std/assert";
import { ciphers } from "../../lib/crypto/cipher/ciphers.ts";
import { RekeyPolicy } from "../../lib/transport/rekey_policy.ts";
import type { NegotiatedDirection } from "../../lib/transport/types.ts";

const direction = (cipher: string): NegotiatedDirection => ({ cipher, mac: null, compression: "none" });
const chacha = direction("chacha20-poly1305@openssh.com");
const GIB = 2 ** 30;

function policy(...args: ConstructorParameters<typeof RekeyPolicy>): RekeyPolicy {
  const made = new RekeyPolicy(...args);
  made.renewedOutbound(chacha);
  made.renewedInbound(chacha);
  return made;
}

Deno.test("RekeyPolicy is due at 1 GiB, 2^31 packets and each hour unless told otherwise", () => {
  assertEquals(policy().interval, 3_600_000);
  for (const count of ["sent", "received"] as const) {
    const bytes = policy();
    bytes[count](1, GIB - 1);
    assert(!bytes.due);
    bytes[count](1, 1);
    assert(bytes.due && bytes.exhausted);
    const packets = policy();
    packets[count](2 ** 31 - 1, 0);
    assert(!packets.due);
    packets[count](1, 0);
    assert(packets.due && packets.exhausted);
  }
});

// Row 23: sequence numbers, which are nonces of chacha20-poly1305, never come near their wrap.
Deno.test("RekeyPolicy lets nobody raise the limit of packets over 2^31, nor that of bytes over the cipher's", () => {
  const unlimited = policy({ packets: Infinity, bytes: Infinity });
  unlimited.sent(2 ** 31, 0);
  assert(unlimited.due);
  for (const [name, { rekeyBytes }] of ciphers) {
    const made = new RekeyPolicy({ bytes: Infinity });
    made.renewedOutbound(direction(name));
    made.renewedInbound(direction(name));
    made.received(1, rekeyBytes - 1);
    assert(!made.due, name);
    made.received(1, 1);
    assert(made.due, name);
  }
});

Deno.test("RekeyPolicy counts each direction by itself", () => {
  const made = policy({ bytes: 1000, packets: 10 });
  made.sent(9, 999);
  made.received(9, 999);
  assert(!made.due);
  made.sent(1, 0);
  assert(made.due);
  made.renewedInbound(chacha);
  assert(made.due, "New keys inbound do nothing for those outbound");
  made.renewedOutbound(chacha);
  assert(!made.due);
});

Deno.test("RekeyPolicy.exhausted does not follow the program's limits", () => {
  const made = policy({ bytes: 1, packets: 1 });
  made.sent(1, 1);
  assert(made.due && !made.exhausted);
  made.sent(1, GIB);
  assert(made.exhausted);
});

Deno.test("RekeyPolicy refuses limits that are none", () => {
  for (const value of [0, -1, NaN]) {
    for (const name of ["bytes", "packets", "interval"]) {
      assertThrows(() => new RekeyPolicy({ [name]: value }), RangeError, name);
    }
  }
});

// Row 40.
Deno.test("RekeyPolicy.peerMayRekey() allows 1,000 exchanges without data, and then two a second", () => {
  const made = policy(), start = 5_000_000;
  const allowed = (now: number): number => {
    let count = 0;
    while (made.peerMayRekey(now, 1000, true)) count++;
    return count;
  };
  made.received(1, 1000);
  assertEquals(allowed(start), 1000);
  // The refused one has been paid for, too.
  assertEquals(allowed(start + 500), 0);
  assertEquals(allowed(start + 60_000), 118);
});

Deno.test("RekeyPolicy.peerMayRekey() takes 4 KiB of data for it, of which KEXINIT is no part", () => {
  const free = policy();
  free.received(2, 4096 + 1500);
  for (let i = 0; i < 5000; i++) assert(free.peerMayRekey(0, 1500, true));
  const large = policy();
  large.received(1, 32_000);
  let served = 0;
  while (served < 5000 && large.peerMayRekey(0, 31_990, true)) served++;
  assert(served < 2000, "A long KEXINIT passes for data");
});

// Row 42.
Deno.test("RekeyPolicy.peerMayRekey() allows a few exchanges before login, whatever is sent", () => {
  const made = policy();
  made.received(1, 1 << 20);
  let served = 0;
  while (served < 100 && made.peerMayRekey(0, 1000, false)) served++;
  assertEquals(served, 5);
});
