/**
 * `serve()` for the clients of others. How to run one peer: _matrix.ts.
 *
 * @module
 */
import { assert } from "@std/assert";
import { type KeyType, keyTypes, testKeys } from "../_support/keys.ts";
import { readClientOffer } from "../_support/offer.ts";
import {
  asyncSshClient,
  type ClientPeer,
  dropbearClient,
  opensshClient,
  paramiko2Client,
  paramikoClient,
  puttyClient,
  ssh2Client,
} from "../_support/peer_clients.ts";
import { type PeerId, peers, peerTest } from "../_support/peers.ts";
import { combinations, logins, renewing, repeat, tryServe } from "./_matrix.ts";

interface Entry {
  readonly id: PeerId;
  readonly start: () => Promise<ClientPeer>;
  /** Key types that it can log in with. */
  readonly userKeys: readonly KeyType[];
  /** How often it renews keys by itself at least, where that is not again and again. */
  readonly renewals?: number;
  /** At least so many combinations of key exchange, host key, cipher and MAC. */
  readonly atLeast: number;
}

const entries: readonly Entry[] = [
  { id: "openssh", start: () => opensshClient("9.2"), userKeys: keyTypes, atLeast: 38 },
  { id: "openssh10", start: () => opensshClient("10"), userKeys: keyTypes, atLeast: 39 },
  { id: "dropbear", start: dropbearClient, userKeys: keyTypes, atLeast: 17 },
  { id: "putty", start: puttyClient, userKeys: keyTypes, atLeast: 36 },
  { id: "paramiko", start: paramikoClient, userKeys: keyTypes, renewals: 1, atLeast: 34 },
  { id: "paramiko2", start: paramiko2Client, userKeys: keyTypes, renewals: 1, atLeast: 32 },
  { id: "asyncssh", start: asyncSshClient, userKeys: keyTypes, atLeast: 30 },
  { id: "ssh2", start: ssh2Client, userKeys: keyTypes, renewals: 1, atLeast: 28 },
];

for (const entry of entries) {
  const name = `serve() serves ${peers[entry.id].title}`;
  peerTest(entry.id, `${name} over every algorithm that both have`, async (t) => {
    await using client = await entry.start();
    const { host, user } = await testKeys();
    const readOffer = (compress: boolean) =>
      readClientOffer((port) =>
        client.run({
          port,
          hostKeys: keyTypes.map((type) => host[type]),
          username: "nobody",
          login: { key: user.ed25519 },
          command: "true",
          input: new Uint8Array(),
          compress,
        })
      );
    const offer = { ...await readOffer(false), compression: (await readOffer(true)).compression };
    const tried = combinations(offer);
    assert(tried.length > entry.atLeast, `${tried.length} combinations: ${JSON.stringify(offer)}`);
    for (const combination of [...tried, ...logins(entry.userKeys, true, client.interactive)]) {
      await t.step(`${name} ${combination.title}`, async () => void await tryServe(client, offer, combination));
    }
    await t.step(
      `${name} and renews keys every 128 KiB`,
      () => renewing(tryServe(client, offer, tried[0]!, { rekey: { bytes: 128 * 1024 }, repeat })),
    );
    if (client.rekeys === "never") return;
    await t.step(
      `${name} that renews keys by itself`,
      () => renewing(tryServe(client, offer, tried[0]!, { peerRekeyBytes: 128 * 1024, repeat }), entry.renewals),
    );
    if (client.rekeys === "alone") return;
    await t.step(`${name} when both renew keys`, () =>
      renewing(tryServe(client, offer, tried[0]!, {
        rekey: { bytes: 128 * 1024 },
        peerRekeyBytes: 128 * 1024,
        repeat,
      })));
  });
}
