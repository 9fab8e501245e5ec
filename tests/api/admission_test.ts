import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Admission } from "../../lib/api/admission/admission.ts";
import { sourceOf } from "../../lib/api/admission/source.ts";

const limits = { maxStartups: { begin: 10, rate: 30, full: 100 }, maxStartupsPerSource: 10 };

Deno.test("Admission.admit() holds the limit of one source until connections end", () => {
  const admission = new Admission(limits);
  const tickets = Array.from({ length: 10 }, () => admission.admit("192.0.2.1", 0, 0.99)!);
  assert(tickets.every((ticket) => ticket !== null));
  assertEquals(admission.admit("192.0.2.1", 0, 0.99), null);
  assertEquals(admission.admit("192.0.2.1", 900, 0.99), null, "a login may take its time");
  tickets[0]!.ended();
  tickets[0]!.ended();
  assertEquals(admission.open, 9);
  assertNotEquals(admission.admit("192.0.2.1", 900, 0.99), null);
  assertEquals(admission.admit("192.0.2.1", 900, 0.99), null);
});

Deno.test("Admission.admit() gives the place of a source's oldest idle connection to a new one of the same source", () => {
  const admission = new Admission(limits);
  const dismissed: number[] = [];
  for (let i = 0; i < 10; i++) admission.admit("192.0.2.1", i, 0.99)!.onDismissed = () => void dismissed.push(i);
  assertNotEquals(admission.admit("192.0.2.1", 1000, 0.99), null);
  assertEquals(admission.admit("192.0.2.1", 1000, 0.99), null, "the next one has not had its second");
  assertEquals(dismissed, [0]);
  assertEquals(admission.open, 10);
});

Deno.test("Admission.admit() holds the rate of one source, and logins do not count", () => {
  const admission = new Admission(limits);
  let inOneSecond = 0;
  for (let now = 0; now < 1000; now += 5) {
    const ticket = admission.admit("192.0.2.1", now, 0.99);
    if (ticket !== null) inOneSecond++;
    ticket?.ended(now);
  }
  assert(inOneSecond <= 20, `${inOneSecond} connections in a second`);
  for (let i = 0; i < 100; i++) {
    const ticket = admission.admit("192.0.2.2", 0, 0.99);
    assertNotEquals(ticket, null);
    ticket!.loggedIn();
    ticket!.ended(0);
  }
  assertEquals(admission.open, 0);
});

Deno.test("Admission.admit() lets all of a burst in, and after those that failed only as many as may fail again", () => {
  const admission = new Admission({ maxStartups: { begin: 60, rate: 30, full: 100 }, maxStartupsPerSource: 60 });
  const knock = (now: number) => admission.admit("192.0.2.1", now, 0);
  const burst = Array.from({ length: 50 }, () => knock(0));
  assert(burst.every((ticket) => ticket !== null));
  for (const ticket of burst) ticket!.loggedIn();
  // Sixteen sockets that are closed as soon as they are answered, each making way for the next: what the rate test of ssh-audit does.
  let served = 0;
  for (let now = 0; now < 3000; now += 5) {
    const sockets = Array.from({ length: 16 }, () => knock(now)).filter((ticket) => ticket !== null);
    served += sockets.length;
    for (const ticket of sockets) ticket.ended(now);
  }
  assert(served <= 40, `${served} connections in three seconds`);
  // A flood from all places at once is paid for by those that come later.
  const flood = Array.from({ length: 60 }, () => knock(10_000));
  assert(flood.every((ticket) => ticket !== null));
  for (const ticket of flood) ticket!.ended(10_000);
  assertEquals(knock(14_900), null);
  assertNotEquals(knock(15_200), null);
  assertNotEquals(admission.admit("192.0.2.2", 10_000, 0), null, "others do not pay");
});

Deno.test("Admission.admit() drops at random from `begin` on, more and more, and all at `full`", () => {
  const admission = new Admission(limits);
  const knock = (address: string, chance: number) => admission.admit(address, 0, chance) !== null;
  const fill = (count: number) => {
    for (let i = admission.open; i < count; i++) admission.admit(`192.0.2.${i}`, 0, 0);
    assertEquals(admission.open, count);
  };
  // The first one of a source is spared until it is full; its second one is not.
  fill(9);
  assert(knock("192.0.2.1", 0));
  assert(!knock("192.0.2.2", 0.29));
  fill(55);
  assert(!knock("192.0.2.2", 0.64));
  assert(knock("192.0.2.2", 0.66));
  // Two sources hold two each now: there is no room to be made for a source that has one.
  assert(!knock("192.0.2.3", 0.64));
  fill(100);
  assert(!knock("192.0.2.3", 0.9999));
  // At `full` a first one takes the place of a second one, and where everybody has one it is turned away.
  assert(knock("198.51.100.1", 0) && knock("198.51.100.2", 0));
  assert(!knock("198.51.100.3", 0.9999));
  assertEquals(admission.open, 100);
});

