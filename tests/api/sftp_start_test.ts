/**
 * sftp() in two round trips: what a client sends ahead of the answers, and what it makes of servers that answer otherwise.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type SshClient } from "../../lib/api/client.ts";
import { password } from "../../lib/auth/methods.ts";
import { serviceAccept, userauthSuccess } from "../../lib/auth/messages.ts";
import {
  ChannelClose,
  ChannelData,
  ChannelFailure,
  ChannelOpen,
  ChannelRequest,
  ChannelSuccess,
  ChannelWindowAdjust,
} from "../../lib/connection/messages.ts";
import { SshError } from "../../lib/errors.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";
import { confirmation, data } from "../_support/fake_transport.ts";
import { memoryPair } from "../_support/duplex.ts";
import { hostKey } from "../_support/joined.ts";
import { RawPeer } from "../_support/raw_peer.ts";
import { inTime, until } from "../_support/until.ts";

/** What has come from the client, in order: `subsystem`, the types of SFTP's packets, `close`. */
type Heard = (what: string, id: number) => readonly Bytes[] | Promise<readonly Bytes[]>;

const VERSION = packet(new Writer().u8(2).u32(3));
const NO_LIMITS = packet(new Writer().u8(101).u32(0).u32(8).text("no").text(""));
const LIMITS = packet(new Writer().u8(201).u32(0).u64(256_000n).u64(100_000n).u64(100_000n).u64(0n));
const KNOWN_VERSION = packet(new Writer().u8(2).u32(3).text("limits@openssh.com").text("1"));

function packet(payload: Writer): Bytes {
  return new Writer().string(payload.bytes()).bytes();
}

interface Server extends AsyncDisposable {
  readonly client: SshClient;
  readonly peer: RawPeer;
  readonly heard: string[];
  /** Channels that the client has opened and not closed. */
  readonly open: ReadonlySet<number>;
}

/** A client of a server that says it is OpenSSH, and follows a script. */
async function scripted(script: Heard, ident = "SSH-2.0-OpenSSH_9.9", window = 2_097_152): Promise<Server> {
  const pair = memoryPair(), heard: string[] = [];
  const peer = new RawPeer(pair.server, {
    role: "server",
    hostKey: await hostKey(),
    algorithms: { kex: ["curve25519-sha256"] },
    ident,
  });
  const connecting = connect({
    hostname: "test",
    username: "alice",
    auth: [password("x")],
    verifyHostKey: () => true,
    transport: pair.client,
  });
  await peer.handshake();
  await peer.receiveType(Msg.SERVICE_REQUEST);
  await peer.send(serviceAccept.encode({ service: "ssh-userauth" }));
  await peer.receiveType(Msg.USERAUTH_REQUEST);
  await peer.send(userauthSuccess.encode({}));
  const client = await connecting;
  const sent = new Map<number, number[]>(), open = new Set<number>();
  const say = async (what: string, id: number): Promise<void> => {
    heard.push(what);
    for (const answer of await script(what, id)) await peer.send(answer);
  };
  const served = (async () => {
    for (;;) {
      const payload = await peer.receive();
      if (payload === null || payload[0] === Msg.DISCONNECT) return await peer.close();
      const id = new DataView(payload.buffer, payload.byteOffset).getUint32(1) - 7000;
      if (payload[0] === Msg.CHANNEL_OPEN) {
        const { sender } = ChannelOpen.decode(payload);
        sent.set(sender, []);
        open.add(sender);
        await peer.send(confirmation(sender, { window }));
      } else if (payload[0] === Msg.CHANNEL_REQUEST) {
        await say(ChannelRequest.decode(payload).name, id);
      } else if (payload[0] === Msg.CHANNEL_CLOSE) {
        open.delete(id);
        await say("close", id);
        await peer.send(ChannelClose.encode({ recipient: id })).catch(() => {});
      } else if (payload[0] === Msg.CHANNEL_DATA) {
        const bytes = sent.get(id)!;
        bytes.push(...ChannelData.decode(payload).data);
        for (let length; bytes.length >= 4 && bytes.length >= 4 + (length = bytes[2]! * 256 + bytes[3]!);) {
          await say(String(bytes.splice(0, 4 + length)[4]), id);
        }
      }
    }
  })();
  return {
    client,
    peer,
    heard,
    open,
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await served;
    },
  };
}

const granted = (id: number): Bytes => ChannelSuccess.encode({ recipient: id });
const closed = (id: number): Bytes => ChannelClose.encode({ recipient: id });

Deno.test("sftp() sends INIT, and asks a server for limits that is known to tell them, before it has answered anything", async () => {
  {
    await using known = await scripted((what, id) =>
      what === "200" ? [granted(id), data(id, KNOWN_VERSION), data(id, LIMITS)] : []
    );
    const { server } = await inTime(known.client.sftp(), "The session");
    assertEquals([known.heard, server.limits.maxReadLength], [["subsystem", "1", "200"], 100_000]);
  }
  // What comes before SUCCESS counts.
  await using other = await scripted(
    (what, id) => what === "1" ? [data(id, KNOWN_VERSION)] : what === "200" ? [data(id, LIMITS), granted(id)] : [],
    "SSH-2.0-dropbear_2022.83",
  );
  const { server } = await inTime(other.client.sftp(), "The session");
  assertEquals([other.heard, server.limits.maxReadLength], [["subsystem", "1", "200"], 100_000]);
});

