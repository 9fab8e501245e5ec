#!/usr/bin/env -S deno run --allow-net
// deno-lint-ignore-file no-console
/**
 * A client step by step: pipes connect a socket to the transport, then come key exchange, a look at the host key, login, a channel, a request, bytes.
 *
 *     examples/transport_client.ts host port user password SHA256:fingerprint command
 */
import { Transport } from "@amiko/ssh/transport";

const [hostname, port, username, password, fingerprint, command] = Deno.args;
if (command === undefined) {
  console.error("Usage: transport_client.ts host port user password SHA256:fingerprint command");
  Deno.exit(2);
}

const conn = await Deno.connect({ hostname: hostname!, port: Number(port) });
conn.setNoDelay(true);
await using transport = new Transport();
// Whatever gives and takes bytes could stand here in the place of the socket. What ends the connection, `transport.closed` tells.
conn.readable.pipeThrough(transport.wire).pipeTo(conn.writable).catch(() => {});

await transport.startClient();
const { kex, clientToServer } = transport.info;
console.error(`Negotiated ${kex}, ${clientToServer.cipher}`);

// startClient() trusts nobody and checks nothing: this line is what keeps the password from an impostor.
const shown = await transport.getRemoteServerKey().fingerprint();
if (shown !== fingerprint) throw new Error(`The server shows the key ${shown}, not ${fingerprint}`);

const needed = await transport.authPassword(username!, password!);
if (needed.length > 0) throw new Error(`The server wants more: ${needed.join(", ")}`);

await using channel = await transport.openSession();
await channel.execCommand(command);
await channel.writable.close();
// Both outputs share one window: who reads only one of them may wait forever.
await Promise.all([
  channel.readable.pipeTo(Deno.stdout.writable, { preventClose: true }),
  channel.stderr.pipeTo(Deno.stderr.writable, { preventClose: true }),
]);
Deno.exitCode = (await channel.exitStatus).code ?? 255;
