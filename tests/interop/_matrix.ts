/**
 * What the interop tests have in common: the combinations that are tried with each peer, and one connection's worth of checks for either role.
 *
 * Each peer is asked what it offers (its KEXINIT), and one thing is varied at a time: every key exchange, host key, cipher, MAC, compression and login
 * that both sides have, with everything else left open. On each connection one command takes 256 KiB in, gives them back, writes to standard error, and
 * ends with an exit code.
 *
 * Run one peer with `AMIKO_PEERS=openssh10,paramiko deno test -A tests/interop/`; the names stand in tests/_support/peers.ts. `.ci/install_peers`
 * installs all peers on Debian; a peer that is missing shows as ignored.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  type Algorithms,
  type AuthMethod,
  connect,
  type ConnectionInfo,
  defaultAlgorithms,
  insecureAlgorithms,
  insecureSha1Signer,
  keyboardInteractive,
  parsePrivateKey,
  password as byPassword,
  pinnedHostKey,
  publicKey,
  type RekeyLimits,
  serve,
  type ServerSession,
} from "../../mod.ts";
import { seededBytes } from "../_support/duplex.ts";
import { type KeyType, keyTypes, type TestKey, testKeys } from "../_support/keys.ts";
import type { Offer } from "../_support/offer.ts";
import type { ClientPeer } from "../_support/peer_clients.ts";
import { password, type ServerPeer, username } from "../_support/peers.ts";

/** Standard input of every command. */
export const input: Uint8Array<ArrayBuffer> = seededBytes(256 * 1024);
/** Gives its input back, says something on standard error, and ends with code 3. */
export const command = "cat; printf err >&2; exit 3";

/** What only programs offer that name it. */
const named = ["mlkem768nistp256-sha256", "mlkem1024nistp384-sha384"];

/** What this module has, by dimension; compared below with what the issue that built it asks for. */
export const ours: Algorithms = {
  kex: [...defaultAlgorithms.kex, ...named, ...insecureAlgorithms.kex],
  hostKey: [...defaultAlgorithms.hostKey, ...insecureAlgorithms.hostKey],
  cipher: [...defaultAlgorithms.cipher, ...insecureAlgorithms.cipher],
  mac: [...defaultAlgorithms.mac, ...insecureAlgorithms.mac],
  compression: ["none", "zlib@openssh.com"],
};

/** At least these must be there, or the matrix would shrink in silence. */
export const required: Omit<Algorithms, "compression"> = {
  kex: [
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha256",
  ],
  hostKey: [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "ssh-mldsa44-ed25519",
  ],
  cipher: [
    "chacha20-poly1305@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
  ],
  mac: ["hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"],
};

/** How a user logs in. */
export type Login = { key: KeyType } | { password: string; interactive?: boolean };

/** One connection to try. */
export interface Combination {
  /** What is special about it: "with kex curve25519-sha256". */
  readonly title: string;
  /** Lists that hold one name only; the others are open. */
  readonly pinned: Partial<Algorithms>;
  /** How to log in. */
  readonly login: Login;
}

const key: Login = { key: "ed25519" };

/** Every combination with a peer that offers this. */
export function combinations(offer: Offer): Combination[] {
  const shared = (list: "kex" | "hostKey" | "cipher" | "mac" | "compression") =>
    ours[list].filter((name) => offer[list].includes(name));
  // A MAC counts only beside a cipher that has none of its own, and its two orders with a cipher are two different things.
  const plain = shared("cipher").filter((name) => /-(?:ctr|cbc)$/.test(name));
  const macs = shared("mac");
  const orders = [macs.find((name) => name.includes("-etm@")), macs.find((name) => !name.includes("-etm@"))]
    .filter((name) => name !== undefined);
  return [
    { title: "with what both sides want most", pinned: {}, login: key },
    ...shared("kex").map((name) => ({ title: `with kex ${name}`, pinned: { kex: [name] }, login: key })),
    ...shared("hostKey").map((name) => ({ title: `with host key ${name}`, pinned: { hostKey: [name] }, login: key })),
    ...shared("cipher").filter((name) => !plain.includes(name)).map((name) => ({
      title: `with cipher ${name}`,
      pinned: { cipher: [name] },
      login: key,
    })),
    ...plain.flatMap((name) =>
      orders.map((mac) => ({
        title: `with cipher ${name} and MAC ${mac}`,
        pinned: { cipher: [name], mac: [mac] },
        login: key,
      }))
    ),
    ...plain.slice(0, 1).flatMap((name) =>
      macs.filter((mac) => !orders.includes(mac)).map((mac) => ({
        title: `with cipher ${name} and MAC ${mac}`,
        pinned: { cipher: [name], mac: [mac] },
        login: key,
      }))
    ),
    ...shared("compression").filter((name) => name !== "none").map((name) => ({
      title: `with compression ${name}`,
      pinned: { compression: [name] },
      login: key,
    })),
  ];
}

