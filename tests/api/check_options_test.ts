/** Each option that is a number or a name, at its bounds: what makes no sense throws before anything is opened. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, type ConnectOptions } from "../../lib/api/client.ts";
import { serve, serveConn, type ServeOptions } from "../../lib/api/server.ts";
import { Transport, type TransportOptions } from "../../lib/api/transport/transport.ts";
import { insecureAlgorithms } from "../../lib/crypto/algorithms.ts";
import { SshError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { Signer } from "../../lib/keys/types.ts";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, login, serverOptions } from "../_support/joined.ts";

type Facade = "serve" | "connect" | "Transport";
/** An option by its path, who takes it, and values that are right and wrong. */
interface Row {
  readonly option: string;
  readonly facades: readonly Facade[];
  readonly right: readonly unknown[];
  readonly wrong: readonly unknown[];
}

const all: readonly Facade[] = ["serve", "connect", "Transport"];
const NO_COUNT = [0, -1, -5, 0.5, 1.5, NaN, -Infinity, "7", null];
const NO_VOLUME = [0, -1, NaN, -Infinity];
const ranges: readonly Row[] = [
  { option: "window", facades: all, right: [1, 2_097_152, 2 ** 32 - 1], wrong: [...NO_COUNT, 2 ** 32, Infinity] },
  { option: "rekey.bytes", facades: all, right: [1, 2 ** 40, Infinity], wrong: NO_VOLUME },
  { option: "rekey.packets", facades: all, right: [1, 2 ** 40, Infinity], wrong: NO_VOLUME },
  { option: "maxAuthTries", facades: ["serve", "Transport"], right: [1, 100, Infinity], wrong: NO_COUNT },
  { option: "maxSessions", facades: ["serve"], right: [1, 100, Infinity], wrong: NO_COUNT },
  { option: "maxChannels", facades: ["serve"], right: [1, 100, Infinity], wrong: NO_COUNT },
  { option: "maxStartupsPerSource", facades: ["serve"], right: [1, 100, Infinity], wrong: NO_COUNT },
  { option: "keepalive.maxMissed", facades: ["serve", "connect"], right: [1, 3, Infinity], wrong: [0, -1, NaN] },
  {
    option: "maxStartups",
    facades: ["serve"],
    right: [{ begin: 0, rate: 0, full: 1 }, { begin: 5, rate: 100, full: 5 }, { begin: 1, rate: 30.5, full: Infinity }],
    wrong: [
      ...NO_COUNT.map((full) => ({ begin: 0, rate: 30, full })),
      ...[{}, { full: 10 }, { begin: 1, full: 10 }, { begin: 1, rate: 30 }],
      ...[-1, 1.5, NaN, 101, Infinity].map((begin) => ({ begin, rate: 30, full: 100 })),
      ...[-1, 101, NaN, Infinity].map((rate) => ({ begin: 10, rate, full: 100 })),
    ],
  },
  { option: "port", facades: ["serve"], right: [0], wrong: [-1, 0.5, 65_536, 2 ** 32, NaN, Infinity, "22"] },
  {
    option: "port",
    facades: ["connect"],
    right: [1, 22, 65_535],
    wrong: [0, -1, 0.5, 65_536, 2 ** 32 + 22, NaN, "22"],
  },
];

const names: readonly Row[] = [
  {
    option: "ident",
    facades: all,
    right: ["a", "amiko_1.0 with a comment", "x".repeat(245)],
    wrong: ["", "-bad", " bad", "bad\r\n", "bad\0", "b\u00e4d", "x".repeat(246)],
  },
  { option: "algorithms.kex", facades: all, right: [["curve25519-sha256", "kex-strict-s"]], wrong: wrongNames() },
  { option: "algorithms.cipher", facades: all, right: [["aes128-ctr"]], wrong: wrongNames() },
  { option: "algorithms.mac", facades: all, right: [["hmac-sha2-256"], []], wrong: wrongNames().slice(1) },
  { option: "algorithms.compression", facades: all, right: [["zlib@openssh.com", "none"]], wrong: wrongNames() },
  {
    option: "algorithms.hostKey",
    facades: ["connect"],
    right: [["ssh-ed25519"], ["ssh-rsa", "rsa-sha2-512"], ["ssh-ed25519-cert-v01@openssh.com"]],
    wrong: [...wrongNames(), ["ssh-ed25519-cert-v00@openssh.com"]],
  },
  {
    option: "algorithms.hostKey",
    facades: ["serve"],
    right: [["ssh-ed25519"], ["rsa-sha2-512", "ssh-ed25519"]],
    wrong: [[], ["rsa-sha2-512"], ["none"]],
  },
  ...(["kex", "cipher", "mac"] as const).map((list): Row => ({
    option: `algorithms.${list}`,
    facades: all,
    right: insecureAlgorithms[list].map((name) => [name]),
    wrong: [],
  })),
  {
    option: "auth",
    facades: ["connect"],
    right: [[]],
    wrong: [[{ name: "password" }], [undefined], [null], ["secret"]],
  },
  { option: "auth", facades: ["serve"], right: [{}], wrong: [undefined, null, true, "none"] },
  { option: "hostKeys", facades: ["serve"], right: [], wrong: [[], [undefined], ["key"], [{}], [{ algorithms: [] }]] },
];

function wrongNames(): string[][] {
  return [[], ["aes1024-ctr"], [""], ["ssh-ed25519,aes128-ctr"], ["aes128-ctr", "no such"], ["AES128-CTR"]];
}

