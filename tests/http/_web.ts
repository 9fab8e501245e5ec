/**
 * Test support. A client whose server reaches hosts that are nowhere else: `inner.test` and 192.0.2.1 lead to a web server of the test,
 * whatever the port, and nothing else is allowed. Few tests use the name: Deno has this machine's resolver look it up for nothing, which
 * may take seconds.
 */
import type { SshClient } from "../../lib/api/ssh_client.ts";
import type { ServeConnOptions } from "../../lib/api/server.ts";
import { pump } from "../../lib/forward/pump.ts";
import { join, type Joined } from "../_support/joined.ts";

/** A web server, and a client of the SSH server beside it. */
export interface Inside extends AsyncDisposable {
  readonly client: SshClient;
  readonly joined: Joined;
  /** What the client has dialled, as `inner.test 80`. */
  readonly dialled: string[];
  /** Connections through the server that are open. */
  readonly open: { count: number };
}

/** A server of Deno's that listens on 127.0.0.1. */
export function webServer(handler: Deno.ServeHandler<Deno.NetAddr>): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
}

/** With a web server that `handler` is. */
export async function inside(
  handler: Deno.ServeHandler<Deno.NetAddr>,
  options: Partial<ServeConnOptions> = {},
): Promise<Inside> {
  const web = webServer(handler);
  const { port } = web.addr,
    made = await insideRaw(async (conn) => {
      await pump(await Deno.connect({ port }), conn).catch(() => {});
    }, options);
  return {
    ...made,
    async [Symbol.asyncDispose]() {
      await made[Symbol.asyncDispose]();
      await web.shutdown();
    },
  };
}

type Forwarded = Parameters<NonNullable<ServeConnOptions["onForward"]>>[1]["conn"];

/** With connections that `answer` serves. */
export async function insideRaw(
  answer: (conn: Forwarded) => Promise<unknown>,
  options: Partial<ServeConnOptions> = {},
): Promise<Inside> {
  const dialled: string[] = [], open = { count: 0 };
  const joined = await join({
    allowForward: (_info, request) => {
      if (request.kind !== "direct") return request.kind !== "direct-unix";
      dialled.push(`${request.hostname} ${request.port}`);
      return ["inner.test", "192.0.2.1"].includes(request.hostname);
    },
    onForward: async (_info, { conn }) => {
      open.count++;
      await answer(conn);
      open.count--;
    },
    ...options,
  });
  return { client: joined.client, joined, dialled, open, [Symbol.asyncDispose]: () => joined[Symbol.asyncDispose]() };
}
