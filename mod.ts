/**
 * SSH for Deno: a client and a server on web streams.
 *
 * {@linkcode connect} gives a client, {@linkcode serve} a server, and {@linkcode Transport} one connection step by step.
 *
 * @example A server and a client in one program
 * ```ts
 * import { connect, generateKey, password, pinnedHostKey, serve } from "@amiko/ssh";
 *
 * const hostKey = await generateKey();
 * await using server = serve({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   hostKeys: [hostKey],
 *   auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
 *   async handler(session) {
 *     const writer = session.stdout.getWriter();
 *     await writer.write(new TextEncoder().encode(`You said ${session.command}\n`));
 *     return 7;
 *   },
 * });
 *
 * await using client = await connect({
 *   hostname: "127.0.0.1",
 *   port: server.addr.port,
 *   username: "alice",
 *   auth: [password("wonderland")],
 *   verifyHostKey: pinnedHostKey(await hostKey.publicKey.fingerprint()),
 * });
 * const { code, stdout } = await client.exec("hello");
 * console.log(code, new TextDecoder().decode(stdout)); // 7 You said hello
 * ```
 *
 * @module
 */
export * from "./client.ts";
export * from "./server.ts";
export {
  type InteractiveQuery,
  type ServerInterface,
  Transport,
  type TransportOptions,
} from "./lib/api/transport/transport.ts";
export * from "./lib/keys/mod.ts";
export * from "./lib/sftp/mod.ts";
export * from "./lib/scp/mod.ts";
