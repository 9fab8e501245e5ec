/**
 * A guessed key exchange packet, as the client: RFC 4253 section 7.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { defaultAlgorithms } from "../../lib/crypto/algorithms.ts";
import { SshProtocolError } from "../../lib/errors.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { forgivesGuesses, guessOf, MisguessError, onlyGuessOf, type ServerOffer } from "../../lib/transport/guess.ts";
import { KexInit } from "../../lib/transport/messages.ts";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import type { SecureTransportOptions, TraceEvent } from "../../lib/transport/transport_options.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey } from "../_support/joined.ts";
import { RawPeer } from "../_support/raw_peer.ts";
import { inTime } from "../_support/until.ts";

const CURVE = "curve25519-sha256", NIST = "ecdh-sha2-nistp256", GROUP = "diffie-hellman-group-exchange-sha256";
const KEY = "ssh-ed25519", OTHER_KEY = "ecdsa-sha2-nistp256";

function lists(kex: readonly string[], hostKey: readonly string[]) {
  return { ...defaultAlgorithms, kex, hostKey };
}

function offer(kex: readonly string[], hostKey: readonly string[] = [KEY], ident = "SSH-2.0-amiko"): ServerOffer {
  return { ident, kex: [...kex, "kex-strict-s-v00@openssh.com"], hostKey };
}

Deno.test("guessOf() moves to the front what is agreed on anyway, and guesses nothing else", () => {
  const ours = lists([NIST, CURVE, GROUP], [OTHER_KEY, KEY]);
  const guessed = (kex: readonly string[], hostKey: readonly string[]) => {
    const guess = guessOf(ours, offer(kex, hostKey));
    return guess === null ? null : [guess.kex, guess.hostKey];
  };
  assertEquals(guessed([NIST, CURVE], [OTHER_KEY]), [[NIST, CURVE, GROUP], [OTHER_KEY, KEY]]);
  // The server has nothing that is wanted more.
  assertEquals(guessed([CURVE], [KEY]), [[CURVE, NIST, GROUP], [KEY, OTHER_KEY]]);
  // It has: what would be agreed on stays what it is.
  assertEquals(guessed([CURVE, NIST], [KEY]), null);
  assertEquals(guessed([NIST], [KEY, OTHER_KEY]), null);
  // What is not offered is not guessed, and neither is a group of the server's choice or a name that is none.
  for (const kex of [["other", NIST], ["other"], [], [GROUP]]) assertEquals(guessed(kex, [KEY]), null);
  assertEquals(guessed([NIST], ["other", KEY]), null);
  const pseudo = lists(["kex-strict-s-v00@openssh.com"], [KEY]);
  assertEquals(guessOf(pseudo, { ...offer([]), kex: ["kex-strict-s-v00@openssh.com"] }), null);
});

Deno.test("onlyGuessOf() guesses where one method and one host key algorithm are all that there is", () => {
  const one = lists([CURVE], [KEY]), marked = lists([CURVE, "kex-strict-c"], [KEY]);
  assertEquals([onlyGuessOf(one), onlyGuessOf(marked)], [one, marked]);
  for (
    const many of [lists([CURVE, NIST], [KEY]), lists([CURVE], [KEY, OTHER_KEY]), lists([GROUP], [KEY]), lists([], [])]
  ) {
    assertEquals(onlyGuessOf(many), null);
  }
  assertEquals(["SSH-2.0-amiko", "SSH-2.0-amikoserver", "SSH-2.0-x OpenSSH_9"].map(forgivesGuesses), [
    true,
    false,
    false,
  ]);
});

/** A client and a server of this module in memory; what the client saw and did, and what came of it. */
async function exchange(client: Partial<SecureTransportOptions>, server: Partial<SecureTransportOptions> = {}) {
  // What leaves first is to be seen first: a write that waits for its reader would hide it.
  const pair = memoryPair({ highWaterMark: 65_536 }), seen: string[] = [];
  const trace = ({ event, detail }: TraceEvent): void => {
    if (event !== "received") seen.push(event);
    else if (detail.type === Msg.KEXINIT || detail.type === Msg.KEX_REPLY) seen.push(`received ${detail.type}`);
  };
  const far = new SecureTransport(pair.server, { role: "server", hostKeys: [await hostKey()], ...server });
  const near = new SecureTransport(pair.client, { role: "client", verifyHostKey: () => true, trace, ...client });
  const started = far.start().catch(() => {});
  try {
    await inTime(near.start(), "The key exchange");
    await inTime(started, "The server's");
    await near.rekey();
    return { seen, info: near.info, offer: near.offer };
  } finally {
    await near.end();
    await far.end();
  }
}

Deno.test("a client that knows what the server wants sends KEXINIT and its value before the server has said a word", async () => {
  const first = await exchange({});
  assertEquals(first.seen.slice(0, 3), ["ident", "sealed", "received 20"]);
  assertEquals([first.offer!.ident, first.offer!.hostKey], ["SSH-2.0-amiko", [KEY]]);
  const second = await exchange({ offered: first.offer });
  assertEquals(second.seen.filter((event) => event !== "sealed").slice(0, 4), [
    "guess",
    "ident",
    "received 20",
    "received 31",
  ]);
  // It has left, too.
  assert(second.seen.indexOf("sealed") < second.seen.indexOf("ident"));
  // A method that it wants more, and which the server lacks, does not stand in the way.
  const third = await exchange(
    { algorithms: { kex: [CURVE, NIST] }, offered: offer([NIST]) },
    { algorithms: { kex: [NIST] } },
  );
  assertEquals([third.seen[0], third.info.kex, third.info.strictKex], ["guess", NIST, true]);
});

