/** What cut short messages of a peer come to, through the facades. */
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { ChannelOpenError, SshDisconnectError } from "../../mod.ts";
import {
  ChannelClose,
  ChannelEof,
  ChannelOpen,
  ChannelOpenFailure,
  ChannelSuccess,
} from "../../lib/connection/messages.ts";
import { ExitSignal } from "../../lib/session/messages.ts";
import { Debug, Disconnect } from "../../lib/transport/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { confirmation, data, request } from "../_support/fake_transport.ts";
import { closeBoth, scriptedClient, scriptedServer } from "../_support/scripted_login.ts";
import { inTime } from "../_support/until.ts";
import { text } from "../_support/joined.ts";

const goodbye = (reason: number) => Disconnect.encode({ reason, description: "bye", language: "" }).subarray(0, -4);

// C3 of the cases.
Deno.test("a goodbye without a language tag is a clean end for a client and for a server", async () => {
  for (const end of [goodbye(11), goodbye(11).subarray(0, 5)]) {
    const { peer, client } = await scriptedServer();
    await peer.send(Debug.encode({ display: true, message: "hm", language: "" }).subarray(0, -4));
    await peer.send(end);
    await inTime(client.closed, "the end");
    await peer.close();
    const other = await scriptedClient();
    await other.peer.send(end);
    assertEquals(await inTime(other.served, "the end"), null);
    await other.peer.close();
  }
});

Deno.test("a DISCONNECT without a language tag tells its reason, to a client and to a server", async () => {
  const { peer, client } = await scriptedServer();
  await peer.send(goodbye(12));
  const error = await assertRejects(() => inTime(client.closed, "the end"), SshDisconnectError, "bye (12)");
  assertEquals(error.reason, 12);
  await peer.close();
  const other = await scriptedClient();
  await other.peer.send(goodbye(12));
  assertInstanceOf(await inTime(other.served, "the end"), SshDisconnectError);
  await other.peer.close();
});

Deno.test("a CHANNEL_OPEN_FAILURE without a language tag ends one channel, not the connection", async () => {
  const { peer, client } = await scriptedServer();
  for (const cut of [4, 4 + 4 + 2]) {
    const opening = client.exec("x");
    const { sender } = ChannelOpen.decode(await peer.receiveType(Msg.CHANNEL_OPEN));
    const failure = ChannelOpenFailure.encode({ recipient: sender, reason: 4, description: "no", language: "" });
    await peer.send(failure.subarray(0, -cut));
    assertEquals((await assertRejects(() => inTime(opening, "the refusal"), ChannelOpenError)).reason, 4);
  }
  await closeBoth(client, peer);
});

// C23 of the cases.
Deno.test("exec() keeps the output in front of an exit-signal that is cut short", async () => {
  const { peer, client } = await scriptedServer();
  const whole = ExitSignal.encode({ signal: "SEGV", coreDumped: true, message: "dumped", language: "en" });
  for (const length of [0, 3, 6, 8, 9, 11, 20, whole.length - 1]) {
    const running = client.exec("x");
    const { sender: id } = ChannelOpen.decode(await peer.receiveType(Msg.CHANNEL_OPEN));
    await peer.send(confirmation(id));
    await peer.receiveType(Msg.CHANNEL_REQUEST);
    await peer.send(ChannelSuccess.encode({ recipient: id }));
    await peer.send(data(id, "good output"));
    await peer.send(request(id, "exit-signal", false, whole.slice(0, length)));
    // What comes behind it is not lost either.
    await peer.send(data(id, ", and more"));
    await peer.send(ChannelEof.encode({ recipient: id }));
    await peer.send(ChannelClose.encode({ recipient: id }));
    const { stdout, code, signal } = await inTime(running, "the output");
    assertEquals([text(stdout), code, signal], ["good output, and more", null, length < 8 ? null : "SEGV"]);
  }
  await closeBoth(client, peer);
});