Deno.test("Admission forgets idle sources", () => {
  const admission = new Admission({ ...limits, maxStartups: { begin: 1e9, rate: 0, full: 1e9 } });
  for (let i = 0; i < 50_000; i++) {
    admission.admit(`10.${i >> 16}.${i >> 8 & 255}.${i & 255}`, i / 1000, 1)?.ended(i / 1000);
  }
  assertEquals(admission.open, 0);
  assertNotEquals(admission.admit("10.0.0.0", 51, 1), null);
});

Deno.test("sourceOf() takes an IPv4 address and an IPv6 /64 for one source", () => {
  assertEquals(sourceOf("192.0.2.1"), "192.0.2.1");
  assertEquals(sourceOf("::ffff:192.0.2.1"), "192.0.2.1");
  assertEquals(sourceOf("::FFFF:c000:201"), "192.0.2.1");
  assertEquals(sourceOf("0:0:0:0:0:ffff:192.0.2.1"), "192.0.2.1");
  assertEquals(sourceOf("::192.0.2.1"), "0:0:0:0::/64");
  assertEquals(sourceOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  assertEquals(sourceOf("2001:db8:1:2::6"), "2001:db8:1:2::/64");
  assertEquals(sourceOf("2001:db8::6"), "2001:db8:0:0::/64");
  assertEquals(sourceOf("::1"), "0:0:0:0::/64");
  assertEquals(sourceOf("fe80::1%eth0"), "fe80:0:0:0::/64");
  assertNotEquals(sourceOf("2001:db8:1:2::1"), sourceOf("2001:db8:1:3::1"));
});

Deno.test("Admission.admit() makes room for a source that holds fewer, and never by one that holds one", () => {
  const admission = new Admission({ ...limits, maxStartups: { begin: 10, rate: 30, full: 10 } });
  const dismissed: number[] = [];
  const tickets = Array.from({ length: 10 }, (_, i) => {
    const ticket = admission.admit("192.0.2.1", 0, 0)!;
    ticket.onDismissed = () => void dismissed.push(i);
    return ticket;
  });
  tickets[0]!.loggedIn();
  assertNotEquals(admission.admit("192.0.2.2", 0, 0), null);
  // From here on it is full; 192.0.2.1 holds 9, from the one that came second.
  assertNotEquals(admission.admit("192.0.2.3", 0, 0), null);
  assertEquals(dismissed, [1]);
  assertEquals(admission.open, 10);
  assertEquals(admission.admit("192.0.2.1", 0, 0), null, "who holds the most makes no room for himself");
  for (let i = 0; i < 4; i++) assertNotEquals(admission.admit("192.0.2.4", 0, 0), null);
  assertEquals(admission.admit("192.0.2.4", 0, 0), null, "4 of his own against 4");
  assertEquals(dismissed, [1, 2, 3, 4, 5]);
  // What ends late is not counted twice.
  for (const ticket of tickets.slice(0, 6)) ticket.ended();
  assertEquals(admission.open, 10);
});

// A table that grows with every address that ever knocked would be a leak that anybody can open.
Deno.test("Admission.admit() forgets sources without a connection, the oldest first, when there are thousands", () => {
  const admission = new Admission(limits);
  const knock = (address: string): boolean => {
    const ticket = admission.admit(address, 0, 0.99);
    ticket?.ended(0);
    return ticket !== null;
  };
  const wearOut = (address: string) => {
    while (knock(address));
  };
  wearOut("192.0.2.1");
  for (let i = 0; i < 4096; i++) wearOut(`10.0.${i >> 8}.${i & 255}`);
  assert(!knock("192.0.2.1"));
  assert(knock("198.51.100.1"));
  assert(!knock("10.0.15.254"), "half of them are still known");
  assert(knock("192.0.2.1"), "the oldest is not");
  // One that has a connection is never forgotten.
  const held = admission.admit("203.0.113.1", 0, 0.99);
  assertNotEquals(held, null);
  wearOut("203.0.113.1");
  for (let i = 0; i < 10_000; i++) knock(`10.1.${i >> 8}.${i & 255}`);
  assert(!knock("203.0.113.1"));
});
