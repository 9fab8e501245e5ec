/**
 * Servers of routers and the like, scripted: what `connect()` and `Channel` make of sessions that `ssh` copes with.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Channel } from "../../lib/api/transport/channel.ts";
import { connect, type SshClient } from "../../lib/api/client.ts";
import { password } from "../../lib/auth/methods.ts";
import { serviceAccept, userauthSuccess } from "../../lib/auth/messages.ts";
import {
  ChannelClose,
  ChannelData,
  ChannelEof,
  ChannelFailure,
  ChannelOpen,
  ChannelRequest,
  ChannelSuccess,
} from "../../lib/connection/messages.ts";
import { SshError } from "../../lib/errors.ts";
import { ExitStatusRequest } from "../../lib/session/messages.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { confirmation, data, fakeMux, request, settle } from "../_support/fake_transport.ts";
import { memoryPair } from "../_support/duplex.ts";
import { RawPeer } from "../_support/raw_peer.ts";
import { inTime, turns, until } from "../_support/until.ts";
import { hostKey, text } from "../_support/joined.ts";

/** What a scripted server sends for one message on a session; nothing stands for silence. */
type Script = (message: string, id: number) => readonly Bytes[];

const exit = (id: number, code: number): Bytes => request(id, "exit-status", false, ExitStatusRequest.encode({ code }));
const bye = (id: number): Bytes[] => [
  ChannelEof.encode({ recipient: id }),
  ChannelClose.encode({ recipient: id }),
];

/** A client whose server follows a script: requests by name, data, and `eof`. */
async function scripted(script: Script): Promise<
  {
    client: SshClient;
    peer: RawPeer;
    heard: string[];
    /** The number of the session that spoke last. */
    last: () => number;
  } & AsyncDisposable
> {
  const pair = memoryPair(), heard: string[] = [];
  let last = 0;
  const peer = new RawPeer(pair.server, {
    role: "server",
    hostKey: await hostKey(),
    algorithms: { kex: ["curve25519-sha256"] },
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
  const served = (async () => {
    for (;;) {
      const payload = await peer.receive();
      // The client waits for its server to hang up.
      if (payload === null || payload[0] === Msg.DISCONNECT) return await peer.close();
      let message: string, id = new DataView(payload.buffer, payload.byteOffset).getUint32(1) - 7000;
      if (payload[0] === Msg.CHANNEL_OPEN) {
        id = ChannelOpen.decode(payload).sender;
        await peer.send(confirmation(id));
        continue;
      }
      if (payload[0] === Msg.CHANNEL_REQUEST) message = ChannelRequest.decode(payload).name;
      else if (payload[0] === Msg.CHANNEL_EOF) message = "eof";
      else if (payload[0] === Msg.CHANNEL_DATA) message = text(ChannelData.decode(payload).data);
      else continue;
      heard.push(message);
      last = id;
      for (const answer of script(message, id)) await peer.send(answer);
    }
  })();
  return {
    client,
    peer,
    heard,
    last: () => last,
    async [Symbol.asyncDispose]() {
      await client.close();
      await served;
    },
  };
}

// C7: phpseclib #1631, shhhbb #11.
Deno.test("exec() gives output and code of a server that never answers CHANNEL_SUCCESS", async () => {
  await using quiet = await scripted((message, id) =>
    message === "exec" ? [data(id, "version 7\n"), exit(id, 0), ...bye(id)] : []
  );
  for (const options of [{}, { pty: true }, { env: { A: "b" } }]) {
    const { stdout, code } = await inTime(quiet.client.exec("show version", options), "The output");
    assertEquals([text(stdout), code], ["version 7\n", 0]);
  }
});

Deno.test("shell() resolves when the prompt comes, without any CHANNEL_SUCCESS", async () => {
  await using quiet = await scripted((message, id) =>
    message === "shell" ? [data(id, "router> ")] : message === "exit\n" ? [exit(id, 2), ...bye(id)] : []
  );
  await using shell = await inTime(quiet.client.shell({ pty: true }), "The shell");
  await shell.stdin.getWriter().write(new TextEncoder().encode("exit\n"));
  assertEquals((await shell.status).code, 2);
  assertEquals(await new Response(shell.stdout).text(), "router> ");
});

// C12: golang/go #29954.
Deno.test("exec() that keeps stdin open gets the output of a router that ends the session at EOF", async () => {
  // What it has to say takes a moment, and it hears of the EOF first.
  await using router = await scripted((message, id) =>
    message === "eof" ? bye(id) : message === "exec" ? [ChannelSuccess.encode({ recipient: id })] : []
  );
  const { client, heard, peer } = router;
  const gone = await client.exec("show version");
  assertEquals([gone.code, gone.stdout.length], [null, 0]);
  for (const run of [() => client.exec("x", { stdin: "open" }), () => client.exec("x", { stdin: "open", pty: true })]) {
    heard.splice(0);
    const output = run();
    await until(() => heard.includes("exec"), "The command");
    await turns();
    const id = router.last();
    for (const message of [data(id, "version 7\n"), exit(id, 0), ...bye(id)]) await peer.send(message);
    const { stdout, code } = await inTime(output, "The output");
    assertEquals([text(stdout), code, heard.includes("eof")], ["version 7\n", 0, false]);
  }
});

/** A channel that has been opened; the peer answers as the test says. */
async function opened() {
  const { transport, mux } = fakeMux();
  const opening = mux.openChannel("session", new Uint8Array(0), (id) => new Channel(id));
  transport.take();
  transport.receive(confirmation(0));
  return { transport, channel: await opening };
}

Deno.test("Channel.execCommand(), invokeShell() and invokeSubsystem() take output and exit codes for a yes", async () => {
  const begins = [
    (channel: Channel) => channel.execCommand("x"),
    (channel: Channel) => channel.invokeShell(),
    (channel: Channel) => channel.invokeSubsystem("x"),
  ];
  for (const begin of begins) {
    for (const speech of [data(0, "out"), exit(0, 3)]) {
      const { transport, channel } = await opened();
      const begun = begin(channel);
      await settle();
      transport.receive(speech);
      await begun;
      transport.receive(...speech[0] === Msg.CHANNEL_DATA ? [exit(0, 3)] : [], ...bye(0));
      assertEquals((await channel.exitStatus).code, 3);
    }
  }
});

Deno.test("Channel.execCommand() that is refused leaves the channel for another try, and not behind output", async () => {
  const { transport, channel } = await opened();
  const refused = channel.execCommand("a");
  transport.receive(ChannelFailure.encode({ recipient: 0 }));
  await assertRejects(() => refused, SshError, "refused");
  const begun = channel.execCommand("b");
  transport.receive(data(0, "out"));
  await begun;
  // A second one is refused by its own answer, and not granted by the output of the first.
  const second = channel.execCommand("c");
  transport.receive(data(0, "more"), ChannelSuccess.encode({ recipient: 0 }), ChannelFailure.encode({ recipient: 0 }));
  await assertRejects(() => second, SshError, "refused");
  assert(channel.isOpen);
  const { transport: other, channel: late } = await opened();
  const speaking = late.execCommand("a");
  other.receive(data(0, "Welcome\n"));
  await speaking;
  other.receive(ChannelFailure.encode({ recipient: 0 }));
  assertEquals((await assertRejects(() => late.exitStatus, SshError)).code, "REQUEST_DENIED");
  assertEquals((await assertRejects(() => new Response(late.readable).text(), SshError)).code, "REQUEST_DENIED");
});
