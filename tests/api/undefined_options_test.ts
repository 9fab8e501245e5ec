/**
 * Options that are there and undefined are options that are not given: for callers with `exactOptionalPropertyTypes`, which is on here,
 * in the types, and for all others when the program runs.
 */
import { assertEquals } from "@std/assert";
import type {
  AlgorithmOverrides,
  ConnectOptions,
  DefaultIdentitiesOptions,
  InteractiveQuery,
  KeepaliveOptions,
  PasswordOptions,
  PrivateKey,
  PtyOptions,
  RekeyLimits,
  RsaKeyOptions,
  ServerSession,
  SshClient,
  TransportOptions,
  WindowSize,
} from "../../mod.ts";
import { type generateKey, keyboardInteractive, password, pinnedHostKey, Transport } from "../../mod.ts";
import type { connect, connectAgent, defaultIdentities, parsePrivateKey } from "../../mod.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey, join, text } from "../_support/joined.ts";

/** Names of the properties that may be left out. */
type OptionalNames<T> = { [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? K : never }[keyof T];
/** Names of the properties that may be left out and may not be undefined. */
type Strict<T> = { [K in OptionalNames<T>]: undefined extends Required<T>[K] ? never : K }[OptionalNames<T>];
/** The options of a method. */
type Options<F extends (...args: never[]) => unknown, N extends number> = NonNullable<Parameters<F>[N]>;

/** Compiles only where every property of `T` that may be left out may be undefined, and names the others where not. */
function takesUndefined<T>(..._all: [Strict<T>] extends [never] ? [] : [strict: Strict<T>]): void {}

Deno.test("every optional property of the public types of options may be undefined", () => {
  // The check is the compiler's: a line whose type has a property that may not be undefined does not compile.
  takesUndefined<ConnectOptions>();
  takesUndefined<Parameters<typeof connect>[0]>();
  takesUndefined<TransportOptions>();
  takesUndefined<AlgorithmOverrides>();
  takesUndefined<NonNullable<ConnectOptions["algorithms"]>>();
  takesUndefined<RekeyLimits>();
  takesUndefined<KeepaliveOptions>();
  takesUndefined<PasswordOptions>();
  takesUndefined<DefaultIdentitiesOptions>();
  takesUndefined<InteractiveQuery>();
  takesUndefined<RsaKeyOptions>();
  takesUndefined<Options<typeof defaultIdentities, 0>>();
  takesUndefined<Options<typeof connectAgent, 1>>();
  takesUndefined<Options<typeof generateKey, 1>>();
  takesUndefined<Options<typeof parsePrivateKey, 1>>();
  takesUndefined<Options<PrivateKey["export"], 0>>();
  takesUndefined<Options<Transport["startClient"], 0>>();
  takesUndefined<Options<Transport["startServer"], 1>>();
  takesUndefined<Options<Transport["connect"], 0>>();
  takesUndefined<Options<Transport["openSession"], 0>>();
  takesUndefined<Options<Transport["openChannel"], 1>>();
  takesUndefined<Options<Transport["accept"], 0>>();
  takesUndefined<Options<SshClient["exec"], 1>>();
  takesUndefined<Options<SshClient["spawn"], 1>>();
  takesUndefined<Options<SshClient["shell"], 0>>();
  takesUndefined<Options<SshClient["subsystem"], 1>>();
  takesUndefined<PtyOptions>();
  takesUndefined<WindowSize>();
  takesUndefined<Exclude<Parameters<ServerSession["exit"]>[0], number>>();
  takesUndefined<Exclude<Options<SshClient["openChannel"], 1>, Uint8Array>>();
  takesUndefined<Options<SshClient["sftp"], 0>>();
  takesUndefined<Options<SshClient["openChannel"], 2>>();
  takesUndefined<Options<SshClient["request"], 2>>();
});

Deno.test("the check above notices a property that may not be undefined", () => {
  interface Exact {
    given: string;
    maybe?: string;
  }
  const maybe: Strict<Exact> = "maybe";
  // @ts-expect-error `given` is not optional
  const given: Strict<Exact> = "given";
  assertEquals([maybe, given], ["maybe", "given"] as unknown[]);
  takesUndefined<Exact>("maybe");
  // @ts-expect-error a name is wanted for a type with a property that may not be undefined
  takesUndefined<Exact>();
});

/** All options of `connect()` but those that are needed, undefined. */
const nothing: { [K in OptionalNames<ConnectOptions>]: undefined } = {
  port: undefined,
  auth: undefined,
  verifyHostKey: undefined,
  hostKeyAlias: undefined,
  updateHostKeys: undefined,
  onNotice: undefined,
  transport: undefined,
  jump: undefined,
  proxyCommand: undefined,
  proxy: undefined,
  loginTimeout: undefined,
  algorithms: undefined,
  rekey: undefined,
  window: undefined,
  signal: undefined,
  onBanner: undefined,
  ident: undefined,
  handshakeTimeout: undefined,
  keepalive: undefined,
  idleTimeout: undefined,
  requireStrictKex: undefined,
  requireAuth: undefined,
  insecureMinRsaBits: undefined,
  trace: undefined,
};
const lists = { kex: undefined, hostKey: undefined, cipher: undefined, mac: undefined, compression: undefined };

Deno.test("connect() takes undefined for an option that is not given", async () => {
  const { auth: _auth, verifyHostKey: _verify, transport: _transport, ...rest } = nothing;
  const inner = {
    algorithms: lists,
    rekey: { bytes: undefined, interval: undefined, packets: undefined },
    keepalive: { interval: 60_000, maxMissed: undefined },
  };
  for (const more of [{}, inner]) {
    await using joined = await join({}, {
      ...rest,
      ...more,
      auth: [password("wonderland", { change: undefined })],
      verifyHostKey: pinnedHostKey(await (await hostKey()).publicKey.fingerprint()),
    });
    assertEquals(text((await joined.client.exec("echo hello")).stdout), "hello\n");
    await using _channel = await joined.client.openChannel("session", undefined, { signal: undefined });
  }
});

Deno.test("Transport takes undefined for an option that is not given", async () => {
  const options: { [K in OptionalNames<TransportOptions>]: TransportOptions[K] | undefined } = {
    algorithms: lists,
    rekey: undefined,
    window: undefined,
    keepalive: undefined,
    idleTimeout: undefined,
    ident: undefined,
    loginTimeout: undefined,
    maxAuthTries: undefined,
    banner: undefined,
    insecureMinRsaBits: undefined,
    onBanner: undefined,
    onError: undefined,
  };
  const pair = memoryPair(), signal = undefined;
  await using server = new Transport(pair.server, options);
  server.addServerKey(await hostKey());
  const asks: InteractiveQuery = { prompts: [{ text: "?", echo: true }], name: undefined, instruction: undefined };
  await using client = new Transport(pair.client, { ...options, algorithms: undefined });
  const interactive = {
    checkAuthInteractive: (_user: string, answers: readonly string[] | null) => answers === null ? asks : true,
  };
  await Promise.all([server.startServer(interactive, { signal }), client.startClient({ signal })]);
  assertEquals(await client.authInteractive("alice", () => ["yes"]), []);
  keyboardInteractive(() => []);
});
