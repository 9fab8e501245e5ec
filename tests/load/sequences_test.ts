/**
 * Random sequences of messages to a whole server, at every stage of its life: it goes on, or closes as it should, and gives away
 * nothing before the login.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { type ServerSession, SshError } from "../../mod.ts";
import { serviceRequest, userauthRequest } from "../../lib/auth/messages.ts";
import {
  ChannelClose,
  ChannelData,
  ChannelEof,
  ChannelExtendedData,
  ChannelFailure,
  ChannelOpen,
  ChannelOpenConfirmation,
  ChannelOpenFailure,
  ChannelRequest,
  ChannelSuccess,
  ChannelWindowAdjust,
  GlobalRequest,
  RequestFailure,
  RequestSuccess,
} from "../../lib/connection/messages.ts";
import { Disconnect } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { commands } from "../_support/joined.ts";
import { mutate, Prng } from "../_support/fuzz.ts";
import { assertGivenBack, holdings, MemoryWatch, sized } from "../_support/resources.ts";
import { inTime } from "../_support/until.ts";
import { Served } from "../_support/served.ts";

/** The same ones each time: what is new is found by soaking. */
const SEQUENCES = sized(8_000, 1_000_000);
/** Connections at a time. */
const LANES = 8;
/** Sequences on one connection, as long as it lives. */
const MOST = 40;

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (value: string) => new Writer().text(value).bytes();
const NOTHING = new Uint8Array(0);

/** Makes a message; `open` are the server's numbers of the open channels. */
type Make = (prng: Prng, open: readonly number[]) => Uint8Array;

/** A channel: as a rule one that is open. */
const number = (prng: Prng, open: readonly number[]) =>
  open.length > 0 && prng.below(60) > 0 ? prng.pick(open) : prng.pick([0, 1, 255, 0xffff_ffff]);
const amount = (prng: Prng) => prng.pick([0, 1, 100, 32_768, 2 ** 21, 0x7fff_ffff, 0xffff_ffff]);

const ignored = new Writer().u8(Msg.IGNORE).text("").bytes();

/** Messages that any stage has to stand; most are sound, in place or not. */
const transportMessages: readonly Make[] = [
  (prng) => new Writer().u8(Msg.IGNORE).string(prng.bytes(prng.below(100))).bytes(),
  () => new Writer().u8(Msg.DEBUG).bool(true).text("x").text("").bytes(),
  (prng) => new Writer().u8(Msg.UNIMPLEMENTED).u32(prng.u32()).bytes(),
  (prng) => new Writer().u8(Msg.PING).string(prng.bytes(prng.below(100))).bytes(),
  (prng) => new Uint8Array([prng.pick([9, 15, 19, 194, 200, 255])]),
];

const rareMessages: readonly Make[] = [
  (prng) => Disconnect.encode({ reason: prng.below(20), description: "bye", language: "" }),
  (prng) => new Writer().u8(Msg.EXT_INFO).u32(prng.below(3)).raw(prng.bytes(8)).bytes(),
  (prng) => new Uint8Array([prng.pick([20, 21, 30, 31, 34]), ...prng.bytes(prng.below(40))]),
  (prng) => new Uint8Array([prng.below(256), ...prng.bytes(prng.below(40))]),
  () => new Uint8Array([Msg.USERAUTH_SUCCESS]),
  (prng) => new Writer().u8(prng.pick([51, 53, 60, 61, 63])).u32(prng.below(3)).raw(prng.bytes(9)).bytes(),
];

/** Never the right password. */
const authMessages: readonly Make[] = [
  (prng) => serviceRequest.encode({ service: prng.below(60) === 0 ? "nope" : "ssh-userauth" }),
  (prng) => {
    const method = prng.pick(["none", "password", "publickey", "keyboard-interactive", "hostbased", "x"]);
    return userauthRequest.encode({
      user: utf8(prng.below(200) === 0 ? "bob" : "alice"),
      service: utf8(prng.below(200) === 0 ? "nope" : "ssh-connection"),
      method: utf8(method),
      fields: prng.pick<Make>([
        () => NOTHING,
        () => new Writer().bool(false).text("wrong").bytes(),
        () => new Writer().bool(true).text("wrong").text("new").bytes(),
        () => new Writer().text("").text("").bytes(),
        () => new Writer().bool(true).text("ssh-ed25519").string(prng.bytes(51)).string(prng.bytes(83)).bytes(),
        () => prng.bytes(prng.below(60)),
      ])(prng, []),
    });
  },
];