/** A combination for each way to log in. */
export function logins(types: readonly KeyType[], withPassword: boolean, interactive: boolean): Combination[] {
  return [
    ...types.map((type) => ({ title: `with a login by ${type} key`, pinned: {}, login: { key: type } })),
    ...withPassword ? [{ title: "with a login by password", pinned: {}, login: { password } }] : [],
    ...interactive
      ? [{ title: "with a login by keyboard-interactive", pinned: {}, login: { password, interactive: true } }]
      : [],
  ];
}

/** What is not pinned is as wide as a client's defaults on both sides, so that it does not stand in the way. */
function open(pinned: Partial<Algorithms>): Partial<Algorithms> {
  return Object.keys(pinned).length === 0 ? {} : { ...defaultAlgorithms, ...pinned };
}

/** What was agreed on must be what was pinned. */
function checkNegotiated(info: ConnectionInfo, pinned: Partial<Algorithms>, offer: Offer): void {
  if (pinned.kex) assertEquals(info.kex, pinned.kex[0]);
  if (pinned.hostKey) assertEquals(info.hostKeyAlgorithm, pinned.hostKey[0]);
  for (const direction of [info.clientToServer, info.serverToClient]) {
    if (pinned.cipher) assertEquals(direction.cipher, pinned.cipher[0]);
    if (pinned.mac) assertEquals(direction.mac, pinned.mac[0]);
    if (pinned.compression) assertEquals(direction.compression, pinned.compression[0]);
  }
  // The second name is the one that the IETF's draft gives it.
  const marks = /^kex-strict-[cs](?:-v00@openssh\.com)?$/;
  assertEquals(info.strictKex, offer.kex.some((name) => marks.test(name)), "strict key exchange");
}