Deno.test("a wrong guess costs nothing where the server forgives it: another method, the same method, another host key", async () => {
  const other = await exchange({ algorithms: { kex: [CURVE, NIST] }, offered: offer([CURVE]) }, {
    algorithms: { kex: [NIST] },
  });
  const same = await exchange(
    { algorithms: { kex: [NIST, CURVE] }, offered: offer([NIST]) },
    { algorithms: { kex: [CURVE, NIST] } },
  );
  const key = await exchange({
    algorithms: { kex: [NIST], hostKey: [OTHER_KEY, KEY] },
    offered: offer([NIST], [OTHER_KEY]),
  });
  assertEquals([other, same, key].map(({ info }) => info.kex), [NIST, NIST, NIST]);
  for (const { seen } of [other, same, key]) assert(seen.indexOf("guess") < seen.indexOf("ident"));
  // By the names alone, without a memory, the server's line is waited for.
  const only = { kex: [CURVE], hostKey: [KEY] };
  const right = await exchange({ algorithms: only }, { algorithms: only });
  const wrong = await exchange({ algorithms: only }, { algorithms: { kex: [NIST, CURVE] } });
  for (const { seen, info } of [right, wrong]) {
    assertEquals([seen.indexOf("ident") < seen.indexOf("guess"), info.kex], [true, CURVE]);
  }
});

Deno.test("a server that is another one than before ends a guess, where it may have taken it for something else", async () => {
  const guessed = { algorithms: { kex: [CURVE, NIST] }, offered: offer([CURVE], [KEY], "SSH-2.0-paramiko_3.5.1") };
  // What it wants has changed, and it would not notice that the guess is wrong.
  const changed = { ident: "paramiko_3.5.1", algorithms: { kex: [NIST] } };
  await assertRejects(() => exchange(guessed, changed), MisguessError);
  // It may not have read what came before its line.
  await assertRejects(() => exchange(guessed, { ident: "other_1.0" }), MisguessError);
  // One that reads that may be another one.
  assertEquals((await exchange(guessed, { ident: "OpenSSH_10.0" })).info.kex, CURVE);
  // ssh2's waits forever behind a right guess, and an unknown one may: neither is guessed at.
  for (const ident of ["ssh2js1.17.0", "other_1.0"]) {
    const { seen } = await exchange({ ...guessed, offered: offer([CURVE], [KEY], `SSH-2.0-${ident}`) }, { ident });
    assertEquals(seen.includes("guess"), false, ident);
  }
});

Deno.test("a guess ends the connection where it would keep from a server what it has by now, and is wanted more", async () => {
  const algorithms = { kex: [CURVE, NIST], hostKey: [KEY, OTHER_KEY] };
  const hostKeys = [await hostKey(), await generateKey("ecdsa")];
  for (
    const [offered, server] of [
      [offer([NIST]), { algorithms: { kex: [CURVE, NIST] } }],
      // The guess is right, but for what it does not ask about.
      [offer([NIST]), { algorithms: { kex: [NIST, CURVE] } }],
      // The next exchange, without a guess, would come to another host key than the first.
      [offer([CURVE], [OTHER_KEY]), { algorithms: { kex: [CURVE] }, hostKeys }],
      [offer([CURVE], [OTHER_KEY]), { algorithms: { kex: [CURVE] }, hostKeys: hostKeys.toReversed() }],
    ] as const
  ) {
    await assertRejects(() => exchange({ algorithms, offered }, server), MisguessError, "is wanted more");
    const { seen, info } = await exchange({ algorithms }, server);
    assertEquals([seen.includes("guess"), info.kex, info.hostKeyAlgorithm], [false, CURVE, KEY]);
  }
});

Deno.test("whoever changes a list on its way changes no guess: the exchange ends at the signature, and teaches nothing", async () => {
  const pair = memoryPair();
  const peer = new RawPeer(pair.server, {
    role: "server",
    hostKey: await hostKey(),
    ident: "SSH-2.0-OpenSSH_10.0",
    // Somebody in between says that the server knows one method alone, which is not what it signs.
    tamper: (payload) =>
      payload[0] === Msg.KEXINIT ? KexInit.encode({ ...KexInit.decode(payload), kex: [NIST] }) : payload,
    algorithms: { kex: [NIST, CURVE] },
  });
  const client = new SecureTransport(pair.client, {
    role: "client",
    verifyHostKey: () => true,
    algorithms: { kex: [NIST, CURVE] },
  });
  const served = peer.handshake().catch(() => {});
  await assertRejects(() => inTime(client.start(), "The key exchange"), SshProtocolError, "signature is wrong");
  assertEquals(client.offer, null);
  await served;
  await peer.close();
});
