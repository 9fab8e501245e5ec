/**
 * Test support. A server and a client joined in memory, and a handler whose commands the tests use.
 *
 * @module
 */
import { connect, type ConnectOptions, type SshClient } from "../../lib/api/client.ts";
import { serveConn, type ServeConnOptions } from "../../lib/api/server.ts";
import { password } from "../../lib/auth/methods.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { PrivateKey } from "../../lib/keys/types.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { type MemoryPair, memoryPair } from "./duplex.ts";

/** One host key for all tests of a process. */
let key: Promise<PrivateKey> | undefined;
export function hostKey(): Promise<PrivateKey> {
  return key ??= generateKey();
}

/** What every test server has; errors that nobody expects fail the test through `errors`. */
export async function serverOptions(extra: Partial<ServeConnOptions> = {}): Promise<ServeConnOptions> {
  return {
    hostKeys: [await hostKey()],
    auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
    handler: commands,
    ...extra,
  };
}

/** What logs in there. */
export const login: Omit<ConnectOptions, "hostname"> = {
  username: "alice",
  auth: [password("wonderland")],
  verifyHostKey: insecureAcceptAnyHostKey(),
};

/** A client and the server's end of its connection. */
export interface Joined extends AsyncDisposable {
  readonly client: SshClient;
  readonly pair: MemoryPair;
  /** How `serveConn()` ended: null, or its error. */
  readonly served: Promise<unknown>;
  /** What `onError` was told. */
  readonly errors: unknown[];
}

/** Joins a client and a server in memory. */
export async function join(
  server: Partial<ServeConnOptions> = {},
  client: Partial<ConnectOptions> = {},
  pair: MemoryPair = memoryPair(),
): Promise<Joined> {
  const errors: unknown[] = [];
  const served = serveConn(pair.server, await serverOptions({ onError: (error) => errors.push(error), ...server }))
    .then(() => null, (error) => error);
  const connected = await connect({ hostname: "test.invalid", ...login, transport: pair.client, ...client });
  return {
    client: connected,
    pair,
    served,
    errors,
    async [Symbol.asyncDispose]() {
      await connected.close();
      await served;
    },
  };
}

const encoder = new TextEncoder();

/** Text of bytes. */
export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Writes text. */
export function say(writer: WritableStreamDefaultWriter<Uint8Array>, text: string): Promise<void> {
  return writer.write(encoder.encode(text));
}

/** `echo TEXT`, `cat`, `exit N`, `env`, `stderr`, `bytes N`, `hang`, `throw`, and a shell that tells about itself. */
export async function commands(session: ServerSession): Promise<number | void> {
  const [name, ...args] = (session.command ?? "shell").split(" ");
  if (name === "cat") return await session.stdin.pipeTo(session.stdout);
  const writer = session.stdout.getWriter();
  switch (name) {
    case "echo":
      await say(writer, `${args.join(" ")}\n`);
      return;
    case "exit":
      return Number(args[0]);
    case "env":
      await say(writer, JSON.stringify(session.env));
      return;
    case "stderr": {
      const errors = session.stderr.getWriter();
      await say(writer, "out");
      await writer.close();
      await say(errors, "err");
      return 3;
    }
    case "bytes":
      for (let left = Number(args[0]); left > 0; left -= 65_536) {
        await writer.write(new Uint8Array(Math.min(left, 65_536)).fill(left & 255));
      }
      return;
    case "hang":
      await say(writer, "hanging\n");
      await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
      return;
    case "throw":
      throw new Error("the handler failed");
    case "shell":
      await say(writer, `shell of ${session.user.name}\n`);
      return;
  }
  return 127;
}
