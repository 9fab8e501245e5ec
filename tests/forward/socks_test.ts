import { assertEquals, assertStringIncludes } from "@std/assert";
import { ChannelOpenError } from "../../lib/errors.ts";
import { SOCKS_TIME } from "../../lib/forward/standing.ts";
import { socksRefused } from "../../lib/forward/socks.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { inTime, until } from "../_support/until.ts";
import { channels, hangUp, readAll, writeAll } from "./_conns.ts";
import { pathServer } from "./_server.ts";

const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];
const ipv6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const granted4 = [0, 90, 0, 0, 0, 0, 0, 0], granted5 = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/** What a client that sends these bytes at once, or one at a time, and then ends its direction, gets to read. */
async function exchange(
  bytes: number[],
  { refuse, slowly = false }: { refuse?: ChannelOpenError; slowly?: boolean } = {},
): Promise<{ got: number[]; dialled: string[]; errors: string[] }> {
  const server = pathServer(undefined, () => refuse ?? null), errors: string[] = [];
  const forward = await server.forwards.forwardDynamic({ port: 0 }, { onError: (error) => errors.push(String(error)) });
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: (forward.addr as Deno.NetAddr).port });
  const all = readAll(conn).catch(() => new Uint8Array(0));
  try {
    for (let i = 0; i < bytes.length; i += slowly ? 1 : bytes.length) {
      await writeAll(conn, new Uint8Array(slowly ? [bytes[i]!] : bytes));
      if (slowly) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await conn.closeWrite();
  } catch {
    // It was refused before it had said all.
  }
  const got = [...await inTime(all, "the answer")];
  conn.close();
  await until(() => forward.connections.size === 0 && channels(server)[0] === 0, "Something is still open");
  await forward.close();
  return { got, dialled: server.dialled.map(({ host, port }) => `${host} ${port}`), errors };
}

Deno.test("SOCKS4, 4A and 5 clients reach what they name, in one go or byte by byte, and what they send ahead is not lost", async () => {
  const hello = ascii("hello");
  for (
    const [what, request, answer, target] of [
      ["4", [4, 1, 1, 187, 192, 0, 2, 9, ...ascii("user"), 0], granted4, "192.0.2.9 443"],
      ["4A", [4, 1, 0, 80, 0, 0, 0, 1, 0, ...ascii("host.example"), 0], granted4, "host.example 80"],
      ["5, IPv4", [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 9, 0, 22], [5, 0, ...granted5], "192.0.2.9 22"],
      ["5, name", [5, 2, 2, 0, 5, 1, 0, 3, 4, ...ascii("host"), 0, 22], [5, 0, ...granted5], "host 22"],
      ["4, user of 255 bytes", [4, 1, 1, 187, 192, 0, 2, 9, ...Array(255).fill(97), 0], granted4, "192.0.2.9 443"],
      ["5, 255 methods", [5, 255, ...Array(254).fill(2), 0, 5, 1, 0, 3, 1, 97, 0, 22], [5, 0, ...granted5], "a 22"],
      ["5, IPv6", [5, 1, 0, 5, 1, 0, 4, ...ipv6, 255, 255], [5, 0, ...granted5], "2001:db8::1 65535"],
    ] as const
  ) {
    for (const slowly of [false, true]) {
      const { got, dialled, errors } = await exchange([...request, ...hello], { slowly });
      assertEquals(got, [...answer, ...hello], what);
      assertEquals([dialled, errors], [[target], []], what);
    }
  }
});

