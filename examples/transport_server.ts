#!/usr/bin/env -S deno run --allow-net=127.0.0.1
// deno-lint-ignore-file no-console
/**
 * A server step by step, in the manner of paramiko: an interface that decides, a channel that answers requests.
 *
 *     examples/transport_server.ts [port]       then: ssh -p PORT robey@127.0.0.1 hello       (password "foo")
 */
import { generateKey } from "@amiko/ssh/keys";
import { Channel, type ServerInterface, Transport } from "@amiko/ssh/transport";

/** Greets by the command's text. */
class Greeter extends Channel {
  override checkExecRequest(command: string): boolean {
    // A client may leave before it has its answer.
    this.#answer(`Hello ${command}\n`).catch((error) => console.error(`${error.name}: ${error.message}`));
    return true;
  }

  async #answer(text: string): Promise<void> {
    const writer = this.writable.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
    this.sendExitStatus(0);
    await this.close();
  }
}

/** Everything that is not written here is refused. */
const rules: Partial<ServerInterface> = {
  getAllowedAuths: () => ["password"],
  checkAuthPassword: (username, password) => username === "robey" && password === "foo",
  checkChannelRequest: (kind, id) => kind === "session" ? new Greeter(id) : null,
};

const hostKey = await generateKey();
const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(Deno.args[0] ?? 2222) });
console.log(`Listening on 127.0.0.1 port ${listener.addr.port}, key ${await hostKey.publicKey.fingerprint()}`);

for await (const conn of listener) {
  serveOne(conn).catch((error) => console.error(`${error.name}: ${error.message}`));
}

async function serveOne(conn: Deno.TcpConn): Promise<void> {
  await using transport = new Transport(conn);
  // Throws where the client has gone already.
  conn.setNoDelay(true);
  transport.addServerKey(hostKey);
  await transport.startServer(rules);
  for (let channel = await transport.accept(); channel !== null; channel = await transport.accept()) {
    console.log(`Channel ${channel.id} of type "${channel.type}" is open`);
  }
  await transport.closed;
}