/** `{ rekey: { bytes: 1 } }` of `rekey.bytes`. */
function optionOf(path: string, value: unknown): Record<string, unknown> {
  const [name, inner] = path.split(".") as [string, string?];
  if (inner === undefined) return { [name]: value };
  return { [name]: { ...name === "keepalive" ? { interval: 60_000 } : {}, [inner]: value } };
}

/** Streams that note whether anybody has touched them. */
function untouched(): ByteDuplex & { touched: boolean } {
  const { client } = memoryPair();
  return {
    touched: false,
    get readable() {
      this.touched = true;
      return client.readable;
    },
    get writable() {
      this.touched = true;
      return client.writable;
    },
  };
}

for (const [kind, rows, error] of [["numbers", ranges, RangeError], ["names", names, TypeError]] as const) {
  Deno.test(`serve() and serveConn() refuse ${kind} that make no sense, at once`, async () => {
    const options = { hostname: "127.0.0.1", port: 0, ...await serverOptions() };
    for (const { option, right, wrong } of rows.filter(({ facades }) => facades.includes("serve"))) {
      for (const value of wrong) {
        const bad = { ...options, ...optionOf(option, value) } as ServeOptions;
        const message = `${option}: ${JSON.stringify(value)} (${value})`;
        // A listener that was opened would be left behind, and the test fail by that.
        assertThrows(() => serve(bad), error, "Cannot", message);
        const conn = untouched();
        if (option === "port") continue;
        await assertRejects(() => serveConn(conn, bad), error, "Cannot", message);
        assertEquals(conn.touched, false, message);
      }
      for (const value of right) {
        await using _server = serve({ ...options, ...optionOf(option, value) } as ServeOptions);
      }
    }
  });

  Deno.test(`connect() refuses ${kind} that make no sense, before anything is opened`, async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close();
    for (const { option, right, wrong } of rows.filter(({ facades }) => facades.includes("connect"))) {
      let looked = 0;
      const verifyHostKey = Object.assign(() => Promise.resolve(true), {
        keyTypes: () => {
          looked++;
          // As far as a right option gets here.
          return Promise.reject(new Error("right so far"));
        },
      });
      const attempt = (value: unknown) =>
        connect({ hostname: "127.0.0.1", port, ...login, verifyHostKey, ...optionOf(option, value) } as ConnectOptions);
      for (const value of wrong) {
        const message = `${option}: ${JSON.stringify(value)} (${value})`;
        await assertRejects(() => attempt(value), error, "Cannot", message);
        assertEquals(looked, 0, message);
      }
      if (option === "algorithms.hostKey") {
        // Nobody needs to look for what is given, so it comes to dialling.
        for (const value of right) await assertRejects(() => attempt(value), SshError, "Cannot connect to");
        continue;
      }
      for (const value of right) await assertRejects(() => attempt(value), Error, "right so far");
      assertEquals(looked, right.length);
    }
  });

  Deno.test(`Transport refuses ${kind} that make no sense when it is made`, async () => {
    for (const { option, right, wrong } of rows.filter(({ facades }) => facades.includes("Transport"))) {
      for (const value of wrong) {
        const conn = untouched(), message = `${option}: ${JSON.stringify(value)} (${value})`;
        assertThrows(
          () => new Transport(conn, optionOf(option, value) as TransportOptions),
          error,
          "Cannot",
          message,
        );
        assertEquals(conn.touched, false);
      }
      for (const value of right) {
        await new Transport(memoryPair().client, optionOf(option, value) as TransportOptions).close();
      }
    }
  });
}

Deno.test("Transport refuses host key algorithms that nobody has when it starts", async () => {
  const conn = untouched(), options = { algorithms: { hostKey: ["rsa-sha2-512"] } };
  const server = new Transport(conn, options);
  server.addServerKey(await hostKey());
  await assertRejects(() => server.startServer({}), TypeError, "the keys make ssh-ed25519");
  const client = new Transport(conn, { algorithms: { hostKey: ["no such"] } });
  await assertRejects(() => client.startClient(), TypeError, "no such");
  assert(!conn.touched);
  await Promise.all([server.close(), client.close()]);
});

Deno.test("serve() takes a host key of another program with an algorithm of its own", async () => {
  const key = await generateKey(), algorithms = ["own@example.com", "ssh-ed25519"];
  const own: Signer = { publicKey: key.publicKey, algorithms, sign: (data, name) => key.sign(data, name) };
  await using _server = serve({
    hostname: "127.0.0.1",
    port: 0,
    ...await serverOptions(),
    hostKeys: [own],
    algorithms: { hostKey: ["own@example.com"] },
  });
});

Deno.test("what holds something under no names is no object of options: it would be read as none at all", async () => {
  const key = await hostKey();
  const auth = { password: () => false };
  const nameless = [new Map([["password", () => true]]), new Set(["cipher"]), new Date(), /x/, new Uint8Array(3)];
  for (const value of [...nameless, new ArrayBuffer(3), new Number(5), new String("cipher"), Promise.resolve(auth)]) {
    for (const option of ["auth", "subsystems", "maxStartups", "penalties", "keepalive", "algorithms", "rekey"]) {
      const options = { hostname: "127.0.0.1", port: 0, hostKeys: [key], auth, [option]: value };
      assertThrows(() => serve(options as unknown as ServeOptions), TypeError, "Cannot", `${option} ${value}`);
    }
    const options = { algorithms: value } as unknown as TransportOptions;
    assertThrows(() => new Transport(undefined, options), TypeError, "must be lists of names");
  }
});
