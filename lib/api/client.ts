/**
 * `connect()`: dialling, handshake and login.
 *
 * @module
 */
import { authenticate, ClientAuth } from "../auth/client.ts";
import { type AuthMethod, publicKeyFrom } from "../auth/methods.ts";
import { Mux } from "../connection/mux.ts";
import { defaultAlgorithms } from "../crypto/algorithms.ts";
import { HostKeyError, SshError } from "../errors.ts";
import { knownHosts, type KnownHostsVerifier } from "../keys/trust/known_hosts.ts";
import { watchHostKey } from "../keys/trust/known_types.ts";
import { signatureAlgorithmsOf } from "../keys/key_types.ts";
import { type PassedOver, withPassedOver } from "../keys/passed_over.ts";
import type { HostKeyVerifier, Signer } from "../keys/types.ts";
import { SecureTransport } from "../transport/secure_transport.ts";
import type { AlgorithmOverrides } from "../transport/types.ts";
import { abortable } from "../wire/abortable.ts";
import { requireDeno } from "../wire/system.ts";
import { Timer } from "../wire/timer.ts";
import type { ByteDuplex } from "../wire/types.ts";
import { checkConnect } from "./check_connect.ts";
import type { ConnectOptions } from "./connect_options.ts";
import { letGo } from "./let_go.ts";
import { type ControlPathOptions, isControlPath } from "./control_options.ts";
import { given, MAX_CHANNELS } from "./options.ts";
import { clientOver, type SshClient } from "./ssh_client.ts";

export type { ConnectOptions } from "./connect_options.ts";
export type { ControlPathOptions } from "./control_options.ts";
export { SshClient } from "./ssh_client.ts";

/**
 * Connects, exchanges keys, checks the host key and logs in.
 *
 * Rejects with `HostKeyError` (unknown and changed keys are classes of their own), `SshAuthError`, another `SshError`, or the reason
 * of the signal; and before anything is opened with `TypeError` or `RangeError` for options that make no sense. Whatever it rejects with, nothing stays open.
 *
 * With `controlPath` it does none of that, and uses the connection of a running `ssh -M`: see {@linkcode ControlPathOptions}.
 *
 * @example A command and its exit code
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function uname(hostname: string): Promise<void> {
 *   await using client = await connect({ hostname, username: "alice" });
 *   const { code, stdout } = await client.exec("uname -a");
 *   console.log(code, new TextDecoder().decode(stdout));
 * }
 * ```
 */
export async function connect(options: ConnectOptions | ControlPathOptions): Promise<SshClient> {
  if (isControlPath(options)) return await (await import("./control_path.ts")).connectControl(options);
  let known: ReadonlySet<string> = new Set();
  try {
    return await connectOnce(options, null, (types) => known = types);
  } catch (error) {
    // A function around knownHosts() hid the types that are known: `ssh` would have asked for those. What somebody in between shows
    // to the second question is judged as any other key.
    const again = error instanceof HostKeyError && known.size > 0 && options.transport === undefined &&
      options.algorithms?.hostKey === undefined;
    if (!again) throw error;
    return await connectOnce(options, [...known], () => {});
  }
}

/**
 * One connection. `asked` are the types of host keys to ask for first, and null where only the verifier may know: then the types that
 * it would rather have seen go to `onKnown`.
 */