/** Runs `fn` with a signal that aborts at the deadline. */
export async function within<T>(ms: number, fn: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`No end in ${ms} ms`)), ms);
  try {
    return await fn(late.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** The same bytes, told without printing them. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  assert(at === -1, `the bytes differ at ${at}`);
}

/** How often the input goes each way where keys are renewed every 128 KiB. */
export const repeat = 8;

/**
 * Holds that keys were renewed again and again, and not only agreed on. How often depends on the peer: what is on its way when an
 * exchange begins still arrives, which for a slow one is most of a window.
 */
export async function renewing(exchanges: Promise<number>, least = 2): Promise<void> {
  const renewed = await exchanges - 1;
  assert(renewed >= least, `keys were renewed ${renewed} times while ${repeat * input.length} bytes went each way`);
}

/** Tries one combination with `connect()` against a server. Returns how often keys were exchanged. */
export async function tryConnect(
  server: ServerPeer,
  offer: Offer,
  { pinned, login }: Combination,
  options: { rekey?: RekeyLimits; repeat?: number } = {},
): Promise<number> {
  const auth: AuthMethod = "key" in login
    ? publicKey(server.userKeys[login.key].text)
    : login.interactive
    ? keyboardInteractive(({ prompts }) => prompts.map(() => login.password))
    : byPassword(login.password);
  let exchanges = 0;
  await within(120_000, async (signal) => {
    await using client = await connect({
      hostname: server.hostname,
      port: server.port,
      username: server.username,
      auth: [auth],
      verifyHostKey: pinnedHostKey(...server.hostKeys),
      algorithms: open(pinned),
      signal,
      trace: ({ event }) => void (event === "keys" && exchanges++),
      ...options.rekey === undefined ? {} : { rekey: options.rekey },
    });
    checkNegotiated(client.info, pinned, offer);
    const process = await client.spawn(command);
    const feeding = feed(process.stdin, options.repeat ?? 1);
    feeding.catch(() => {});
    const output = await process.output();
    await feeding;
    assertEquals(output.code, 3);
    assertEquals(output.signal, null);
    assertEquals(new TextDecoder().decode(output.stderr), "err");
    assertSameBytes(output.stdout, repeated(options.repeat ?? 1));
  });
  return exchanges;
}

async function feed(writable: WritableStream<Uint8Array>, repeat: number): Promise<void> {
  const writer = writable.getWriter();
  for (let i = 0; i < repeat; i++) await writer.write(input.slice());
  await writer.close();
}

function repeated(repeat: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(input.length * repeat);
  for (let i = 0; i < repeat; i++) bytes.set(input, i * input.length);
  return bytes;
}

/** What a shell would make of {@linkcode command}, without one. */
async function handler(session: ServerSession): Promise<number> {
  if (session.command !== command) return 127;
  await session.stdin.pipeTo(session.stdout, { preventClose: true });
  const writer = session.stderr.getWriter();
  await writer.write(new TextEncoder().encode("err"));
  writer.releaseLock();
  return 3;
}

/** Tries one combination with `serve()` for a client. Returns how often keys were exchanged. */
export async function tryServe(
  peer: ClientPeer,
  offer: Offer,
  { pinned, login }: Combination,
  options: { rekey?: RekeyLimits; repeat?: number; peerRekeyBytes?: number } = {},
): Promise<number> {
  const { host, user } = await testKeys();
  const authorized = keyTypes.map((type) => user[type].line.split(" ")[1]);
  const errors: unknown[] = [];
  const seen: { info?: ConnectionInfo } = {};
  let exchanges = 0;
  await within(120_000, async (signal) => {
    await using server = serve({
      hostname: "127.0.0.1",
      port: 0,
      hostKeys: await Promise.all(keyTypes.map(async (type) => {
        const key = await parsePrivateKey(host[type].text);
        return type === "rsa" && pinned.hostKey?.[0] === "ssh-rsa" ? insecureSha1Signer(key) : key;
      })),
      auth: {
        publicKey: (info, key) => {
          seen.info = info.connection;
          return info.username === username && authorized.includes(key.blob.toBase64());
        },
        password: (info, value) => {
          seen.info = info.connection;
          return info.username === username && value === password;
        },
        keyboardInteractive: async (info, ask) => {
          seen.info = info.connection;
          const answers = await ask([{ text: "Password: ", echo: false }]);
          return info.username === username && answers.length === 1 && answers[0] === password;
        },
      },
      handler,
      algorithms: open(pinned),
      signal,
      trace: ({ event }) => void (event === "keys" && exchanges++),
      onError: (error) => errors.push(error),
      ...options.rekey === undefined ? {} : { rekey: options.rekey },
    });
    const output = await peer.run({
      port: server.addr.port,
      hostKeys: keyTypes.map((type): TestKey => host[type]),
      username,
      login: "key" in login ? { key: user[login.key] } : login,
      command,
      input: repeated(options.repeat ?? 1),
      ...pinned.compression === undefined ? {} : { compress: true },
      ...options.peerRekeyBytes === undefined ? {} : { rekeyBytes: options.peerRekeyBytes },
    }).catch((error) => {
      throw new Error(`${error}; the server saw: ${errors.map(String).join("; ")}`, { cause: error });
    });
    const saw = `the server saw: ${errors.map(String).join("; ") || "nothing amiss"}`;
    assertEquals(output.stderr, "err", saw);
    assertEquals(output.code, 3, saw);
    assertSameBytes(output.stdout, repeated(options.repeat ?? 1));
    assert(seen.info !== undefined);
    checkNegotiated(seen.info, pinned, offer);
  });
  return exchanges;
}
