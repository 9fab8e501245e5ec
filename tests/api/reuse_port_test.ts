/** Several servers at one port, as `Deno.listen()` has it with `reusePort`. The flag that it takes stands in deno.json. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, serve, type ServeOptions, type SshServer } from "../../mod.ts";
import { commands, join, login, serverOptions, text } from "../_support/joined.ts";
import { until } from "../_support/until.ts";

const linux = Deno.build.os === "linux";

async function listen(extra: Partial<ServeOptions>): Promise<SshServer> {
  return serve({ hostname: "127.0.0.1", port: 0, maxStartupsPerSource: 1000, ...await serverOptions(), ...extra });
}

/** What Deno has with its flag, and not without. */
async function withoutFlag(run: () => void | Promise<void>): Promise<void> {
  const property = Object.getOwnPropertyDescriptor(Deno, "listenDatagram")!;
  assert(property.configurable === true);
  delete (Deno as { listenDatagram?: unknown }).listenDatagram;
  try {
    await run();
  } finally {
    Object.defineProperty(Deno, "listenDatagram", property);
  }
}

Deno.test({
  name: "two servers with reusePort share one port, each tells it, and either one may stop first",
  ignore: !linux,
  fn: async () => {
    const counts = [0, 0], told: number[] = [];
    const options = (which: 0 | 1, port: number): Partial<ServeOptions> => ({
      port,
      reusePort: true,
      tcpBacklog: 64,
      handler: (session) => (counts[which]!++, commands(session)),
      onListen: ({ port }) => told.push(port),
    });
    await using first = await listen(options(0, 0));
    const { port } = first.addr;
    const second = await listen(options(1, port));
    assertEquals(second.addr.port, port);
    const command = async (): Promise<void> => {
      await using client = await connect({ hostname: "127.0.0.1", port, ...login });
      assertEquals(text((await client.exec("echo hello")).stdout), "hello\n");
    };
    // The kernel goes by the client's port, which is another each time.
    await until(async () => (await command(), counts[0]! > 0 && counts[1]! > 0), "both have served");
    assertEquals(told, [port, port]);
    // Who has not asked for it has no part of the port.
    await assertRejects(() => listen({ port }), Deno.errors.AddrInUse);
    await second[Symbol.asyncDispose]();
    const served = counts[1];
    for (let i = 0; i < 8; i++) await command();
    assertEquals(counts[1], served);
  },
});

Deno.test({
  name: "a port without reusePort is nobody else's, whatever the others ask for",
  ignore: !linux,
  fn: async () => {
    await using server = await listen({ reusePort: false });
    await assertRejects(() => listen({ port: server.addr.port, reusePort: true }), Deno.errors.AddrInUse);
  },
});

Deno.test({
  name: "two forwards with reusePort share one port of this machine",
  ignore: !linux,
  fn: async () => {
    await using joined = await join({ allowForward: () => true });
    const { client } = joined, to = { hostname: "127.0.0.1", port: 9 };
    await using first = await client.forwardLocal({ port: 0, reusePort: true }, to);
    const { port } = first.addr as Deno.NetAddr;
    await using second = await client.forwardDynamic({ port, reusePort: true, tcpBacklog: 16 });
    assertEquals((second.addr as Deno.NetAddr).port, port);
    await assertRejects(() => client.forwardLocal({ port }, to), Deno.errors.AddrInUse);
  },
});

Deno.test("reusePort where Deno has no flag for it is a TypeError that names the flag, and not the end of the program", async () => {
  const options = { hostname: "127.0.0.1", port: 0, reusePort: true, ...await serverOptions() };
  await using joined = await join({ allowForward: () => true });
  await withoutFlag(async () => {
    assertThrows(() => serve(options), TypeError, "--unstable-net");
    const from = { port: 0, reusePort: true };
    await assertRejects(
      () => joined.client.forwardLocal(from, { hostname: "h", port: 1 }),
      TypeError,
      "--unstable-net",
    );
    await assertRejects(() => joined.client.forwardDynamic(from), TypeError, "--unstable-net");
    await using _server = await listen({ reusePort: false });
  });
});
