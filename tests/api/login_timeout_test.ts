/** `loginTimeout`: what a login may take in all, and what its clock does not count; `hostKeyAlias`, under which known_hosts is searched. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  connect,
  type ConnectOptions,
  generateKey,
  HostKeyUnknownError,
  keyboardInteractive,
  knownHosts,
  password,
  publicKey,
  type Signer,
  SshError,
} from "../../mod.ts";
import { memoryPair } from "../_support/duplex.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { hostKey, join, login } from "../_support/joined.ts";
import { inTime, turns } from "../_support/until.ts";
import { Hosts } from "./_hosts.ts";

const hop = (hostname: string, more: Partial<ConnectOptions> = {}): ConnectOptions => ({ hostname, ...login, ...more });
const never = () => new Promise<never>(() => {});

async function late(options: ConnectOptions): Promise<SshError> {
  return await inTime(assertRejects(() => connect(options), SshError), "the error");
}

Deno.test("a login that takes longer than `loginTimeout` ends, and the error says what it waited for", async () => {
  using time = new FakeTime();
  let ticking: ReturnType<typeof setInterval> | undefined;
  // From then on time flies, as what is closed waits a moment for its peer.
  const expire = () => void (ticking ??= setInterval(() => time.tick(200), 1));
  const stuck = () => (expire(), never());
  const hosts = new Hosts({ a: {}, slow: { auth: { password: stuck } }, mute: { allowForward: stuck } });
  const silent = () => (turns().then(expire), memoryPair().client), loginTimeout = 20_000;
  const cases: [make: () => ConnectOptions, message: string][] = [
    [
      () => hop("x", { transport: silent(), loginTimeout }),
      'Login at "x" port 22 took longer than 20000 ms: it still waited for the key exchange',
    ],
    [
      () => hop("slow", { transport: hosts.reach("slow"), loginTimeout }),
      'Login at "slow" port 22 took longer than 20000 ms: it still waited for the server\'s answer to who wants to log in',
    ],
    [
      () => hop("b", { jump: hop("a", { transport: silent() }), loginTimeout }),
      'Login at "b" port 22 took longer than 20000 ms: it still waited for "a" port 22 (hop 1 of 1)',
    ],
    [
      () => hop("b", { jump: hop("a", { transport: silent(), loginTimeout }) }),
      'Cannot connect through "a" port 22 (hop 1 of 1): ' +
      'Login at "a" port 22 took longer than 20000 ms: it still waited for the key exchange',
    ],
    [
      () => hop("a", { jump: hop("mute", { transport: hosts.reach("mute") }), loginTimeout }),
      'Login at "a" port 22 took longer than 20000 ms: it still waited for the connection',
    ],
  ];
  for (const [make, message] of cases) {
    try {
      const error = await late(make());
      assertEquals([error.message, error.code], [message, "CONNECTION_LOST"]);
      const { cause } = error.cause instanceof SshError ? error.cause : error;
      assertInstanceOf(cause, DOMException);
      assertEquals(cause.name, "TimeoutError");
    } finally {
      clearInterval(ticking);
      ticking = undefined;
    }
  }
});

/** Runs with clocks that the test moves, on which half a minute passes whenever somebody is asked. */
async function withPauses(run: (pause: () => void) => Promise<unknown>): Promise<void> {
  using time = new FakeTime();
  await run(() => time.tick(30_000));
}

Deno.test("the clock of a login stands still while this side is asked, and ends with the login", async () => {
  const key = await generateKey(), slowly = <T>(pause: () => void, value: T) => (pause(), value);
  const ways: Record<string, (pause: () => void) => Partial<ConnectOptions>> = {
    "verifyHostKey": (pause) => ({ verifyHostKey: () => slowly(pause, true) }),
    "password()": (pause) => ({ auth: [password(() => slowly(pause, "wonderland"))] }),
    "password(), later": (pause) => ({ auth: [password(async () => (await null, slowly(pause, "wonderland")))] }),
    "keyboardInteractive()": (pause) => ({ auth: [keyboardInteractive(() => slowly(pause, ["wonderland"]))] }),
    "publicKey()": (pause) => {
      const signer: Signer = {
        publicKey: key.publicKey,
        algorithms: key.algorithms,
        sign: async (...of) => (await null, pause(), await key.sign(...of)),
      };
      return { auth: [publicKey(signer)] };
    },
  };
  for (const [name, way] of Object.entries(ways)) {
    await withPauses(async (pause) => {
      await using joined = await join({
        auth: {
          password: (_info, text) => text === "wonderland",
          publicKey: () => true,
          keyboardInteractive: async (_info, ask) => (await ask([{ text: "?", echo: true }]))[0] === "wonderland",
        },
      }, { loginTimeout: 20_000, ...way(pause) });
      pause();
      assertEquals((await joined.client.exec("exit 3")).code, 3, name);
    });
  }
});

Deno.test("who is asked at a hop stops the clock of the whole chain, and an endless clock never ends", async () => {
  for (const loginTimeout of [20_000, Infinity]) {
    await withPauses(async (pause) => {
      const hosts = new Hosts({ a: {}, b: {} });
      const client = await connect(hop("b", {
        loginTimeout,
        jump: hop("a", {
          loginTimeout,
          transport: hosts.reach("a"),
          verifyHostKey: () => (pause(), true),
          auth: [password(() => (pause(), "wonderland"))],
        }),
      }));
      assertEquals((await client.exec("exit 3")).code, 3);
      await client.close();
    });
  }
});

Deno.test("the clock goes on once there is an answer", async () => {
  const hosts = new Hosts({ slow: { auth: { password: never } } });
  const error = await late(hop("slow", {
    transport: hosts.reach("slow"),
    loginTimeout: 500,
    verifyHostKey: async () => {
      await new Promise((resolve) => setTimeout(resolve, 600));
      return true;
    },
  }));
  assert(error.message.startsWith('Login at "slow" port 22 took longer than 500 ms'), error.message);
});

Deno.test("known_hosts is searched for `hostKeyAlias` in the place of the host and its port", async () => {
  const { publicKey: key } = await hostKey(), asked: unknown[] = [];
  const inner = knownHosts(`web-1 ${key}\n`);
  const known = Object.assign((...of: Parameters<typeof inner>) => (asked.push(of[1]), inner(...of)), {
    keyTypes: (host: { hostname: string; port: number }) => (asked.push(host), inner.keyTypes(host)),
  });
  const options = { hostname: "127.0.0.1", port: 2222, verifyHostKey: known };
  await using _joined = await join({}, { ...options, hostKeyAlias: "web-1" });
  assertEquals(asked, [{ hostname: "web-1", port: 22 }, { hostname: "web-1", port: 22 }]);
  const hosts = new Hosts({ a: {}, b: {} });
  const through = (alias: string) =>
    connect(hop("b", { jump: hop("a", { transport: hosts.reach("a"), verifyHostKey: inner, hostKeyAlias: alias }) }));
  await (await through("web-1")).close();
  const error = await assertRejects(() => through("web-2"), HostKeyUnknownError, "web-2");
  assert(error.message.startsWith('Cannot connect through "a" port 22 (hop 1 of 1): '), error.message);
});
