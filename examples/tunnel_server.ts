#!/usr/bin/env -S deno run --allow-net=127.0.0.1
// deno-lint-ignore-file no-console
/**
 * A tunnel service: whoever logs in asks for a name, and requests with that name as their host go to them. No port is opened for it.
 *
 *     examples/tunnel_server.ts [ssh port] [http port]
 *     ssh -N -p 2222 -R myapp:80:localhost:3000 anyone@127.0.0.1        (password "tunnel")
 *     curl -H 'Host: myapp.localhost' http://127.0.0.1:8080/
 */
import { generateKey } from "@amiko/ssh/keys";
import { type Channel, Transport } from "@amiko/ssh/transport";

/** Who has which name. */
const tunnels = new Map<string, Transport>();
/** Names that a connection may have, and bytes of a request that may come before its host is known. */
const MAX_NAMES = 10, MAX_HEAD = 16_384;

const hostKey = await generateKey();
const [sshPort = "2222", httpPort = "8080"] = Deno.args;
const http = Deno.listen({ hostname: "127.0.0.1", port: Number(httpPort) });
const ssh = Deno.listen({ hostname: "127.0.0.1", port: Number(sshPort) });
console.log(`HTTP at http://127.0.0.1:${http.addr.port}/`);
console.log(`Listening on 127.0.0.1 port ${ssh.addr.port}, key ${await hostKey.publicKey.fingerprint()}`);

void acceptHttp();
for await (const conn of ssh) {
  serveSsh(conn).catch((error) => console.error(`${error.name}: ${error.message}`));
}

/** One client of the service; its names are free again when it has gone. */
async function serveSsh(conn: Deno.TcpConn): Promise<void> {
  await using transport = new Transport(conn);
  // Throws where the client has gone already.
  conn.setNoDelay(true);
  const names = new Set<string>();
  transport.addServerKey(hostKey);
  await transport.startServer({
    checkAuthPassword: (_username, password) => password === "tunnel",
    // `-R NAME:80:…` asks for a listener at NAME, which is all that it takes.
    checkPortForwardRequest: (name, port) => {
      if (port !== 80 || !/^[a-z0-9-]{1,63}$/.test(name) || name === "localhost") return false;
      if (tunnels.has(name) || names.size >= MAX_NAMES) return false;
      tunnels.set(name, transport);
      names.add(name);
      return port;
    },
    cancelPortForwardRequest: (name) => names.delete(name) && tunnels.delete(name),
  });
  await transport.closed.finally(() => names.forEach((name) => tunnels.delete(name)));
}

async function acceptHttp(): Promise<void> {
  for await (const conn of http) {
    serveHttp(conn).catch(() => {}).finally(() => {
      try {
        conn.close();
      } catch {
        // Its writable has closed it.
      }
    });
  }
}

/** The first request names the host, and the whole connection goes there. */
async function serveHttp(conn: Deno.TcpConn): Promise<void> {
  const head = await readHead(conn);
  const name = /^host:[ \t]*([a-z0-9-]+)/im.exec(new TextDecoder().decode(head))?.[1]?.toLowerCase();
  const transport = tunnels.get(name ?? "");
  if (name === undefined || transport === undefined) return await answer(conn, "404 Not Found");
  let channel: Channel;
  try {
    const dest = { transport: "tcp", hostname: name, port: 80 } as const;
    channel = await transport.openChannel("forwarded-tcpip", { dest, origin: conn.remoteAddr });
  } catch {
    return await answer(conn, "502 Bad Gateway");
  }
  await using _closed = channel;
  send(head, conn, channel.writable).catch(() => {});
  await channel.readable.pipeTo(conn.writable);
}

/** Not by `conn.readable`: its end would close the connection for both directions, and the answer is still to come. */
async function send(head: Uint8Array, conn: Deno.TcpConn, writable: WritableStream<Uint8Array>): Promise<void> {
  const writer = writable.getWriter(), buffer = new Uint8Array(65_536);
  await writer.write(head);
  for (let length; (length = await conn.read(buffer)) !== null;) await writer.write(buffer.slice(0, length));
  await writer.close();
}

/** What comes up to the end of the first request's header, and perhaps some bytes more. */
async function readHead(conn: Deno.TcpConn): Promise<Uint8Array> {
  const buffer = new Uint8Array(MAX_HEAD), timer = setTimeout(() => conn.close(), 10_000);
  try {
    for (let length = 0; length < MAX_HEAD;) {
      const got = await conn.read(buffer.subarray(length));
      if (got === null) throw new Error("The request ends in its header");
      length += got;
      const text = new TextDecoder().decode(buffer.subarray(0, length));
      if (text.includes("\r\n\r\n")) return buffer.subarray(0, length);
    }
    throw new Error("The header is too long");
  } finally {
    clearTimeout(timer);
  }
}

async function answer(conn: Deno.TcpConn, status: string): Promise<void> {
  const body = `${status}\n`;
  const text = `HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
  await new Blob([text]).stream().pipeTo(conn.writable);
}
