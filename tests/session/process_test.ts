import { assertEquals, assertRejects } from "@std/assert";
import { ChannelClose, ChannelOpen } from "../../lib/connection/messages.ts";
import { SshError } from "../../lib/errors.ts";
import { startProcess } from "../../lib/session/process.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { confirmation, fakeMux } from "../connection/_fake_transport.ts";
import { countedSignal } from "../_support/counted_signal.ts";

Deno.test("startProcess() lets go of its signal where the channel ends as soon as it is open", async () => {
  for (const how of ["closed", "lost"] as const) {
    const { transport, mux } = fakeMux();
    const counted = countedSignal();
    const starting = startProcess(mux, { kind: "exec", command: "x" }, { signal: counted.signal });
    starting.catch(() => {});
    const { sender } = ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
    // Both come before anybody could have looked at the open channel.
    transport.receive(confirmation(sender), ...how === "closed" ? [ChannelClose.encode({ recipient: sender })] : []);
    if (how === "lost") transport.finish(new SshError("gone", { code: "CONNECTION_LOST" }));
    await assertRejects(() => starting, SshError);
    assertEquals(counted.listeners, 0);
  }
});
