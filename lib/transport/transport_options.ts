/**
 * Options of a transport, and what they come to for its key exchanges. RFC 4253, RFC 8308. No I/O.
 *
 * @module
 */
import { defaultAlgorithms, serverDefaultAlgorithms } from "../crypto/algorithms.ts";
import { available } from "../crypto/cipher/ciphers.ts";
import { availableKex } from "../crypto/kex/methods.ts";
import type { PublicKey, Signer } from "../keys/types.ts";
import { withPlainKeys } from "../keys/with_certificate.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { ServerOffer } from "./guess.ts";
import type { KeyExchangeOptions } from "./key_exchanges.ts";
import type { AlgorithmOverrides, Algorithms, RekeyLimits } from "./types.ts";

/** Milliseconds that the peer may take for the first exchange, and for each later one. */
const HANDSHAKE_TIMEOUT = { server: 120_000, client: 30_000 };
const REKEY_TIMEOUT = 300_000;

/** Numbered events for whoever debugs a connection; never a payload, never a secret. */
export interface TraceEvent {
  /** Counts from 0 on each connection. */
  readonly number: number;
  /** What happened: `ident`, `guess`, `received`, `sealed`, `kex`, `keys`, `ended`. */
  readonly event: string;
  /** Details: message numbers, sizes, algorithm names. */
  readonly detail: Readonly<Record<string, string | number | boolean>>;
}

/** Options of {@linkcode SecureTransport}. */
export interface SecureTransportOptions {
  /** Which side this is. */
  role: "client" | "server";
  /** Overrides of the preference lists. */
  algorithms?: AlgorithmOverrides | undefined;
  /** When to rekey. */
  rekey?: RekeyLimits | undefined;
  /** Identification, without `SSH-2.0-`. @default {"amiko"} */
  ident?: string | undefined;
  /** Server: at least one. */
  hostKeys?: readonly Signer[] | undefined;
  /**
   * Client: is this host key trusted? Asked once, in the first exchange, once the key has proved itself. Anything but true
   * refuses it, and so does leaving it out. What it throws is the error that ends the connection.
   */
  verifyHostKey?: ((key: PublicKey) => MaybePromise<boolean>) | undefined;
  /** Server: signature algorithms accepted from users, told in `server-sig-algs` (RFC 8308 section 3.1). */
  signatureAlgorithms?: readonly string[] | undefined;
  /** Refuse a peer without strict key exchange. @default {false} */
  requireStrictKex?: boolean | undefined;
  /** Milliseconds that the peer may take for the first exchange. @default {120000 for a server, 30000 for a client} */
  handshakeTimeout?: number | undefined;
  /** Milliseconds that the peer may take for each later exchange. @default {300000} */
  rekeyTimeout?: number | undefined;
  /**
   * The writable has copied a chunk when its write resolves, as sockets do and streams in memory do not: the chunk's buffer is
   * used again. @default {false}
   */
  copyingWritable?: boolean | undefined;
  /**
   * Told of streams that have failed or ended by themselves, with the error that the connection would end with; gives the one to use
   * in its place, where what the streams run over knows more. Never throws or rejects.
   */
  lost?: ((error: Error) => MaybePromise<Error>) | undefined;
  /** Client: what {@linkcode SecureTransport.offer} was of an earlier connection to the same server: a packet of the exchange is guessed. */
  offered?: ServerOffer | null | undefined;
  /** Client: a host key of RSA is taken from so many bits on. @default {2048} */
  insecureMinRsaBits?: number | undefined;
  /** Told of what happens. */
  trace?: ((event: TraceEvent) => void) | undefined;
}

function hostKeyNames(options: SecureTransportOptions, preferred: readonly string[]): readonly string[] {
  if (options.role === "client") return preferred;
  const signers = withPlainKeys(options.hostKeys ?? []);
  if (signers.length === 0) throw new TypeError("Cannot serve without a host key: make one with generateKey()");
  const made = new Set(signers.flatMap((signer) => signer.algorithms));
  // A host key that the program gives is offered; the preference list says in what order.
  const wanted = options.algorithms?.hostKey ?? [...preferred, ...made];
  const names = [...new Set(wanted)].filter((name) => made.has(name));
  if (names.length === 0) {
    throw new TypeError(`No host key fits \`algorithms.hostKey\`: the keys make ${[...made].join(", ")}`);
  }
  return names;
}

/** What the key exchanges of a transport are run with. Throws `TypeError` for a server that no host key fits. */
export function exchangeOptions(
  options: SecureTransportOptions,
  localIdent: string,
  remoteIdent: () => string,
  remoteSaid: () => string,
): KeyExchangeOptions {
  const { role, algorithms = {} } = options;
  // What a program names, it gets or hears why not; a default is never more than the runtime can do.
  const defaults = available(role === "client" ? defaultAlgorithms : serverDefaultAlgorithms);
  const merged: Algorithms = {
    kex: algorithms.kex ?? availableKex(defaults.kex),
    hostKey: algorithms.hostKey ?? defaults.hostKey,
    cipher: algorithms.cipher ?? defaults.cipher,
    mac: algorithms.mac ?? defaults.mac,
    compression: algorithms.compression ?? defaults.compression,
  };
  return {
    role,
    algorithms: { ...merged, hostKey: hostKeyNames(options, merged.hostKey) },
    hostKeys: withPlainKeys(options.hostKeys ?? []),
    verifyHostKey: options.verifyHostKey ?? (() => false),
    signatureAlgorithms: options.signatureAlgorithms ?? defaultAlgorithms.hostKey,
    rekey: options.rekey ?? {},
    timeout: options.handshakeTimeout ?? HANDSHAKE_TIMEOUT[role],
    rekeyTimeout: options.rekeyTimeout ?? REKEY_TIMEOUT,
    requireStrictKex: options.requireStrictKex ?? false,
    rsaKeys: { insecureMinRsaBits: options.insecureMinRsaBits },
    offered: role === "client" ? options.offered ?? null : null,
    localIdent,
    remoteIdent,
    remoteSaid,
  };
}
