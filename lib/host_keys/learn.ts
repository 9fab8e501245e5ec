/**
 * What a client learns of its server's host keys after the login, for its known_hosts: `UpdateHostKeys` of ssh_config(5). OpenSSH PROTOCOL section
 * 2.5. No I/O of its own.
 *
 * The server announces its keys, once. Those that are not known it has to prove, by signatures over this session, and only then is anything written.
 * All of it runs beside the session, which waits for nothing of it; whatever fails is told in a word, and changes nothing.
 *
 * @module
 */
import { equals } from "@std/bytes";
import type { Mux } from "../connection/mux.ts";
import { printable, SshError } from "../errors.ts";
import { certifiedTypeOf, signatureAlgorithmsOf } from "../keys/key_types.ts";
import { publicKeyFromBlob, verifyAgreed } from "../keys/public_key.ts";
import {
  changeHostKeys,
  type HostKeyChange,
  mayChange,
  planHostKeys,
  type RetiredKey,
} from "../keys/trust/host_key_update.ts";
import type { Revocation, TrustingFiles } from "../keys/trust/known_types.ts";
import type { PublicKey } from "../keys/types.ts";
import { within } from "../transport/closing.ts";
import type { ConnectionInfo } from "../transport/types.ts";
import type { Bytes, MaybePromise } from "../wire/types.ts";
import { ANNOUNCE, proofOf, PROVE, readStrings, writeStrings } from "./messages.ts";

/** What a server has told of its host keys, as far as it is not in known_hosts: all of `added` it has proved. */
export interface HostKeyUpdate {
  /** The host's name in known_hosts: `host`, or `[host]:port`. */
  readonly name: string;
  /** Keys to be added. */
  readonly added: readonly PublicKey[];
  /** Keys of the host that it has no more. */
  readonly retired: readonly RetiredKey[];
}

/** Whether known_hosts is kept as the server says. */
export type UpdateHostKeys = boolean | ((update: HostKeyUpdate) => MaybePromise<boolean>);

/** Of which connection, and for whom. */
export interface LearnOptions {
  /** The connection. */
  readonly info: ConnectionInfo;
  /** Host key algorithms that it would take. */
  readonly algorithms: readonly string[];
  /** Bits of an RSA key, at least. */
  readonly insecureMinRsaBits: number | undefined;
  /** The files that trust the key of the connection. */
  readonly trustedBy: TrustingFiles;
  /** Lists of revoked keys that the program goes by. */
  readonly revocations: readonly Revocation[];
  /** Asked before anything is written; null where nobody wants to be. */
  readonly ask: Exclude<UpdateHostKeys, boolean> | null;
  /** Whether files are only changed that may be changed without a question of the runtime. */
  readonly unasked: boolean;
  /** Told of what failed. */
  readonly notice: (text: string) => void;
}

/** What a client waits for that is learning. Neither rejects. */
export interface Learning {
  /** Until all is learnt that the server has told by now, or the server takes too long. */
  readonly settle: () => Promise<void>;
  /** Until nothing is being written. */
  readonly written: () => Promise<void>;
}

/** Milliseconds that a close waits for a server to prove what it has told. */
const SETTLE_TIME = 500;

/** Learns from now on. */
export function learnHostKeys(mux: Mux, options: LearnOptions): Learning {
  let announced = false, learnt: Promise<void> | null = null, written: Promise<void> = Promise.resolve();
  const write = async (change: HostKeyChange): Promise<void> => {
    const writing = changeHostKeys(options.trustedBy, change);
    written = writing.catch(() => {});
    await writing;
  };
  mux.onRequest(ANNOUNCE, (data) => {
    // Another time would be for nobody's good.
    if (announced) return false;
    announced = true;
    learnt = learn(mux, data, options, write).catch((error) => {
      if (mux.hasEnded) return;
      const why = error instanceof Error ? error.message : String(error);
      options.notice(`Host keys of "${options.trustedBy.name}" are not updated: ${printable(why, 512)}`);
    });
    return true;
  });
  return {
    settle: async () => {
      if (learnt !== null && !mux.hasEnded) await within(SETTLE_TIME, learnt);
    },
    written: () => written,
  };
}

async function learn(
  mux: Mux,
  data: Uint8Array,
  { info, algorithms, insecureMinRsaBits, trustedBy, revocations, ask, unasked }: LearnOptions,
  write: (change: HostKeyChange) => Promise<void>,
): Promise<void> {
  const blobs = readStrings(data), keys: PublicKey[] = [];
  for (const [i, blob] of blobs.entries()) {
    if (blobs.findIndex((other) => equals(other, blob)) !== i) throw new Error("the server tells one of them twice");
    const key = readKey(blob, insecureMinRsaBits);
    if (key !== null && signatureAlgorithmsOf(key.type).some((name) => algorithms.includes(name))) keys.push(key);
  }
  const change = await planHostKeys(trustedBy, { keys, blobs, current: info.hostKey });
  if (change === null || unasked && !await mayChange(trustedBy)) return;
  for (const key of keys) await refuseRevoked(key, revocations);
  if (change.added.length > 0) await checkProofs(mux, change.added, info);
  if (ask !== null && (await ask({ name: trustedBy.name, ...change })) !== true) return;
  // Whoever was asked may have taken longer than the connection has.
  if (!mux.hasEnded) await write(change);
}

async function refuseRevoked(key: PublicKey, revocations: readonly Revocation[]): Promise<void> {
  for (const revocation of revocations) {
    const why = await revocation(key);
    if (why !== null) throw new Error(`it has a key that is revoked, ${key.type} ${await key.fingerprint()}: ${why}`);
  }
}

/** A key of a type that is known, and no certificate; else null. */
function readKey(blob: Bytes, insecureMinRsaBits: number | undefined): PublicKey | null {
  try {
    const key = publicKeyFromBlob(blob, { insecureMinRsaBits });
    return certifiedTypeOf(key.type) !== null ? null : key;
  } catch (error) {
    if (error instanceof SshError) return null;
    throw error;
  }
}

/** Has the server prove keys. Throws unless it has proved all. */
async function checkProofs(mux: Mux, keys: readonly PublicKey[], info: ConnectionInfo): Promise<void> {
  const answer = await mux.globalRequest(PROVE, writeStrings(keys.map(({ blob }) => blob)));
  if (answer === null) throw new Error("the server does not prove those that it has told");
  const signatures = readStrings(answer);
  if (signatures.length !== keys.length) {
    throw new Error(`the server gives ${signatures.length} proofs for ${keys.length} keys`);
  }
  for (const [i, key] of keys.entries()) {
    const proof = proofOf(info.sessionId, key.blob), signature = signatures[i]!;
    // The algorithm of the exchange may be one that a program has named by hand.
    if (await key.verify(proof, signature)) continue;
    if (await verifyAgreed(key, info.hostKeyAlgorithm, proof, signature)) continue;
    throw new Error(`the server has not proved its ${key.type} key ${await key.fingerprint()}`);
  }
}
