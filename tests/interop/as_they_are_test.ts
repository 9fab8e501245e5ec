/**
 * What peers really do beyond their RFCs, and how `connect()` bears it.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { connect, pinnedHostKey, publicKey, SshError } from "../../mod.ts";
import { peerTest, startTinysshd } from "../_support/peers.ts";
import { inTime, until } from "../_support/until.ts";

// C4, C5.
peerTest(
  "tinyssh",
  "connect(): TinySSH answers UNIMPLEMENTED to a keepalive and to other global requests",
  async () => {
    await using server = await startTinysshd();
    let unimplemented = 0;
    await using client = await connect({
      hostname: server.hostname,
      port: server.port,
      username: server.username,
      auth: [publicKey(server.userKeys.ed25519.text)],
      verifyHostKey: pinnedHostKey(...server.hostKeys),
      keepalive: { interval: 20, maxMissed: 8 },
      trace: ({ event, detail }) => void (event === "received" && detail.type === 3 && unimplemented++),
    });
    await until(() => unimplemented > 20, "UNIMPLEMENTED, again and again");
    for (const name of ["a@example.com", "b@example.com"]) {
      const error = await assertRejects(() => inTime(client.request(name), "the refusal"), SshError);
      assertEquals(error.code, "REQUEST_DENIED");
    }
    const { code, stdout } = await client.exec("echo alive");
    assertEquals([code, new TextDecoder().decode(stdout)], [0, "alive\n"]);
  },
);