const requestData: Readonly<Record<string, Make>> = {
  "exec": (prng) => text(prng.pick(["cat", "hang", "exit 3", "throw", "bytes 70000", "\0"])),
  "shell": () => NOTHING,
  "subsystem": () => text("sftp"),
  "env": (prng) => new Writer().text(`N${prng.below(200)}`).text("value").bytes(),
  "pty-req": (prng) =>
    new Writer().text("xterm").u32(80).u32(24).u32(0).u32(0).string(prng.bytes(prng.below(20))).bytes(),
  "window-change": (prng) => new Writer().u32(prng.u32()).u32(prng.u32()).u32(0).u32(0).bytes(),
  "signal": (prng) => text(prng.pick(["TERM", "KILL", "../", "", "SIGINT"])),
  "break": (prng) => new Writer().u32(prng.u32()).bytes(),
  "exit-status": () => new Writer().u32(1).bytes(),
  "eow@openssh.com": () => NOTHING,
  "nobody@example.org": (prng) => prng.bytes(prng.below(40)),
};

const connectionMessages: readonly Make[] = [
  (prng) => {
    const name = prng.pick([
      "keepalive@openssh.com",
      "tcpip-forward",
      "cancel-tcpip-forward",
      "hostkeys-prove-00@openssh.com",
      "streamlocal-forward@openssh.com",
    ]);
    return GlobalRequest.encode({ name, wantReply: prng.below(2) === 0, data: prng.bytes(prng.below(30)) });
  },
  (prng) =>
    ChannelOpen.encode({
      type: prng.pick(["session", "session", "session", "direct-tcpip", "x11", "forwarded-tcpip", "y"]),
      sender: prng.below(5),
      window: amount(prng),
      maxPacket: amount(prng),
      data: prng.bytes(prng.pick([0, 0, 20])),
    }),
  (prng, open) => ChannelData.encode({ recipient: number(prng, open), data: prng.bytes(prng.pick([0, 1, 100, 5000])) }),
  (prng, open) =>
    ChannelExtendedData.encode({
      recipient: number(prng, open),
      dataType: prng.below(3),
      data: prng.bytes(prng.below(100)),
    }),
  (prng, open) =>
    ChannelWindowAdjust.encode({ recipient: number(prng, open), bytes: prng.pick([0, 1, 1000, 100_000]) }),
  (prng, open) => prng.below(8) === 0 ? ChannelEof.encode({ recipient: number(prng, open) }) : ignored,
  (prng, open) => ChannelClose.encode({ recipient: number(prng, open) }),
  ...[1, 2, 3].map((): Make => (prng, open) => {
    const name = prng.pick(Object.keys(requestData));
    const data = requestData[name]!(prng, open);
    return ChannelRequest.encode({ recipient: number(prng, open), name, wantReply: prng.below(3) > 0, data });
  }),
  (prng, open) => prng.pick([ChannelSuccess, ChannelFailure]).encode({ recipient: number(prng, open) }),
  () => RequestSuccess.encode({ data: NOTHING }),
  () => RequestFailure.encode({}),
];

const closingMessages: readonly Make[] = [
  (prng, open) =>
    ChannelOpenConfirmation.encode({
      recipient: number(prng, open),
      sender: 0,
      window: amount(prng),
      maxPacket: amount(prng),
      data: NOTHING,
    }),
  (prng, open) =>
    ChannelOpenFailure.encode({ recipient: number(prng, open), reason: 1, description: "", language: "" }),
  () => GlobalRequest.encode({ name: "no-more-sessions@openssh.com", wantReply: true, data: NOTHING }),
];

interface Stage {
  readonly name: string;
  readonly loggedIn: boolean;
  readonly start: (handler: (session: ServerSession) => Promise<number | void>) => Promise<Served>;
  /** What is sent for the most part. */
  readonly usual: readonly Make[];
}

const stages: readonly Stage[] = [
  {
    name: "connected",
    loggedIn: false,
    start: (handler) => Served.connected({ handler, maxAuthTries: 100 }),
    usual: [...transportMessages, ...authMessages],
  },
  {
    name: "accepted",
    loggedIn: false,
    start: (handler) => Served.accepted({ handler, maxAuthTries: 100 }),
    usual: [...transportMessages, ...authMessages, ...authMessages],
  },
  {
    name: "logged in",
    loggedIn: true,
    start: (handler) => Served.loggedIn({ handler }),
    usual: [...transportMessages, ...connectionMessages],
  },
  {
    name: "in a session",
    loggedIn: true,
    start: async (handler) => {
      const served = await Served.loggedIn({ handler });
      assert(await served.request(await served.openSession(), "exec", text("cat")));
      return served;
    },
    usual: [...transportMessages, ...connectionMessages, ...connectionMessages],
  },
];