Deno.test("sftp() does without limits where a server that should tell them does not, and waits for room where there is none", async () => {
  await using plain = await scripted(
    (what, id) =>
      what === "subsystem"
        ? [granted(id)]
        : what === "1"
        ? [data(id, VERSION)]
        : what === "200"
        ? [data(id, NO_LIMITS)]
        : [],
    undefined,
    0,
  );
  const opening = plain.client.sftp();
  await until(() => plain.heard.length === 1, "it asks");
  await plain.peer.send(ChannelWindowAdjust.encode({ recipient: 0, bytes: 1000 }));
  const { server } = await inTime(opening, "The session");
  await until(() => plain.heard.length === 3, "it has asked");
  assertEquals([plain.heard, server.limits], [["subsystem", "1", "200"], {}]);
  // One that names no limits need not answer, either.
  await using silent = await scripted((what, id) => what === "1" ? [granted(id), data(id, VERSION)] : []);
  assertEquals((await inTime(silent.client.sftp(), "The session")).server.limits, {});
});

Deno.test("sftp() asks a server for no limits that tells them in VERSION, and takes nothing that is no limits for them", async () => {
  const told = (text: string): Bytes =>
    packet(new Writer().u8(2).u32(3).text("limits@openssh.com").text("1").text("limits-told@amiko-ssh").text(text));
  const start = async (text: string) => {
    await using server = await scripted(
      (what, id) => what === "1" ? [granted(id), data(id, told(text))] : what === "200" ? [data(id, LIMITS)] : [],
      "SSH-2.0-amiko",
    );
    const { server: { limits } } = await inTime(server.client.sftp(), "The session");
    return [server.heard, limits.maxReadLength, limits.maxOpenHandles];
  };
  assertEquals(await start("262144 40000 50000 7"), [["subsystem", "1"], 40_000, 7]);
  for (
    const other of [
      "",
      "1 2 3",
      "1 2 3 x",
      "1 2 3 -4",
      "1 2 3 4 5",
      "1 2 3 1e9",
      " 1 2 3 4",
      `1 2 3 ${"9".repeat(400)}`,
    ]
  ) {
    assertEquals(await start(other), [["subsystem", "1", "200"], 100_000, 0], other);
  }
});

Deno.test("sftp() says what became of it wherever a server refuses or ends it, and the connection lives", async () => {
  let script: Heard = () => [];
  await using server = await scripted((what, id) => script(what, id));
  const ends: Record<string, [Heard, string]> = {
    "refused at once": [
      (what, id) => what === "subsystem" ? [ChannelFailure.encode({ recipient: id })] : [],
      "REQUEST_DENIED",
    ],
    "refused after INIT": [
      (what, id) => what === "200" ? [ChannelFailure.encode({ recipient: id })] : [],
      "REQUEST_DENIED",
    ],
    "closed at once": [(what, id) => what === "subsystem" ? [closed(id)] : [], "CLOSED"],
    "closed after SUCCESS": [(what, id) => what === "200" ? [granted(id), closed(id)] : [], "CONNECTION_LOST"],
    "closed after VERSION": [
      (what, id) => what === "200" ? [granted(id), data(id, KNOWN_VERSION), closed(id)] : [],
      "CONNECTION_LOST",
    ],
    "garbage in the place of VERSION": [
      (what, id) => what === "200" ? [data(id, "This account is\n")] : [],
      "PROTOCOL_ERROR",
    ],
  };
  for (const [how, [answers, code]] of Object.entries(ends)) {
    script = answers;
    const before = server.heard.length;
    const error = await assertRejects(() => inTime(server.client.sftp(), how), SshError);
    assertEquals(error.code, code, how);
    await until(() => server.heard.slice(before).includes("close"), `${how}: the channel is closed`);
  }
  script = (what, id) => what === "200" ? [granted(id), data(id, KNOWN_VERSION), data(id, LIMITS)] : [];
  await inTime(server.client.sftp(), "Another session");
});

Deno.test("sftp() ends where its signal or time does, whatever it waits for, and late answers trouble nobody", async () => {
  let at = "", aborting = new AbortController();
  await using server = await scripted((what, id) => {
    if (what === at) aborting.abort(new RangeError(at));
    const waits = at === "subsystem";
    return waits || what === "close"
      ? []
      : what === "subsystem"
      ? [granted(id)]
      : what === "1" && at === "200"
      ? [data(id, KNOWN_VERSION)]
      : [];
  });
  for (at of ["subsystem", "1", "200"]) {
    for (const how of ["signal", "timeout"] as const) {
      aborting = new AbortController();
      if (how === "signal") await assertRejects(() => server.client.sftp({ signal: aborting.signal }), RangeError, at);
      else {await assertRejects(
          () => server.client.sftp({ timeout: 5 }),
          DOMException,
          "waiting for the server to start SFTP",
        );}
      await until(() => server.open.size === 0, `${at}: the channel is closed`);
    }
  }
  await assertRejects(() => server.client.sftp({ signal: AbortSignal.abort(new RangeError("x")) }), RangeError);
  // The connection lives.
  at = "none";
  assert((await server.client.sftp({ timeout: 5 }).catch((error) => error)) instanceof DOMException);
});
