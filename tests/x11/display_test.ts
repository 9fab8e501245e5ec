/**
 * Names of displays, files of cookies, and the packet in which a program proves itself.
 */
import { assert, assertEquals } from "@std/assert";
import { authorityFor, findCookie, MAGIC_COOKIE, parseAuthority } from "../../lib/x11/authority.ts";
import { parseDisplay } from "../../lib/x11/display.ts";
import { readSetup, writeSetup } from "../../lib/x11/setup.ts";

Deno.test("parseDisplay() reads what DISPLAY may hold, and nothing else", () => {
  const local = (number: string, screen = 0) => ({ number, screen, at: { paths: [`/tmp/.X11-unix/X${number}`] } });
  const remote = (hostname: string, number: string, screen = 0) => ({
    ...{ number, screen, at: { hostname, port: 6000 + Number(number) } },
  });
  const quartz = "/private/tmp/com.apple.launchd.x/org.xquartz:0";
  for (
    const [name, wanted] of [
      [":0", local("0")],
      [":0.1", local("0", 1)],
      [":007", local("7")],
      ["unix:3.2", local("3", 2)],
      ["unix/:1", local("1")],
      ["local/host:1", local("1")],
      ["host:0", remote("host", "0")],
      ["tcp/host.example:12.1", remote("host.example", "12", 1)],
      ["localhost:10.0", remote("localhost", "10")],
      ["127.0.0.1:59535", remote("127.0.0.1", "59535")],
      ["[::1]:1", remote("::1", "1")],
      ["fe80::1:1", remote("fe80::1", "1")],
      [quartz, { number: "0", screen: 0, at: { paths: [quartz] } }],
      [`${quartz}.1`, { number: "0", screen: 1, at: { paths: [`${quartz}.1`, quartz] } }],
      ["", null],
      ["0", null],
      ["host", null],
      ["host:", null],
      ["host:x", null],
      ["host:-1", null],
      ["host:1.", null],
      [":1.99999", null],
      ["host:59536", null],
      ["decnet::0", null],
      ["dnet/host:0", null],
      [":100000", null],
      ["a\0b:0", null],
    ] as const
  ) assertEquals(parseDisplay(name), wanted as ReturnType<typeof parseDisplay>, name);
});

/** An entry as Xau(3) has it, written independently of the code. */
function entry(family: number, address: string | number[], number: string, name: string, data: number[]): number[] {
  const bytes = (value: string | number[]) => typeof value === "string" ? [...new TextEncoder().encode(value)] : value;
  return [family >> 8, family & 255].concat(
    ...[address, number, name, data].map(bytes).map((part) => [part.length >> 8, part.length & 255, ...part]),
  );
}

Deno.test("findCookie() finds the cookie of a display by its number and where it is", () => {
  const file = Uint8Array.from([
    entry(256, "here", "0", "XDM-AUTHORIZATION-1", [9]),
    entry(256, "elsewhere", "0", MAGIC_COOKIE, [1]),
    entry(256, "here", "0", MAGIC_COOKIE, [2]),
    entry(256, "elsewhere", "1", MAGIC_COOKIE, [3]),
    entry(0, [192, 0, 2, 1], "0", MAGIC_COOKIE, [4]),
    entry(6, [0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 1], "0", MAGIC_COOKIE, [5]),
    entry(65_535, "", "7", MAGIC_COOKIE, [6]),
    entry(256, "here", "", MAGIC_COOKIE, [7]),
  ].flat());
  const find = (number: string, address: string | null, file_ = file) =>
    findCookie(parseAuthority(file_), number, address, () => "here")?.[0] ?? null;
  assertEquals(find("0", null), 2);
  // Loopback is this machine, as for the programs of X.
  for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) assertEquals(find("0", address), 2, address);
  assertEquals([find("0", "192.0.2.1"), find("0", "::ffff:192.0.2.1"), find("0", "2001:db8::1")], [4, 4, 5]);
  assertEquals([find("0", "192.0.2.2"), find("2", "192.0.2.1"), find("7", "192.0.2.1")], [null, null, 6]);
  // An entry without a number is for all.
  assertEquals([find("3", null), find("7", null)], [7, 7]);
  const one = Uint8Array.from(entry(256, "elsewhere", "1", MAGIC_COOKIE, [3]));
  assertEquals([find("1", null, one), find("2", null, one)], [3, null]);
  assertEquals(findCookie(parseAuthority(file), "0", null, () => null), null);
});

Deno.test("parseAuthority() takes whole entries of a file that is cut anywhere, and authorityFor() writes one", () => {
  const [a, b] = [entry(256, "here", "0", MAGIC_COOKIE, [1, 2]), entry(0, [1, 2, 3, 4], "1", "other", [])];
  const file = Uint8Array.from([...a, ...b]);
  for (let cut = 0; cut <= file.length; cut++) {
    const wanted = cut === file.length ? 2 : cut >= a.length ? 1 : 0;
    assertEquals(parseAuthority(file.subarray(0, cut)).length, wanted, `${cut} bytes`);
  }
  assertEquals(
    [...authorityFor("10", MAGIC_COOKIE, Uint8Array.of(1, 2))],
    entry(65_535, "", "10", MAGIC_COOKIE, [1, 2]),
  );
  const [made] = parseAuthority(authorityFor("10", MAGIC_COOKIE, Uint8Array.of(1, 2)));
  assertEquals(findCookie([made!], "10", "192.0.2.1", () => null), Uint8Array.of(1, 2));
});

Deno.test("readSetup() reads a first packet of either byte order that comes cut anywhere, and refuses what is none", () => {
  const name = [...new TextEncoder().encode("NAME!")], data = [1, 2, 3];
  const big = [0x42, 0, 0, 11, 0, 0, 0, 5, 0, 3, 0, 0, ...name, 0, 0, 0, ...data, 0];
  const little = [0x6c, 0, 11, 0, 0, 0, 5, 0, 3, 0, 0, 0, ...name, 0, 0, 0, ...data, 0];
  for (const packet of [big, little]) {
    const whole = Uint8Array.from([...packet, 99, 98]);
    for (let cut = 0; cut < packet.length; cut++) assertEquals(readSetup(whole.subarray(0, cut), 5, 3), null);
    const setup = readSetup(whole, 5, 3);
    assert(setup !== null && setup !== "wrong");
    assertEquals([setup.name, [...setup.data], setup.length], ["NAME!", data, packet.length]);
    assertEquals([...writeSetup(setup.header, setup.name, setup.data)], packet);
    assertEquals(writeSetup(setup.header, "", new Uint8Array(0)).subarray(6, 10), new Uint8Array(4));
    // The header tells all: nothing of what is too long needs to come.
    for (const [at, value] of [[6, 6], [7, 6], [8, 200], [9, 200]] as const) {
      const wrong = Uint8Array.from(packet).subarray(0, 12);
      wrong[at] = value;
      assertEquals(readSetup(wrong, 5, 3), "wrong", `${at}`);
    }
  }
  for (const first of [0, 0x43, 0x53, 255]) assertEquals(readSetup(Uint8Array.of(first), 5, 3), "wrong");
});