/** What a server may say: before the login, and after it. */
const MAY_SAY = {
  before: new Set<number>([1, 3, 6, 7, 20, 21, 31, Msg.USERAUTH_FAILURE, Msg.USERAUTH_PK_OK]),
  after: new Set<number>([1, 3, 20, 21, 31, 81, 82, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, Msg.PONG]),
};

/** Answered with UNIMPLEMENTED at every stage. */
const PROBE = new Uint8Array([18]);

interface Played {
  readonly sequences: number;
  readonly closed: boolean;
}

async function play(seed: number): Promise<Played> {
  const prng = new Prng(seed), stage = stages[seed % stages.length]!;
  const running = new Set<Promise<unknown>>();
  let handled = 0;
  const served = await stage.start((session) => {
    handled++;
    const run = commands(session);
    running.add(run);
    run.finally(() => running.delete(run)).catch(() => {});
    return run;
  });
  const { peer } = served;
  const open: number[] = stage.name === "in a session" ? [0] : [];
  let sequences = 0, disconnects = 0, alive = true;
  const allowed = stage.loggedIn ? MAY_SAY.after : MAY_SAY.before;
  try {
    while (alive && sequences < MOST) {
      sequences++;
      const messages = Array.from({ length: 1 + prng.below(8) }, () => {
        const other = prng.below(100);
        const from = other === 0 ? rareMessages : other === 1 ? closingMessages : stage.usual;
        const message = prng.pick(from)(prng, open);
        return prng.below(60) === 0 ? mutate(message, prng.u32()) : message;
      }).filter((message) => message.length > 0);
      for (const message of messages) {
        // Nothing more is meant for a channel behind its CLOSE.
        if (message[0] !== Msg.CHANNEL_CLOSE || message.length !== 5) continue;
        const at = open.indexOf(new DataView(message.buffer, message.byteOffset).getUint32(1));
        if (at >= 0) open.splice(at, 1);
      }
      const probe = peer.sequence + messages.length;
      await served.sendAll([...messages, PROBE]).catch(() => {});
      for (;;) {
        const payload = await inTime(peer.receive(), "A message or the end");
        if (payload === null) {
          alive = false;
          break;
        }
        assert(disconnects === 0, `message ${payload[0]} came behind DISCONNECT`);
        assert(allowed.has(payload[0]!), `the server said message ${payload[0]}`);
        if (payload[0] === Msg.DISCONNECT) {
          disconnects++;
          // The server waits a moment for its peer to hang up, which is too long to look each time whether anything follows.
          if (seed % 100 > 0) {
            alive = false;
            break;
          }
        }
        if (payload[0] === Msg.CHANNEL_OPEN_CONFIRMATION) open.push(ChannelOpenConfirmation.decode(payload).sender);
        if (payload[0] === Msg.UNIMPLEMENTED && new DataView(payload.buffer).getUint32(1) === probe) break;
      }
    }
  } finally {
    await peer.close();
  }
  const error = await inTime(served.ended, "The end");
  if (!alive && error !== null) assertInstanceOf(error, SshError);
  while (running.size > 0) await inTime(Promise.allSettled(running), "The handlers");
  if (!stage.loggedIn) assertEquals(handled, 0, "a handler ran before the login");
  // What a handler threw by itself is told, and nothing else.
  for (const told of served.errors) {
    assert(told instanceof Error && told.message === "the handler failed", String(told));
  }
  return { sequences, closed: !alive };
}

Deno.test(`${SEQUENCES} random sequences of messages neither hang a server nor get anything out of it`, async () => {
  for (let seed = 1_000_000_000; seed < 1_000_000_020; seed++) await play(seed);
  const before = await holdings();
  const watch = await MemoryWatch.start();
  let seed = 0, sequences = 0, closed = 0;
  await Promise.all(Array.from({ length: LANES }, async () => {
    while (sequences < SEQUENCES) {
      const mine = seed++;
      try {
        const played = await play(mine);
        sequences += played.sequences;
        if (played.closed) closed++;
      } catch (cause) {
        sequences = Infinity;
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`Seed ${mine}, ${stages[mine % stages.length]!.name}: ${why}`, { cause });
      }
      if (mine % 1000 === 0) watch.look();
    }
  }));
  // Thousands of connections leave much for the collector, which has its time.
  watch.assertUnder(32 * 2 ** 20, 512 * 2 ** 20);
  // Most sequences leave the connection up: what follows is tried on a state that is deep.
  assert(sequences > 3 * seed, `${sequences} sequences on ${seed} connections`);
  assert(closed > 0);
  await assertGivenBack(before);
});
