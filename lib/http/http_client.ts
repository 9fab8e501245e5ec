/**
 * Clients of Deno's whose connections lead through the server. Reaches the system.
 *
 * @module
 */
import type { Door } from "./door.ts";

/** Options of `SshClient.createHttpClient()`: those of `Deno.createHttpClient()` but for where connections come from, and a path. */
export interface HttpClientOptions {
  /** A Unix socket on the server's side, such as `/var/run/docker.sock`, that all requests lead to; 250 bytes at most. */
  path?: string | undefined;
  /** Certificates of authorities in PEM format that are trusted besides the usual ones. */
  caCerts?: string[] | undefined;
  /** Certificate chain to log in with, in PEM format; `key` belongs to it. */
  cert?: string | undefined;
  /** Private key of `cert`, in PEM format. */
  key?: string | undefined;
  /** Whether HTTP/1.1 may be spoken. @default {true} */
  http1?: boolean | undefined;
  /** Whether HTTP/2 may be spoken, where a server of HTTPS offers it. @default {true} */
  http2?: boolean | undefined;
  /** Whether requests may set the `host` header. @default {false} */
  allowHost?: boolean | undefined;
  /** Idle connections that are kept for each host. @default {no limit} */
  poolMaxIdlePerHost?: number | undefined;
  /** Milliseconds that an idle connection is kept; false is for ever. @default {90,000} */
  poolIdleTimeout?: number | false | undefined;
}

/**
 * No socket can be bound to it, so that nothing connects but through the proxy: Deno goes around that for hosts that `NO_PROXY` names, and
 * a request meant for a host behind the server must never reach one here.
 */
const NOWHERE = "ff00::";

/** Makes a client whose connections lead through a door; `closed` is told when it is closed. */
export function makeHttpClient(door: Door, options: HttpClientOptions, closed: () => void): Deno.HttpClient {
  const { path, ...rest } = options;
  // An option that is there and undefined is not always one that is missing.
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const client = withoutNoProxy(() =>
    Deno.createHttpClient({ ...given, localAddress: NOWHERE, proxy: door.proxy(path) })
  );
  const close = (): void => {
    closed();
    // Deno's own throws when it is called twice, and the end of the connection has called it once.
    Deno.HttpClient.prototype[Symbol.dispose].call(client);
  };
  return Object.defineProperties(client, { close: { value: close }, [Symbol.dispose]: { value: close } });
}

/** Deno reads `NO_PROXY` when a client is made. Where the program may change it, none is there for that long. */
function withoutNoProxy<T>(make: () => T): T {
  const names = ["NO_PROXY", "no_proxy"].filter((variable) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted"
  );
  const values = names.map((name) => Deno.env.get(name));
  for (const name of names) Deno.env.delete(name);
  try {
    return make();
  } finally {
    names.forEach((name, i) => values[i] !== undefined && Deno.env.set(name, values[i]));
  }
}
