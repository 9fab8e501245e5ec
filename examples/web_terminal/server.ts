#!/usr/bin/env -S deno run --allow-net --allow-read --unstable-bundle
// deno-lint-ignore-file no-console
/**
 * Serves a page with a terminal, and carries its SSH to one host. Opens http://localhost:8022/ unless told otherwise:
 *
 *     examples/web_terminal/server.ts HOST[:PORT] [--port=8022] [--origin=https://terminal.example]
 *
 * Login and encryption are between page and host: this relay sees ciphertext, and nobody can have it connect to anything else. Whoever
 * serves the page is trusted all the same, as its code has the password; so it is for localhost, or behind a proxy with TLS, whose address
 * is `--origin`. The page is bundled when this starts, with xterm.js from npm.
 */
import { webSocketTransport } from "@amiko/ssh/websocket";

const [, hostname, port] = /^(\[.+\]|[^:]+)(?::(\d+))?$/.exec(Deno.args[0] ?? "127.0.0.1")!;
const options = new Map(Deno.args.slice(1).map((arg) => arg.replace(/^--/, "").split("=") as [string, string]));
const target = { hostname: hostname!.replace(/[[\]]/g, ""), port: Number(port ?? 22) };
const place = (name: string) => new URL(name, import.meta.url);

// Its types are there with `--unstable-bundle` only.
const { bundle } = Deno as unknown as { bundle(options: object): Promise<{ outputFiles: { text(): string }[] }> };
const entrypoints = [place("page.ts").pathname];
const { outputFiles } = await bundle({ entrypoints, platform: "browser", minify: true, write: false });
const script = outputFiles[0]!.text(), html = await Deno.readTextFile(place("index.html"));

const headers = {
  "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};
/** Connections at once: the host sees them all come from here. */
const MAX_OPEN = 50;
let open = 0;

const server = Deno.serve({
  hostname: "127.0.0.1",
  port: Number(options.get("port") ?? 8022),
  onListen: ({ port }) =>
    console.log(`Listening on port ${port}: http://localhost:${port}/ leads to ${target.hostname}:${target.port}`),
}, (request) => {
  switch (new URL(request.url).pathname) {
    case "/":
      return new Response(html, { headers: { ...headers, "content-type": "text/html; charset=utf-8" } });
    case "/page.js":
      return new Response(script, { headers: { ...headers, "content-type": "text/javascript; charset=utf-8" } });
    case "/ssh": {
      // A page of somebody else, open in the same browser, may ask as well: only this one's gets through.
      if (!origins().includes(request.headers.get("origin") ?? "none")) return new Response(null, { status: 403 });
      if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return new Response(null, { status: 426 });
      if (open >= MAX_OPEN) return new Response(null, { status: 503 });
      const { socket, response } = Deno.upgradeWebSocket(request);
      open++;
      relay(socket).catch(() => {}).finally(() => open--);
      return response;
    }
    default:
      return new Response(null, { status: 404 });
  }
});

/** Where the page may come from. */
function origins(): (string | undefined)[] {
  const { port } = server.addr;
  return [options.get("origin"), `http://localhost:${port}`, `http://127.0.0.1:${port}`];
}

/** Both ways until either side has ended. */
async function relay(socket: WebSocket): Promise<void> {
  const page = await webSocketTransport(socket);
  try {
    using host = await Deno.connect({ ...target, signal: AbortSignal.timeout(15_000) });
    await Promise.race([page.readable.pipeTo(host.writable), host.readable.pipeTo(page.writable)]);
  } catch (error) {
    const isRefused = error instanceof Deno.errors.ConnectionRefused;
    socket.close(4000, isRefused ? "The host refused the connection" : "The host was lost");
  }
}