Deno.test("SOCKS clients that want what is not served are told so in their protocol, and nothing is dialled", async () => {
  const five = (...reply: number[]): number[] => [5, 0, 5, ...reply, 0, 1, 0, 0, 0, 0, 0, 0];
  for (
    const [what, request, answer, why] of [
      ["BIND", [5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 22], five(7), "command 2"],
      ["UDP ASSOCIATE", [5, 1, 0, 5, 3, 0, 1, 127, 0, 0, 1, 0, 22], five(7), "command 3"],
      ["BIND of SOCKS4", [4, 2, 0, 22, 127, 0, 0, 1, 0], [0, 91, 0, 0, 0, 0, 0, 0], "command 2"],
      ["login only", [5, 2, 1, 2], [5, 255], "log in"],
      ["no method", [5, 0], [5, 255], "log in"],
      ["address of no type", [5, 1, 0, 5, 1, 0, 2, 1, 1], five(8), "type 2"],
      ["empty name", [5, 1, 0, 5, 1, 0, 3, 0, 0, 22], five(1), "no such name"],
      ["NUL in a name", [5, 1, 0, 5, 1, 0, 3, 3, 97, 0, 98, 0, 22], five(1), "no such name"],
      ["no UTF-8 in a name", [5, 1, 0, 5, 1, 0, 3, 2, 97, 0x80, 0, 22], five(1), "no such name"],
      ["no name of 4A", [4, 1, 0, 22, 0, 0, 0, 1, 0, 0], [0, 91, 0, 0, 0, 0, 0, 0], "no such name"],
      ["port 0", [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 0], five(1), "port 0"],
      ["another version behind", [5, 1, 0, 4, 1, 0, 1], five(1), "version 4"],
      ["endless user", [4, 1, 0, 22, 127, 0, 0, 1, ...new Array(400).fill(97)], [0, 91, 0, 0, 0, 0, 0, 0], "255"],
      ["HTTP", ascii("GET http://x/ HTTP/1.1\r\n\r\n"), [], "may speak HTTP"],
      ["garbage", [0, 1, 2, 3], [], "version 0"],
      ["half a request", [5, 1, 0, 5, 1], [5, 0], "hung up"],
      ["nothing", [], [], "hung up"],
    ] as const
  ) {
    const { got, dialled, errors } = await exchange([...request]);
    assertEquals([got, dialled, errors.length], [[...answer], [], 1], what);
    assertStringIncludes(errors[0]!, why);
  }
});

Deno.test("SOCKS clients are told why their target cannot be reached", async () => {
  const request = [5, 1, 0, 5, 1, 0, 3, 4, ...ascii("host"), 0, 22], ahead = ascii("sent ahead");
  for (
    const [reason, message, code] of [
      [1, "not allowed", 2],
      [2, "Connection refused", 5],
      [2, "", 5],
      [2, "Connection timed out", 4],
      [2, "No route to host", 4],
      [2, "Name or service not known", 4],
      [2, "Network is unreachable", 3],
      [3, "unknown", 1],
      [4, "too many", 1],
    ] as const
  ) assertEquals(socksRefused(5, new ChannelOpenError(message, reason))[1], code, `${reason} ${message}`);
  assertEquals([...socksRefused(4, new Error("x"))], [0, 91, 0, 0, 0, 0, 0, 0]);
  const refuse = new ChannelOpenError("Connection refused", 2);
  assertEquals((await exchange([...request, ...ahead], { refuse })).got, [5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
  assertEquals((await exchange([4, 1, 0, 22, 1, 2, 3, 4, 0, ...ahead], { refuse })).got, [0, 91, 0, 0, 0, 0, 0, 0]);
});

Deno.test("a SOCKS client that is slow to say what it wants is closed, and others are served meanwhile", async () => {
  using time = new FakeTime();
  const server = pathServer(), errors: unknown[] = [];
  const forward = await server.forwards.forwardDynamic({ port: 0 }, { onError: (error) => errors.push(error) });
  const port = (forward.addr as Deno.NetAddr).port;
  const slow = await Deno.connect({ hostname: "127.0.0.1", port });
  await writeAll(slow, new Uint8Array([5]));
  await until(() => forward.connections.size === 1, "Nobody is there");
  const quick = await Deno.connect({ hostname: "127.0.0.1", port });
  await writeAll(quick, new Uint8Array([4, 1, 0, 22, 1, 2, 3, 4, 0]));
  assertEquals(await quick.read(new Uint8Array(20)), 8);
  await until(() => forward.connections.size === 2, "Nobody else is there");
  time.tick(SOCKS_TIME);
  assertEquals(await inTime(slow.read(new Uint8Array(1)), "the end"), null);
  await until(() => forward.connections.size === 1, "It is still there");
  assertStringIncludes(String(errors[0]), "within 30000 ms");
  // Time is no matter to one that has said it.
  await writeAll(quick, new Uint8Array(3));
  assertEquals(await quick.read(new Uint8Array(20)), 3);
  await forward.close();
  [slow, quick].forEach(hangUp);
});

Deno.test("a SOCKS client that was refused and does not hang up is cut with its forward, whose end does not wait for it", async () => {
  using _time = new FakeTime();
  const request = [5, 1, 0, 5, 1, 0, 3, 4, ...ascii("host"), 0, 22];
  for (const bytes of [request, [5, 1, 2]]) {
    const server = pathServer(undefined, () => new ChannelOpenError("Connection refused", 2));
    const forward = await server.forwards.forwardDynamic({ port: 0 }, {});
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: (forward.addr as Deno.NetAddr).port });
    await writeAll(conn, new Uint8Array(bytes));
    // What it is told, and then the end.
    await inTime(readAll(conn), "the refusal");
    assertEquals(forward.connections.size, 1);
    await inTime(forward.close(), "the forward's end");
    conn.close();
  }
});
