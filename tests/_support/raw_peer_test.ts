import { assert, assertEquals } from "@std/assert";
import { SecureTransport } from "../../lib/transport/secure_transport.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import { Unimplemented } from "../../lib/transport/messages.ts";
import { memoryPair } from "./duplex.ts";
import { RawPeer } from "./raw_peer.ts";

const hostKey = await generateKey("ed25519");
const handler = { message: () => false, ended: () => {} };

for (const strict of [true, false]) {
  for (const cipher of ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"]) {
    Deno.test(`RawPeer plays a client, strict ${strict}, ${cipher}`, async () => {
      const { client, server } = memoryPair();
      const transport = new SecureTransport(server, { role: "server", hostKeys: [hostKey] });
      transport.setHandler(handler);
      const peer = new RawPeer(client, { role: "client", strict, algorithms: { cipher: [cipher] } });
      await Promise.all([transport.start(), peer.handshake()]);
      assertEquals(transport.info.strictKex, strict);
      await peer.send(new Uint8Array([100]));
      const sequence = strict ? 0 : peer.sequence - 1;
      assertEquals(Unimplemented.decode(await peer.receiveType(3)).sequence, sequence);
      const ended = transport.close();
      assertEquals((await peer.disconnected()).reason, 11);
      await peer.close();
      await ended;
    });
    Deno.test(`RawPeer plays a server, strict ${strict}, ${cipher}`, async () => {
      const { client, server } = memoryPair();
      const transport = new SecureTransport(client, { role: "client", verifyHostKey: () => true });
      transport.setHandler(handler);
      const peer = new RawPeer(server, { role: "server", strict, algorithms: { cipher: [cipher] }, hostKey });
      await Promise.all([transport.start(), peer.handshake()]);
      assertEquals(transport.info.strictKex, strict);
      assert(transport.info.hostKey.type === "ssh-ed25519");
      await peer.send(new Uint8Array([100]));
      await peer.receiveType(3);
      const ended = transport.close();
      assertEquals((await peer.disconnected()).reason, 11);
      await peer.close();
      await ended;
    });
  }
}
