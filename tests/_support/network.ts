/**
 * Test support, for `deno run --preload`: the network of a program. Names of hosts and the ports that it listens at lead to ports of
 * 127.0.0.1, so that programs and recipes run as they are written. AMIKO_NETWORK has them as JSON, by `host:port` and by `:port`.
 *
 * @module
 */
const routes = JSON.parse(Deno.env.get("AMIKO_NETWORK") ?? "{}") as Record<string, number>;
const { connect, listen, serve } = Deno, { fetch } = globalThis;

/** The port that it leads to here; what the program has opened for itself is where it says. */
function route(name: string): number {
  const port = routes[name] ?? Number(/^127\.0\.0\.1:(\d+)$|^:(0)$/.exec(name)?.slice(1).join(""));
  if (Number.isNaN(port)) throw new TypeError(`There is no ${name} in the network of this test`);
  return port;
}

Deno.connect = (async (options: Deno.ConnectOptions & { transport?: "tcp" }) => {
  if ("path" in options) return await connect(options as never);
  return await connect({ ...options, hostname: "127.0.0.1", port: route(`${options.hostname}:${options.port}`) });
}) as typeof Deno.connect;

Deno.listen = ((options: Deno.TcpListenOptions & { transport?: "tcp" }) => {
  if ("path" in options) return listen(options as never);
  return listen({ ...options, hostname: "127.0.0.1", port: route(`:${options.port}`) });
}) as typeof Deno.listen;

Deno.serve =
  ((options: Deno.ServeTcpOptions, handler: Deno.ServeHandler) =>
    serve({ ...options, hostname: "127.0.0.1", port: route(`:${options.port}`) }, handler)) as typeof Deno.serve;

globalThis.fetch = ((input: string | URL | Request, init?: RequestInit) => {
  const { hostname, pathname } = new URL(input instanceof Request ? input.url : input),
    port = routes[`${hostname}:443`];
  return fetch(port === undefined ? input : `http://127.0.0.1:${port}${pathname}`, init);
}) as typeof globalThis.fetch;

globalThis.WebSocket = class extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    const { hostname, pathname } = new URL(url);
    super(`ws://127.0.0.1:${route(`${hostname}:443`)}${pathname}`, protocols);
  }
};
