/**
 * `connect()` against the servers of others. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assert } from "@std/assert";
import { type KeyType, keyTypes } from "../_support/keys.ts";
import { type Offer, readServerOffer } from "../_support/offer.ts";
import {
  type PeerId,
  peers,
  peerTest,
  type ServerPeer,
  startAsyncSshServer,
  startDropbear,
  startOpenSshd,
  startParamiko2Server,
  startParamikoServer,
  startSsh2Server,
  startTinysshd,
} from "../_support/peers.ts";
import { type Combination, combinations, logins, ours, renewing, repeat, required, tryConnect } from "./_matrix.ts";

interface Entry {
  readonly id: PeerId;
  readonly start: () => Promise<ServerPeer>;
  /** A second server of this peer, for host keys that the first could not take; only its host keys are tried. */
  readonly startOther?: () => Promise<ServerPeer>;
  /** One that renews keys behind 128 KiB by itself. */
  readonly startRekeying?: () => Promise<ServerPeer>;
  /** What it offers and cannot do. */
  readonly cannot?: readonly string[];
  /** Key types that its users may have. */
  readonly userKeys: readonly KeyType[];
  /** At least so many combinations of key exchange, host key, cipher and MAC. */
  readonly atLeast: number;
}

const entries: readonly Entry[] = [
  {
    id: "openssh",
    start: () => startOpenSshd(),
    startRekeying: () => startOpenSshd({ config: ["RekeyLimit=128K"] }),
    userKeys: keyTypes,
    atLeast: 38,
  },
  {
    id: "openssh10",
    start: () => startOpenSshd({ version: "10" }),
    startRekeying: () => startOpenSshd({ version: "10", config: ["RekeyLimit=128K"] }),
    userKeys: keyTypes,
    atLeast: 39,
  },
  {
    id: "dropbear",
    start: () => startDropbear(),
    startOther: () => startDropbear(["ecdsa521"]),
    userKeys: keyTypes,
    atLeast: 17,
  },
  {
    id: "paramiko",
    start: () => startParamikoServer({ compress: true }),
    startRekeying: () => startParamikoServer({ rekey_bytes: 128 * 1024 }),
    userKeys: keyTypes,
    atLeast: 34,
  },
  {
    id: "paramiko2",
    start: () => startParamiko2Server({ compress: true }),
    startRekeying: () => startParamiko2Server({ rekey_bytes: 128 * 1024 }),
    userKeys: keyTypes,
    atLeast: 32,
  },
  {
    id: "asyncssh",
    start: () => startAsyncSshServer(),
    startRekeying: () => startAsyncSshServer({ rekey_bytes: 128 * 1024 }),
    userKeys: keyTypes,
    atLeast: 30,
  },
  {
    id: "ssh2",
    start: () => startSsh2Server({ algorithms: { compress: ["none", "zlib@openssh.com"] } }),
    userKeys: keyTypes,
    // A server of ssh2 has no groups to give, and ends the connection.
    cannot: ["diffie-hellman-group-exchange-sha256"],
    atLeast: 28,
  },
  { id: "tinyssh", start: startTinysshd, userKeys: ["ed25519"], atLeast: 4 },
];

Deno.test("connect() has the algorithms that the matrix is made for", () => {
  for (const list of ["kex", "hostKey", "cipher", "mac"] as const) {
    for (const name of required[list]) assert(ours[list].includes(name), name);
  }
});

for (const entry of entries) {
  const name = `connect() talks to ${peers[entry.id].title}`;

  peerTest(entry.id, `${name} over every algorithm that both have`, async (t) => {
    await using server = await entry.start();
    const offer = await readServerOffer(server.port);
    const tried = combinations(offer)
      .filter(({ pinned }) => !Object.values(pinned).flat().some((name) => entry.cannot?.includes(name)));
    assert(tried.length > entry.atLeast, `${tried.length} combinations: ${JSON.stringify(offer)}`);
    const step = (combination: Combination, at: ServerPeer, offered: Offer) =>
      t.step(`${name} ${combination.title}`, async () => void await tryConnect(at, offered, combination));
    for (const combination of tried) await step(combination, server, offer);
    for (const combination of logins(entry.userKeys, server.password !== null, server.interactive)) {
      await step(combination, server, offer);
    }
    if (entry.startOther !== undefined) {
      await using other = await entry.startOther();
      const otherOffer = await readServerOffer(other.port);
      for (const combination of combinations(otherOffer)) {
        if (combination.pinned.hostKey && !offer.hostKey.includes(combination.pinned.hostKey[0]!)) {
          await step(combination, other, otherOffer);
        }
      }
    }
    await t.step(
      `${name} and renews keys every 128 KiB`,
      () => renewing(tryConnect(server, offer, tried[0]!, { rekey: { bytes: 128 * 1024 }, repeat })),
    );
  });

  if (entry.startRekeying !== undefined) {
    peerTest(entry.id, `${name} that renews keys every 128 KiB`, async () => {
      await using server = await entry.startRekeying!();
      const offer = await readServerOffer(server.port);
      await renewing(tryConnect(server, offer, combinations(offer)[0]!, { repeat }));
    });
    peerTest(entry.id, `${name} when both renew keys every 128 KiB`, async () => {
      await using server = await entry.startRekeying!();
      const offer = await readServerOffer(server.port);
      await renewing(tryConnect(server, offer, combinations(offer)[0]!, { rekey: { bytes: 128 * 1024 }, repeat }));
    });
  }
}