async function connectOnce(
  options: ConnectOptions,
  asked: readonly string[] | null,
  onKnown: (types: ReadonlySet<string>) => void,
): Promise<SshClient> {
  let conn: ByteDuplex | undefined, socket: Deno.TcpConn | null = null;
  let secure: SecureTransport | null = null, mux: Mux | null = null;
  try {
    checkConnect(options);
    const { port = 22, username, signal } = options, hostname = withoutBrackets(options.hostname);
    const verifyHostKey = options.verifyHostKey ?? knownHosts();
    conn = options.transport;
    signal?.throwIfAborted();
    const host = { hostname, port };
    const types = asked ?? await abortable(knownTypes(verifyHostKey, host, options.algorithms), signal);
    conn ??= socket = await dial(hostname, port, options);
    const transport = secure = new SecureTransport(conn, {
      role: "client",
      // A socket of this module's own; what the application brings may keep chunks.
      copyingWritable: socket !== null,
      verifyHostKey: (key) => {
        if (types === null) onKnown(watchHostKey(key));
        return verifyHostKey(key, { ...host });
      },
      ...types === null ? given(options, "algorithms") : { algorithms: knownFirst(types, options.algorithms) },
      ...given(options, "rekey", "ident", "handshakeTimeout", "requireStrictKex", "insecureMinRsaBits", "trace"),
    });
    await transport.start({ signal });
    const auth = new ClientAuth(transport, {
      onBanner: options.onBanner,
      onSuccess: () =>
        transport.setHandler(
          mux = new Mux(transport, {
            ...given(options, "window", "keepalive"),
            maxChannels: MAX_CHANNELS,
          }),
        ),
    });
    await authenticate(auth, username, options.auth ?? [defaultAuth()], { signal, requireAuth: options.requireAuth });
    return clientOver(transport, mux!, signal, socket);
  } catch (error) {
    if (secure !== null) await secure.close();
    else await letGo(conn ?? options?.transport, error);
    throw error;
  }
}

/** An IPv6 address as URLs write it. */
function withoutBrackets(hostname: string): string {
  return /^\[[^\]]*:[^\]]*\]$/.test(hostname) ? hostname.slice(1, -1) : hostname;
}

/** The default keys are looked for only when the server allows them. */
function defaultAuth(): AuthMethod {
  return publicKeyFrom((signal) => {
    const passedOver: PassedOver = { notes: [], absent: [] };
    const keys = (async function* (): AsyncGenerator<Signer> {
      const { findIdentities } = await import("../agent/default_identities.ts");
      yield* findIdentities({ signal }, passedOver);
    })();
    return withPassedOver(keys, passedOver);
  });
}

/** The key types known for the host, or null where the verifier does not tell or the program says itself what to ask for. */
async function knownTypes(
  verify: HostKeyVerifier | KnownHostsVerifier,
  host: { hostname: string; port: number },
  algorithms: AlgorithmOverrides | undefined,
): Promise<readonly string[] | null> {
  return algorithms?.hostKey === undefined && "keyTypes" in verify ? await verify.keyTypes(host) : null;
}

/** What `ssh` does: the key types known for the host come first, so that no other key of it looks like a changed one. */
function knownFirst(types: readonly string[], algorithms: AlgorithmOverrides | undefined): AlgorithmOverrides {
  const known = new Set(types.flatMap(signatureAlgorithmsOf));
  const names = defaultAlgorithms.hostKey;
  const hostKey = [...names.filter((name) => known.has(name)), ...names.filter((name) => !known.has(name))];
  return { ...algorithms, hostKey };
}

/** Opens the TCP connection. Its own signal ends with the dialling: later aborts say goodbye first. */
async function dial(hostname: string, port: number, options: ConnectOptions): Promise<Deno.TcpConn> {
  requireDeno(
    `connect to "${hostname}" port ${port}`,
    "hand over `transport`, such as `await webSocketTransport(url)` gives",
  );
  const limit = options.handshakeTimeout ?? 30_000, dialling = new AbortController();
  const { signal } = options;
  const onAbort = (): void => dialling.abort(signal!.reason);
  const timer = new Timer(() => {
    dialling.abort(new SshError(`no answer within ${limit} ms`, { code: "CONNECTION_LOST" }));
  });
  timer.start(limit);
  signal?.addEventListener("abort", onAbort);
  try {
    const conn = await Deno.connect({ hostname, port, signal: dialling.signal });
    try {
      // A request and its answer are small packets: Nagle's algorithm would make each wait for the one before.
      conn.setNoDelay(true);
    } catch (error) {
      conn.close();
      throw error;
    }
    return conn;
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof TypeError || cause instanceof Deno.errors.NotCapable) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SshError(`Cannot connect to "${hostname}" port ${port}: ${why}`, { code: "CONNECTION_LOST", cause });
  } finally {
    timer.stop();
    signal?.removeEventListener("abort", onAbort);
  }
}
