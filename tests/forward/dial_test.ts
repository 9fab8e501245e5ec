import { assertEquals, assertRejects, assertStrictEquals, assertStringIncludes } from "@std/assert";
import { ChannelOpenError } from "../../lib/errors.ts";
import { until } from "../_support/until.ts";
import { channels, readAll, writeAll } from "./_conns.ts";
import { pathServer } from "./_server.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test("`dial()` and `dialUnix()` reach what the server reaches, and say where from", async () => {
  const server = pathServer();
  const tcp = await server.forwards.dial({ hostname: "[::1]", port: 80 });
  const unix = await server.forwards.dialUnix("/run/db.sock");
  assertEquals(server.dialled, [
    { host: "::1", port: 80, from: "127.0.0.1 65535" },
    { host: "/run/db.sock", port: 0, from: "" },
  ]);
  assertEquals(tcp.remoteAddr, { transport: "tcp", hostname: "::1", port: 80 });
  assertEquals(unix.remoteAddr, { transport: "unix", path: "/run/db.sock" });
  for (const conn of [tcp, unix]) {
    await writeAll(conn, utf8("echo"));
    await conn.closeWrite();
    assertEquals(await readAll(conn), utf8("echo"));
    await conn.close();
  }
  await until(() => channels(server)[0] === 0, "A channel is still open");
});

Deno.test("`dial()` says where it could not connect to, and why", async () => {
  const server = pathServer(undefined, () => new ChannelOpenError("Connection refused", 2));
  const error = await assertRejects(() => server.forwards.dial({ hostname: "db\u202e", port: 5432 }), ChannelOpenError);
  assertEquals([error.reason, error.code], [2, "CHANNEL_OPEN_FAILED"]);
  assertStringIncludes(error.message, "port 5432 through the server");
  assertStringIncludes(error.message, "Connection refused");
  assertEquals(error.message.includes("\u202e"), false);
});

Deno.test("`dial()` ends with its signal, and what the server opens all the same is closed", async () => {
  const server = pathServer(), controller = new AbortController(), reason = new Error("enough");
  const dialling = server.forwards.dial({ hostname: "host", port: 1, signal: controller.signal });
  controller.abort(reason);
  assertStrictEquals(await dialling.then(() => null, (error) => error), reason);
  await until(() => channels(server).every((count) => count === 0), "A channel is still open");
});

Deno.test("hosts and ports that cannot be are refused before anything is sent", async () => {
  const server = pathServer(), { forwards } = server;
  const hosts = ["a b", "a\0b", "a\nb", "\x7f", "\ud800", "\udc80", 5, null, {}];
  for (const hostname of [...hosts, "", undefined] as string[]) {
    await assertRejects(() => forwards.dial({ hostname, port: 22 }), TypeError);
    await assertRejects(() => forwards.forwardLocal({ port: 0 }, { hostname, port: 22 }, {}), TypeError);
  }
  for (const hostname of hosts as string[]) {
    await assertRejects(() => forwards.listen({ hostname, port: 22 }), TypeError);
    await assertRejects(() => forwards.forwardRemote({ hostname, port: 22 }, { port: 1 }, {}), TypeError);
  }
  await assertRejects(() => forwards.dial({ hostname: "x".repeat(1026), port: 22 }), RangeError);
  for (const port of [-1, 1.5, NaN, Infinity, 65_536, 2 ** 32 - 1, "22", null, undefined] as number[]) {
    await assertRejects(() => forwards.dial({ hostname: "h", port }), RangeError);
    await assertRejects(() => forwards.listen({ port }), RangeError);
    await assertRejects(() => forwards.forwardDynamic({ port }, {}), RangeError);
  }
  await assertRejects(() => forwards.dial({ hostname: "h", port: 0 }), RangeError);
  for (const path of ["", "/a\0b", 5, null] as string[]) {
    await assertRejects(() => forwards.dialUnix(path), TypeError);
    await assertRejects(() => forwards.listenUnix(path), TypeError);
  }
  await assertRejects(() => forwards.listenUnix("x".repeat(4097)), RangeError);
  assertEquals([server.dialled, server.asked], [[], []]);
});
